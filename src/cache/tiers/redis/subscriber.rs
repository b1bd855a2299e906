//! A connection of its own that hears what is published on one channel, whenever there is a Redis.
//!
//! Our own loop, because fred's helpers (`on_message`, `manage_subscriptions`) end silently and for
//! ever at the first event that they lag behind. Nothing about the subscription is remembered: it is
//! made at every connection and again every while, which Redis takes for the same one.

use std::time::Duration;

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{ConnectHandle, Message, config::Server},
};
use tokio::{
    sync::broadcast::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
    time::{Interval, MissedTickBehavior, interval},
};

use super::client;
use crate::{cache::tiers::error::TierError, config};

/// When it subscribes again, counted from the timeout of the last time. The PING that goes with it is
/// what lets fred notice a silent connection, and would put that off if it came sooner (client.rs).
const RENEWAL_PAUSE: Duration = Duration::from_millis(500);

/// What a subscriber hears.
#[derive(Debug)]
pub(crate) enum SubscriberEvent {
    /// All messages that have come since the last time; texts, or they are left out.
    Messages(Vec<String>),
    /// Messages may have been lost.
    Gap,
}

/// Hears one channel.
#[derive(Debug)]
pub struct Subscriber {
    client: Client,
    connection: ConnectHandle,
    channel: String,
    timeout: Duration,
    messages: Receiver<Message>,
    connections: Receiver<Server>,
    renewal: Interval,
    /// The last subscribing is not known to have succeeded: what was published since may be lost.
    unsure: bool,
}

impl Subscriber {
    /// Begins to connect, without waiting for it. Fails only if there is no URL, or one that cannot be
    /// read. Must be called within a tokio runtime.
    pub fn connect(config: &config::Redis) -> Result<Self, TierError> {
        let url = config.url.as_ref().ok_or_else(|| Error::new(ErrorKind::Config, "no Redis URL"))?;
        let client = client::build(url.expose(), config.timeout, client::EVENTS_MAX)?;
        let mut renewal = interval(config.timeout + RENEWAL_PAUSE);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            // Order: before the connection, whose events they hear.
            messages: client.message_rx(),
            connections: client.reconnect_rx(),
            connection: client.connect(),
            client,
            channel: client::channel(config),
            timeout: config.timeout,
            renewal,
            unsure: true,
        })
    }

    /// Waits for the next message, or for a reason to think that one was lost.
    pub(crate) async fn next(&mut self) -> SubscriberEvent {
        loop {
            tokio::select! {
                heard = self.messages.recv() => match heard {
                    Ok(first) => return self.all_after(first),
                    Err(RecvError::Lagged(_)) => return SubscriberEvent::Gap,
                    Err(RecvError::Closed) => {
                        self.messages = self.client.message_rx();
                        return SubscriberEvent::Gap;
                    }
                },
                connected = self.connections.recv() => {
                    if connected == Err(RecvError::Closed) {
                        self.connections = self.client.reconnect_rx();
                    }
                    self.unsure = !self.subscribe().await;
                    return SubscriberEvent::Gap;
                }
                _ = self.renewal.tick() => {
                    if self.connection.is_finished() {
                        // fred has given up for a reason that it holds to be final.
                        self.connection = self.client.connect();
                    } else if self.client.is_connected() {
                        let is_sure = self.subscribe().await;
                        if std::mem::replace(&mut self.unsure, !is_sure) && is_sure {
                            return SubscriberEvent::Gap;
                        }
                    }
                }
            }
        }
    }

    /// A burst is handed over at once, so that it is acted on once. At most fred's channel full.
    fn all_after(&mut self, first: Message) -> SubscriberEvent {
        let mut texts: Vec<String> = first.value.into_string().into_iter().collect();
        for _ in 0..self.messages.len() {
            match self.messages.try_recv() {
                Ok(message) => texts.extend(message.value.into_string()),
                Err(TryRecvError::Lagged(_)) => return SubscriberEvent::Gap,
                // Closed: found out, and repaired, the next time.
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        SubscriberEvent::Messages(texts)
    }

    /// Whether it is known to be made. The PING is answered after the subscription.
    async fn subscribe(&self) -> bool {
        let subscribed = async {
            self.client.subscribe(self.channel.as_str()).await?;
            self.client.ping::<fred::types::Value>(None).await
        };
        // Boxed: fred's futures are large. A failure needs no answer: the next renewal repeats it.
        match tokio::time::timeout(self.timeout, Box::pin(subscribed)).await {
            Ok(Ok(_)) => return true,
            Ok(Err(error)) => tracing::debug!(%error, "not subscribed to hints"),
            Err(_) => tracing::debug!("not subscribed to hints in time"),
        }
        false
    }
}

impl Drop for Subscriber {
    /// Closes the connection: it lives in fred's task.
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[cfg(test)]
mod tests;
