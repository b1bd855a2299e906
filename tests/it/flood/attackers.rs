//! Attackers: what each does, again and again, whenever its connection has ended.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::sleep,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use testkit::{
    pki::HOST,
    wait_for,
    wire::{DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, SETTINGS, call, frame},
};

const GET: &str = "/userdata.v1.UserDataService/GetComprehensiveUserData";
const GET_USER_1: [u8; 8] = [0, 0, 0, 0, 3, 0x0a, 1, b'1'];
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// SETTINGS_INITIAL_WINDOW_SIZE: no answer may have data.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const UNKNOWN: &str = "/a.Service/Unknown";
/// Streams of a connection that has many.
const STREAMS: u32 = 90;
/// Before an attacker connects again. All together they take a part of this machine's time, not all of it: the server is
/// built without optimisation, and shares the machine with them.
const AGAIN: Duration = Duration::from_secs(4);
/// The one who does nothing but connect.
const AGAIN_AT_ONCE: Duration = Duration::from_millis(250);
/// Between PINGs.
const PING_EVERY: Duration = Duration::from_millis(500);
/// The attacker that reads nothing lets little be on its way.
const RECEIVE_BYTES: u32 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    Watch,
    WatchWithoutWindow,
    Reflection,
    UnknownMethods,
    HalfHandshakes,
    PingsOnly,
    NeverReading,
    Reconnecting,
}

impl Flood {
    pub(super) const ALL: [Self; 8] = [
        Self::Watch,
        Self::WatchWithoutWindow,
        Self::Reflection,
        Self::UnknownMethods,
        Self::HalfHandshakes,
        Self::PingsOnly,
        Self::NeverReading,
        Self::Reconnecting,
    ];

    /// Whether it makes the server work, instead of holding what it has.
    pub(super) fn is_work(self) -> bool {
        !matches!(self, Self::HalfHandshakes | Self::PingsOnly)
    }
}

/// What is attacked.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<TlsConnector>,
}

/// Attacks until it is dropped.
pub(super) struct Attackers {
    begun: Arc<AtomicUsize>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Attackers {
    /// So many attackers of each kind.
    pub(super) fn begin(target: &Target, floods: &[(Flood, usize)]) -> Self {
        let begun = Arc::new(AtomicUsize::new(0));
        let kinds = floods.iter().flat_map(|(flood, connections)| std::iter::repeat_n(*flood, *connections));
        let tasks = kinds.enumerate().map(|(index, flood)| {
            let (target, begun) = (target.clone(), Arc::clone(&begun));
            AbortOnDropHandle::new(TaskTracker::new().spawn(async move {
                let again = if flood == Flood::Reconnecting { AGAIN_AT_ONCE } else { AGAIN };
                // Not all in the same moment.
                sleep(again.mul_f64(index as f64 / 2000.0)).await;
                loop {
                    // Its end is what the server decides.
                    let _ended = target.attack(flood, index, &begun).await;
                    sleep(again).await;
                }
            }))
        });
        let tasks = tasks.collect();
        Self { begun, _tasks: tasks }
    }

    /// Waits until so many attacks have begun.
    pub(super) async fn have_attacked(&self, attacks: usize) {
        wait_for("the flood", async || (self.begun.load(Ordering::Relaxed) >= attacks).then_some(())).await;
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl Target {
    async fn attack(&self, flood: Flood, index: usize, begun: &AtomicUsize) -> io::Result<()> {
        let stream = self.tcp(flood, index).await?;
        if flood == Flood::HalfHandshakes {
            let (mut stream, part) = (stream, if self.tls.is_some() { &HALF_HELLO[..] } else { &PREFACE[..12] });
            stream.write_all(part).await?;
            begun.fetch_add(1, Ordering::Relaxed);
            return drained(&mut stream).await;
        }
        let mut stream: Box<dyn Duplex> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(ServerName::try_from(HOST).unwrap(), stream).await?),
        };
        let settings = if flood == Flood::WatchWithoutWindow { &NO_WINDOW[..] } else { &[] };
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await?;
        let did = match flood {
            Flood::Watch => stream.write_all(&calls(WATCH, &[0; 5], END_STREAM, 0)).await,
            Flood::WatchWithoutWindow => {
                // Where every caller may ask, the connection counts as a caller's from now on.
                let get = [frame(HEADERS, END_HEADERS, 1, &call(GET, &[])), frame(DATA, END_STREAM, 1, &GET_USER_1)];
                stream.write_all(&get.concat()).await?;
                stream.write_all(&[1, 2].map(|round| calls(WATCH, &[0; 5], END_STREAM, round)).concat()).await
            }
            // Its side stays open.
            Flood::Reflection => stream.write_all(&calls(REFLECTION, &[0, 0, 0, 0, 2, 0x3a, 0], 0, 0)).await,
            Flood::UnknownMethods => stream.write_all(&calls(UNKNOWN, &[], END_STREAM, 0)).await,
            _ => stream.flush().await,
        };
        begun.fetch_add(1, Ordering::Relaxed);
        did?;
        match flood {
            Flood::Reconnecting => Ok(()),
            Flood::PingsOnly => loop {
                stream.write_all(&frame(PING, 0, 0, &[7; 8])).await?;
                sleep(PING_EVERY).await;
            },
            Flood::NeverReading => {
                for round in 0.. {
                    stream.write_all(&calls(UNKNOWN, &[], END_STREAM, round)).await?;
                }
                Ok(())
            }
            _ => drained(&mut stream).await,
        }
    }

    async fn tcp(&self, flood: Flood, index: usize) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        // Many addresses, so that there are ports enough.
        let host = Ipv4Addr::new(127, 0, 1, u8::try_from(index % 250).unwrap() + 1);
        socket.bind((host, 0).into())?;
        if flood == Flood::NeverReading {
            socket.set_recv_buffer_size(RECEIVE_BYTES)?;
            socket.set_send_buffer_size(4 * RECEIVE_BYTES)?;
        }
        socket.connect(self.address).await
    }
}

/// The begin of a TLS handshake: the head of a message that goes on.
const HALF_HELLO: [u8; 12] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0];

/// Calls on streams that no earlier round has used, each with this message.
fn calls(path: &str, message: &[u8], flags: u8, round: u32) -> Vec<u8> {
    let head = call(path, &[]);
    let streams = (0..STREAMS).map(|stream| 2 * (round * STREAMS + stream) + 1);
    let one = |stream| match message {
        [] => frame(HEADERS, END_HEADERS | flags, stream, &head),
        message => [frame(HEADERS, END_HEADERS, stream, &head), frame(DATA, flags, stream, message)].concat(),
    };
    streams.flat_map(one).collect()
}

async fn drained(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
