//! The reasons of all errors, in one table: what `ErrorInfo.reason` says, and what docs/calling.md lists.
//!
//! One macro writes the list and the texts, so an error without a line in the document cannot be sent. A test compares the
//! document.

use std::fmt::{self, Display};

use tonic::Code;

use crate::telemetry::names::CODE_NAMES;

/// Whether the same call can succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The same call fails in the same way.
    No,
    /// The error carries a `RetryInfo`.
    AfterRetryInfo,
    /// The load goes on, so the next call finds its result.
    WithNewDeadline,
}

impl Display for Repeat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::No => "no",
            Self::AfterRetryInfo => "after `RetryInfo`",
            Self::WithNewDeadline => "with a new deadline",
        })
    }
}

/// Writes [`Reason`] from lines `/// MEANING Name = "NAME", Code, Repeat, "ADVICE";`.
macro_rules! reasons {
    ($( $(#[doc = $meaning:literal])+ $reason:ident = $name:literal, $code:ident, $repeat:ident, $advice:literal; )+) => {
        /// Why a call ended with an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $( $(#[doc = $meaning])+ $reason, )+
        }

        impl Reason {
            /// Every reason, in the order of the document.
            pub const ALL: &[Self] = &[ $( Self::$reason, )+ ];

            /// As the wire has it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $( Self::$reason => $name, )+ }
            }

            /// The code that comes with it.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $( Self::$reason => Code::$code, )+ }
            }

            #[must_use]
            pub fn repeat(self) -> Repeat {
                match self { $( Self::$reason => Repeat::$repeat, )+ }
            }

            fn meaning(self) -> &'static str {
                match self { $( Self::$reason => concat!($($meaning),+).trim_ascii(), )+ }
            }

            fn advice(self) -> &'static str {
                match self { $( Self::$reason => $advice, )+ }
            }
        }
    };
}

