//! gRPC's form of every error: code, message and details.
//!
//! Every error carries an `ErrorInfo` (reason, domain), plus `BadRequest` for fields, `ResourceInfo` for a missing
//! resource or `RetryInfo` where repeating helps. No error quotes a caller or a source; INTERNAL says the request's
//! id and nothing else.

use std::{collections::HashMap, time::Duration};

use http::HeaderMap;
use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::{
    reason::Reason,
    refusal::{Refusal, Violation},
    request_id::RequestId,
};
use crate::{
    error::{Error, Missing, Unavailable, retry_after_overload},
    model::{Section, canonical::CanonicalError},
};

const DOMAIN: &str = "userdata";
/// Tells gRPC's own retry policies how long to wait; they do not read `RetryInfo`.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// Tells them not to repeat the call: a policy goes by codes, and this code has other reasons to repeat.
const NO_RETRY: &str = "-1";
/// About as often as the keys of users' tokens are asked for while there are none.
const KEYS_RETRY_AFTER: Duration = Duration::from_secs(5);
/// In an answer about compression.
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
/// The end of prost's message about a message that is nested deeper than 100 levels, its limit.
const TOO_DEEP: &str = ": recursion limit reached";

/// The status of a refused request.
#[must_use]
pub fn of(refusal: &Refusal, id: &RequestId) -> Status {
    match refusal {
        Refusal::NotGrpc => invalid(vec![FieldViolation::new("content-type", "must begin with application/grpc")]),
        Refusal::Invalid(violations) => invalid(violations.iter().map(field_violation).collect()),
        Refusal::Unauthenticated => unauthenticated(),
        Refusal::Forbidden { role, method } => forbidden(role, method.name()),
        Refusal::OtherUser => plain(Reason::OtherUser, "a user's token entitles to this user's own documents only"),
        Refusal::KeysUnknown => keys_unknown(),
        Refusal::Draining => unavailable(&Unavailable::Draining, Duration::ZERO),
        Refusal::Overloaded => overloaded(retry_after_overload()),
        Refusal::DeadlineExceeded => deadline_exceeded(),
        Refusal::MessageTooLarge { bytes, bytes_max } => message_too_large(*bytes, *bytes_max),
        Refusal::Unreadable => unreadable(id),
        Refusal::NotOneMessage => not_one_message(),
        Refusal::Abandoned => plain(Reason::Cancelled, "the request ended before its message"),
        Refusal::Panicked => internal(id),
        Refusal::Failed(error) => of_error(error, id),
    }
}

fn of_error(error: &Error, id: &RequestId) -> Status {
    match error {
        Error::NotFound { what } => not_found(*what),
        Error::Overloaded { retry_after } => overloaded(*retry_after),
        Error::Unavailable { reason, retry_after, .. } => unavailable(reason, *retry_after),
        Error::DeadlineExceeded => deadline_exceeded(),
        Error::TooLarge { bytes, sections } => too_large(*bytes, sections),
        Error::Internal | Error::BudgetExceeded => internal(id),
    }
}

fn field_violation(violation: &Violation) -> FieldViolation {
    FieldViolation::new(&violation.field, &violation.description)
}

fn invalid(violations: Vec<FieldViolation>) -> Status {
    let message: Vec<_> = violations.iter().map(|v| format!("{} {}", v.field, v.description)).collect();
    let mut details = info(Reason::InvalidArgument);
    details.set_bad_request(violations);
    status(Reason::InvalidArgument, message.join("; "), details)
}

fn overloaded(retry_after: Duration) -> Status {
    let mut details = info(Reason::Overloaded);
    details.set_retry_info(Some(retry_after));
    let mut status = status(Reason::Overloaded, "overloaded", details);
    let milliseconds = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    status.metadata_mut().insert(PUSHBACK, milliseconds.into());
    status
}

fn unauthenticated() -> Status {
    plain(
        Reason::Unauthenticated,
        "credentials are required: a valid token (`authorization: Bearer TOKEN`) or client certificate, as the server is configured",
    )
}

fn forbidden(role: &'static str, method: &'static str) -> Status {
    let details = info_about(Reason::PermissionDenied, [("role", role), ("method", method)]);
    status(Reason::PermissionDenied, format!("the role {role} does not entitle to {method}"), details)
}

fn keys_unknown() -> Status {
    let mut details = info(Reason::KeysUnknown);
    details.set_retry_info(Some(KEYS_RETRY_AFTER));
    status(Reason::KeysUnknown, "users' tokens cannot be checked yet", details)
}

