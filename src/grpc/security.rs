//! Encryption and callers as configured, read from files and reloaded when these change.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::{
    middleware::auth::{Auth, Callers, Services},
    transport::tls::{self, ServerTls},
};
use crate::{
    clock::Clock,
    config::{AuthMode, Config},
    error::with_causes,
    jwt::{KeySource, SigningKeys, Verifier},
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
        Self { auth: Auth::new(Services::Open, None), tls: None }
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
        let services = watching.services().await?;
        let keys = watching.signing_keys().await?;
        let users = keys.map(|keys| Verifier::new(keys, &config.auth, Clock::system()));
        Ok(Self { auth: Auth::new(services, users), tls })
    }
}

struct Watching<'a> {
    config: &'a Config,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl Watching<'_> {
    async fn services(&self) -> Result<Services, ReloadError> {
        let auth = &self.config.auth;
        Ok(match (auth.mode, auth.tokens_file.clone(), auth.principals_file.clone()) {
            (AuthMode::Token, Some(file), _) => Services::Token(self.watch(callers(file, Callers::tokens)).await?),
            (AuthMode::Mtls, _, Some(file)) => Services::Certificate(self.watch(callers(file, Callers::uris)).await?),
            (AuthMode::None, ..) => Services::Open,
            // The rules between settings leave no other case of the first two modes.
            (AuthMode::Jwt | AuthMode::Token | AuthMode::Mtls, ..) => Services::Closed,
        })
    }

    /// A file has to be there at the start; an address may answer later.
    async fn signing_keys(&self) -> Result<Option<SigningKeys>, ReloadError> {
        let auth = &self.config.auth;
        Ok(Some(match KeySource::of(auth) {
            None => return Ok(None),
            Some(KeySource::File(file)) => SigningKeys::of_file(self.watch(SigningKeys::file(file)).await?),
            Some(KeySource::Url(url)) => {
                let fetched = SigningKeys::fetched(&url, auth.jwt_keys_every, self.tasks, self.stop).await;
                fetched.map_err(|error| ReloadError::Content {
                    paths: "auth.jwt_keys_url".to_owned(),
                    cause: with_causes(&error),
                })?
            }
        }))
    }

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
