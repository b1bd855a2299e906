//! Fetches a set of keys over https.
//!
//! The endpoint is not trusted beyond its keys: no redirects, no proxy from the environment, a limited reply.

use std::{error::Error as _, time::Duration};

use reqwest::{Client, StatusCode, Url, redirect, retry};

use super::key_set::BYTES_MAX;

/// For connection and reply. A provider answers in some 100 ms.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why no keys came.
#[derive(Debug, thiserror::Error)]
pub enum KeyEndpointError {
    #[error("auth.jwt_keys_url is no address")]
    Url,
    /// For example because the system trusts no certificate authority.
    #[error("the HTTP client cannot be built")]
    Client(#[source] reqwest::Error),
    /// The innermost cause says most. The address is left out: its query may hold a secret.
    #[error("{0}")]
    Unreachable(String),
    #[error("it answered {0}")]
    Status(u16),
    #[error("its answer has more than {BYTES_MAX} bytes")]
    TooLarge,
}

#[derive(Clone, Debug)]
pub(super) struct KeyEndpoint {
    client: Client,
    url: Url,
}

impl KeyEndpoint {
    pub(super) fn new(url: &str) -> Result<Self, KeyEndpointError> {
        let url = Url::parse(url).map_err(|_| KeyEndpointError::Url)?;
        // reqwest uses the process's cryptography provider. If it is installed already, it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let is_plain = url.scheme() == "http";
        let builder = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .pool_max_idle_per_host(0)
            .no_proxy()
            .https_only(!is_plain);
        // Plain http needs no certificate authorities, and a minimal container has none.
        let builder = if is_plain { builder.tls_certs_only([]) } else { builder };
        Ok(Self { client: builder.build().map_err(KeyEndpointError::Client)?, url })
    }

    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    pub(super) async fn fetch(&self) -> Result<Vec<u8>, KeyEndpointError> {
        let mut response = self.client.get(self.url.clone()).send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(KeyEndpointError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > BYTES_MAX {
                return Err(KeyEndpointError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn unreachable(error: reqwest::Error) -> KeyEndpointError {
    let error = error.without_url();
    let innermost = std::iter::successors(error.source(), |&cause| cause.source()).last();
    KeyEndpointError::Unreachable(innermost.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
}