fn deadline_exceeded() -> Status {
    plain(Reason::DeadlineExceeded, "deadline exceeded")
}

/// In tonic's words, which refuses a compressed message by the same limit.
fn message_too_large(bytes: usize, bytes_max: usize) -> Status {
    let message =
        format!("Error, decoded message length too large: found {bytes} bytes, the limit is: {bytes_max} bytes");
    plain(Reason::MessageTooLarge, message)
}

/// The decoder's own message lists every level on the way to the mistake, so it may not fit into a header.
fn unreadable(id: &RequestId) -> Status {
    internal_because("the message cannot be read", id)
}

/// The code that gRPC's own list has for it.
fn not_one_message() -> Status {
    plain(Reason::NotOneMessage, "the method takes exactly one message")
}

/// tonic's headers name the encodings that there are. Its words quote the caller.
fn unsupported_compression(headers: &HeaderMap) -> Status {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("identity");
    let message = format!("the message's compression (grpc-encoding) is not supported; supported are: {accepted}");
    let details = info_about(Reason::CompressionUnsupported, [("supported", accepted)]);
    status(Reason::CompressionUnsupported, message, details)
}

fn internal(id: &RequestId) -> Status {
    internal_because("internal error", id)
}

fn internal_because(what: &str, id: &RequestId) -> Status {
    let mut details = info(Reason::Internal);
    details.set_request_info(id.as_str(), "");
    status(Reason::Internal, format!("{what}, request {}", id.as_str()), details)
}

/// Adds the details that every error carries to an error of tonic's own (a message too large, an unknown method).
pub fn complete(headers: &mut HeaderMap, id: &RequestId) {
    let Some(tonics) = Status::from_header_map(headers) else { return };
    if tonics.code() == Code::Ok || !tonics.details().is_empty() {
        return;
    }
    let complete = match tonics.code() {
        Code::Internal if tonics.message().ends_with(TOO_DEEP) => invalid(vec![too_deep()]),
        Code::Internal => unreadable(id),
        Code::Unimplemented if headers.contains_key(ACCEPT_ENCODING) => unsupported_compression(headers),
        Code::Unimplemented => plain(Reason::Unimplemented, "there is no such method"),
        code => Status::with_error_details(code, tonics.message(), info(reason_of_tonics(code))),
    };
    complete.add_header(headers).expect("messages are percent-encoded and details base64");
}

/// Only parameters can be nested at will, and the decoder gives up a level later than they are refused.
fn too_deep() -> FieldViolation {
    FieldViolation::new("parameters", CanonicalError::TooDeep.to_string())
}

fn reason_of_tonics(code: Code) -> Reason {
    match code {
        Code::OutOfRange | Code::ResourceExhausted => Reason::MessageTooLarge,
        Code::NotFound => Reason::ServiceNotFound,
        Code::InvalidArgument => Reason::InvalidArgument,
        Code::Cancelled => Reason::Cancelled,
        _ => Reason::Unknown,
    }
}

fn not_found(what: Missing) -> Status {
    let (reason, resource_type) = match what {
        Missing::User => (Reason::UserNotFound, "userdata.v1/User"),
        Missing::Strategy => (Reason::StrategyNotFound, "userdata.v1/Strategy"),
    };
    let mut details = info(reason);
    details.set_resource_info(resource_type, "", "", "");
    status(reason, format!("{what} not found"), details)
}

fn unavailable(why: &Unavailable, retry_after: Duration) -> Status {
    let (reason, about) = match why {
        Unavailable::SourceFailed { source_name } => (Reason::SourceFailed, Some(("source", *source_name))),
        Unavailable::InvalidationNotDurable => (Reason::InvalidationNotDurable, None),
        Unavailable::PurgeIncomplete { tier } => (Reason::PurgeIncomplete, Some(("tier", *tier))),
        Unavailable::FreshnessUnverified => (Reason::FreshnessUnverified, None),
        Unavailable::ChangeFeedUnreadable => (Reason::ChangeFeedUnreadable, None),
        Unavailable::TokenAhead => (Reason::TokenAhead, None),
        Unavailable::DatabaseDown => (Reason::DatabaseDown, None),
        Unavailable::Draining => (Reason::Draining, None),
    };
    let mut details = info_about(reason, about);
    details.set_retry_info(Some(retry_after));
    status(reason, why.to_string(), details)
}

