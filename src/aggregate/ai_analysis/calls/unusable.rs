//! Responses that cannot be used: the model is asked again about the same input only after a pause, which doubles with
//! each further one. So an active user does not cost a call at each completion of the document.
//!
//! The response cache holds them, so that the pause is one for the whole cluster. The pause is measured by the
//! instances' wall clocks: a clock that is wrong makes it longer or shorter, never endless.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{CallFailure, ModelCalls, ResponseKey, was_erased};
use crate::{aggregate::ai_analysis::response_cache::UnusableResponse, clock::Moment, model::UserId};

impl ModelCalls {
    /// The failure that stands for a call, while the pause lasts.
    pub(super) fn paused_by(&self, last: &UnusableResponse, now: DateTime<Utc>) -> Option<CallFailure> {
        let doublings = 2_u32.saturating_pow(last.times.saturating_sub(1));
        let limit = self.retry_pause_max.min(last.reason.pause_max()?);
        let pause = self.retry_pause.saturating_mul(doublings).min(limit);
        // A clock that was set back must not prolong it without end.
        let since = (now - last.at).abs().to_std().unwrap_or(Duration::MAX);
        let left = pause.checked_sub(since).filter(|left| !left.is_zero())?;
        let why = format!("response {} in a row that cannot be used; asked again in {} s", last.times, left.as_secs());
        Some(CallFailure::new(last.reason, why))
    }

    /// Remembers a failure that is not to be paid for again soon.
    pub(super) async fn note_unusable(&self, user: &UserId, began: Moment, key: &ResponseKey, failure: &CallFailure) {
        let erased = self.erased.read().await;
        let has_no_place = was_erased(&erased, user, began) || !self.leases.is_in_reach();
        if failure.reason.pause_max().is_none() || has_no_place {
            return;
        }
        match self.responses.note_unusable(user, key, failure.reason, self.clock.utc()).await {
            Ok(()) => {
                self.forget_if_erased(user, began, key).await;
            }
            Err(error) => {
                tracing::warn!(%error, "unusable AI response could not be noted; the next request asks the model again");
            }
        }
    }
}
