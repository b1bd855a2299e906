//! What bad input gets: every row of the contract's table, against a running server.
//!
//! Not here: credentials (there is no authentication yet), and a panic, which only a service that
//! panics when told to can show (`src/grpc/tests.rs`).

mod fields;
mod frames;
mod missing;
mod pressure;
mod tokens;

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;
use userdata::proto::v1::GetComprehensiveUserDataRequest;

/// A question for a user's document.
fn asking(user: &str) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { user_id: user.to_owned(), ..Default::default() }
}

/// What every error has to be: this code and reason, from this domain.
#[track_caller]
fn assert_refused(status: &Status, code: Code, reason: &str) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "userdata"), "{status:?}");
    assert!(!status.message().is_empty());
    let id = status.metadata().get("x-request-id");
    assert!(id.is_some(), "no request id: {status:?}");
}

/// The fields that the error names.
#[track_caller]
fn fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    for violation in &violations {
        assert!(!violation.description.is_empty(), "{status:?}");
    }
    violations.into_iter().map(|violation| violation.field).collect()
}

/// When the error says to try again.
#[track_caller]
fn retry_after(status: &Status) -> Duration {
    let info = status.get_details_retry_info().unwrap_or_else(|| panic!("no RetryInfo: {status:?}"));
    info.retry_delay.expect("a delay")
}
