//! userdata, with its defaults and no Redis: after the first answer, all are memory hits.

use std::net::SocketAddr;

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use userdata::{
    app::{App, Listeners},
    config::{Config, Secret},
    telemetry::Telemetry,
};

/// One instance in this process.
#[derive(Debug)]
pub(in crate::wire) struct Ours {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Ours {
    pub(in crate::wire) async fn start(database_url: &str, telemetry: Telemetry, coalesce_writes: bool) -> Self {
        let mut config = Config::default();
        config.database.url = Secret::new(database_url);
        config.server.coalesce_writes = coalesce_writes;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probes_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let app = Box::pin(App::connect(config, telemetry)).await.unwrap();
        let listeners = Listeners { grpc: listener, http: None, probes: probes_listener };
        let running = app.run(listeners, stop.clone().cancelled_owned());
        let ended = TaskTracker::new().spawn(async move { Box::pin(running).await.unwrap() });
        Self { address, stop, ended }
    }

    pub(in crate::wire) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(in crate::wire) async fn stop(self) {
        self.stop.cancel();
        self.ended.await.unwrap();
    }

    pub(super) async fn ended(self) {
        self.ended.await.unwrap();
    }
}
