//! The other end of a connection, as its requests see it.

use std::sync::Arc;

use super::connections::{ConnectionEntry, ConnectionPlace, End};
use crate::clock::Moment;

/// The other end of a connection. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Peer(Arc<PeerState>);

#[derive(Debug, Default)]
struct PeerState {
    /// None: not over a network.
    entry: Option<Arc<ConnectionEntry>>,
    uri: Option<Arc<str>>,
}

impl Peer {
    pub(in crate::grpc) fn at(place: &ConnectionPlace, uri: Option<Arc<str>>) -> Self {
        Self(Arc::new(PeerState { entry: Some(place.entry()), uri }))
    }

    /// Counts the connections of a server.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.0.entry.as_ref().map_or(0, |entry| entry.number())
    }

    /// The one URI in its certificate.
    #[must_use]
    pub fn uri(&self) -> Option<&str> {
        self.0.uri.as_deref()
    }

    /// A request of the contract is admitted: the connection is a caller's from now on.
    pub fn admit(&self) {
        if let Some(entry) = &self.0.entry {
            entry.admit();
        }
    }

    /// A request has no valid credentials.
    pub fn refuse(&self) {
        if let Some(entry) = &self.0.entry {
            entry.refuse();
        }
    }

    /// Whether a request of the contract has been admitted.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.0.entry.as_ref().is_none_or(|entry| entry.is_admitted())
    }

    /// Its calls have to make room for others': the connection ends.
    pub fn cut_off(&self) {
        if let Some(entry) = &self.0.entry {
            entry.cut_off();
        }
    }

    /// Why the server ends the connection, if it does.
    #[cfg(test)]
    pub(in crate::grpc) fn end(&self) -> Option<End> {
        self.0.entry.as_ref().and_then(|entry| entry.end())
    }

    /// Whether its certificate no longer counts.
    #[must_use]
    pub fn has_lost_credentials(&self) -> bool {
        self.0.entry.as_ref().is_some_and(|entry| entry.end() == Some(End::Credentials))
    }

    /// A request begins. Each is followed by [`Peer::request_ended`].
    pub fn request_begins(&self) {
        if let Some(entry) = &self.0.entry {
            entry.request_begins();
        }
    }

    pub fn request_ended(&self, now: Moment) {
        if let Some(entry) = &self.0.entry {
            entry.request_ended(now);
        }
    }
}
