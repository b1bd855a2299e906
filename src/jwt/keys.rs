//! The keys in use: from a file that is read again when it changes, or from an address that is asked again and again.
//!
//! An address that does not answer stops nothing: the known keys stay in use, and at the start there are none until it
//! answers. A token of an unknown key has the address asked at once, because its provider may have a new key. As anyone
//! can send such tokens, all of them together do so once a minute at most.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    endpoint::{KeyEndpoint, KeyEndpointError},
    key_set::KeySet,
};
use crate::{
    config::AuthSettings,
    error::with_causes,
    reload::{Files, Reloaded, read_once},
    sync::TaskTracker,
};

/// Between two requests for a newer set because of tokens of unknown keys.
const WANTED_EVERY: Duration = Duration::from_secs(60);
/// While no key is known, all users' tokens are refused.
const FIRST_EVERY: Duration = Duration::from_secs(5);
/// After a failure, if keys are known.
const FAILED_EVERY: Duration = Duration::from_secs(60);

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    File(PathBuf),
    Url(String),
}

impl KeySource {
    /// None: users' tokens are not accepted.
    #[must_use]
    pub fn of(config: &AuthSettings) -> Option<Self> {
        let file = config.jwt_keys_file.clone().map(Self::File);
        file.or_else(|| config.jwt_keys_url.clone().map(Self::Url))
    }

    /// Reads it once: how many keys can be used, and how many cannot.
    pub async fn look(&self) -> Result<(usize, usize), String> {
        let bytes = match self {
            Self::File(file) => read_once(file).await.map_err(|error| with_causes(&error))?,
            Self::Url(url) => {
                let fetched = async { KeyEndpoint::new(url)?.fetch().await };
                fetched.await.map_err(|error| with_causes(&error))?
            }
        };
        KeySet::parse(&bytes).map(|set| set.counts()).map_err(|error| error.to_string())
    }
}

/// The current set of keys. Clones share it.
#[derive(Clone, Debug)]
pub struct SigningKeys {
    sets: Reloaded<KeySet>,
    /// None: a file, which is looked at often enough.
    wanted: Option<Arc<Notify>>,
}

impl SigningKeys {
    /// A JWKS file, to be watched.
    #[must_use]
    pub fn file(path: PathBuf) -> Files<KeySet> {
        Files::new([path], |contents| KeySet::parse(&contents[0]).map_err(|error| error.to_string()))
    }

    #[must_use]
    pub fn of_file(sets: Reloaded<KeySet>) -> Self {
        Self { sets, wanted: None }
    }

    /// Asks an address now, and `every` so often until `stop`.
    pub async fn fetched(
        url: &str,
        every: Duration,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, KeyEndpointError> {
        let (updates, sets) = Reloaded::first(KeySet::empty());
        let mut fetching = Fetching { endpoint: KeyEndpoint::new(url)?, updates, body: Vec::new(), has_failed: false };
        let wanted = Arc::new(Notify::new());
        stop.run_until_cancelled(fetching.fetch()).await;
        tasks.spawn(fetching.run(Arc::clone(&wanted), every, stop.clone()));
        Ok(Self { sets, wanted: Some(wanted) })
    }

    pub(super) fn current(&mut self) -> &Arc<KeySet> {
        self.sets.current()
    }

    /// A token names a key that is not here.
    pub(super) fn want_newer(&self) {
        if let Some(wanted) = &self.wanted {
            wanted.notify_one();
        }
    }
}

struct Fetching {
    endpoint: KeyEndpoint,
    updates: watch::Sender<Arc<KeySet>>,
    /// The answer that the current set was made of.
    body: Vec<u8>,
    has_failed: bool,
}

impl Fetching {
    async fn run(mut self, wanted: Arc<Notify>, every: Duration, stop: CancellationToken) {
        let mut last_wanted = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = is_wanted(&wanted, last_wanted) => last_wanted = Some(Instant::now()),
                () = sleep(self.pause(every)) => {}
            }
            if stop.run_until_cancelled(self.fetch()).await.is_none() {
                return;
            }
        }
    }

    fn pause(&self, every: Duration) -> Duration {
        match (self.updates.borrow().is_empty(), self.has_failed) {
            (true, _) => every.min(FIRST_EVERY),
            (false, true) => every.min(FAILED_EVERY),
            (false, false) => every,
        }
    }

    async fn fetch(&mut self) {
        let host = self.endpoint.host().to_owned();
        let made = match self.endpoint.fetch().await {
            Ok(body) if body == self.body => Ok(None),
            Ok(body) => KeySet::parse(&body).map(|set| Some((set, body))).map_err(|error| error.to_string()),
            Err(error) => Err(with_causes(&error)),
        };
        match made {
            Ok(changed) => {
                self.has_failed = false;
                let Some((set, body)) = changed else { return };
                let (keys, ignored) = set.counts();
                info!(host, keys, ignored, "the keys of users' tokens are loaded");
                self.body = body;
                self.updates.send_replace(Arc::new(set));
            }
            // Told once in a row.
            Err(error) if !self.has_failed => {
                self.has_failed = true;
                let known = self.updates.borrow().counts().0;
                warn!(host, error, known, "the keys of users' tokens cannot be loaded; the known ones stay in use");
            }
            Err(_) => {}
        }
    }
}

/// Waits until a newer set is wanted, and may be asked for again.
async fn is_wanted(wanted: &Notify, last: Option<Instant>) {
    wanted.notified().await;
    if let Some(last) = last {
        sleep_until(last + WANTED_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_has_the_address_asked_at_once_and_then_once_a_minute() {
        let (wanted, began) = (Notify::new(), Instant::now());
        wanted.notify_one();
        is_wanted(&wanted, None).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..1_000 {
            wanted.notify_one();
        }
        is_wanted(&wanted, Some(began)).await;
        assert_eq!(began.elapsed(), WANTED_EVERY);
        let once = tokio::time::timeout(Duration::from_secs(3600), is_wanted(&wanted, Some(began)));
        assert!(once.await.is_err(), "a thousand tokens are one reason to ask");
    }
}
