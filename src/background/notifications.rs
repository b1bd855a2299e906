//! Invalidation notifications: an invalidation reaches the other instances in milliseconds, before their next poll.
//!
//! An instance that has appended an invalidation publishes its log position on a Redis channel. An instance that is
//! behind that position reads the log. A notification is never trusted: it only triggers a read, so a lost, repeated,
//! late or forged one makes no answer wrong. After any gap in the subscription the log is read as well.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::cache::{
    invalidation_log::InvalidationLog,
    tiers::redis::{Subscriber, SubscriberEvent},
};

/// Follows notifications until `stop`, with one read of the log for all that have arrived.
pub async fn listen(log: Arc<InvalidationLog>, mut subscriber: Subscriber, stop: CancellationToken) {
    while let Some(event) = stop.run_until_cancelled(subscriber.next()).await {
        let caught_up = match event {
            // Other texts on the channel are not ours.
            SubscriberEvent::Messages(texts) => {
                log.catch_up_if_behind(texts.iter().filter_map(|text| text.parse().ok())).await
            }
            SubscriberEvent::Gap => log.catch_up().await,
        };
        if let Err(error) = caught_up {
            tracing::debug!(%error, "invalidation log not read after a notification; the next poll retries");
        }
    }
}
