//! A real redis-server, started as the other tests start theirs; once for this process, each world has a database of
//! its own in it.

#[path = "../it/support/process.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
pub(crate) mod process;
#[path = "../it/support/redis.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
mod redis;

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use redis::Redis;

/// The port of this process' Redis.
pub(crate) fn redis_port() -> u16 {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    let start = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(redis::redis());
    REDIS.get_or_init(start).port
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Looks for a state every few milliseconds until it is there.
async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
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

fn binary(name: &str, directories: &[PathBuf]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = directories.iter().cloned().chain(std::env::split_paths(&path)).map(|directory| directory.join(name));
    found.into_iter().find(|file| file.is_file()).unwrap_or_else(|| panic!("{name} is not installed: run tests/run"))
}

fn log_of(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| format!("(no log: {error})"))
}
