//! A TCP proxy before any port, whose network can be broken and restored at any time:
//!
//! ```ignore
//! let proxy = Proxy::before(redis.port).await;
//! let settings = settings.with("redis.url", proxy.url(&redis.url()));
//! proxy.set(Network::Blackhole);
//! proxy.restore();
//! ```
//!
//! Invariant: no byte is ever lost from the middle of a stream, as TCP would not lose it. A direction
//! of a connection that has swallowed something stays silent for ever, also after `restore()`, like
//! one that a firewall forgot, and its receiver does not even hear that the sender has closed it; only
//! new connections work then. To let the same connection go on afterwards, stall it instead.

mod carry;
#[cfg(test)]
mod tests;

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::free_port;

/// Connections that the kernel accepts before the proxy does; no test opens nearly as many.
const BACKLOG: u32 = 1024;

/// What happens to the connections that there are and to those to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Everything passes.
    Whole,
    /// Connections are cut by RST, and new ones are refused.
    Refuse,
    /// Accepted and swallowed, both ways.
    Blackhole,
    /// Requests arrive, replies are swallowed.
    SwallowReplies,
    /// Replies arrive, requests are swallowed.
    SwallowRequests,
    /// Nothing moves, and all of it arrives when that is over: a short partition.
    Stall,
    /// Everything arrives so much later, in order.
    Delay(Duration),
    /// Everything arrives in pieces, at first byte by byte.
    Slice,
    /// Replies are replaced by as many bytes of nonsense.
    Garbage,
}

/// The network's state, and how often connections were cut.
#[derive(Clone, Copy, Debug)]
struct State {
    network: Network,
    cuts: u64,
    silences: u64,
}

/// A running proxy; dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    target: u16,
    state: watch::Sender<State>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Forwards to a port of this machine, whether or not anybody listens there yet.
    pub async fn before(target: u16) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(State { network: Network::Whole, cuts: 0, silences: 0 });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, watched));
        Self { address, target, state, _tasks: tasks }
    }

    /// A URL of the target, with the proxy in its place.
    pub fn url(&self, of_target: &str) -> String {
        let target = format!("127.0.0.1:{}", self.target);
        assert!(of_target.contains(&target), "{of_target} is not on port {}", self.target);
        of_target.replacen(&target, &self.address.to_string(), 1)
    }

    /// From now on the network is like this, for old and new connections.
    pub fn set(&self, network: Network) {
        self.state.send_modify(|state| {
            state.network = network;
            state.cuts += u64::from(network == Network::Refuse);
        });
    }

    /// Everything passes again; see the invariant above.
    pub fn restore(&self) {
        self.set(Network::Whole);
    }

    /// Lets the connections that there are carry nothing more, and open. New ones are as before.
    pub fn silence(&self) {
        self.state.send_modify(|state| state.silences += 1);
    }

    /// Cuts the connections that there are by RST. New ones are as before.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

/// A listener on a port that was asked for by its number: a socket keeps such a port while it does not listen.
async fn listen() -> TcpListener {
    // Another process may take the port in the meantime.
    for _ in 0..10 {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).await {
            return listener;
        }
    }
    panic!("no free port");
}

/// Takes connections until the proxy is dropped; those that there are end with it.
async fn accept(mut listener: TcpListener, target: u16, mut watched: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        if watched.borrow_and_update().network == Network::Refuse {
            let deaf = stop_listening(listener);
            let Ok(_) = watched.wait_for(|state| state.network != Network::Refuse).await else { return };
            listener = TcpSocket::from_std_stream(deaf).listen(BACKLOG).unwrap();
        }
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(carry::carry(client, target, watched.clone()));
            }
            changed = watched.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The port stays ours: if it were closed, another test might get it, and answer. Linux ends the
/// listening of a socket that is shut down and refuses connections until it listens again.
fn stop_listening(listener: TcpListener) -> std::net::TcpStream {
    let socket = std::net::TcpStream::from(OwnedFd::from(listener.into_std().unwrap()));
    socket.shutdown(std::net::Shutdown::Both).unwrap();
    socket
}

/// Closes by RST, as a peer that is gone.
fn cut(stream: TcpStream) {
    // An error says that it is closed already.
    let _closed = stream.set_zero_linger();
}
