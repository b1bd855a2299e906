//! The subscription to the channel of notifications, on a connection of its own.
//!
//! This is our own loop, because fred's helpers (`on_message`, `manage_subscriptions`) end silently and for ever at the
//! first event that they lag behind. The subscription is repeated at each connection and periodically; Redis treats a
//! repeated one as the same. In a cluster a message reaches the subscribers of every node, so it goes to one of those that
//! the URL names, and from one that is lost to the next.

use std::time::Duration;

use fred::{
    clients::Client,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{
        ConnectHandle, Message,
        config::{Config, Server, ServerConfig},
    },
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

/// The pause before the next subscribe, after the timeout of the last one. Its PING lets fred notice a silent connection;
/// a shorter pause would delay that (client.rs).
const RENEWAL_PAUSE: Duration = Duration::from_millis(500);
/// Renewals in a row that find no connection, before the next node is tried.
const UNCONNECTED_MAX: u32 = 2;

#[derive(Debug)]
pub(crate) enum SubscriberEvent {
    /// All messages since the last event. Messages that are not text are dropped.
    Messages(Vec<String>),
    /// Messages may have been lost.
    Gap,
}

#[derive(Debug)]
pub struct Subscriber {
    client: Client,
    connection: ConnectHandle,
    channel: String,
    timeout: Duration,
    messages: Receiver<Message>,
    connections: Receiver<Server>,
    renewal: Interval,
    /// The nodes of a cluster, or the only place.
    places: Vec<Config>,
    place: usize,
    /// Renewals in a row without a connection.
    unconnected: u32,
    /// The last subscribe is not known to have succeeded, so messages may be lost.
    unsure: bool,
}

impl Subscriber {
    /// Starts to connect, and waits for nothing but the files that the settings name. Fails only for these and for a
    /// missing or malformed URL. Needs a tokio runtime.
    pub async fn connect(config: &config::RedisSettings) -> Result<Self, TierError> {
        let places = places(client::configured(config).await?);
        // Instances that start together spread over the nodes.
        let place = rand::random_range(0..places.len());
        let client = client::of(places[place].clone(), config.timeout, client::EVENTS_MAX)?;
        let mut renewal = interval(config.timeout + RENEWAL_PAUSE);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            // Order: before the connection, to receive its events.
            messages: client.message_rx(),
            connections: client.reconnect_rx(),
            connection: client.connect(),
            client,
            channel: client::channel(config),
            timeout: config.timeout,
            renewal,
            places,
            place,
            unconnected: 0,
            unsure: true,
        })
    }

    /// Waits for the next message, or for a sign that one may be lost.
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
                    if self.renew().await {
                        return SubscriberEvent::Gap;
                    }
                }
            }
        }
    }

    /// Connects or subscribes again. Whether messages that were lost will be lost no more.
    async fn renew(&mut self) -> bool {
        if self.client.is_connected() {
            self.unconnected = 0;
            let is_sure = self.subscribe().await;
            return std::mem::replace(&mut self.unsure, !is_sure) && is_sure;
        }
        self.unconnected += 1;
        if self.places.len() > 1 && self.unconnected >= UNCONNECTED_MAX {
            self.move_on();
        } else if self.connection.is_finished() {
            // fred has ended it after an error that it considers final.
            self.connection = self.client.connect();
        }
        false
    }

    /// Goes to the next node.
    fn move_on(&mut self) {
        let next = (self.place + 1) % self.places.len();
        let client = match client::of(self.places[next].clone(), self.timeout, client::EVENTS_MAX) {
            Ok(client) => client,
            Err(error) => return tracing::debug!(%error, "no client for the next node; trying again soon"),
        };
        self.connection.abort();
        (self.place, self.unconnected, self.unsure) = (next, 0, true);
        self.messages = client.message_rx();
        self.connections = client.reconnect_rx();
        self.connection = client.connect();
        self.client = client;
    }

    /// Returns a burst as one event, so that it triggers one read of the log. At most fred's queue full.
    fn all_after(&mut self, first: Message) -> SubscriberEvent {
        let mut texts: Vec<String> = first.value.into_string().into_iter().collect();
        for _ in 0..self.messages.len() {
            match self.messages.try_recv() {
                Ok(message) => texts.extend(message.value.into_string()),
                Err(TryRecvError::Lagged(_)) => return SubscriberEvent::Gap,
                // Closed: the next call repairs it.
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        SubscriberEvent::Messages(texts)
    }

    /// Whether Redis has confirmed it: the answer to the PING follows that of the SUBSCRIBE.
    async fn subscribe(&self) -> bool {
        let subscribed = async {
            self.client.subscribe(self.channel.as_str()).await?;
            self.client.ping::<fred::types::Value>(None).await
        };
        // Boxed: fred's futures are large. The next renewal repeats a failed subscribe.
        match tokio::time::timeout(self.timeout, Box::pin(subscribed)).await {
            Ok(Ok(_)) => return true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "subscribing to invalidation notifications failed; retrying soon")
            }
            Err(_) => tracing::debug!("subscribing to invalidation notifications timed out; retrying soon"),
        }
        false
    }
}

/// The nodes of a cluster that the URL names, or what it names.
fn places(config: Config) -> Vec<Config> {
    let ServerConfig::Clustered { hosts, .. } = &config.server else { return vec![config] };
    hosts.iter().map(|node| client::at(&config, node)).collect()
}

impl Drop for Subscriber {
    /// Closes the connection, which belongs to fred's task.
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[cfg(test)]
mod tests;
