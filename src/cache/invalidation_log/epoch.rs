//! An epoch of which an instance knows that it began later than what is applied there.

use std::sync::Arc;

use crate::model::Token;

/// It began when the log was applied up to `applied`, so it outdates all of that.
#[derive(Debug)]
pub(super) struct LaterEpoch {
    epoch: Arc<str>,
    applied: Token,
}

impl LaterEpoch {
    pub(super) fn new(epoch: Arc<str>, applied: Token) -> Self {
        Self { epoch, applied }
    }

    /// Whether `epoch` is this one, and outdates everything up to `applied`.
    pub(super) fn outdates(&self, applied: &Token, epoch: &str) -> bool {
        *self.epoch == *epoch && self.applied.epoch == applied.epoch && self.applied.position >= applied.position
    }
}
