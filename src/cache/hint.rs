//! Hints: they let an invalidation travel in milliseconds, not with the next poll.
//!
//! When a fence is durable and applied, the position up to which the log is known is published on one
//! Redis channel. Who hears of a position ahead of its own reads the log. A hint is never believed: it
//! only says when to look, so one that is lost, doubled, late or forged makes no answer wrong.
//! Whatever may have lost one is a hint itself.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    UserDataCache,
    tiers::redis::{Subscriber, SubscriberEvent},
};

/// Follows hints until `stop`, one reading of the log for all that have come.
pub async fn listen(cache: Arc<UserDataCache>, mut subscriber: Subscriber, stop: CancellationToken) {
    let log = cache.invalidation_log();
    while let Some(heard) = stop.run_until_cancelled(subscriber.next()).await {
        let looked = match heard {
            // What is no position was not published by us.
            SubscriberEvent::Messages(texts) => {
                log.catch_up_if_behind(texts.iter().filter_map(|text| text.parse().ok())).await
            }
            SubscriberEvent::Gap => log.catch_up().await,
        };
        if let Err(error) = looked {
            tracing::debug!(%error, "a hint could not be followed; the poll goes on trying");
        }
    }
}

impl UserDataCache {
    /// Tells the other instances how far the log is known here. Best effort, for the tier's timeout at most.
    pub(super) async fn hint(&self) {
        if let Some(redis) = &self.loader.redis {
            // The tier has counted its failure itself; the others poll.
            let _ = redis.publish(self.loader.invalidation_log.position().to_string()).await;
        }
    }
}
