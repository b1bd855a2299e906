//! Turns changes of the sources into invalidations: reads the notes that triggers have left in the outbox, and appends
//! an entry to the invalidation log for each.
//!
//! Order: the entries and what was read for them are committed together, so a crash repeats nothing and loses nothing. A
//! round is completed only after that.
//!
//! With the log in PostgreSQL one instance reads for the whole cluster, in rounds ([`crate::cache::change_feed`]); the
//! others take over when the rounds stop. With the log in SQLite each instance reads for itself.

mod consumer;
mod state;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use sea_orm::DbErr;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::state::{Held, RelayState, Stored};
use crate::{
    cache::{
        change_feed::{ChangeFeed, round::Round, rounds::Rounds},
        counters::Counters,
        invalidation_log::{InvalidationLog, InvalidationLogError, consumption::Consumption},
        tiers::Tiers,
    },
    changes::{Discontinuity, Outbox, Reading},
    clock::{Clock, Moment},
    model::{Invalidation, SectionSet},
    sync::{
        TaskTracker,
        time::{sleep, timeout},
    },
};

/// The length of a round: two readings of the outbox.
const ROUND: Duration = Duration::from_millis(50);
/// An instance takes over when no round was completed for this long.
const TAKEOVER: Duration = Duration::from_millis(150);
/// An instance that cannot read the outbox leaves the rounds to others for this long.
const PAUSE: Duration = Duration::from_secs(1);
/// How often to look for a missing outbox: the triggers may be installed at any time.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// For one reading of the outbox: hundreds of thousands of notes, and whose they are.
const READ_MAX: Duration = Duration::from_secs(60);
/// For one commit, of up to 20,000 entries. After it, it is unknown whether the commit took place.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// Readings in a row that another instance's commit overtakes.
const TRIES: u32 = 5;

#[derive(Debug)]
pub(super) struct ChangeRelay {
    outbox: Outbox,
    log: Arc<InvalidationLog>,
    feed: Arc<ChangeFeed>,
    /// None: each instance reads for itself.
    rounds: Option<Rounds>,
    tiers: Arc<Tiers>,
    counters: Arc<Counters>,
    repairs_triggers: bool,
    tasks: TaskTracker,
    clock: Clock,
    state: Mutex<RelayState>,
    /// Held while the outbox is tidied.
    tidying: Arc<Mutex<()>>,
}

