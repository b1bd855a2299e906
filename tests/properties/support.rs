//! Real servers, started as the other tests start theirs; redis-server once for this process, each world has a database
//! of its own in it.

#[path = "../it/support/ai.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
pub(crate) mod ai;
#[path = "../it/support/database.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
pub(crate) mod database;
#[path = "../it/support/inputs.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
pub(crate) mod inputs;
#[path = "../it/support/needs.rs"]
mod needs;
#[path = "../it/support/postgres.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
mod postgres;
#[path = "../it/support/process.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
pub(crate) mod process;
#[path = "../it/support/redis.rs"]
#[expect(dead_code, reason = "what the other tests need of it")]
mod redis;

use std::sync::OnceLock;

pub(crate) use needs::wait_for;
use needs::{binary, free_port, log_of};
use redis::Redis;

/// The port of this process' Redis.
pub(crate) fn redis_port() -> u16 {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    let start = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(redis::redis());
    REDIS.get_or_init(start).port
}
