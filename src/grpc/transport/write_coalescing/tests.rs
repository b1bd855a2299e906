//! Under h2 as it is, and under a double that polls a stream as h2 does and can be looked into.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures::{future::join_all, poll};
use http::{HeaderMap, Request, Response};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::sync::TaskTracker;

/// Takes a whole test's writes at once.
const WIDE: usize = 4 * 1024 * 1024;

/// A stream that counts the calls that write to it.
#[derive(Debug)]
struct Counted<S> {
    stream: S,
    writes: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Relaxed);
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Answers every request with these bytes and trailers, until the client leaves.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, reply: Bytes) {
    let replies = TaskTracker::new();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(request) = connection.accept().await {
        // A client that has everything may leave while we still acknowledge something.
        let Ok((_, mut respond)) = request else { return };
        let reply = reply.clone();
        replies.spawn(async move {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(reply, false).unwrap();
            body.send_trailers(HeaderMap::new()).unwrap();
        });
    }
}

/// Asks `many` times at once, with windows of so many bytes, and returns how many bytes each answer has.
async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, many: usize, window: u32) -> Vec<usize> {
    let mut client = h2::client::Builder::new();
    client.initial_window_size(window).initial_connection_window_size(window.max(u32::from(u16::MAX)));
    let (sender, connection) = client.handshake::<_, Bytes>(stream).await.unwrap();
    TaskTracker::new().spawn(async move { connection.await.unwrap() });
    let mut sender = sender.ready().await.unwrap();
    let asked: Vec<_> = (0..many)
        .map(|_| sender.send_request(Request::get("http://localhost/").body(()).unwrap(), true).unwrap().0)
        .collect();
    join_all(asked.into_iter().map(async |response| {
        let mut body = response.await.unwrap().into_body();
        let mut bytes = 0;
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            bytes += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert!(body.trailers().await.unwrap().is_some(), "a whole reply ends with trailers");
        bytes
    }))
    .await
}

#[tokio::test]
async fn the_replies_of_one_poll_cycle_are_one_write() {
    let reply = Bytes::from(vec![7; 10_000]);
    let mut counts = Vec::new();
    for wrapped in [Coalesced::new, Coalesced::switched_off] {
        let (theirs, ours) = duplex(WIDE);
        let writes = Arc::new(AtomicUsize::new(0));
        let stream = wrapped(Counted { stream: ours, writes: Arc::clone(&writes) });
        let ((), answers) = tokio::join!(serve(stream, reply.clone()), ask(theirs, 16, 1 << 20));
        assert_eq!(answers, [10_000; 16]);
        counts.push(writes.load(Relaxed));
    }
    // Each reply is a frame of data and one of trailers: two writes. Twelve of them fit into one.
    assert!(counts[0] * 3 < counts[1], "{} writes instead of {}", counts[0], counts[1]);
}

#[tokio::test]
async fn replies_that_are_given_at_once_are_one_write_too() {
    let reply = Bytes::from(vec![7; 10_000]);
    let (theirs, ours) = duplex(WIDE);
    let writes = Arc::new(AtomicUsize::new(0));
    let mut stream = Coalesced::new(Counted { stream: ours, writes: Arc::clone(&writes) });
    let cycles = stream.in_poll_cycles();
    let serving = async {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(reply.clone(), false).unwrap();
            body.send_trailers(HeaderMap::new()).unwrap();
        }
    };
    let serving = pin!(serving);
    let (_, answers) = tokio::join!(cycles.run(serving), ask(theirs, 16, 1 << 20));
    assert_eq!(answers, [10_000; 16]);
    let writes = writes.load(Relaxed);
    assert!(writes <= 10, "{writes} writes of 16 replies, of which twelve fit into one");
}

#[tokio::test]
async fn windows_of_a_hundred_bytes_get_everything() {
    let (theirs, ours) = duplex(1024);
    let reply = Bytes::from(vec![7; 20_000]);
    let ((), answers) = tokio::join!(serve(Coalesced::new(ours), reply), ask(theirs, 4, 100));
    assert_eq!(answers, [20_000; 4]);
}

#[tokio::test]
async fn tls_between_it_and_http2_works() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();

    // Narrow, so that handshake, records and the end all have to wait for the peer.
    let (theirs, ours) = duplex(512);
    let serving = async {
        let stream = TlsAcceptor::from(Arc::new(server)).accept(Coalesced::new(ours)).await.unwrap();
        serve(stream, Bytes::from(vec![7; 100_000])).await;
    };
    let asking = async {
        let connector = TlsConnector::from(Arc::new(client));
        let stream = connector.connect("localhost".try_into().unwrap(), theirs).await.unwrap();
        ask(stream, 4, 1 << 20).await
    };
    let ((), answers) = tokio::join!(serving, asking);
    assert_eq!(answers, [100_000; 4]);
}

