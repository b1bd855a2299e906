//! A lease of ours: a task moves its beat and gives it back.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::table::{Claim, Table, Taken};
use crate::{
    clock::{Clock, Moment},
    config,
};

/// For giving a lease back; a failure costs the others as long as a takeover takes.
const RELEASE_TRIES: u32 = 3;

/// A piece of work to be done for everybody. Dropping it gives it back, without waiting for that.
#[derive(Debug)]
pub struct Lease {
    /// Whether the work had been done by the time that the lease was taken.
    pub done: bool,
    ended: oneshot::Sender<(serde_json::Value, Duration)>,
}

impl Lease {
    /// Gives it back, and tells the others how it ended without a result; they do not try again for `life`.
    pub fn end(self, outcome: serde_json::Value, life: Duration) {
        // If the lease was lost meanwhile, nobody needs to be told.
        let _ = self.ended.send((outcome, life));
    }
}

/// What moves the beat.
pub(super) struct Holder {
    pub(super) table: Table,
    pub(super) claim: Claim,
    pub(super) taken: Taken,
    pub(super) taken_at: Moment,
    pub(super) config: config::LoadLease,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
}

impl Holder {
    pub(super) fn start(self, tasks: &TaskTracker) -> Lease {
        let (ended, end) = oneshot::channel();
        let done = self.taken.done;
        tasks.spawn(self.run(end));
        Lease { done, ended }
    }

    async fn run(self, mut end: oneshot::Receiver<(serde_json::Value, Duration)>) {
        let ended = loop {
            match tokio::time::timeout(self.config.beat, &mut end).await {
                Ok(ended) => break ended.ok(),
                Err(_) if self.beats().await => {}
                // Somebody took it over, and what this work comes to is harmless.
                Err(_) => return tracing::info!("a lease was lost: it had stood still, or was outdated"),
            }
        };
        if let Some((outcome, life)) = ended {
            self.leave(outcome, life.min(self.config.outcome_max)).await;
        }
        for _ in 0..RELEASE_TRIES {
            match tokio::time::timeout(self.config.beat, self.table.release(&self.claim)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::debug!(%error, "a lease could not be given back"),
                Err(_) => {}
            }
        }
    }

    /// A beat that fails is made up for by the next one.
    async fn beats(&self) -> bool {
        match tokio::time::timeout(self.config.beat, self.table.beat(&self.claim)).await {
            Ok(Ok(ours)) => ours,
            Ok(Err(_)) | Err(_) => true,
        }
    }

    async fn leave(&self, value: serde_json::Value, life: Duration) {
        let milliseconds = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let at_ms = self.taken.now_ms.saturating_add(milliseconds(self.clock.now().since(self.taken_at)));
        let note = Note { at_ms, life_ms: milliseconds(life), value };
        let text = serde_json::to_string(&note).expect("texts and numbers have a JSON form");
        let left = tokio::time::timeout(self.config.beat, self.table.leave(&self.claim, text)).await;
        if let Ok(Ok(true)) = left {
            self.stop.run_until_cancelled(tokio::time::sleep(life)).await;
        }
    }
}

/// An outcome as it lies in the row.
#[derive(Serialize, Deserialize)]
pub(super) struct Note {
    /// When the work ended, by the database's clock.
    pub(super) at_ms: i64,
    /// For how long it is to be shared.
    pub(super) life_ms: i64,
    pub(super) value: serde_json::Value,
}

impl Note {
    /// The outcome, if it is of use at `now_ms`. The age may be slightly negative: `at_ms` was reckoned from the time
    /// at which the lease was taken, by another clock's pace.
    pub(super) fn read(text: &str, now_ms: i64) -> Option<serde_json::Value> {
        let note: Self = serde_json::from_str(text).ok()?;
        let age = now_ms.saturating_sub(note.at_ms);
        (-note.life_ms..note.life_ms).contains(&age).then_some(note.value)
    }
}
