//! Who calls, as far as it is known, and whose documents the call may concern.
//!
//! Decided when the call arrives, and asked where the request is understood: by the RPCs, whichever listener it came from.

use std::sync::Arc;

use super::refusal::Refusal;
use crate::model::UserId;

/// The caller of a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For the log. None: callers have no names here.
    pub name: Option<Arc<str>>,
    own: Option<UserId>,
}

impl Caller {
    /// A service, whose role says what it may do with the documents of all users.
    #[must_use]
    pub fn service(name: Option<Arc<str>>) -> Self {
        Self { name, own: None }
    }

    /// A user, who may do with its own documents what its role says. The log does not name it.
    #[must_use]
    pub fn user(own: UserId) -> Self {
        Self { name: Some("user".into()), own: Some(own) }
    }

    /// Refuses what concerns another user. To be asked before anything is looked up, so that existing and unknown users
    /// cannot be told apart.
    pub fn may_concern(&self, user: &UserId) -> Result<(), Refusal> {
        match &self.own {
            Some(own) if own != user => Err(Refusal::OtherUser),
            _ => Ok(()),
        }
    }
}
