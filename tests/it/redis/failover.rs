//! Redis behind sentinels: found through them, and no worse for a failover that loses writes.

use tokio::time::Instant;

use super::*;
use testkit::redis::sentinels::sentinels;

#[tokio::test]
async fn a_redis_behind_sentinels_is_shared() {
    let group = sentinels().await;
    let two = two(&group.url()).await;
    two.share_redis().await;
    group.replicates(0).await;
    let (user, keys) = (&two.users[0].name, async || group.nodes[0].keys_of_users().await);
    // More than once, as what an earlier answer has found may still be on its way to Redis.
    wait_for("copies that are dropped before OK", async || {
        get(&two.near, of(user)).await.unwrap();
        // A record and an index.
        wait_for("the record", async || (keys().await == 2).then_some(())).await;
        invalidate(&two.near, everything_of(user)).await.unwrap();
        (keys().await == 0).then_some(())
    })
    .await;
}

/// Replication stops, every user is invalidated and stored anew, and the master is gone: the other one
/// becomes master with what was there before.
#[tokio::test]
async fn a_failover_that_loses_writes_makes_no_answer_wrong() {
    let mut group = sentinels().await;
    let two = two(&group.url()).await;
    let oracle = two.under_load().await;
    for (master, other, freezes) in [(0, 1, false), (1, 0, true)] {
        group.replicates(master).await;
        group.stop_replication(master).await;
        oracle.more(20, two.users.len()).await;
        let superseded = two.superseded().await;
        let gone_at = Instant::now();
        if freezes {
            group.nodes[master].freeze();
        } else {
            group.nodes[master].kill().await;
        }
        group.promote(other).await;
        let promoted_after = gone_at.elapsed();
        oracle.more_from(CacheStatus::HitRedis, 1).await;
        eprintln!("frozen: {freezes}; promoted {promoted_after:.1?}, in use {:.1?} after the end", gone_at.elapsed());
        oracle.more(20, two.users.len()).await;
        assert!(two.superseded().await > superseded, "nothing old was found");
        if freezes {
            // It takes itself for the master until the sentinels tell it otherwise, some ten seconds later.
            group.nodes[master].thaw();
        } else {
            group.start(master).await;
        }
        oracle.more_from(CacheStatus::HitRedis, 20).await;
        oracle.assert_right(if freezes { "after a master froze" } else { "after a master was killed" });
    }
    eprintln!("failovers: {}", oracle.seen());
}
