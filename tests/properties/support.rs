//! A real redis-server, started as the other tests start theirs; once for this process, each world has a database of
//! its own in it.

#[path = "../it/support/ai.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
pub(crate) mod ai;
#[path = "../it/support/needs.rs"]
mod needs;
#[path = "../it/support/process.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
pub(crate) mod process;
#[path = "../it/support/redis.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
mod redis;

use std::sync::OnceLock;

use needs::{binary, free_port, log_of, wait_for};
use redis::Redis;

/// The port of this process' Redis.
pub(crate) fn redis_port() -> u16 {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    let start = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(redis::redis());
    REDIS.get_or_init(start).port
}
