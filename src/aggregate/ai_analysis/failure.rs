//! All failures of a call to the model.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::aggregate::SourceError;

/// A failure that may pass is shared for this long: enough for each instance that waits to read it.
const PASSING: Duration = Duration::from_secs(1);
/// As long as a lease's outcome is shared at most.
const LASTING: Duration = Duration::MAX;

/// A refused request costs nothing.
const REJECTED_PAUSE_MAX: Duration = Duration::from_secs(600);

/// Data.md section 6, "Reasons".
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
    /// The reason in the section's report.
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

    /// How long the failure is shared with other instances; none if it concerns this instance only.
    pub(super) fn shared_for(self) -> Option<Duration> {
        match self {
            // Another instance has its own limit, and may have another key.
            Self::Budget | Self::Unauthorized => None,
            Self::Timeout | Self::Unreachable | Self::ServerError => Some(PASSING),
            // The endpoint asked for a pause, or would fail in the same way.
            Self::RateLimited
            | Self::Rejected
            | Self::TooLarge
            | Self::Truncated
            | Self::Refused
            | Self::Malformed
            | Self::Invalid => Some(LASTING),
        }
    }

    /// A response that is paid for and cannot be used.
    pub(super) fn is_of_the_answer(self) -> bool {
        match self {
            Self::TooLarge | Self::Truncated | Self::Refused | Self::Malformed | Self::Invalid => true,
            Self::Timeout
            | Self::Unreachable
            | Self::RateLimited
            | Self::Unauthorized
            | Self::Rejected
            | Self::ServerError
            | Self::Budget => false,
        }
    }

    /// How long the endpoint is not asked again about the same input, at most; none if it is asked again at once.
    pub(super) fn pause_max(self) -> Option<Duration> {
        match self {
            _ if self.is_of_the_answer() => Some(Duration::MAX),
            // The next one may be accepted as soon as the endpoint is set up otherwise.
            Self::Rejected => Some(REJECTED_PAUSE_MAX),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallFailure {
    pub(super) reason: FailureReason,
    /// For the log; never a body, never a key.
    pub(super) detail: String,
    /// The pause before a second try; none if a second try would fail, too.
    pub(super) retry_after: Option<Duration>,
    /// The member of our request that the endpoint refuses, as far as it says.
    pub(super) about: Option<&'static str>,
}

impl CallFailure {
    /// A failure without a second try.
    pub(super) fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), retry_after: None, about: None }
    }

    /// Allows a second try after this pause.
    pub(super) fn retry_after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }

    pub(super) fn about(self, member: Option<&'static str>) -> Self {
        Self { about: member, ..self }
    }
}

impl From<CallFailure> for SourceError {
    fn from(failure: CallFailure) -> Self {
        Self::Ai { reason: failure.reason.name(), detail: failure.detail }
    }
}