fn too_large(bytes: usize, sections: &[(Section, usize)]) -> Status {
    let sizes: Vec<_> = sections.iter().map(|(section, bytes)| (section.as_str_name(), bytes.to_string())).collect();
    let listed: Vec<_> = sizes.iter().map(|(section, bytes)| format!("{section} {bytes}")).collect();
    let message = format!("the reply would have {bytes} bytes; select fewer sections ({})", listed.join(", "));
    let details = info_about(Reason::ResponseTooLarge, sizes.into_iter().chain([("bytes", bytes.to_string())]));
    let mut status = status(Reason::ResponseTooLarge, message, details);
    status.metadata_mut().insert(PUSHBACK, MetadataValue::from_static(NO_RETRY));
    status
}

fn plain(reason: Reason, message: impl Into<String>) -> Status {
    status(reason, message, info(reason))
}

fn status(reason: Reason, message: impl Into<String>, details: ErrorDetails) -> Status {
    Status::with_error_details(reason.code(), message, details)
}

fn info(reason: Reason) -> ErrorDetails {
    ErrorDetails::with_error_info(reason.name(), DOMAIN, HashMap::new())
}

fn info_about<V: Into<String>>(reason: Reason, metadata: impl IntoIterator<Item = (&'static str, V)>) -> ErrorDetails {
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    ErrorDetails::with_error_info(reason.name(), DOMAIN, metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::reason::Repeat;

    fn unavailable_for(reason: Unavailable, retry_after: Duration) -> Error {
        Error::Unavailable { reason, retry_after, cause: None }
    }

    #[test]
    fn every_failure_has_its_code_and_reason() {
        let second = Duration::from_secs(1);
        let id = RequestId::create();
        for (error, code, reason) in [
            (Error::NotFound { what: Missing::User }, Code::NotFound, "USER_NOT_FOUND"),
            (Error::NotFound { what: Missing::Strategy }, Code::NotFound, "STRATEGY_NOT_FOUND"),
            (Error::Overloaded { retry_after: second }, Code::ResourceExhausted, "OVERLOADED"),
            (
                unavailable_for(Unavailable::SourceFailed { source_name: "onboarding" }, second),
                Code::Unavailable,
                "SOURCE_FAILED",
            ),
            (
                unavailable_for(Unavailable::InvalidationNotDurable, second),
                Code::Unavailable,
                "INVALIDATION_NOT_DURABLE",
            ),
            (
                unavailable_for(Unavailable::PurgeIncomplete { tier: "redis" }, second),
                Code::Unavailable,
                "PURGE_INCOMPLETE",
            ),
            (unavailable_for(Unavailable::FreshnessUnverified, second), Code::Unavailable, "FRESHNESS_UNVERIFIED"),
            (unavailable_for(Unavailable::ChangeFeedUnreadable, second), Code::Unavailable, "CHANGE_FEED_UNREADABLE"),
            (unavailable_for(Unavailable::TokenAhead, second), Code::Unavailable, "TOKEN_AHEAD"),
            (unavailable_for(Unavailable::DatabaseDown, second), Code::Unavailable, "DATABASE_DOWN"),
            (unavailable_for(Unavailable::Draining, Duration::ZERO), Code::Unavailable, "DRAINING"),
            (Error::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Error::TooLarge { bytes: 1, sections: Vec::new() }, Code::ResourceExhausted, "RESPONSE_TOO_LARGE"),
            (Error::Internal, Code::Internal, "INTERNAL"),
        ] {
            let status = of_error(&error, &id);
            let info = status.get_details_error_info().unwrap();
            assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "userdata"));
            let retry = match &error {
                Error::Overloaded { retry_after } | Error::Unavailable { retry_after, .. } => Some(*retry_after),
                _ => None,
            };
            assert_eq!(status.get_details_retry_info().and_then(|info| info.retry_delay), retry, "{reason}");
            let repeat = Reason::ALL.iter().find(|known| known.name() == reason).map(|known| known.repeat());
            assert_eq!(repeat == Some(Repeat::AfterRetryInfo), retry.is_some(), "{reason}: as the document says");
        }
    }

    #[test]
    fn every_refusal_of_ours_has_its_code_and_reason() {
        let id = RequestId::create();
        for (refusal, code, reason) in [
            (Refusal::NotGrpc, Code::InvalidArgument, "INVALID_ARGUMENT"),
            (Refusal::invalid("user_id", "must not be empty"), Code::InvalidArgument, "INVALID_ARGUMENT"),
            (Refusal::Unauthenticated, Code::Unauthenticated, "UNAUTHENTICATED"),
            (Refusal::OtherUser, Code::PermissionDenied, "OTHER_USER"),
            (Refusal::KeysUnknown, Code::Unavailable, "KEYS_UNKNOWN"),
            (Refusal::Draining, Code::Unavailable, "DRAINING"),
            (Refusal::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
            (Refusal::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Refusal::MessageTooLarge { bytes: 2, bytes_max: 1 }, Code::OutOfRange, "MESSAGE_TOO_LARGE"),
            (Refusal::Unreadable, Code::Internal, "INTERNAL"),
            (Refusal::NotOneMessage, Code::Unimplemented, "NOT_ONE_MESSAGE"),
            (Refusal::Abandoned, Code::Cancelled, "CANCELLED"),
            (Refusal::Panicked, Code::Internal, "INTERNAL"),
        ] {
            let status = of(&refusal, &id);
            assert_eq!((status.code(), status.get_details_error_info().unwrap().reason.as_str()), (code, reason));
        }
    }

    #[test]
    fn draining_requests_may_be_repeated_elsewhere_at_once() {
        let status = of(&Refusal::Draining, &RequestId::create());
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::ZERO));
    }

    #[test]
    fn a_refusal_for_overload_tells_when_to_come_back() {
        let status = of(&Refusal::Overloaded, &RequestId::create());
        let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!((Duration::from_millis(500)..=Duration::from_millis(1500)).contains(&delay), "{delay:?}");
        assert_eq!(status.metadata().get(PUSHBACK).unwrap().to_str().unwrap(), delay.as_millis().to_string());
    }

    #[test]
    fn a_refusal_of_credentials_tells_what_to_do() {
        let status = of(&Refusal::Unauthenticated, &RequestId::create());
        assert!(status.message().contains("authorization"), "{}", status.message());
        let forbidden = Refusal::Forbidden { role: "reader", method: crate::grpc::method::Method::Stats };
        let status = of(&forbidden, &RequestId::create());
        assert_eq!(status.get_details_error_info().unwrap().reason, "PERMISSION_DENIED");
    }

    #[test]
    fn what_is_missing_is_named_by_its_type_only() {
        let status = of_error(&Error::NotFound { what: Missing::Strategy }, &RequestId::create());
        let resource = status.get_details_resource_info().unwrap();
        assert_eq!((resource.resource_type.as_str(), resource.resource_name.as_str()), ("userdata.v1/Strategy", ""));
    }

    #[test]
    fn an_incomplete_purge_names_the_tier_and_a_failed_source_itself() {
        for (reason, key, value) in [
            (Unavailable::PurgeIncomplete { tier: "redis" }, "tier", "redis"),
            (Unavailable::SourceFailed { source_name: "strategy" }, "source", "strategy"),
        ] {
            let status = of_error(&unavailable_for(reason, Duration::from_secs(1)), &RequestId::create());
            assert_eq!(status.get_details_error_info().unwrap().metadata[key], value);
        }
    }

    #[test]
    fn a_document_too_large_names_the_sections_and_their_sizes() {
        let error = Error::TooLarge { bytes: 5_000_000, sections: vec![(Section::Onboarding, 4_900_000)] };
        let status = of_error(&error, &RequestId::create());
        assert!(status.message().contains("SECTION_ONBOARDING 4900000"), "{}", status.message());
        let metadata = status.get_details_error_info().unwrap().metadata;
        assert_eq!((metadata["SECTION_ONBOARDING"].as_str(), metadata["bytes"].as_str()), ("4900000", "5000000"));
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), NO_RETRY, "a retry policy would ask in vain");
    }

    #[test]
    fn internal_says_the_request_id_only() {
        let id = RequestId::create();
        let status = of_error(&Error::Internal, &id);
        assert_eq!(status.message(), format!("internal error, request {}", id.as_str()));
        assert_eq!(status.get_details_request_info().unwrap().request_id, id.as_str());
        assert!(status.get_details_error_info().unwrap().metadata.is_empty());
    }

    #[test]
    fn errors_that_tonic_answers_get_their_details_and_ours_keep_theirs() {
        let id = RequestId::create();
        let completed = |status: Status| {
            let mut headers = status.into_http::<()>().into_parts().0.headers;
            complete(&mut headers, &id);
            Status::from_header_map(&headers).unwrap()
        };
        let tonics = completed(Status::out_of_range("too long: found 70000 bytes"));
        assert_eq!((tonics.code(), tonics.message()), (Code::OutOfRange, "too long: found 70000 bytes"));
        assert_eq!(tonics.get_details_error_info().unwrap().reason, "MESSAGE_TOO_LARGE");
        assert_eq!(completed(of(&Refusal::Draining, &id)).get_details_error_info().unwrap().reason, "DRAINING");
    }
}
