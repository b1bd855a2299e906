//! A cluster of three masters, of which one is away.

use servers::redis::shards::{Shards, shards, shards_of_full_coverage};

use super::*;
use crate::cache::tiers::guard::PAUSE;

const LIFE: Duration = Duration::from_secs(60);

/// A tier that knows the cluster's slots.
async fn tier_of(shards: &Shards) -> RedisTier {
    let tier = tier_at(shards.url()).await;
    eventually("the slots are known", || async {
        tier.probe().await;
        tier.nodes.all().is_some()
    })
    .await;
    tier
}

async fn raised(shards: &Shards, position: i64, known: Option<LogMark>) -> LogMark {
    let tier = tier_of(shards).await;
    let mark = LogMark { position, nonce: Some(position) };
    eventually("the witness is raised", || async {
        matches!(tier.raise_witness("log", mark, known, LIFE).await, Ok(None))
    })
    .await;
    mark
}

/// What instances that begin now find of the log.
async fn found(shards: &Shards) -> Vec<Witness> {
    let tier = tier_of(shards).await;
    let last = Mutex::new(Vec::new());
    eventually("the witnesses answer", || async {
        tier.probe().await;
        let found = tier.witnesses("log").await;
        found.map(|found| *last.lock() = found).is_ok()
    })
    .await;
    last.into_inner()
}

/// What was written while one shard was away is found while another one is.
#[tokio::test]
async fn the_witness_of_the_log_is_found_whichever_shard_is_away() {
    let mut shards = shards().await;
    let mut mark = raised(&shards, 10, None).await;
    for away in 0..3 {
        shards.masters[away].kill().await;
        assert_eq!(found(&shards).await.last(), Some(&Witness::Of(mark)), "without {away}");
        let known = mark;
        mark = raised(&shards, 11 + i64::try_from(away).unwrap(), Some(known)).await;
        shards.masters[away].start().await;
        shards.are_whole().await;
    }
    let tier = tier_of(&shards).await;
    eventually("the epoch is ended", || async { tier.end_witness("log", LIFE).await.is_ok() }).await;
    assert!(found(&shards).await.contains(&Witness::Ended));

    // The third alone may lack what the two others have.
    for away in 0..2 {
        shards.masters[away].kill().await;
    }
    eventually("both are known to be away", || async { !tier.nodes.has_others(tier.nodes.any().as_deref()) }).await;
    assert!(tier.witnesses("log").await.is_err());
    assert!(tier.end_witness("other", LIFE).await.is_err());
}

#[tokio::test]
async fn the_circuit_stays_open_while_a_cluster_refuses_every_key() {
    let mut shards = shards_of_full_coverage().await;
    let tier = tier_of(&shards).await;
    let keys: Vec<CacheKey> = (1..=8).map(|user| key(&user.to_string(), None)).collect();
    // The one without a replica.
    shards.masters[1].kill().await;
    shards.refuse_without(1).await;
    eventually("the circuit opens", || async {
        for key in &keys {
            let _ = tier.get(key).await;
        }
        !tier.guard.breaker.is_closed()
    })
    .await;
    for _ in 0..5 {
        tier.clock.advance(PAUSE);
        tier.probe().await;
        assert!(!tier.guard.breaker.is_closed(), "a probe succeeds where every read fails");
    }
    shards.masters[1].start().await;
    shards.are_whole().await;
    eventually("the circuit closes", || async {
        tier.clock.advance(PAUSE);
        tier.probe().await;
        tier.guard.breaker.is_closed()
    })
    .await;
    for key in &keys {
        eventually("it answers", || async { tier.get(key).await.is_ok() }).await;
    }
}
