//! How an invalidation is carried out, and how a user is erased.
//!
//! With keys, an erasure deletes the user's key first, and is carried out twice. Until an instance has applied the first
//! entry of the log, it may store a document from before, encrypted by a key that it has made since. Then every instance
//! has applied the entry and stores no such document any more, and the second time deletes that key.
//!
//! Order: a key is deleted before the entry is appended. An instance that has read the key before drops it when it applies
//! the entry; one that looks for it later finds none.

use super::{InvalidateOptions, Invalidated, UserDataCache, invalidation_log::InvalidationLogError, unavailable};
use crate::{
    error::{Error, Unavailable},
    model::{Scope, SectionSet},
    mutant::{self, Mutant},
    privacy::{KeyError, UserKeys},
};

impl UserDataCache {
    /// Outdates everything read before this call. `Ok` means that the invalidation is durable.
    pub async fn invalidate(&self, mut scope: Scope, options: InvalidateOptions) -> Result<Invalidated, Error> {
        if options.purge && scope.sections.is_all() {
            scope.sections = SectionSet::ERASED;
            self.readers.forget(&scope.user);
        }
        match &self.user_keys {
            Some(keys) if options.purge => self.erase_with_key(keys, &scope, options).await,
            _ => self.append_and_remove(&scope, options).await,
        }
    }

    /// Waits for all instances: each has dropped the user's key from its memory before this returns.
    async fn erase_with_key(
        &self,
        keys: &UserKeys,
        scope: &Scope,
        options: InvalidateOptions,
    ) -> Result<Invalidated, Error> {
        let options = InvalidateOptions { wait_all: true, ..options };
        let deleted = keys.delete(&scope.user).await;
        // The user is erased elsewhere although the key may be left.
        let first = self.append_and_remove(scope, options).await?;
        deleted.map_err(key_is_left)?;
        keys.delete(&scope.user).await.map_err(key_is_left)?;
        let second = self.append_and_remove(scope, options).await?;
        Ok(Invalidated { removed: first.removed + second.removed, token: second.token })
    }

    async fn append_and_remove(&self, scope: &Scope, options: InvalidateOptions) -> Result<Invalidated, Error> {
        let appended = match self.log.append(scope.hashed()).await {
            Ok(appended) => appended,
            Err(error) => {
                tracing::error!(%error, "invalidation not durable; the caller gets an error and local copies are dropped");
                self.tiers.drop_unconfirmed(scope).await;
                return Err(match error {
                    InvalidationLogError::Closed => unavailable(Unavailable::Draining),
                    _ => unavailable(Unavailable::InvalidationNotDurable),
                });
            }
        };
        let removing = async {
            match options.purge {
                true => self.tiers.purge(scope, self.aggregator.ai()).await,
                // The other sections of a snapshot are still valid.
                false if !scope.sections.is_all() => Ok(0),
                false => Ok(self.tiers.drop_copies(scope, appended.token.position).await),
            }
        };
        let (removed, ()) = tokio::join!(removing, self.tiers.notify());
        let removed = removed?;
        if options.wait_all && !mutant::on(Mutant::WaitAllDoesNotWait) {
            self.log.wait_for_all(&appended).await;
        }
        Ok(Invalidated { removed, token: appended.token })
    }
}

fn key_is_left(error: KeyError) -> Error {
    tracing::error!(error = error.line(), "purge incomplete: the user's key could not be deleted");
    unavailable(Unavailable::PurgeIncomplete { tier: "keys" })
}
