//! Encryption and callers as configured, read from files and reloaded when these change.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::{
    middleware::auth::{Auth, Callers},
    transport::tls::{self, ServerTls},
};
use crate::{
    config::{AuthMode, Config},
    reload::{Files, ReloadError, Reloaded},
    sync::TaskTracker,
};

/// How connections and requests are guarded.
#[derive(Clone, Debug)]
pub struct Security {
    /// Who may call.
    pub(super) auth: Auth,
    /// None: connections are not encrypted.
    pub(super) tls: Option<Reloaded<ServerTls>>,
}

impl Security {
    /// Every caller, unencrypted: for a port that only this machine reaches.
    #[must_use]
    pub fn open() -> Self {
        Self { auth: Auth::Open, tls: None }
    }

    /// Reads the files, and again when they change, until `stop`.
    pub async fn of(config: &Config, tasks: &TaskTracker, stop: &CancellationToken) -> Result<Self, ReloadError> {
        let watching = Watching { config, tasks, stop };
        let tls = match (&config.tls.cert, &config.tls.key) {
            (Some(cert), Some(key)) => {
                Some(watching.watch(tls::files(cert.clone(), key.clone(), config.tls.client_ca.clone())).await?)
            }
            _ => None,
        };
        let auth = match (config.auth.mode, config.auth.tokens_file.clone(), config.auth.principals_file.clone()) {
            (AuthMode::Token, Some(file), _) => Auth::Token(watching.watch(callers(file, Callers::tokens)).await?),
            (AuthMode::Mtls, _, Some(file)) => Auth::Certificate(watching.watch(callers(file, Callers::uris)).await?),
            // The rules between settings leave no other case of the two modes.
            _ => Auth::Open,
        };
        Ok(Self { auth, tls })
    }
}

struct Watching<'a> {
    config: &'a Config,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl Watching<'_> {
    async fn watch<T: Send + Sync + 'static>(&self, files: Files<T>) -> Result<Reloaded<T>, ReloadError> {
        let (watched, watching) = files.watch(self.config.tls.reload_every, self.stop.clone()).await?;
        self.tasks.spawn(watching);
        Ok(watched)
    }
}

fn callers<C: Send + Sync + 'static>(
    file: PathBuf,
    read: fn(&str) -> Result<Callers<C>, super::middleware::auth::CallersError>,
) -> Files<Callers<C>> {
    Files::new([file], move |contents| {
        let text = std::str::from_utf8(&contents[0]).map_err(|_| "it is not text".to_owned())?;
        read(text).map_err(|error| error.to_string())
    })
}
