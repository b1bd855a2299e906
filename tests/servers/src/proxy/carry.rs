//! One connection through the proxy: two directions, each a reader that decides what becomes of a
//! chunk and a writer that decides when and in what pieces it goes on.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    time::{Duration, Instant},
};

use super::{Network, State, cut};

/// Chunks under way in one direction; beyond it the sender waits, as for a full socket.
const CHUNKS_MAX: usize = 256;
/// The bytes of a chunk that arrive one by one: more than the head of any reply. All of a document one
/// by one would take longer than any timeout.
const SINGLE_BYTES: usize = 8;
/// The pieces of the rest.
const PIECE_BYTES: usize = 37;
/// Between single bytes, or the receiver's kernel would put them together again.
const BETWEEN_BYTES: Duration = Duration::from_millis(1);

/// After this a server's keepalive ends a connection whose other end is gone, or a long run would use
/// all connections that a server has.
const FORGOTTEN_FOR: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Requests,
    Replies,
}

impl Direction {
    fn is_swallowed_by(self, network: Network) -> bool {
        match network {
            Network::Blackhole => true,
            Network::SwallowReplies => self == Self::Replies,
            Network::SwallowRequests => self == Self::Requests,
            _ => false,
        }
    }
}

/// Bytes and when they arrive.
struct Chunk {
    bytes: Vec<u8>,
    due: Instant,
}

/// Carries a connection until either side closes it or it is cut. No client or server here closes only one direction.
pub(super) async fn carry(mut client: TcpStream, target: u16, mut watched: watch::Receiver<State>) {
    let State { cuts, silences, .. } = *watched.borrow_and_update();
    if watched.borrow().network == Network::Blackhole {
        // Never forwarded, whatever comes later.
        tokio::select! {
            () = discard(&mut client) => {}
            () = is_cut(watched, cuts) => cut(client),
        }
        return;
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return cut(client) };
    for stream in [&client, &server] {
        // An error says that it is closed already, which the reader sees.
        let _closed = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let is_cut = tokio::select! {
        () = is_cut(watched.clone(), cuts) => true,
        () = forward(from_client, to_server, Direction::Requests, watched.clone()) => false,
        () = forward(from_server, to_client, Direction::Replies, watched.clone()) => false,
        () = is_silenced(watched.clone(), silences) => {
            is_cut(watched, cuts).await;
            true
        }
    };
    if is_cut {
        cut(client);
        cut(server);
    }
}

async fn is_cut(mut watched: watch::Receiver<State>, cuts: u64) {
    // An error says that the proxy is gone; its tasks are being ended.
    let _gone = watched.wait_for(|state| state.cuts != cuts).await;
}

async fn is_silenced(mut watched: watch::Receiver<State>, silences: u64) {
    let _gone = watched.wait_for(|state| state.silences != silences).await;
}

async fn discard(client: &mut TcpStream) {
    let mut buffer = vec![0; 4096];
    while client.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
}

/// Ends when the sender has closed the connection and everything before that has arrived.
async fn forward(from: ReadHalf<'_>, to: WriteHalf<'_>, direction: Direction, watched: watch::Receiver<State>) {
    let (chunks, queue) = mpsc::channel(CHUNKS_MAX);
    tokio::join!(read(from, chunks, direction, watched.clone()), write(queue, to, watched));
}

async fn read(
    mut from: ReadHalf<'_>,
    chunks: mpsc::Sender<Chunk>,
    direction: Direction,
    watched: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut swallowed = false;
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(length) if length > 0 => length,
            // The other side does not hear of the end either, for as long as a test lasts.
            _ => {
                return if swallowed {
                    tokio::time::sleep(FORGOTTEN_FOR).await
                };
            }
        };
        let network = watched.borrow().network;
        swallowed |= direction.is_swallowed_by(network);
        if swallowed {
            continue;
        }
        let mut bytes = buffer[..length].to_vec();
        if network == Network::Garbage && direction == Direction::Replies {
            nonsense(&mut bytes);
        }
        let later = if let Network::Delay(later) = network { later } else { Duration::ZERO };
        // An error says that the receiver is gone; the sender is told when it next sends.
        if chunks.send(Chunk { bytes, due: Instant::now() + later }).await.is_err() {
            return;
        }
    }
}

async fn write(mut queue: mpsc::Receiver<Chunk>, mut to: WriteHalf<'_>, mut watched: watch::Receiver<State>) {
    while let Some(chunk) = queue.recv().await {
        tokio::time::sleep_until(chunk.due).await;
        let Ok(network) = watched.wait_for(|state| state.network != Network::Stall).await.map(|state| state.network)
        else {
            return;
        };
        let written = match network {
            Network::Slice => write_in_pieces(&mut to, &chunk.bytes).await,
            _ => to.write_all(&chunk.bytes).await,
        };
        if written.is_err() {
            return;
        }
    }
}

async fn write_in_pieces(to: &mut WriteHalf<'_>, bytes: &[u8]) -> std::io::Result<()> {
    let (first, rest) = bytes.split_at(bytes.len().min(SINGLE_BYTES));
    for byte in first.chunks(1) {
        to.write_all(byte).await?;
        tokio::time::sleep(BETWEEN_BYTES).await;
    }
    for piece in rest.chunks(PIECE_BYTES) {
        to.write_all(piece).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Another nonsense every time, the same in every run.
fn nonsense(bytes: &mut [u8]) {
    static SEED: AtomicU64 = AtomicU64::new(0);
    ChaCha8Rng::seed_from_u64(SEED.fetch_add(1, Ordering::Relaxed)).fill(bytes);
}
