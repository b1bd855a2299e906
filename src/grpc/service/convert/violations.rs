//! The mistakes of one request, field by field.

use std::fmt;

use crate::grpc::refusal::{Refusal, Violation};

/// Reported at most. They travel in a header, and most clients take 8 KiB of headers.
const REPORTED_MAX: usize = 32;

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<Violation>);

impl Violations {
    /// Adds one.
    pub(super) fn add(&mut self, field: impl Into<String>, description: impl fmt::Display) {
        if self.0.len() < REPORTED_MAX {
            self.0.push(Violation { field: field.into(), description: description.to_string() });
        }
    }

    /// The parsed value; an error is added and gives none.
    pub(super) fn check<T, E: fmt::Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.add(field, error)).ok()
    }

    /// Fails if there are any.
    pub(super) fn none(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into()) }
    }
}

impl From<Violations> for Refusal {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations.0)
    }
}
