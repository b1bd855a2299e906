//! One call per response key in the whole cluster, while the database is available.
//!
//! Order: look up, take the lease, call, store, release the lease. An instance that sees the lease released finds the
//! response. An instance that waits for another one's call holds neither permit nor connection, and takes over if that
//! instance is gone.
//!
//! A failure of the endpoint is shared for a moment with the instances that wait. A reason of one instance (its limit,
//! its key, its circuit breaker, its queue) is not: it releases the lease without an outcome, and another instance
//! calls.

use serde::{Deserialize, Serialize};

use super::{CallFailure, FailureReason, ModelCalls, Recalled, ResponseKey, Unreadable, Way};
use crate::lease::{AI_CALL, Claim, Lease, SharedWork, WaitOutcome};

/// A failure as the lease's outcome.
#[derive(Serialize, Deserialize)]
struct SharedFailure {
    /// The instance that failed: its own later callers ask again.
    by: String,
    reason: FailureReason,
}

impl ModelCalls {
    /// Waits until a response is stored, or until this instance has to call; at most for the hard timeout.
    pub(super) async fn way(&self, key: &ResponseKey) -> Result<Way, CallFailure> {
        let until = self.clock.now().after(self.hard_timeout);
        // No invalidation concerns a response: it is a function of its key.
        let work = SharedWork {
            key: format!("{AI_CALL}{}", key.as_str()),
            read_position: 0,
            last_invalidation: 0,
            done: self.responses.is_stored(key),
        };
        let mut over = None;
        loop {
            match self.recall(key).await {
                Ok(Recalled::Cached(cached)) => return Ok(Way::Cached(cached)),
                Ok(Recalled::Paused(failure)) => return Err(self.paused(failure)),
                Ok(Recalled::Nothing) => {}
                Err(Unreadable) => return Ok(Way::Ask(None)),
            }
            match self.leases.claim(&work, over.take(), self.leases.timeout()).await {
                Claim::Alone => return Ok(Way::Ask(None)),
                Claim::Ours(lease) => {
                    // Stored between the look-up above and the taking of the lease.
                    let recalled = if lease.done { self.recall(key).await } else { Ok(Recalled::Nothing) };
                    return match recalled {
                        Ok(Recalled::Cached(cached)) => Ok(Way::Cached(cached)),
                        Ok(Recalled::Paused(failure)) => Err(self.paused(failure)),
                        Ok(Recalled::Nothing) | Err(Unreadable) => Ok(Way::Ask(Some(lease))),
                    };
                }
                Claim::Theirs(watch) => match self.leases.wait(watch, until, || 0).await {
                    WaitOutcome::Released => {}
                    WaitOutcome::Expired(watch) => over = Some(watch),
                    WaitOutcome::Ended { outcome, watch } => match self.shared(outcome) {
                        Some(failure) => return Err(failure),
                        None => over = Some(watch),
                    },
                    WaitOutcome::TimedOut if self.clock.now() >= until => {
                        return Err(CallFailure::new(
                            FailureReason::Timeout,
                            "another instance's call did not end before the hard timeout",
                        ));
                    }
                    WaitOutcome::TimedOut => return Ok(Way::Ask(None)),
                    WaitOutcome::Stopped => {
                        return Err(CallFailure::new(
                            FailureReason::Timeout,
                            "shutting down while another instance calls",
                        ));
                    }
                },
            }
        }
    }

    fn paused(&self, failure: CallFailure) -> CallFailure {
        self.spend.pause_call();
        failure
    }

    /// Releases the lease. The failure becomes its outcome if it concerns other instances too.
    pub(super) fn tell(&self, lease: Option<Lease>, failure: &CallFailure) {
        if let (Some(lease), Some(life)) = (lease, failure.reason.shared_for()) {
            let shared = SharedFailure { by: self.instance.clone(), reason: failure.reason };
            lease.end(serde_json::to_value(shared).expect("texts have a JSON form"), life);
        }
    }

    /// The failure that another instance shared; none if it has no meaning here.
    fn shared(&self, outcome: serde_json::Value) -> Option<CallFailure> {
        let shared: SharedFailure = serde_json::from_value(outcome).ok()?;
        (shared.by != self.instance).then(|| CallFailure::new(shared.reason, "another instance's call failed"))
    }
}
