//! A proxy whose connections can be made to swallow everything, as a firewall does that forgot them.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

pub(in crate::cache) struct Silencer {
    pub(in crate::cache) address: SocketAddr,
    silenced: watch::Sender<()>,
    _forwarding: JoinSet<()>,
}

impl Silencer {
    /// Forwards to a port of this machine.
    pub(in crate::cache) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (silenced, watched) = watch::channel(());
        let mut forwarding = JoinSet::new();
        forwarding.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let mut inner = listener.accept().await.unwrap().0;
                let mut watched = watched.clone();
                watched.mark_unchanged();
                connections.spawn(async move {
                    let Ok(mut outer) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut inner, &mut outer) => {}
                        // Both stay open.
                        _ = watched.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, silenced, _forwarding: forwarding }
    }

    /// From now on the connections that there are carry nothing more; new ones do.
    pub(in crate::cache) fn silence(&self) {
        self.silenced.send_replace(());
    }
}
