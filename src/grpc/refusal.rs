//! Why a request gets an error, and how requests end. No protocol is known here: [`status`](super::status) encodes
//! refusals for gRPC.

use super::method::Method;
use crate::error::Error;

/// Why a request gets an error in place of a reply.
#[derive(Debug)]
pub enum Refusal {
    /// The content type is another protocol's.
    NotGrpc,
    /// The request breaks the contract, in these fields.
    Invalid(Vec<Violation>),
    /// The credentials are missing or unknown.
    Unauthenticated,
    /// The caller's role does not entitle it to the method.
    Forbidden { role: &'static str, method: Method },
    /// A user's token, and a request about another user.
    OtherUser,
    /// A user's token, and no key yet to check it.
    KeysUnknown,
    /// The server is going away.
    Draining,
    /// A limit of this process has been reached.
    Overloaded,
    /// The message, or the answer, was not there in time.
    DeadlineExceeded,
    /// The message has more bytes than requests may have.
    MessageTooLarge { bytes: usize, bytes_max: usize },
    /// The bytes are no message.
    Unreadable,
    /// There is no message, or more than one.
    NotOneMessage,
    /// The caller left before its message was complete.
    Abandoned,
    /// A defect of ours.
    Panicked,
    /// The service could not answer.
    Failed(Error),
}

/// What is wrong with one field. Never quotes its value.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    pub field: String,
    pub description: String,
}

/// The error of a request's body that knows why its request is refused.
#[derive(Debug, thiserror::Error)]
#[error("the message is refused")]
pub struct RefusedMessage(pub Refusal);

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

impl Refusal {
    /// One field is wrong.
    #[must_use]
    pub fn invalid(field: &str, description: &str) -> Self {
        Self::Invalid(vec![Violation { field: field.to_owned(), description: description.to_owned() }])
    }

    /// How a request counts that ends so.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unauthenticated | Self::Forbidden { .. } | Self::OtherUser | Self::KeysUnknown => Outcome::Denied,
            Self::Draining | Self::Overloaded => Outcome::Shed,
            Self::DeadlineExceeded => Outcome::Expired,
            Self::Abandoned => Outcome::Abandoned,
            Self::NotGrpc
            | Self::Invalid(_)
            | Self::MessageTooLarge { .. }
            | Self::Unreadable
            | Self::NotOneMessage
            | Self::Panicked
            | Self::Failed(_) => Outcome::Answered,
        }
    }
}
