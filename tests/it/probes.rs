//! Eight things that caches are known to get wrong, asked of this one. `bench` asks them of other
//! libraries as well and prints the table; here our column has to hold.
//!
//! Most of them are a test of some other matter already. They are named here, not written twice.

use std::{path::Path, time::Duration};

use futures::future::join_all;
use tokio::time::Instant;
use tonic::{Code, Status};

use testkit::{
    ask::{Answer, get, of, reason, runs, stats},
    cluster::{Layout, cluster},
    database::{Kind, demo_database},
    raw,
    redis::redis,
    server::{Client, Settings, serve},
    sources::OF_STRATEGY,
    wait_for,
};

/// What happens, by its letter in the table, and the test of it: a file and a name.
const PROBES: [(&str, &str, &str); 8] = [
    ("A: who began a load leaves", "herd.rs", "callers_that_leave_change_nothing_for_those_who_stay"),
    (
        "B: an invalidation falls into a load",
        "coherence/held.rs",
        "a_load_that_an_invalidation_falls_into_is_never_seen_again_with_postgres_and_redis",
    ),
    (
        "C: the source fails everybody",
        "probes.rs",
        "fifty_callers_of_a_failing_source_cost_one_load_and_the_next_one_comes_after_a_pause",
    ),
    ("D: nobody waits long enough", "probes.rs", "callers_who_never_wait_long_enough_are_answered_in_the_end"),
    ("E: a subscription is cut", "notifications.rs", "a_cut_subscription_is_made_again"),
    ("G: a cold key on four instances", "load_lease.rs", "a_cold_key_on_four_instances_costs_one_load"),
    ("H: Redis hangs", "probes.rs", "a_redis_that_hangs_costs_its_timeout_a_few_times_and_then_nothing"),
    ("I: garbage in Redis", "tiers.rs", "garbage_in_redis_is_a_miss_that_heals_and_is_counted"),
];

#[test]
fn every_probe_is_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for (probe, file, test) in PROBES {
        let text = std::fs::read_to_string(tests.join(file)).unwrap();
        assert!(text.contains(&format!("#[tokio::test]\nasync fn {test}() {{")), "{probe}: {file} has no {test}");
    }
}

/// How often the strategies have been read: by every load once.
async fn loads(client: &Client) -> i64 {
    let stats = stats(client).await;
    runs(&stats).into_iter().find(|(source, _)| *source == "strategy").unwrap().1
}

/// A pause after a load that failed is a second, shorter by a quarter at most.
const PAUSE_MIN: Duration = Duration::from_millis(750);

#[tokio::test]
async fn fifty_callers_of_a_failing_source_cost_one_load_and_the_next_one_comes_after_a_pause() {
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    let server = cluster.serve().await;
    let client = server.client().await;
    let held = cluster.sources.hold(OF_STRATEGY).await;
    let calls = (0..50).map(|_| get(&client, of("1")));
    let fail = async {
        held.is_waited_for_by(1).await;
        server.has_waiting_callers(50).await;
        held.break_table().await;
    };
    let began = Instant::now();
    let (answers, ()) = tokio::join!(join_all(calls), fail);
    assert_eq!(loads(&client).await, 1, "and nobody has asked again");
    for answer in answers {
        assert_source_failed(answer);
    }
    // One caller goes on asking, and gets the same answer all the time.
    wait_for("two more loads", async || {
        assert_source_failed(get(&client, of("1")).await);
        (loads(&client).await == 3).then_some(())
    })
    .await;
    assert!(began.elapsed() >= 2 * PAUSE_MIN, "{:?}", began.elapsed());
}

#[track_caller]
fn assert_source_failed(answer: Result<Answer, Status>) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "SOURCE_FAILED"), "{status}");
}

#[tokio::test]
async fn callers_who_never_wait_long_enough_are_answered_in_the_end() {
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    let server = cluster.serve().await;
    let client = server.client().await;
    let connection = raw::Connection::open(server.address).await;
    let hurried = || connection.call(raw::GET, &[("grpc-timeout", "200m")], raw::framed(&of("1")));

    let held = cluster.sources.hold(OF_STRATEGY).await;
    for answer in join_all((0..40).map(|_| hurried())).await {
        assert_eq!(answer.code(), Code::DeadlineExceeded, "{answer}");
    }
    held.is_waited_for_by(1).await;
    // They ask again and again, and the load ends in between.
    let ask_again = join_all((0..40).map(|_| {
        wait_for("an answer in time", async || match hurried().await.code() {
            Code::DeadlineExceeded => None,
            code => Some(code),
        })
    }));
    let (codes, ()) = tokio::join!(ask_again, held.release());
    assert_eq!(codes, [Code::Ok; 40]);
    assert_eq!(loads(&client).await, 1);
}

/// Far beyond Redis' timeout of 50 ms, and below what a caller would take for a failure.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_redis_that_hangs_costs_its_timeout_a_few_times_and_then_nothing() {
    let (place, redis) = (demo_database(Kind::Postgres).await, redis().await);
    let server = serve(Settings::on(&place.url).with("redis.url", redis.url()).with("redis.timeout", "50ms")).await;
    let client = server.client().await;
    let tier = async || stats(&client).await.tiers.into_iter().find(|tier| tier.tier == "redis").unwrap();
    let caller = server.caller().await;
    // The demo's users; no document of theirs is cached yet.
    let mut cold = (1..=30).map(|user| user.to_string());
    let mut ask = async || {
        let user = cold.next().expect("fewer than thirty");
        let asked = Instant::now();
        caller.get(&user).await;
        asked.elapsed()
    };
    ask().await;
    let before = ask().await;
    redis.freeze();
    let mut hanging = Vec::new();
    while tier().await.breaker_state == "closed" {
        hanging.push(ask().await);
    }
    let looked_up = tier().await.misses;
    let mut without = Vec::new();
    for _ in 0..10 {
        without.push(ask().await);
    }
    eprintln!("Redis answers: {before:.1?}, hangs: {hanging:.1?}, circuit open: {without:.1?}");
    assert!(hanging.iter().chain(&without).all(|took| *took < SOON));
    assert_eq!(tier().await.misses, looked_up, "nobody asks it any more");
}