/// What h2 does with a stream: every poll cycle reads all there is, then writes what is taken, then flushes. Ends
/// when all is written and the peer has nothing more to say.
struct LikeH2<'a> {
    stream: Coalesced<DuplexStream>,
    unwritten: &'a [u8],
    read: usize,
    ended: bool,
    taken: usize,
}

impl<'a> LikeH2<'a> {
    fn over(stream: DuplexStream, unwritten: &'a [u8]) -> Self {
        Self { stream: Coalesced::new(stream), unwritten, read: 0, ended: false, taken: 0 }
    }

    fn poll_cycle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.taken += 1;
        while !self.ended {
            let mut space = [0; 100];
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer)? {
                Poll::Ready(()) => {
                    self.ended = buffer.filled().is_empty();
                    self.read += buffer.filled().len();
                }
                Poll::Pending => break,
            }
        }
        while !self.unwritten.is_empty() {
            let frame = &self.unwritten[..self.unwritten.len().min(16_384)];
            let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(context, frame)? else { break };
            self.unwritten = &self.unwritten[written..];
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        if self.ended && self.unwritten.is_empty() {
            return Pin::new(&mut self.stream).poll_shutdown(context);
        }
        Poll::Pending
    }
}

/// Bytes that would show if one were missing or in another place.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_peer_that_reads_nothing_costs_bounded_memory_and_gets_everything_later() {
    let sent = pattern(1_000_000);
    let (mut peer, ours) = duplex(10_000);
    let mut h2 = LikeH2::over(ours, &sent);
    {
        let mut serving = pin!(poll_fn(|context| h2.poll_cycle(context)));
        for _ in 0..100 {
            assert!(poll!(serving.as_mut()).is_pending());
        }
    }
    assert!(h2.stream.held.capacity() <= BYTES_MAX, "{} bytes", h2.stream.held.capacity());
    assert!(h2.unwritten.len() >= sent.len() - BYTES_MAX - 10_000);

    let receive = async {
        peer.shutdown().await.unwrap();
        let mut received = Vec::new();
        peer.read_to_end(&mut received).await.unwrap();
        received
    };
    let (served, received) = tokio::join!(poll_fn(|context| h2.poll_cycle(context)), receive);
    served.unwrap();
    assert!(received == sent, "{} of {} bytes, or others", received.len(), sent.len());
}

#[tokio::test]
async fn a_stalled_stream_is_not_asked_again_until_it_takes_more() {
    struct Woken(AtomicUsize);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let sent = pattern(200_000);
    let (_peer, ours) = duplex(10_000);
    let mut h2 = LikeH2::over(ours, &sent);
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Arc::clone(&woken).into();
    let mut context = Context::from_waker(&waker);
    let mut cycles = 0;
    // Polled when woken, as a task is.
    while cycles == 0 || woken.0.swap(0, Relaxed) > 0 {
        assert!(h2.poll_cycle(&mut context).is_pending());
        cycles += 1;
        assert!(cycles < 20, "it spins");
    }
}

#[tokio::test]
async fn a_peer_that_has_closed_its_side_gets_the_whole_reply() {
    let sent = pattern(300_000);
    let (mut peer, ours) = duplex(1000);
    let mut h2 = LikeH2::over(ours, &sent);
    let asked = async {
        peer.write_all(b"all of it, please").await.unwrap();
        peer.shutdown().await.unwrap();
        let mut received = Vec::new();
        peer.read_to_end(&mut received).await.unwrap();
        received
    };
    let (served, received) = tokio::join!(poll_fn(|context| h2.poll_cycle(context)), asked);
    served.unwrap();
    assert_eq!(h2.read, b"all of it, please".len());
    assert!(received == sent, "{} of {} bytes, or others", received.len(), sent.len());
}

#[tokio::test]
async fn a_shutdown_sends_what_is_held() {
    let (mut peer, ours) = duplex(10);
    let mut stream = Coalesced::new(ours);
    let sent = pattern(5000);
    let close = async {
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let ((), read) = tokio::join!(close, peer.read_to_end(&mut received));
    read.unwrap();
    assert_eq!(received, sent);
}

#[tokio::test]
async fn a_peer_that_is_gone_is_an_error_of_the_next_read() {
    let (peer, ours) = duplex(10);
    let mut stream = Coalesced::new(ours);
    stream.write_all(b"too late").await.unwrap();
    drop(peer);
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer() {
    let (mut peer, ours) = duplex(WIDE);
    let mut stream = Coalesced::new(ours);
    for (bytes, left) in [(60_000, true), (17, false)] {
        stream.write_all(&pattern(bytes)).await.unwrap();
        peer.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        assert_eq!(stream.held.capacity() > 0, left, "after {bytes} bytes");
    }
}
