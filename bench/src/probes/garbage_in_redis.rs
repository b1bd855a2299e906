//! I: one instance has stored a document in Redis; it turns into garbage; another instance finds it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{QUICK, USER};
use testkit::wait_for;

use crate::{
    field::{Library, Node},
    stand::Stand,
};

/// Replaces every string by garbage; returns their number.
const SPOIL: &str = "local n=0 for _,k in ipairs(redis.call('KEYS','*')) do \
                     if redis.call('TYPE',k).ok=='string' then redis.call('SET',k,'garbage','KEEPTTL') n=n+1 end end return n";
/// Strings that are still garbage.
const SPOILT: &str = "local n=0 for _,k in ipairs(redis.call('KEYS','*')) do \
                      if redis.call('TYPE',k).ok=='string' and redis.call('GET',k)=='garbage' then n=n+1 end end return n";
/// Enough for a repair, which happens behind the answer.
const REPAIRED_WITHIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(library: Library) -> String {
    let stand = Stand::set_up(library, 2, QUICK).await;
    let run = async |script: &str| stand.redis().command(&format!("EVAL \"{script}\" 0")).await;
    stand.node().get(USER).await.unwrap();
    wait_for("the document to be stored", async || (run(SPOIL).await == ":1").then_some(())).await;

    let other = &stand.nodes[1];
    let answer = match other.get(USER).await {
        Ok(0) => "a miss",
        Ok(_) => "garbage to the caller",
        Err(_) => "an error to the caller",
    };
    let asked = Instant::now();
    let mut still = run(SPOILT).await;
    while still != ":0" && asked.elapsed() < REPAIRED_WITHIN {
        sleep(Duration::from_millis(5)).await;
        still = run(SPOILT).await;
    }
    let repaired = if still == ":0" { "repaired" } else { "not repaired" };
    let counted = match &**other {
        Node::Ours(ours) if ours.garbage().await == 1 => "counted",
        // The libraries have no counter for it.
        _ => "not counted",
    };
    stand.take_down().await;
    format!("{answer}, {repaired}, {counted}")
}
