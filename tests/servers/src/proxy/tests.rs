//! What the proxy does to connections, seen from a client of a server that echoes.

use std::{
    io::ErrorKind,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};

use super::{Network, Proxy};
use crate::wait_for;

/// Long enough to say that nothing comes.
const SILENCE: Duration = Duration::from_millis(100);

/// A proxy before a server that sends back what it gets.
struct Echo {
    proxy: Proxy,
    /// Connections that the server has.
    open: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

async fn echo() -> Echo {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = Proxy::before(listener.local_addr().unwrap().port()).await;
    let (mut server, open) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    let count = open.clone();
    server.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            count.fetch_add(1, Ordering::SeqCst);
            connections.spawn(async move {
                let (mut read, mut write) = stream.split();
                let _bytes = tokio::io::copy(&mut read, &mut write).await;
                count.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Echo { proxy, open, _server: server }
}

impl Echo {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address).await.unwrap()
    }

    async fn server_has(&self, connections: usize) {
        let open = async || (self.open.load(Ordering::SeqCst) == connections).then_some(());
        wait_for("the server to notice", open).await;
    }

    /// A connection that has worked.
    async fn connected(&self) -> TcpStream {
        let mut stream = self.connect().await;
        assert_eq!(exchange(&mut stream, b"hello").await.unwrap(), b"hello");
        stream
    }
}

/// Sends something and reads as many bytes.
async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut reply = vec![0; bytes.len()];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

/// Whether nothing comes back, and the connection stays open.
async fn is_silent(stream: &mut TcpStream) -> bool {
    tokio::time::timeout(SILENCE, exchange(stream, b"anybody?")).await.is_err()
}

#[tokio::test]
async fn a_whole_network_carries_everything() {
    let echo = echo().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    let (mut read, mut write) = echo.connect().await.into_split();
    let mut reply = vec![0; bytes.len()];
    let (sent, received) = tokio::join!(write.write_all(&bytes), read.read_exact(&mut reply));
    sent.unwrap();
    received.unwrap();
    assert!(reply == bytes);
    drop(write);
    assert_eq!(read.read(&mut reply).await.unwrap(), 0, "the server's goodbye");
}

#[tokio::test]
async fn a_url_of_the_target_becomes_one_of_the_proxy() {
    let proxy = Proxy::before(6379).await;
    assert_eq!(proxy.url("redis://127.0.0.1:6379/1"), format!("redis://{}/1", proxy.address));
}

#[tokio::test]
async fn a_refusing_network_cuts_what_there_is_and_takes_nothing_new_until_restored() {
    let echo = echo().await;
    for _ in 0..3 {
        let mut old = echo.connected().await;
        echo.proxy.set(Network::Refuse);
        assert_eq!(old.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let refused = async || TcpStream::connect(echo.proxy.address).await.err();
        assert_eq!(wait_for("a refusal", refused).await.kind(), ErrorKind::ConnectionRefused);
        echo.proxy.restore();
        wait_for("a connection", async || TcpStream::connect(echo.proxy.address).await.ok()).await;
        echo.connected().await;
    }
}

#[tokio::test]
async fn a_reset_cuts_what_there_is_and_takes_what_is_new() {
    let echo = echo().await;
    let mut old = echo.connected().await;
    echo.proxy.reset();
    assert_eq!(old.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    echo.connected().await;
}

#[tokio::test]
async fn a_blackhole_swallows_for_ever_what_met_it() {
    let echo = echo().await;
    let (mut old, mut idle) = (echo.connected().await, echo.connected().await);
    echo.proxy.set(Network::Blackhole);
    let mut new = echo.connect().await;
    assert!(is_silent(&mut old).await && is_silent(&mut new).await);
    echo.proxy.restore();
    assert!(is_silent(&mut old).await && is_silent(&mut new).await);
    assert_eq!(exchange(&mut idle, b"still here").await.unwrap(), b"still here", "it has lost nothing");
    echo.connected().await;
}

#[tokio::test]
async fn a_goodbye_is_swallowed_too() {
    let echo = echo().await;
    for (network, connections) in [(Network::Whole, 0), (Network::SwallowReplies, 0), (Network::Blackhole, 1)] {
        let mut stream = echo.connected().await;
        echo.proxy.set(network);
        if network != Network::Whole {
            assert!(is_silent(&mut stream).await);
        }
        drop(stream);
        echo.proxy.restore();
        echo.connected().await;
        // The one that has just ended tells that the server has heard of all before it.
        echo.server_has(connections).await;
    }
}

#[tokio::test]
async fn one_way_may_be_swallowed_alone() {
    for network in [Network::SwallowReplies, Network::SwallowRequests] {
        let echo = echo().await;
        let mut old = echo.connected().await;
        echo.proxy.set(network);
        assert!(is_silent(&mut old).await, "{network:?}");
        echo.proxy.restore();
        assert!(is_silent(&mut old).await, "{network:?}");
        echo.connected().await;
    }
}

#[tokio::test]
async fn what_stalls_arrives_when_that_is_over() {
    let echo = echo().await;
    let mut stream = echo.connected().await;
    echo.proxy.set(Network::Stall);
    assert!(is_silent(&mut stream).await);
    echo.proxy.restore();
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"anybody?");
}

#[tokio::test]
async fn what_is_delayed_arrives_later_and_in_order() {
    let echo = echo().await;
    let mut stream = echo.connected().await;
    echo.proxy.set(Network::Delay(Duration::from_millis(50)));
    let asked = Instant::now();
    for word in [b"one", b"two"] {
        stream.write_all(word).await.unwrap();
    }
    let mut reply = [0; 6];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"onetwo");
    assert!(asked.elapsed() >= Duration::from_millis(100), "{:?}: there and back", asked.elapsed());
}

#[tokio::test]
async fn what_is_sliced_arrives_whole_in_many_pieces() {
    let echo = echo().await;
    let mut stream = echo.connected().await;
    echo.proxy.set(Network::Slice);
    let sent: Vec<u8> = (0..200).collect();
    stream.write_all(&sent).await.unwrap();
    let (mut received, mut pieces) = (Vec::new(), 0);
    while received.len() < sent.len() {
        assert!(stream.read_buf(&mut received).await.unwrap() > 0);
        pieces += 1;
    }
    assert_eq!(received, sent);
    assert!(pieces > 1, "it came at once");
}

#[tokio::test]
async fn garbage_takes_the_place_of_replies_until_restored() {
    let echo = echo().await;
    let mut stream = echo.connected().await;
    echo.proxy.set(Network::Garbage);
    let sent = [7; 64];
    assert_ne!(exchange(&mut stream, &sent).await.unwrap(), sent);
    echo.proxy.restore();
    assert_eq!(exchange(&mut stream, &sent).await.unwrap(), sent);
}

#[tokio::test]
async fn nobody_behind_the_proxy_is_a_connection_that_ends() {
    let proxy = Proxy::before(super::free_port()).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    assert!(exchange(&mut stream, b"hello").await.is_err());
}

#[tokio::test]
async fn a_dropped_proxy_closes_its_port_and_its_connections() {
    let echo = echo().await;
    let mut stream = echo.connected().await;
    let address = echo.proxy.address;
    drop(echo.proxy);
    assert!(!matches!(stream.read(&mut [0]).await, Ok(bytes) if bytes > 0));
    wait_for("the port to be closed", async || TcpStream::connect(address).await.err()).await;
}
