//! TLS to Redis with the operator's own authority, client certificate and names.
//!
//! Nodes of a cluster, and servers that sentinels announce, may be known by addresses only, while their certificates hold
//! names. So the names can be stated: a certificate then has to be for one of them, whatever address is connected to.

use std::{fmt::Display, path::Path, sync::Arc};

use fred::{
    error::{Error, ErrorKind},
    types::config::TlsConfig,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{
    config::RedisSettings,
    error::with_causes,
    reload::{pem, read_once},
};

/// None without an authority of its own: then the system's are trusted.
pub(super) async fn config(config: &RedisSettings) -> Result<Option<TlsConfig>, Error> {
    let Some(authority) = &config.ca else { return Ok(None) };
    let roots = of_file("redis.ca", authority, pem::roots).await?;
    let provider = Arc::new(ring::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| unusable("redis.ca", authority, &error))?;
    let names = config.server_names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Result<Vec<_>, _> = names.map(|name| ServerName::try_from(name.to_owned())).collect();
    let names = names.map_err(|error| Error::new(ErrorKind::Config, format!("redis.server_names: {error}")))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Tls, error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(StatedNames { inner, names }));
    let tls = match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => {
            let chain = of_file("redis.cert", cert, |pem| pem::certificates(pem, "client")).await?;
            let secret = of_file("redis.key", key, pem::private_key).await?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| unusable("redis.cert", cert, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Some(tls.into()))
}

/// What a file holds. It is read on a thread that may block, and not waited for without end.
async fn of_file<T>(setting: &str, file: &Path, read: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<T, Error> {
    let content = read_once(file).await.map_err(|error| unusable(setting, file, &with_causes(&error)))?;
    read(&content).map_err(|error| unusable(setting, file, &error))
}

fn unusable(setting: &str, file: &Path, error: &dyn Display) -> Error {
    Error::new(ErrorKind::Tls, format!("{setting} ({}): {error}", file.display()))
}

/// Verifies as webpki does. With names, the certificate has to be for one of them instead of the name connected to.
#[derive(Debug)]
struct StatedNames {
    inner: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for StatedNames {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        connected_to: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify =
            |name: &ServerName<'_>| self.inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        let Some((last, others)) = self.names.split_last() else { return verify(connected_to) };
        others.iter().find_map(|name| verify(name).ok()).map_or_else(|| verify(last), Ok)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
