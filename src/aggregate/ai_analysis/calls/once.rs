//! One call per memo key in the whole cluster, while the database is up.
//!
//! Order: memo, lease, call, memo, and the lease given back: whoever sees it go finds the answer. Who
//! waits for another instance's call holds neither permit nor connection, and takes over when that
//! instance is gone.
//!
//! A failure of the endpoint is told to those who wait, for a moment. What keeps one instance from
//! asking (its budget, its key, its breaker, its queue) is its own: it gives the lease back without a
//! word, and another one asks.

use serde::{Deserialize, Serialize};

use super::{CallFailure, FailureReason, ModelCalls, ResponseKey, Unreadable, Way};
use crate::lease::{Claim, Lease, SharedWork, WaitOutcome};

/// A failure's form in the lease's row.
#[derive(Serialize, Deserialize)]
struct SharedFailure {
    /// Which instance: its own callers, who come later, ask anew.
    by: String,
    reason: FailureReason,
}

impl ModelCalls {
    /// Waits until the answer is there, or until this instance is to ask; at most for the hard timeout.
    pub(super) async fn way(&self, key: &ResponseKey) -> Result<Way, CallFailure> {
        let until = self.clock.now().after(self.hard_timeout);
        // No fence outdates an answer: it is a function of its key.
        let work = SharedWork {
            key: format!("ai:{}", key.as_str()),
            read_position: 0,
            last_invalidation: 0,
            done: self.responses.is_kept(key),
        };
        let mut over = None;
        loop {
            match self.recall(key).await {
                Ok(Some(remembered)) => return Ok(Way::Cached(remembered)),
                Ok(None) => {}
                Err(Unreadable) => return Ok(Way::Ask(None)),
            }
            match self.leases.claim(&work, over.take(), self.leases.timeout()).await {
                Claim::Alone => return Ok(Way::Ask(None)),
                Claim::Ours(lease) => {
                    // Between our look into the response cache and the taking of the lease.
                    let remembered = if lease.done { self.recall(key).await.unwrap_or(None) } else { None };
                    return Ok(remembered.map_or(Way::Ask(Some(lease)), Way::Cached));
                }
                Claim::Theirs(watch) => match self.leases.wait(watch, until, || 0).await {
                    WaitOutcome::Released => {}
                    WaitOutcome::Expired(watch) => over = Some(watch),
                    WaitOutcome::Ended { outcome, watch } => match self.hear(outcome) {
                        Some(failure) => return Err(failure),
                        None => over = Some(watch),
                    },
                    WaitOutcome::TimedOut if self.clock.now() >= until => {
                        return Err(CallFailure::new(FailureReason::Timeout, "another instance asked, and had no end"));
                    }
                    WaitOutcome::TimedOut => return Ok(Way::Ask(None)),
                    WaitOutcome::Stopped => {
                        return Err(CallFailure::new(FailureReason::Timeout, "shutting down; another instance asks"));
                    }
                },
            }
        }
    }

    /// Gives a lease back; those who wait for it are told why there is no answer, if that concerns them.
    pub(super) fn tell(&self, lease: Option<Lease>, failure: &CallFailure) {
        if let (Some(lease), Some(life)) = (lease, failure.reason.shared_for()) {
            let told = SharedFailure { by: self.instance.clone(), reason: failure.reason };
            lease.end(serde_json::to_value(told).expect("texts have a JSON form"), life);
        }
    }

    /// What another instance told; none if it is of no use here.
    fn hear(&self, outcome: serde_json::Value) -> Option<CallFailure> {
        let told: SharedFailure = serde_json::from_value(outcome).ok()?;
        (told.by != self.instance).then(|| CallFailure::new(told.reason, "another instance has asked in vain"))
    }
}
