//! What is wrong with one request.

use std::fmt;

use tonic::Status;
use tonic_types::FieldViolation;

use crate::grpc::status;

/// Reported at most: they travel in a header, of which most clients take 8 KiB.
const REPORTED_MAX: usize = 32;

/// What is wrong with one request, field by field.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Notes one.
    pub(super) fn add(&mut self, field: impl Into<String>, description: impl fmt::Display) {
        if self.0.len() < REPORTED_MAX {
            self.0.push(FieldViolation::new(field, description.to_string()));
        }
    }

    /// What was parsed; nothing, and its error noted, if it could not be.
    pub(super) fn check<T, E: fmt::Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.add(field, error)).ok()
    }

    /// Fails if there are any.
    pub(super) fn none(self) -> Result<(), Status> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into()) }
    }
}

impl From<Violations> for Status {
    fn from(violations: Violations) -> Self {
        status::invalid(violations.0)
    }
}
