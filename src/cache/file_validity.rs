//! Where each user has a file: whether answers are of the file as it is.

use std::sync::Arc;

use super::{
    Freshness, ReadOptions, UserDataCache, invalidation_log::LogValidity, load::outcome::LoadedSnapshot, unavailable,
    watched_files::log_epoch,
};
use crate::{
    error::{Error, Unavailable},
    model::{Snapshot, UserDataQuery},
};

impl UserDataCache {
    /// Looks at the user's file unless the last look is recent. Callers that ask for it get no unverified answer.
    pub(super) async fn look_at_file(&self, query: &UserDataQuery, options: &ReadOptions) -> Result<(), Error> {
        let Some(files) = &self.files else { return Ok(()) };
        let validity = match options.freshness {
            Freshness::Linearizable => files.look(&query.user).await,
            _ => files.renewed_validity(&query.user).await,
        };
        match validity == LogValidity::Verified || options.freshness == Freshness::Default {
            true => Ok(()),
            false => Err(unavailable(Unavailable::FreshnessUnverified)),
        }
    }

    /// Whether the user's file has to be looked at before an answer can be verified.
    pub(super) fn has_unverified_file(&self, query: &UserDataQuery) -> bool {
        self.files.is_some() && self.log.view(query.key()).file != LogValidity::Verified
    }

    /// Whether the document is of the user's file as a recent look found it. The file may have changed since a load began.
    pub(super) fn is_of_verified_file(&self, loaded: &LoadedSnapshot) -> bool {
        self.files.is_none() || {
            let view = self.log.view(&loaded.snapshot.key);
            view.file == LogValidity::Verified && view.epoch == loaded.snapshot.epoch
        }
    }

    /// The worse of the log's validity and that of the user's file.
    pub(super) fn validity_now(&self, loaded: &LoadedSnapshot, validity: LogValidity) -> LogValidity {
        match self.is_of_verified_file(loaded) {
            true => validity,
            false => validity.max(LogValidity::Unverified),
        }
    }

    /// The log that the snapshot's positions belong to.
    pub(super) fn log_of(&self, snapshot: &Snapshot) -> Arc<str> {
        if self.files.is_some() { log_epoch(&snapshot.epoch) } else { Arc::clone(&snapshot.epoch) }
    }
}
