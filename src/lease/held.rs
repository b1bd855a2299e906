//! A lease that this instance holds: a task sends heartbeats until the work ends, then releases the lease.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    table::LeaseTable,
    work::{Claimant, Grant},
};
use crate::{
    clock::{Clock, Moment},
    config,
    sync::{
        TaskTracker,
        time::{sleep, timeout},
    },
};

/// If all attempts fail, the other instances wait until the heartbeat counts as stopped.
const RELEASE_ATTEMPTS: u32 = 3;

/// The right to do a piece of work for the cluster. Dropping it releases the lease in the background.
#[derive(Debug)]
pub struct Lease {
    /// The result was already stored when the lease was granted.
    pub done: bool,
    ended: oneshot::Sender<(serde_json::Value, Duration)>,
}

impl Lease {
    /// Releases the lease of work that brought no result. For `life` the other instances get `outcome` and do not
    /// repeat the work.
    pub fn end(self, outcome: serde_json::Value, life: Duration) {
        // Fails if the lease was taken over: then its new holder reports an outcome.
        let _ = self.ended.send((outcome, life));
    }
}

pub(super) struct HeartbeatTask {
    pub(super) table: LeaseTable,
    pub(super) claimant: Claimant,
    pub(super) grant: Grant,
    pub(super) granted_at: Moment,
    pub(super) config: config::LoadLeaseSettings,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
}

impl HeartbeatTask {
    pub(super) fn start(self, tasks: &TaskTracker) -> Lease {
        let (ended, end) = oneshot::channel();
        let done = self.grant.done;
        tasks.spawn(self.run(end));
        Lease { done, ended }
    }

    async fn run(self, mut end: oneshot::Receiver<(serde_json::Value, Duration)>) {
        let ended = loop {
            match timeout(self.config.heartbeat, &mut end).await {
                Ok(ended) => break ended.ok(),
                Err(_) if self.send_heartbeat().await => {}
                // The work goes on: a second result is as right as the first.
                Err(_) => return tracing::info!("lease lost; another instance has taken it over"),
            }
        };
        if let Some((outcome, life)) = ended {
            self.share(outcome, life.min(self.config.outcome_max)).await;
        }
        for _ in 0..RELEASE_ATTEMPTS {
            match timeout(self.config.heartbeat, self.table.release(&self.claimant)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::debug!(%error, "lease release failed"),
                Err(_) => {}
            }
        }
    }

    /// Whether the lease is still held. A heartbeat that fails is made up for by the next one.
    async fn send_heartbeat(&self) -> bool {
        match timeout(self.config.heartbeat, self.table.heartbeat(&self.claimant)).await {
            Ok(Ok(is_held)) => is_held,
            Ok(Err(_)) | Err(_) => true,
        }
    }

    /// Stores the outcome in the row, and keeps the row for `life`.
    async fn share(&self, value: serde_json::Value, life: Duration) {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let at_ms = self.grant.now_ms.saturating_add(ms(self.clock.now().since(self.granted_at)));
        let outcome = OutcomeRecord { at_ms, life_ms: ms(life), value };
        let text = serde_json::to_string(&outcome).expect("texts and numbers have a JSON form");
        let stored = timeout(self.config.heartbeat, self.table.store_outcome(&self.claimant, text)).await;
        if let Ok(Ok(true)) = stored {
            self.stop.run_until_cancelled(sleep(life)).await;
        }
    }
}

/// An outcome's form in the row.
#[derive(Serialize, Deserialize)]
pub(super) struct OutcomeRecord {
    /// When the work ended, by the database's clock.
    pub(super) at_ms: i64,
    pub(super) life_ms: i64,
    pub(super) value: serde_json::Value,
}

impl OutcomeRecord {
    /// The outcome, while its life lasts. Its age may be negative by a little: the holder added the duration of the
    /// work, by its own clock, to the database's time at the grant.
    pub(super) fn read(text: &str, now_ms: i64) -> Option<serde_json::Value> {
        let Self { at_ms, life_ms, value } = serde_json::from_str(text).ok()?;
        let age_ms = now_ms.saturating_sub(at_ms);
        (-life_ms..life_ms).contains(&age_ms).then_some(value)
    }
}
