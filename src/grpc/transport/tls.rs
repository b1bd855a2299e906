//! TLS 1.3 on the port of the callers, with client certificates if a CA for them is given.
//!
//! Below it is the [`Connection`] with its limits, above it HTTP/2. New certificates apply to new connections.
//! Handshakes do not wait for each other, and one that does not finish in time is ended.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::debug;

use super::{
    listener::Connection,
    write_coalescing::{Coalesced, PollCycles},
};
use crate::reload::{Files, Reloaded};

/// Two round trips and a signature take far less.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The stream below TLS.
type Below = Coalesced<Connection>;

/// The files of a server's TLS, all in PEM: its certificate chain, its key and, if callers need certificates, the CAs
/// that sign them.
#[must_use]
pub fn files(cert: PathBuf, key: PathBuf, client_ca: Option<PathBuf>) -> Files<ServerConfig> {
    Files::new([cert, key].into_iter().chain(client_ca), |contents| {
        let [cert, key, client_ca @ ..] = contents else { unreachable!("two files at least") };
        server_config(cert, key, client_ca.first().map(Vec::as_slice))
    })
}

fn server_config(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<ServerConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(client_ca) => {
            let roots = Arc::new(roots(client_ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
        }
    };
    // Its error may quote the file.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "no private key in PEM was found".to_owned())?;
    let mut config = builder
        .with_single_cert(certificates(cert, "server")?, key)
        .map_err(|error| format!("the certificate and the key cannot be used together: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The CAs whose certificates are in `pem`, and no others.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for root in certificates(pem, "CA")? {
        roots.add(root).map_err(|error| format!("the CA's certificate cannot be used: {error}"))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8], whose: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("no certificate of the {whose} in PEM was found")),
    }
}

/// The connections, encrypted if `tls` is there. At most `at_once` handshakes run at the same time.
pub fn over(
    connections: impl Stream<Item = io::Result<Below>> + Send,
    mut tls: Option<Reloaded<ServerConfig>>,
    at_once: usize,
) -> impl Stream<Item = io::Result<Channel>> + Send {
    let opened = connections.map(move |connection| {
        let config = tls.as_mut().map(|tls| Arc::clone(tls.current()));
        async move {
            let connection = connection?;
            match config {
                None => Ok(Channel::Plain(connection)),
                Some(config) => {
                    let handshake = TlsAcceptor::from(config).accept(connection);
                    let stream = timeout(HANDSHAKE_MAX, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
                    Ok(Channel::Encrypted(Box::new(stream)))
                }
            }
        }
    });
    opened.buffer_unordered(at_once).filter_map(async |channel: io::Result<Channel>| match channel {
        Ok(channel) => Some(Ok(channel)),
        // Every port scanner can cause it, so it is no warning.
        Err(error) => {
            debug!(%error, "tls handshake failed; connection closed");
            None
        }
    })
}

/// A connection below HTTP/2.
#[derive(Debug)]
pub enum Channel {
    /// As it came.
    Plain(Below),
    /// After a handshake.
    Encrypted(Box<TlsStream<Below>>),
}

impl Channel {
    /// From now on its writes wait for poll cycles, which the result begins.
    pub fn in_poll_cycles(&mut self) -> PollCycles {
        match self {
            Self::Plain(stream) => stream.in_poll_cycles(),
            Self::Encrypted(stream) => stream.get_mut().0.in_poll_cycles(),
        }
    }

    /// The one URI in the certificate of the other end.
    #[must_use]
    pub fn peer_uri(&self) -> Option<Arc<str>> {
        let Self::Encrypted(stream) = self else { return None };
        let (_, session) = stream.get_ref();
        only_uri(session.peer_certificates()?.first()?)
    }
}

/// The URI of a certificate that has exactly one: several would be ambiguous.
fn only_uri(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut uris = certificate.valid_uri_names();
    let only = uris.next()?;
    uris.next().is_none().then(|| only.into())
}

macro_rules! either {
    ($channel:expr, $stream:ident => $done:expr) => {
        match $channel.get_mut() {
            Channel::Plain(stream) => {
                let $stream = Pin::new(stream);
                $done
            }
            Channel::Encrypted(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $done
            }
        }
    };
}

impl AsyncRead for Channel {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Channel {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Encrypted(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(context))
    }
}
