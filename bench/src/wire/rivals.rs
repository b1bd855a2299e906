//! The compared servers, one per process. All but bare hyper answer the contract's method through tonic, and decode the
//! request. Only userdata has limits, deadlines and metrics.

mod hyper;
mod ours;
mod tonic;

use std::{net::SocketAddr, path::PathBuf};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use prost::Message as _;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use userdata::{
    config::{LogSettings, OpenTelemetry},
    grpc::transport::write_coalescing::Coalesced,
    proto::v1::GetComprehensiveUserDataResponse,
    telemetry::Telemetry,
};

use super::document::Documents;

pub(super) use self::ours::Ours;

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rival {
    /// tonic, a message of one shared `bytes` field.
    Echo,
    /// The same with coalesced writes.
    EchoCoalesced,
    /// hyper, one `Bytes` and trailers.
    Hyper,
    /// The same with coalesced writes.
    HyperCoalesced,
    /// tonic, the contract's message as a copy from moka.
    Moka,
    /// tonic, the encoded document from multi-tier-cache.
    MultiTierCache,
    /// tonic, the contract's message from Redis, as JSON.
    RedisJson,
    /// This service, with `server.coalesce_writes` off.
    OursUncoalesced,
    /// This service.
    Ours,
    /// This service, with a collector for metrics and, by default, 1 % of the traces.
    OursTraced,
}

/// The arguments of a server.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    rival: Rival,
    /// The reply's message.
    #[arg(long)]
    reply: PathBuf,
    #[arg(long)]
    redis: String,
    /// The database of the sources; by default, a new one with a document of `size` KiB.
    #[arg(long)]
    database: Option<String>,
    #[arg(long, default_value_t = 16)]
    size: usize,
}

impl Rival {
    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().expect("none is skipped").get_name().to_owned()
    }
}

/// The Redis key of the user's document as JSON.
pub(super) fn json_key(user: &str) -> String {
    format!("bench:json:{user}")
}

/// Serves until the process is killed.
pub(crate) async fn serve(options: Serve) {
    let reply = Bytes::from(std::fs::read(&options.reply).unwrap());
    if let Rival::Ours | Rival::OursTraced | Rival::OursUncoalesced = options.rival {
        let telemetry = Telemetry::start(&LogSettings::default(), &OpenTelemetry::of_process()).unwrap();
        let own;
        let database = match &options.database {
            Some(url) => url,
            None => {
                own = Documents::prepare(&[options.size]).await;
                own.database_url()
            }
        };
        let ours = Ours::start(database, telemetry, options.rival != Rival::OursUncoalesced).await;
        say(ours.address());
        return ours.ended().await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    say(listener.local_addr().unwrap());
    let listener = match options.rival {
        Rival::EchoCoalesced | Rival::HyperCoalesced => Listener { listener, wrap: Coalesced::new },
        _ => Listener { listener, wrap: Coalesced::switched_off },
    };
    match options.rival {
        Rival::Echo | Rival::EchoCoalesced => tonic::serve(listener, tonic::echo(reply)).await,
        Rival::Hyper | Rival::HyperCoalesced => hyper::serve(listener, reply).await,
        Rival::Moka => {
            let message = GetComprehensiveUserDataResponse::decode(reply).unwrap();
            tonic::serve(listener, tonic::moka(message)).await;
        }
        Rival::MultiTierCache => tonic::serve(listener, tonic::multi_tier_cache(&options.redis, reply).await).await,
        Rival::RedisJson => tonic::serve(listener, tonic::redis_json(&options.redis).await).await,
        Rival::Ours | Rival::OursTraced | Rival::OursUncoalesced => unreachable!("served above"),
    }
}

fn say(address: SocketAddr) {
    println!("listening on {address} as {}", std::process::id());
}

/// A collector that discards telemetry: it answers every call with an empty message.
#[derive(Debug)]
pub(super) struct Sink {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Sink {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(hyper::serve(Listener { listener, wrap: Coalesced::switched_off }, Bytes::new()));
        Self { address, _serving: serving }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The listener, and the way of writing.
struct Listener {
    listener: TcpListener,
    wrap: fn(TcpStream) -> Coalesced<TcpStream>,
}

impl Listener {
    /// The next connection, with tonic's own options.
    async fn accept(&self) -> Coalesced<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        (self.wrap)(stream)
    }
}
