//! The closed list of ways a call to the model can fail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::aggregate::SourceError;

/// What may pass at any moment is tried again soon; this long, so that nobody who waited misses it.
const PASSING: Duration = Duration::from_secs(1);
/// For as long as any lease's outcome is shared.
const LASTING: Duration = Duration::MAX;

/// Why there is no answer; data.md section 6, "Reasons".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum FailureReason {
    Timeout,
    Unreachable,
    RateLimited,
    Unauthorized,
    Rejected,
    ServerError,
    TooLarge,
    Truncated,
    Refused,
    Malformed,
    Invalid,
    Budget,
}

impl FailureReason {
    /// As the section's report says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Timeout => "AI_TIMEOUT",
            Self::Unreachable => "AI_UNREACHABLE",
            Self::RateLimited => "AI_RATE_LIMITED",
            Self::Unauthorized => "AI_UNAUTHORIZED",
            Self::Rejected => "AI_REJECTED",
            Self::ServerError => "AI_SERVER_ERROR",
            Self::TooLarge => "AI_TOO_LARGE",
            Self::Truncated => "AI_TRUNCATED",
            Self::Refused => "AI_REFUSED",
            Self::Malformed => "AI_MALFORMED",
            Self::Invalid => "AI_INVALID",
            Self::Budget => "AI_BUDGET",
        }
    }

    /// For how long it holds for the other instances too; none: it is this instance's own.
    pub(super) fn shared_for(self) -> Option<Duration> {
        match self {
            // Others have calls left, and perhaps another key.
            Self::Budget | Self::Unauthorized => None,
            Self::Timeout | Self::Unreachable | Self::ServerError => Some(PASSING),
            // The endpoint asked for rest, or would say the same again.
            Self::RateLimited
            | Self::Rejected
            | Self::TooLarge
            | Self::Truncated
            | Self::Refused
            | Self::Malformed
            | Self::Invalid => Some(LASTING),
        }
    }
}

/// A call that brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallFailure {
    pub(super) reason: FailureReason,
    /// For the log; never a body, never a key.
    pub(super) detail: String,
    /// After which pause it may be tried once more; none: trying again is of no use.
    pub(super) retry_after: Option<Duration>,
}

impl CallFailure {
    /// A failure that would repeat itself.
    pub(super) fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), retry_after: None }
    }

    /// The same, worth another try after a pause.
    pub(super) fn retry_after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }
}

impl From<CallFailure> for SourceError {
    fn from(failure: CallFailure) -> Self {
        Self::Ai { reason: failure.reason.name(), detail: failure.detail }
    }
}