reasons! {
    /// A field breaks the contract. `BadRequest` names each such field.
    InvalidArgument = "INVALID_ARGUMENT", InvalidArgument, No, "Correct the request.";
    /// The request has more than `server.max_request_bytes`. The code is RESOURCE_EXHAUSTED if it has them only once it is decompressed.
    MessageTooLarge = "MESSAGE_TOO_LARGE", OutOfRange, No, "Send less: valid requests have a few KiB.";
    /// The request is no message, or more than one.
    NotOneMessage = "NOT_ONE_MESSAGE", Unimplemented, No, "Call the method as unary, with one message.";
    /// The request is compressed in an unknown way. `supported` names the known ones.
    CompressionUnsupported = "COMPRESSION_UNSUPPORTED", Unimplemented, No, "Use gzip, or none.";
    /// There is no such method.
    Unimplemented = "UNIMPLEMENTED", Unimplemented, No, "Check path and version of the client.";
    /// The credentials are missing, unknown or expired.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, No, "Send valid credentials: a token in each request, or a certificate.";
    /// The caller's role (`role`) does not entitle it to the method (`method`).
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied, No, "Use another caller's credentials.";
    /// The request concerns another user than the caller's token.
    OtherUser = "OTHER_USER", PermissionDenied, No, "Ask for the token's own user.";
    /// The keys that sign users' tokens have not been fetched yet.
    KeysUnknown = "KEYS_UNKNOWN", Unavailable, AfterRetryInfo, "Repeat: the token may be valid.";
    /// The user is unknown. The answer is remembered for `loads.not_found_ttl`, unless an invalidation arrives.
    UserNotFound = "USER_NOT_FOUND", NotFound, No, "Check the id. If the user is new, invalidate it.";
    /// The strategy does not exist, or it is another user's.
    StrategyNotFound = "STRATEGY_NOT_FOUND", NotFound, No, "Check the id.";
    /// Health was asked of an unknown service.
    ServiceNotFound = "SERVICE_NOT_FOUND", NotFound, No, "Ask about the empty name, or about `userdata.v1.UserDataService`.";
    /// The reply would have more than `server.max_response_bytes`. `bytes` and one entry per section tell the sizes.
    ResponseTooLarge = "RESPONSE_TOO_LARGE", ResourceExhausted, No, "Select fewer sections.";
    /// A limit of this instance is reached.
    Overloaded = "OVERLOADED", ResourceExhausted, AfterRetryInfo, "Wait as long as told: 0.5 to 1.5 s.";
    /// The deadline passed before the answer was there.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, WithNewDeadline, "Repeat: the load goes on, and the call joins it or finds its document.";
    /// A required source (`source`) failed, and there is no earlier answer that may be served.
    SourceFailed = "SOURCE_FAILED", Unavailable, AfterRetryInfo, "Repeat. Until then, each call about the same document gets this answer.";
    /// Freshness STRICT or LINEARIZABLE, or a token ahead of this instance: that cannot be verified now.
    FreshnessUnverified = "FRESHNESS_UNVERIFIED", Unavailable, AfterRetryInfo, "Repeat, or take an unverified answer with FRESHNESS_DEFAULT.";
    /// Freshness LINEARIZABLE: the changes of the sources could not be read in time.
    ChangeFeedUnreadable = "CHANGE_FEED_UNREADABLE", Unavailable, AfterRetryInfo, "Repeat, or ask with FRESHNESS_STRICT.";
    /// The invalidation log that this instance reads ends before `min_token`.
    TokenAhead = "TOKEN_AHEAD", Unavailable, AfterRetryInfo, "Repeat. If it stays so, the database has lost commits, or the token is another cluster's.";
    /// The invalidation could not be made durable.
    InvalidationNotDurable = "INVALIDATION_NOT_DURABLE", Unavailable, AfterRetryInfo, "Repeat until OK: before that, other instances may serve data from before.";
    /// The invalidation holds, but a tier, or the user's key (`tier` says `keys`), could not be cleaned.
    PurgeIncomplete = "PURGE_INCOMPLETE", Unavailable, AfterRetryInfo, "Repeat until OK: before that, the user is not erased.";
    /// The call needs the cache's database, which cannot be reached.
    DatabaseDown = "DATABASE_DOWN", Unavailable, AfterRetryInfo, "Repeat. GetCacheStats answers without it if `instance_only` is set.";
    /// The instance shuts down.
    Draining = "DRAINING", Unavailable, AfterRetryInfo, "Repeat at once, on another connection.";
    /// A defect, or bytes that are no message. The error says the request's id only.
    Internal = "INTERNAL", Internal, No, "Report the id: the log has the cause.";
    /// The call ended before its message was there.
    Cancelled = "CANCELLED", Cancelled, No, "Nothing: the caller has left.";
    /// The gRPC library refused the call for another reason.
    Unknown = "UNKNOWN", Unknown, No, "Report it.";
}

/// The table of docs/calling.md.
#[must_use]
pub fn reference() -> String {
    let mut text = "| `reason` | code | it means | repeat? | what to do |\n|---|---|---|---|---|\n".to_owned();
    for reason in Reason::ALL {
        let code = CODE_NAMES[reason.code() as usize];
        let (meaning, repeat, advice) = (reason.meaning(), reason.repeat(), reason.advice());
        text += &format!("| `{}` | {code} | {meaning} | {repeat} | {advice} |\n", reason.name());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_the_reasons_that_there_are() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/calling.md");
        let written = std::fs::read_to_string(file).unwrap_or_default();
        let made = reference();
        assert!(
            written.contains(&made),
            "docs/calling.md does not list the reasons of src/grpc/reason.rs. Its table has to be:\n\n{made}"
        );
    }

    #[test]
    fn each_reason_has_a_name_of_its_own_a_meaning_and_an_advice() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert!(Reason::ALL[..place].iter().all(|other| other.name() != reason.name()), "{reason:?}");
            for text in [reason.meaning(), reason.advice()] {
                assert!(text.ends_with('.') && !text.contains('|'), "{reason:?}: {text}");
            }
        }
    }
}
