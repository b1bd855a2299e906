//! How requests end, and the answers that take the place of the service's.

use tonic::Status;

/// An answer given in place of the service's.
#[derive(Debug)]
pub struct Refusal {
    /// How the request is counted.
    pub outcome: Outcome,
    /// The code, message and details of the answer.
    pub status: Status,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole reply was handed over. Errors are replies too.
    Answered,
    /// It was refused before any work: overload or shutdown.
    Shed,
    /// Its caller is unknown or not entitled to the method.
    Denied,
    /// Its deadline passed.
    Expired,
    /// The caller left, or the server went away, before the reply was complete.
    Abandoned,
}
