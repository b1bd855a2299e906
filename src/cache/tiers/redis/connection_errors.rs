//! Why there is no connection. A command only learns that there is none: fred gives the reason by events.

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::EventInterface,
    types::config::Server,
};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::sync::Mutex;

/// The errors of a client's connection. Each end of a connection and each failed attempt is one, so the last one is
/// about the state now.
#[derive(Debug)]
pub(super) struct ConnectionErrors(Mutex<ErrorEvents>);

#[derive(Debug)]
struct ErrorEvents {
    events: Receiver<(Error, Option<Server>)>,
    last: Option<Error>,
}

impl ConnectionErrors {
    /// Order: before the client connects, to receive its first error.
    pub(super) fn of(client: &Client) -> Self {
        Self(Mutex::new(ErrorEvents { events: client.error_rx(), last: None }))
    }

    /// What a command fails with while the client is not connected.
    pub(super) fn not_connected(&self) -> Error {
        let mut known = self.0.lock();
        loop {
            match known.events.try_recv() {
                Ok((error, _)) => known.last = Some(error),
                // The newest ones are left.
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let why = known.last.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        Error::new(ErrorKind::IO, format!("not connected{why}"))
    }
}