/// Why the outbox was not read, or what was read in it not appended.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the outbox cannot be read")]
    Outbox(#[source] DbErr),
    /// Triggers were never installed: nothing is promised about changes.
    #[error("there is no outbox")]
    NoOutbox,
    #[error("the outbox does not answer")]
    Silent,
    #[error("the rounds cannot be written")]
    Rounds(#[source] DbErr),
    #[error(transparent)]
    Log(#[from] InvalidationLogError),
    #[error("other instances commit all the time")]
    Overtaken,
}

impl ChangeRelay {
    #[expect(clippy::too_many_arguments, reason = "the parts of a cache that it works with")]
    pub(super) fn new(
        outbox: Outbox,
        log: Arc<InvalidationLog>,
        feed: Arc<ChangeFeed>,
        tiers: Arc<Tiers>,
        counters: Arc<Counters>,
        repairs_triggers: bool,
        tasks: TaskTracker,
        clock: Clock,
    ) -> Self {
        let rounds = log.rounds();
        let (state, tidying) = (Mutex::default(), Arc::default());
        Self { outbox, log, feed, rounds, tiers, counters, repairs_triggers, tasks, clock, state, tidying }
    }

    /// Reads the outbox once, if that is this instance's part, and appends what is new.
    pub(super) async fn run(&self) {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        if now < state.pause_until {
            return;
        }
        match self.step(&mut state).await {
            Ok(()) => {
                self.counters.changes.outbox_missing.store(false, Relaxed);
                state.reads(true);
            }
            Err(error) => self.failed(&mut state, &error).await,
        }
    }

    /// Reads the outbox, whichever instance holds the round, and appends what is new. Whether that succeeded.
    ///
    /// Two instances that do it at the same time do no harm: one of them commits, and the other reads again.
    pub(super) async fn relay_now(&self) -> bool {
        let mut state = self.state.lock().await;
        let looked = self.look_for_itself(&mut state).await;
        if let Err(error) = &looked {
            self.failed(&mut state, error).await;
        }
        looked.is_ok()
    }

    /// Leaves the rounds to another instance, without a wait.
    pub(super) async fn stop(&self) {
        let held = self.state.lock().await.held.take();
        if let (Some(rounds), Some(held)) = (&self.rounds, held) {
            // The others take over all the same, a moment later.
            let _ = timeout(COMMIT_MAX, rounds.stop(held.round)).await;
        }
    }

    async fn step(&self, state: &mut RelayState) -> Result<(), RelayError> {
        let Some(rounds) = &self.rounds else {
            self.look_for_itself(state).await?;
            return self.keep_registered(state).await;
        };
        let Some(held) = state.held else {
            // What this instance knows of the notes that were consumed is of before.
            state.stored = None;
            state.held = self.try_to_hold(rounds).await?;
            return Ok(());
        };
        // Order: the round began before this look at the outbox.
        let (unwatched, newest) = self.look_as_holder(rounds, held.round, state).await?;
        // Order: before the round counts. A restored outbox shows by this cluster's row.
        self.keep_registered(state).await?;
        let now = self.clock.now();
        if now.since(held.since) >= ROUND {
            let next = rounds.complete(held.round, newest, unwatched).await.map_err(RelayError::Rounds)?;
            state.held = next.map(|round| Held { round, since: now });
            if next.is_some() {
                self.counters.changes.rounds.add(1);
            }
        }
        Ok(())
    }

    /// Looks, and meanwhile shows the others that this instance is at it: many notes take longer than a takeover. Returns
    /// the newest round, too.
    async fn look_as_holder(
        &self,
        rounds: &Rounds,
        began_in: Round,
        state: &mut RelayState,
    ) -> Result<(SectionSet, Round), RelayError> {
        let has_looked = CancellationToken::new();
        let looking = async {
            let looked = self.look(state).await;
            has_looked.cancel();
            looked
        };
        let showing = async {
            let mut newest = began_in;
            while has_looked.run_until_cancelled(sleep(ROUND)).await.is_some() {
                // Not before the outbox has answered: another instance may be able to read it.
                if self.outbox.has_answered() {
                    let next = rounds.begin_after(newest, newest.holder).await.map_err(RelayError::Rounds)?;
                    let Some(next) = next else { break };
                    newest = next;
                }
            }
            Ok::<Round, RelayError>(newest)
        };
        // Beside each other: the look may hold the lock under which the log is read.
        let (looked, newest) = tokio::join!(looking, showing);
        Ok((looked?, newest?))
    }

    async fn look_for_itself(&self, state: &mut RelayState) -> Result<(), RelayError> {
        let began = self.clock.now();
        let unwatched = self.look(state).await?;
        self.feed.record_look(began, unwatched);
        Ok(())
    }

    /// Begins or takes over the rounds, if no instance continues them.
    async fn try_to_hold(&self, rounds: &Rounds) -> Result<Option<Held>, RelayError> {
        let now = self.clock.now();
        let holder = rand::random_range(1..i64::MAX);
        let taken = match self.feed.newest_round() {
            Some((newest, since)) => {
                let is_stalled = newest.holder == Round::STOPPED || now.since(since) >= TAKEOVER;
                if !is_stalled {
                    return Ok(None);
                }
                rounds.begin_after(newest, holder).await
            }
            // Before the first poll, too; then the table is not empty, and nothing is inserted.
            None => match self.outbox.exists().await {
                Ok(true) => rounds.begin(holder, self.clock.utc().timestamp_micros()).await,
                Ok(false) => return Err(RelayError::NoOutbox),
                Err(error) => return Err(RelayError::Outbox(error)),
            },
        };
        Ok(taken.map_err(RelayError::Rounds)?.map(|round| Held { round, since: now }))
    }

    /// Reads the outbox, and appends what is new. Returns the sections for whose tables nothing is promised.
    async fn look(&self, state: &mut RelayState) -> Result<SectionSet, RelayError> {
        for _ in 0..TRIES {
            let stored = match state.stored.take() {
                Some(stored) => stored,
                None => Stored::new(self.log.consumption().await?),
            };
            if stored.consumed.is_none() && !self.outbox.exists().await.map_err(RelayError::Outbox)? {
                return Err(RelayError::NoOutbox);
            }
            let reading = timeout(READ_MAX, self.outbox.read(stored.consumed.as_ref())).await;
            let reading = reading.map_err(|_elapsed| RelayError::Silent)?.map_err(RelayError::Outbox)?;
            if reading.discontinuity.is_none() && stored.consumed.as_ref() == Some(&reading.consumed) {
                state.stored = Some(stored);
                return self.watched(state, &reading).await;
            }
            let next = stored.followed_by(&reading.consumed);
            let committing = self.commit(&reading, &stored.row, &next.row);
            // After an error it is unknown what is stored; the next look reads it.
            if timeout(COMMIT_MAX, committing).await.map_err(|_| InvalidationLogError::Timeout)?? {
                if reading.restarted {
                    state.report_at = Moment::default();
                }
                self.count(&reading);
                self.notify();
                state.stored = Some(next);
                return self.watched(state, &reading).await;
            }
        }
        Err(RelayError::Overtaken)
    }

    /// False if another instance has committed meanwhile.
    async fn commit(&self, reading: &Reading, before: &Consumption, next: &Consumption) -> Result<bool, RelayError> {
        if let Some(why) = reading.discontinuity {
            match why {
                Discontinuity::NotRegistered => tracing::info!("the outbox is read from now on"),
                why => tracing::warn!(
                    why = why.name(),
                    "the outbox does not continue what was read before; everything cached counts as outdated"
                ),
            }
            return Ok(self.log.begin_epoch_consuming(before, next).await?);
        }
        let mut changes: Vec<Invalidation> = reading.changes.iter().map(Invalidation::hashed).collect();
        if reading.restarted {
            // A transaction that was read, but not flushed, is gone. Which documents have it is not known.
            tracing::warn!("the sources' database was started again; everything cached is read again once");
            changes.push(Invalidation::OfEveryone(SectionSet::ALL));
        }
        Ok(self.log.append_consuming(changes, before, next).await?)
    }

    fn count(&self, reading: &Reading) {
        let counters = &self.counters.changes;
        counters.changes.add(reading.rows);
        counters.invalidations.add(reading.changes.len() as u64);
        if reading.rows > 0 {
            counters.lag_ms.set(reading.age.as_millis().try_into().unwrap_or(u64::MAX));
        }
    }

    /// Not waited for: a Redis that hangs must not delay the round.
    fn notify(&self) {
        let tiers = Arc::clone(&self.tiers);
        self.tasks.spawn(async move { tiers.notify().await });
    }

    /// Repairs missing triggers, if it may.
    async fn watched(&self, state: &mut RelayState, reading: &Reading) -> Result<SectionSet, RelayError> {
        let unwatched = reading.unwatched;
        let now = self.clock.now();
        if self.repairs_triggers && !unwatched.is_empty() && now >= state.repair_at {
            state.repair_at = now.after(LOOK_EVERY);
            match timeout(READ_MAX, self.outbox.repair()).await {
                Err(_elapsed) => {
                    tracing::warn!("the triggers on the sources' tables could not be installed again in time")
                }
                Ok(Ok(())) => tracing::info!("the triggers on the sources' tables were installed again"),
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the triggers on the sources' tables could not be installed again");
                }
            }
        }
        Ok(unwatched)
    }

    async fn failed(&self, state: &mut RelayState, error: &RelayError) {
        let now = self.clock.now();
        state.stored = None;
        match error {
            RelayError::NoOutbox => {
                self.counters.changes.outbox_missing.store(true, Relaxed);
                self.feed.has_no_outbox();
                state.pause_until = now.after(LOOK_EVERY);
                return;
            }
            RelayError::Outbox(_) | RelayError::Silent => {
                // Another instance may be able to read it.
                state.held = None;
                state.pause_until = now.after(PAUSE);
            }
            RelayError::Rounds(_) | RelayError::Log(_) | RelayError::Overtaken => {}
        }
        if state.reads(false) {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "changes not read from the outbox; the next poll retries");
        }
    }
}
