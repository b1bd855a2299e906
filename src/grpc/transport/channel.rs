//! An accepted connection with its encryption, ready for HTTP/2.
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
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    client_certificate::ClientCertificate,
    listener::Connection,
    tls::ServerTls,
    write_coalescing::{Coalesced, PollCycles},
};
use crate::reload::Reloaded;

/// Two round trips and a signature take far less.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The stream below TLS.
type Below = Coalesced<Connection>;

/// Makes channels of accepted connections.
#[derive(Clone, Debug)]
pub(in crate::grpc) struct Opener {
    /// None: channels are not encrypted.
    pub(in crate::grpc) tls: Option<Reloaded<ServerTls>>,
    pub(in crate::grpc) coalesce_writes: bool,
}

impl Opener {
    /// After the handshake, if there is one.
    pub(super) async fn open(&mut self, connection: Connection) -> io::Result<Channel> {
        let below = if self.coalesce_writes { Coalesced::new } else { Coalesced::switched_off }(connection);
        let Some(tls) = &mut self.tls else { return Ok(Channel::Plain(below)) };
        let handshake = TlsAcceptor::from(tls.current().config()).accept(below);
        let stream = timeout(HANDSHAKE_MAX, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(Channel::Encrypted(Box::new(stream)))
    }

    /// The certificate of the other end, to be judged again later.
    pub(super) fn client_certificate(self, channel: &Channel) -> Option<ClientCertificate> {
        let Channel::Encrypted(stream) = channel else { return None };
        ClientCertificate::of(stream.get_ref().1.peer_certificates()?, self.tls?)
    }
}

/// A connection below HTTP/2.
#[derive(Debug)]
pub(in crate::grpc) enum Channel {
    /// As it came.
    Plain(Below),
    /// After a handshake.
    Encrypted(Box<TlsStream<Below>>),
}

impl Channel {
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
