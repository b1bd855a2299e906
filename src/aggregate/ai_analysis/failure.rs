//! The closed list of ways a call to the model can fail.

use std::time::Duration;

use crate::aggregate::SourceError;

/// Why there is no answer; data.md section 6, "Reasons".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
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

impl Reason {
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
}

/// A call that brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    /// For the log; never a body, never a key.
    pub(super) detail: String,
    /// After which pause it may be tried once more; none: trying again is of no use.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that would repeat itself.
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), retry_after: None }
    }

    /// The same, worth another try after a pause.
    pub(super) fn retry_after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        Self::Ai { reason: failure.reason.name(), detail: failure.detail }
    }
}
