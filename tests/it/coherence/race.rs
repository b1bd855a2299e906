//! Readers and invalidations at once, for many rounds. The oracle: what is answered to a request sent
//! after an acknowledged invalidation is at least as new as the sources were when that was called.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio_util::task::TaskTracker;
use userdata::proto::v1::{Freshness, GetComprehensiveUserDataRequest, InvalidateCacheRequest};

use testkit::{
    ask::{everything_of, get, invalidate, of, of_strategy},
    cluster::{Cluster, Layout, cluster},
    server::Client,
    wait_for,
};

const STRATEGIES: [i32; 2] = [11, 12];
const ROUNDS: i64 = 60;

/// By strategy: the count that no answer may be below.
type Floors = Arc<[AtomicI64; 2]>;

/// The ways in which the readers ask.
fn requests() -> Vec<GetComprehensiveUserDataRequest> {
    let refresh = GetComprehensiveUserDataRequest { force_refresh: true, ..of("1") };
    let linearizable =
        GetComprehensiveUserDataRequest { freshness: Freshness::Linearizable.into(), ..of_strategy("1", 11) };
    vec![of("1"), of_strategy("1", 11), of_strategy("1", 12), of("1"), refresh, linearizable]
}

/// Asks until told to stop; how many verified answers were judged.
async fn read(client: Client, floors: Floors, stop: Arc<AtomicBool>, first: usize) -> usize {
    let mut judged = 0;
    for request in requests().into_iter().cycle().skip(first) {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let at_least: Vec<i64> = floors.iter().map(|floor| floor.load(Ordering::SeqCst)).collect();
        let answer = get(&client, request.clone()).await.unwrap();
        let which = STRATEGIES.iter().position(|id| i64::from(*id) == answer.strategy).unwrap();
        assert!(answer.count >= at_least[which], "{answer:?}, expected at least {at_least:?}, asked {request:?}");
        // A busy machine may let the lease lapse; such answers are bound all the same.
        judged += usize::from(answer.verified);
    }
    judged
}

/// Every second round concerns one strategy, the others the whole user.
async fn invalidate_often(cluster: &Cluster, client: &Client, floors: &Floors) {
    for round in 1..=ROUNDS {
        let concerned = if round % 2 == 0 { &STRATEGIES[..1] } else { &STRATEGIES[..] };
        for strategy in concerned {
            cluster.sources.write(*strategy, round).await;
        }
        let strategy_id = (round % 2 == 0).then_some(11);
        let request = InvalidateCacheRequest { strategy_id, ..everything_of("1") };
        // A busy machine may refuse one.
        wait_for("an acknowledgement", async || invalidate(client, request.clone()).await.ok()).await;
        for floor in &floors[..concerned.len()] {
            floor.store(round, Ordering::SeqCst);
        }
    }
}

async fn no_answer_is_older_than_an_acknowledged_invalidation(cluster: Cluster) {
    cluster.sources.add_user("1", &STRATEGIES).await;
    let server = cluster.serve().await;
    let floors = Floors::default();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = TaskTracker::new();
    let mut readers = Vec::new();
    for first in 0..5 {
        readers.push(tasks.spawn(read(server.client().await, floors.clone(), stop.clone(), first)));
    }
    invalidate_often(&cluster, &server.client().await, &floors).await;
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() > 10, "hardly anything was judged");
    }
}

#[tokio::test]
async fn readers_never_see_what_was_invalidated_with_a_file() {
    no_answer_is_older_than_an_acknowledged_invalidation(cluster(Layout::Sqlite).await).await;
}

#[tokio::test]
async fn readers_never_see_what_was_invalidated_with_postgres_and_redis() {
    no_answer_is_older_than_an_acknowledged_invalidation(cluster(Layout::Postgres).await.with_redis().await).await;
}
