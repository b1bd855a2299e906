//! How many loads look into the tiers, wait and read the sources at once. A hit in memory needs no permit.
//!
//! Further loads are refused at once. While all load permits and queue slots are taken, a load that misses in the tiers
//! will be refused, so only a few may look: otherwise the lookups of refused loads would take the database's time from
//! the others, and each would wait before its refusal.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{
    clock::{Clock, Moment},
    config,
    error::Error,
    sync::Mutex,
};

/// Lookups at once: a few for each connection to the cache's database (`database.max_connections`), which answers all
/// of them within a millisecond or two.
const LOOKUPS_MAX: usize = 64;
/// Lookups at once while the queue is full. Most of them miss and are refused, and each costs the database as much as a
/// lookup of an admitted load.
const LOOKUPS_MAX_WHEN_FULL: usize = 4;
/// How long a lookup waits for its permit: longer than a burst of hits in Redis after a restart lasts.
const LOOKUP_WAIT: Duration = Duration::from_millis(100);
/// The wait after another one has ended in vain: it is no burst then, and waiting only delays a refusal.
const LOOKUP_WAIT_WHEN_BUSY: Duration = Duration::from_millis(10);
const BUSY_FOR: Duration = Duration::from_secs(1);
/// Loads that may wait for other instances; each costs the database ten small statements a second.
const WATCHES_MAX: usize = 256;

#[derive(Debug)]
pub(in crate::cache) struct Admission {
    lookups: Semaphore,
    /// Loads that read the sources.
    permits: Semaphore,
    /// Those, and the loads that wait for a permit.
    queue: Semaphore,
    /// Loads that wait for another instance.
    watches: Semaphore,
    concurrent_max: usize,
    budget: Duration,
    /// When a lookup last waited in vain.
    waited_in_vain: Mutex<Option<Moment>>,
    clock: Clock,
}

impl Admission {
    pub(in crate::cache) fn new(config: &config::LoadSettings, clock: &Clock) -> Self {
        Self {
            lookups: Semaphore::new(LOOKUPS_MAX),
            permits: Semaphore::new(config.max_concurrent),
            queue: Semaphore::new(config.max_concurrent + config.max_queued),
            watches: Semaphore::new(WATCHES_MAX),
            concurrent_max: config.max_concurrent,
            budget: config.budget,
            waited_in_vain: Mutex::default(),
            clock: clock.clone(),
        }
    }

    /// A permit to look into the tiers.
    pub(super) async fn look(&self) -> Result<SemaphorePermit<'_>, Error> {
        if self.queue.available_permits() == 0 {
            let few = self.lookups.available_permits() > LOOKUPS_MAX - LOOKUPS_MAX_WHEN_FULL;
            return few.then(|| self.lookups.try_acquire().ok()).flatten().ok_or_else(Error::overloaded);
        }
        if let Ok(permit) = self.lookups.try_acquire() {
            return Ok(permit);
        }
        let is_busy = self.waited_in_vain.lock().is_some_and(|when| self.clock.now().since(when) < BUSY_FOR);
        match timeout(if is_busy { LOOKUP_WAIT_WHEN_BUSY } else { LOOKUP_WAIT }, self.lookups.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                *self.waited_in_vain.lock() = Some(self.clock.now());
                Err(Error::overloaded())
            }
        }
    }

    /// A slot in the queue, then a permit to read the sources.
    pub(super) async fn permit(&self) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), Error> {
        let slot = self.queue.try_acquire().map_err(|_| Error::overloaded())?;
        match timeout(self.budget, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok((slot, permit)),
            _ => Err(Error::overloaded()),
        }
    }

    /// A permit to wait for another instance's load.
    pub(super) fn watch(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.watches.try_acquire().map_err(|_| Error::overloaded())
    }

    /// Whether a load without a waiting caller may start: such loads leave half of the permits to the others.
    pub(super) fn has_room(&self) -> bool {
        2 * self.permits.available_permits() >= self.concurrent_max
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::config::LoadSettings;

    fn admission() -> Admission {
        Admission::new(&LoadSettings { max_concurrent: 1, max_queued: 0, ..Default::default() }, &Clock::system())
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_lookups_waits_for_permits_but_not_for_long() {
        let admission = admission();
        let mut permits = Vec::new();
        for _ in 0..LOOKUPS_MAX {
            permits.push(admission.look().now_or_never().expect("at once").unwrap());
        }
        let waiting = admission.look();
        let (next, ()) = tokio::join!(waiting, async {
            tokio::time::sleep(LOOKUP_WAIT / 2).await;
            permits.pop();
        });
        let _next = next.expect("it waited for a permit");
        assert!(admission.look().await.is_err(), "no permit is released, and the wait is short");
    }

    #[tokio::test(start_paused = true)]
    async fn after_one_wait_in_vain_the_others_wait_much_less() {
        let admission = admission();
        let mut permits = Vec::new();
        for _ in 0..LOOKUPS_MAX {
            permits.push(admission.look().await.unwrap());
        }
        let refused_within = async |time| timeout(time, admission.look()).await.is_ok_and(|permit| permit.is_err());
        assert!(!refused_within(LOOKUP_WAIT / 2).await, "it may be a burst");
        assert!(refused_within(2 * LOOKUP_WAIT).await);
        assert!(refused_within(2 * LOOKUP_WAIT_WHEN_BUSY).await);
        admission.clock.advance(BUSY_FOR);
        assert!(!refused_within(LOOKUP_WAIT / 2).await, "that was long ago");
    }

    #[tokio::test]
    async fn while_the_queue_is_full_few_may_look_and_the_others_are_refused_at_once() {
        let admission = admission();
        let slot = admission.permit().await.unwrap();
        let mut permits = Vec::new();
        for _ in 0..LOOKUPS_MAX_WHEN_FULL {
            permits.push(admission.look().now_or_never().expect("at once").unwrap());
        }
        assert!(matches!(admission.look().now_or_never().expect("at once"), Err(Error::Overloaded { .. })));
        assert!(matches!(admission.permit().now_or_never().expect("at once"), Err(Error::Overloaded { .. })));
        drop(slot);
        let _turn = admission.look().now_or_never().expect("at once").expect("the overload is over");
    }
}
