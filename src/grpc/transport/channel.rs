//! An accepted connection with its encryption, ready for HTTP/1.1 or HTTP/2.
//!
//! Below it is the [`Connection`] with its limits. A handshake that does not finish in time is ended.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    client_certificate::ClientCertificate,
    listener::Connection,
    tls::{ServerTls, Spoken},
    write_coalescing::{Coalesced, PollCycles},
};
use crate::reload::Reloaded;

/// Two round trips and a signature take far less.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A client may send its first bytes one by one.
const PEEK_AGAIN: Duration = Duration::from_millis(10);

/// The stream below TLS.
type Below = Coalesced<Connection>;

/// Makes channels of accepted connections.
#[derive(Clone, Debug)]
pub(in crate::grpc) struct Opener {
    /// None: channels are not encrypted.
    pub(in crate::grpc) tls: Option<Reloaded<ServerTls>>,
    pub(in crate::grpc) coalesce_writes: bool,
    pub(in crate::grpc) spoken: Spoken,
}

/// The version of HTTP on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

impl Opener {
    /// After the handshake, if there is one.
    pub(super) async fn open(&mut self, connection: Connection) -> io::Result<Channel> {
        let below = if self.coalesce_writes { Coalesced::new } else { Coalesced::switched_off }(connection);
        let Some(tls) = &mut self.tls else { return Ok(Channel::Plain(below)) };
        let handshake = TlsAcceptor::from(tls.current().config(self.spoken)).accept(below);
        let stream = timeout(HANDSHAKE_MAX, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(Channel::Encrypted(Box::new(stream)))
    }

    /// What the other end speaks. Without TLS its first bytes tell, which have `first_bytes_max` to arrive.
    pub(super) async fn version(&self, channel: &mut Channel, first_bytes_max: Duration) -> io::Result<Version> {
        if self.spoken == Spoken::Http2 {
            return Ok(Version::Http2);
        }
        let version = match channel {
            Channel::Plain(stream) => timeout(first_bytes_max, version_of(stream.stream()))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
            Channel::Encrypted(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => Version::Http2,
            Channel::Encrypted(_) => Version::Http1,
        };
        if version == Version::Http1 {
            channel.write_at_once();
        }
        Ok(version)
    }

    /// The certificate of the other end, to be judged again later.
    pub(super) fn client_certificate(self, channel: &Channel) -> Option<ClientCertificate> {
        let Channel::Encrypted(stream) = channel else { return None };
        ClientCertificate::of(stream.get_ref().1.peer_certificates()?, self.tls?)
    }
}

/// HTTP/2 begins with `PRI *`, and no method of HTTP/1.1 with `PRI`.
async fn version_of(connection: &Connection) -> io::Result<Version> {
    const FIRST: &[u8; 3] = b"PRI";
    let mut first = [0; FIRST.len()];
    loop {
        match connection.peek(&mut first).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read if first[..read] != FIRST[..read] => return Ok(Version::Http1),
            read if read == FIRST.len() => return Ok(Version::Http2),
            _ => sleep(PEEK_AGAIN).await,
        }
    }
}

/// A connection below HTTP.
#[derive(Debug)]
pub(in crate::grpc) enum Channel {
    /// As it came.
    Plain(Below),
    /// After a handshake.
    Encrypted(Box<TlsStream<Below>>),
}

impl Channel {
    /// HTTP/1.1 does not read in every poll cycle, so held bytes would wait for ever.
    fn write_at_once(&mut self) {
        match self {
            Self::Plain(stream) => stream.switch_off(),
            Self::Encrypted(stream) => stream.get_mut().0.switch_off(),
        }
    }

    /// From now on its writes wait for poll cycles, which the result begins.
    pub(super) fn in_poll_cycles(&mut self) -> PollCycles {
        match self {
            Self::Plain(stream) => stream.in_poll_cycles(),
            Self::Encrypted(stream) => stream.get_mut().0.in_poll_cycles(),
        }
    }

    /// The one URI in the certificate of the other end.
    pub(super) fn peer_uri(&self) -> Option<Arc<str>> {
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
