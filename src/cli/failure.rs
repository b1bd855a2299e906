//! A failed command: one line for people, and the gRPC code as exit code.

use std::{error::Error, fmt, io, iter, process::ExitCode};

use tonic::{
    Code, Status, TimeoutExpired,
    transport::{self, Uri},
};
use tonic_types::StatusExt;

use crate::telemetry::names::CODE_NAMES;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn timed_out() -> Self {
        Self::new(Code::DeadlineExceeded, "no answer within --timeout")
    }

    pub(super) fn unreachable(server: &Uri, error: &transport::Error) -> Self {
        // The outermost error only says "transport error"; the innermost says what happened.
        let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
        // `Uri` adds a path.
        let server = server.to_string();
        Self::new(Code::Unavailable, format!("cannot connect to {}: {cause}", server.trim_end_matches('/')))
    }

    /// The result cannot be shown: a disk is full, or a terminal is gone.
    pub(super) fn unwritable(error: &io::Error) -> Self {
        Self::new(Code::FailedPrecondition, format!("cannot write to stdout: {error}"))
    }

    /// The first failure of several calls, some of which may have succeeded.
    pub(super) fn of_several(self, failed: u32, all: u32) -> Self {
        Self { message: format!("{} ({failed} of {all} failed)", self.message), ..self }
    }

    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    /// 0 to 16.
    pub(super) fn number(&self) -> u8 {
        u8::try_from(i32::from(self.code)).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", code_name(self.code), self.message)
    }
}

impl Error for Failure {}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        // tonic's own timer reports CANCELLED, although the deadline has passed.
        if causes(&status).any(|cause| cause.is::<TimeoutExpired>()) {
            return Self::timed_out();
        }
        let message = if status.message().is_empty() { status.code().description() } else { status.message() };
        Self::new(status.code(), format!("{message}{}", outline(message, &status)))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Code::Internal, format!("the reply has no JSON form: {error}"))
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| (*error).source())
}

/// What the google.rpc details add to message and code, in parentheses.
fn outline(message: &str, status: &Status) -> String {
    let details = status.get_error_details();
    let mut notes = Vec::new();
    for violation in details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default() {
        if !message.contains(&format!("{} {}", violation.field, violation.description)) {
            notes.push(format!("{}: {}", violation.field, violation.description));
        }
    }
    if let Some(info) = details.error_info().filter(|info| info.reason != code_name(status.code())) {
        notes.push(info.reason.clone());
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        notes.push(format!("retry in {delay:?}"));
    }
    if let Some(request) = details.request_info().filter(|request| !message.contains(&request.request_id)) {
        notes.push(format!("request {}", request.request_id));
    }
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) }
}

/// The code as the gRPC documentation spells it.
fn code_name(code: Code) -> &'static str {
    CODE_NAMES[code as usize]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_failure_is_one_line_with_code_message_and_details() {
        let mut details = ErrorDetails::with_bad_request_violation("user_id", "must not be empty");
        details.set_error_info("INVALID_FIELD", "userdata", [("field".to_owned(), "user_id".to_owned())]);
        let mut told_twice = ErrorDetails::with_bad_request_violation("user_id", "must not be empty");
        told_twice.set_error_info("INVALID_ARGUMENT", "userdata", []);
        let mut overloaded = ErrorDetails::with_retry_info(Some(Duration::from_millis(1500)));
        overloaded.set_request_info("r-1", "");
        let cases = [
            (
                Status::with_error_details(Code::InvalidArgument, "invalid request", details),
                "INVALID_ARGUMENT: invalid request (user_id: must not be empty; INVALID_FIELD)",
                3,
            ),
            (
                Status::with_error_details(Code::InvalidArgument, "user_id must not be empty", told_twice),
                "INVALID_ARGUMENT: user_id must not be empty",
                3,
            ),
            (
                Status::with_error_details(Code::ResourceExhausted, "overloaded", overloaded),
                "RESOURCE_EXHAUSTED: overloaded (retry in 1.5s; request r-1)",
                8,
            ),
            (Status::not_found("user not found"), "NOT_FOUND: user not found", 5),
            (Status::unavailable(""), "UNAVAILABLE: The service is currently unavailable", 14),
            (Status::from_error(Box::new(TimeoutExpired(()))), "DEADLINE_EXCEEDED: no answer within --timeout", 4),
        ];
        for (status, line, exit) in cases {
            let failure = Failure::from(status);
            assert_eq!((failure.to_string().as_str(), failure.number()), (line, exit));
        }
    }

    #[test]
    fn every_code_is_its_own_exit_code() {
        for number in 1..=16 {
            let failure = Failure::new(Code::from_i32(number), "");
            assert_eq!(i32::from(failure.number()), number);
        }
    }
}
