//! What every real server needs: a port, its program, its log, and a wait until it is ready.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::TcpSocket;

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A port that refuses connections. No other process gets it as long as this is kept: the socket is bound, and does not
/// listen.
#[derive(Debug)]
pub struct RefusingPort(TcpSocket);

impl RefusingPort {
    pub fn bound() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// Looks for a state every few milliseconds until it is there.
pub async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match look().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited a minute for {what}"))
}

/// A server's binary, in the PATH or in one of `directories`.
pub fn binary(name: &str, directories: &[PathBuf]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = directories.iter().cloned().chain(std::env::split_paths(&path)).map(|directory| directory.join(name));
    found.into_iter().find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("{name} is not installed: run tests/run, which installs what the tests need (as root) or says what to install")
    })
}

/// A server's log, for the message of a failure.
pub fn log_of(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| format!("(no log: {error})"))
}
