//! TLS 1.3 on the port of the callers, with client certificates if a CA for them is given.
//!
//! A new certificate of the server applies to new connections; a client's certificate is judged again when it expires
//! and whenever the CAs change ([`client_certificate`](super::client_certificate)).
//!
//! Invariant: no session of a client with a certificate is resumed. Resumption skips the judgement of the certificate.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::reload::{Files, pem};

/// The files of a server's TLS, all in PEM: its certificate chain, its key and, if callers need certificates, the CAs
/// that sign them.
#[must_use]
pub fn files(cert: PathBuf, key: PathBuf, client_ca: Option<PathBuf>) -> Files<ServerTls> {
    Files::new([cert, key].into_iter().chain(client_ca), |contents| {
        let [cert, key, client_ca @ ..] = contents else { unreachable!("two files at least") };
        ServerTls::of(cert, key, client_ca.first().map(Vec::as_slice))
    })
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::grpc) enum Spoken {
    /// gRPC's port: a client of HTTP/1.1 gets no answer that it understands.
    Http2,
    Http1And2,
}

/// TLS as the files say.
#[derive(Debug)]
pub struct ServerTls {
    http2: Arc<ServerConfig>,
    http1_and_2: Arc<ServerConfig>,
    /// None: clients need no certificate.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl ServerTls {
    fn of(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?;
        let clients = client_ca.map(|client_ca| {
            let roots = Arc::new(pem::roots(client_ca)?);
            WebPkiClientVerifier::builder_with_provider(roots, provider).build().map_err(|error| error.to_string())
        });
        let clients = clients.transpose()?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        };
        let mut config = builder
            .with_single_cert(pem::certificates(cert, "server")?, pem::private_key(key)?)
            .map_err(|error| format!("the certificate and the key cannot be used together: {error}"))?;
        if clients.is_some() {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        let mut http1_and_2 = config.clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        http1_and_2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { http2: Arc::new(config), http1_and_2: Arc::new(http1_and_2), clients })
    }

    pub(super) fn config(&self, spoken: Spoken) -> Arc<ServerConfig> {
        Arc::clone(match spoken {
            Spoken::Http2 => &self.http2,
            Spoken::Http1And2 => &self.http1_and_2,
        })
    }

    /// Judges the certificates of clients. None: clients need none.
    pub(super) fn clients(&self) -> Option<&Arc<dyn ClientCertVerifier>> {
        self.clients.as_ref()
    }
}
