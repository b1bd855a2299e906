//! E: two instances hold a document; their subscriptions are cut, and one gets an invalidation.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{QUICK, USER, time};
use testkit::wait_for;

use crate::{
    field::{Library, multi_tier_cache::TTL},
    stand::Stand,
};

/// Rounds; the longest counts. A round that lasts until the TTL ends the probe.
const ROUNDS: i64 = 5;

pub(crate) async fn run(library: Library) -> String {
    let stand = Stand::set_up(library, 2, QUICK).await;
    let [near, far] = &stand.nodes[..] else { unreachable!("the setup has two instances") };
    let publish = format!("PUBLISH {} nonsense", library.channel().expect("it has a channel"));
    let mut outdated = Duration::ZERO;
    for version in 1..=ROUNDS {
        for node in &stand.nodes {
            assert_eq!(node.get(USER).await.unwrap(), version - 1);
        }
        wait_for("two subscriptions", async || (stand.redis().command(&publish).await == ":2").then_some(())).await;
        assert_eq!(stand.redis().command("CLIENT KILL TYPE pubsub").await, ":2");
        stand.write(version).await;
        near.invalidate(USER).await;
        let acknowledged = Instant::now();
        loop {
            let asked_after = acknowledged.elapsed();
            if far.get(USER).await.unwrap() == version {
                break;
            }
            outdated = outdated.max(asked_after);
            sleep(Duration::from_millis(1)).await;
        }
        if outdated > TTL / 2 {
            break;
        }
    }
    stand.take_down().await;
    let until = if outdated > TTL / 2 { format!("its TTL, {}", time(TTL)) } else { "max of five".to_owned() };
    format!("stale for {} ({until})", time(outdated))
}
