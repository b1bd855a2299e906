//! Whether an answer is newer than the changes of the sources, as the change feed tells them.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};

use super::{
    Freshness, ReadOptions, UserDataCache, invalidation_log::LogValidity, load::outcome::LoadedSnapshot, unavailable,
};
use crate::{
    error::{Error, Unavailable},
    model::{CacheStatus, SectionSet, Snapshot, UserDataQuery},
};

/// How long LINEARIZABLE waits for a change that is on its way: twice as long as a takeover may take.
const ON_ITS_WAY_MAX: Duration = Duration::from_secs(2);
/// After a shorter loss of the feed no document is read again: the notes have waited in the outbox.
const SHORT_LOSS: Duration = Duration::from_secs(10);

/// A takeover may let the feed lapse for a moment.
const SEVERAL_LAPSES: Duration = Duration::from_secs(3);

impl UserDataCache {
    /// Waits until the log has every change that was committed in the sources before this call.
    ///
    /// Order: the outbox is read before the log. A change that is no longer in the outbox is in the log by then.
    pub(super) async fn reach_committed_changes(&self, options: &ReadOptions) -> Result<(), Error> {
        let (Some(feed), Some(outbox)) = (&self.feed, &self.outbox) else { return Ok(()) };
        if !feed.is_watched() {
            return Ok(());
        }
        let unreadable = || unavailable(Unavailable::ChangeFeedUnreadable);
        if !self.watches(options.sections) {
            return Err(unreadable());
        }
        let is_consumed = async {
            let consumed = self.log.consumption().await.ok()?.consumed?;
            outbox.is_consumed(&serde_json::from_str(&consumed).ok()?).await.ok()
        };
        // Beside each other: this instance may be the one whose way to the outbox is silent.
        let reached = pin!(feed.reaches(self.clock.now(), ON_ITS_WAY_MAX));
        let reached = match select(pin!(is_consumed), reached).await {
            Either::Left((Some(true), _)) => true,
            Either::Left((_, reached)) => reached.await,
            Either::Right((reached, _)) => reached,
        };
        if reached { Ok(()) } else { Err(unreadable()) }
    }

    /// Whether the tables that these sections are read from have their triggers. True without a change feed, which
    /// promises nothing.
    pub(super) fn watches(&self, sections: SectionSet) -> bool {
        self.feed.as_ref().is_none_or(|feed| !feed.unwatched().intersects(sections))
    }

    /// Whether changes of the sources make themselves known at all.
    pub(super) fn knows_changes(&self) -> bool {
        self.files.is_some() || self.feed.as_ref().is_some_and(|feed| feed.is_watched())
    }

    /// Whether changes should make themselves known, but have not been known for some seconds.
    #[must_use]
    pub(crate) fn is_without_changes(&self) -> bool {
        let now = self.clock.now();
        let lost_at = self.feed.as_ref().and_then(|feed| feed.lost_at(now));
        lost_at.is_some_and(|lost_at| now.since(lost_at) > SEVERAL_LAPSES)
    }

    /// The worse of the validity and that of the sections' changes.
    pub(super) fn validity_of(&self, sections: SectionSet, validity: LogValidity) -> LogValidity {
        if self.watches(sections) { validity } else { validity.max(LogValidity::Unverified) }
    }

    /// How far an answer is known that was read from the sources after the call: it has every change that was committed
    /// before. Callers that take nothing unverified wait for the log.
    pub(super) async fn validity_of_sources(&self, options: &ReadOptions, validity: LogValidity) -> LogValidity {
        match self.feed {
            None => validity,
            Some(_) if options.freshness == Freshness::Default => self.log.lease_validity(),
            Some(_) => self.log.renewed_lease_validity().await,
        }
    }

    /// Has a hit loaded again, behind the answer, if changes have not been known for long.
    pub(super) fn refresh_unwatched_if_due(&self, query: &UserDataQuery, loaded: &LoadedSnapshot) {
        let now = self.clock.now();
        let Some(lost_at) = self.feed.as_ref().and_then(|feed| feed.lost_at(now)) else { return };
        let lost_for = now.since(lost_at);
        if lost_for < SHORT_LOSS || !matches!(loaded.status, CacheStatus::Hit(_)) {
            return;
        }
        let age = (self.clock.utc() - loaded.snapshot.as_of).to_std().unwrap_or_default();
        if age.min(lost_for) > self.unwatched_life(&loaded.snapshot) {
            self.loads.refresh_if_room(query, &loaded.snapshot);
        }
    }

    /// Up to twice the setting, spread by the key, so that not all documents are due at once.
    fn unwatched_life(&self, snapshot: &Snapshot) -> Duration {
        let [spread, ..] = snapshot.key.hash.bytes();
        let spread = f64::from(*spread) / f64::from(u8::MAX);
        self.config.sources.unwatched_ttl.mul_f64(1.0 + spread)
    }
}
