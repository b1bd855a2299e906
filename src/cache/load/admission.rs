//! How many loads look into the tiers, wait for their turn and read the sources at once. Hits in memory are none of them:
//! however many loads there are, a hit goes its own way.
//!
//! Whoever is too many is refused at once. When every place for reading the sources is taken, what is not found in a tier
//! will be refused, so only a few may look: else the look-ups of those who are refused anyway would take the database's
//! time from those who are not, and each would wait for the others before it is refused.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{
    clock::{Clock, Moment},
    config,
    error::Error,
    sync::{Mutex, MutexGuard},
};

/// Look-ups at once: a few for each connection to the cache's database (`database.max_connections`), which in a millisecond
/// or two has answered them all.
const LOOKS_MAX: usize = 64;
/// The same while all places are taken: most of these look-ups find nothing and are refused, and each costs the database
/// as much as those of the loads that are let in.
const LOOKS_MAX_WHEN_FULL: usize = 4;
/// How long a look-up waits for its turn: a burst of hits in Redis, after a restart, is over by then.
const LOOK_WAIT: Duration = Duration::from_millis(100);
/// The same when somebody has waited in vain a moment ago: then it is no burst, and waiting only delays a refusal.
const LOOK_WAIT_WHEN_BUSY: Duration = Duration::from_millis(10);
const BUSY_FOR: Duration = Duration::from_secs(1);
/// Loads that may wait for other instances'; each costs the database ten small statements a second.
const WATCHES_MAX: usize = 256;

/// Lets loads in.
#[derive(Debug)]
pub(super) struct Admission {
    looks: Semaphore,
    /// Loads that read the sources.
    permits: Semaphore,
    /// Those and the ones that wait for their turn.
    places: Semaphore,
    /// Loads that wait for another instance's.
    watches: Semaphore,
    concurrent_max: usize,
    budget: Duration,
    /// When a look-up last waited in vain.
    in_vain: Mutex<Option<Moment>>,
    clock: Clock,
}

impl Admission {
    pub(super) fn new(flight: &config::Flight, clock: &Clock) -> Self {
        Self {
            looks: Semaphore::new(LOOKS_MAX),
            permits: Semaphore::new(flight.max_concurrent),
            places: Semaphore::new(flight.max_concurrent + flight.max_queued),
            watches: Semaphore::new(WATCHES_MAX),
            concurrent_max: flight.max_concurrent,
            budget: flight.budget,
            in_vain: Mutex::default(),
            clock: clock.clone(),
        }
    }

    /// A turn to look into the tiers.
    pub(super) async fn look(&self) -> Result<SemaphorePermit<'_>, Error> {
        if self.places.available_permits() == 0 {
            let few = self.looks.available_permits() > LOOKS_MAX - LOOKS_MAX_WHEN_FULL;
            return few.then(|| self.looks.try_acquire().ok()).flatten().ok_or_else(Error::overloaded);
        }
        if let Ok(turn) = self.looks.try_acquire() {
            return Ok(turn);
        }
        let is_busy = self.in_vain().is_some_and(|when| self.clock.now().since(when) < BUSY_FOR);
        match timeout(if is_busy { LOOK_WAIT_WHEN_BUSY } else { LOOK_WAIT }, self.looks.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => {
                *self.in_vain() = Some(self.clock.now());
                Err(Error::overloaded())
            }
        }
    }

    fn in_vain(&self) -> MutexGuard<'_, Option<Moment>> {
        // One moment: nothing can be left half changed.
        self.in_vain.lock()
    }

    /// A place in the queue, then a permit to read the sources.
    pub(super) async fn permit(&self) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), Error> {
        let place = self.places.try_acquire().map_err(|_| Error::overloaded())?;
        match timeout(self.budget, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok((place, permit)),
            _ => Err(Error::overloaded()),
        }
    }

    /// Leave to wait for another instance's load.
    pub(super) fn watch(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.watches.try_acquire().map_err(|_| Error::overloaded())
    }

    /// Whether something may be loaded that nobody waits for: with half of the permits at most, or those who wait for
    /// an answer would wait for those who do not.
    pub(super) fn has_room(&self) -> bool {
        2 * self.permits.available_permits() >= self.concurrent_max
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::config::Flight;

    fn admission() -> Admission {
        Admission::new(&Flight { max_concurrent: 1, max_queued: 0, ..Default::default() }, &Clock::system())
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_look_ups_waits_for_its_turns_and_not_for_long() {
        let admission = admission();
        let mut turns = Vec::new();
        for _ in 0..LOOKS_MAX {
            turns.push(admission.look().now_or_never().expect("at once").unwrap());
        }
        let waiting = admission.look();
        let (next, ()) = tokio::join!(waiting, async {
            tokio::time::sleep(LOOK_WAIT / 2).await;
            turns.pop();
        });
        let _next = next.expect("it waited for a turn");
        assert!(admission.look().await.is_err(), "nobody ends, and it does not wait for long");
    }

    #[tokio::test(start_paused = true)]
    async fn after_one_has_waited_in_vain_the_others_wait_for_much_less() {
        let admission = admission();
        let mut turns = Vec::new();
        for _ in 0..LOOKS_MAX {
            turns.push(admission.look().await.unwrap());
        }
        let refused_within = async |time| timeout(time, admission.look()).await.is_ok_and(|turn| turn.is_err());
        assert!(!refused_within(LOOK_WAIT / 2).await, "it may be a burst");
        assert!(refused_within(2 * LOOK_WAIT).await);
        assert!(refused_within(2 * LOOK_WAIT_WHEN_BUSY).await);
        admission.clock.advance(BUSY_FOR);
        assert!(!refused_within(LOOK_WAIT / 2).await, "that was long ago");
    }

    #[tokio::test]
    async fn while_all_places_are_taken_few_may_look_and_the_others_are_refused_at_once() {
        let admission = admission();
        let place = admission.permit().await.unwrap();
        let mut turns = Vec::new();
        for _ in 0..LOOKS_MAX_WHEN_FULL {
            turns.push(admission.look().now_or_never().expect("at once").unwrap());
        }
        assert!(matches!(admission.look().now_or_never().expect("at once"), Err(Error::Overloaded { .. })));
        assert!(matches!(admission.permit().now_or_never().expect("at once"), Err(Error::Overloaded { .. })));
        drop(place);
        let _turn = admission.look().now_or_never().expect("at once").expect("the overload is over");
    }
}
