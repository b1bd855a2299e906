//! More than an instance can do: what is too much is refused at once and told when to come back, what is in memory is
//! answered all the same, nothing grows without bound, and when it is over it is over.
//!
//! How much is still done meanwhile depends on the machine, so that is printed here and measured elsewhere
//! (`userdata-bench overload`).

use std::time::Duration;

use sea_orm::ConnectionTrait;
use tokio::{task::JoinSet, time::Instant};
use tonic::Status;
use userdata::proto::v1::CacheStatus;

use testkit::{
    ask::{assert_overloaded, get, of, stats},
    cluster::{Cluster, Layout, cluster},
    load::{Load, TimedCall},
    server::{Client, Server, serve},
    sources::OF_STRATEGY,
    wait_for,
};

/// What is read at once and what waits, by default.
const PLACES: usize = 16 + 64;
/// A connection carries at most 256 calls at once.
const CONNECTIONS: usize = 8;
/// More than all that an overload is allowed to cost, in a debug build, too.
const MORE_MEMORY_MIB: u64 = 192;

/// An instance whose sources may be held for as long as a test takes, and users 1 to `users`.
async fn instance(users: usize) -> (Cluster, Server) {
    let cluster = cluster(Layout::Postgres).await.with_redis().await;
    let fill = format!(
        "INSERT INTO onboarding_sessions (user_id) SELECT id::text FROM generate_series(1, {users}) id; \
         INSERT INTO enhanced_content_strategies (id, user_id, name, industry) \
         SELECT id, id::text, '0', 'technology' FROM generate_series(1, {users}) id"
    );
    cluster.sources.db.execute_unprepared(&fill).await.unwrap();
    let patient = [("sources.soft_timeout", "5m"), ("sources.hard_timeout", "5m"), ("loads.budget", "6m")];
    let patient = patient.into_iter().chain([("server.default_deadline", "10m")]);
    let settings = patient.fold(cluster.settings(), |settings, (name, value)| settings.with(name, value));
    let server = serve(settings).await;
    (cluster, server)
}

async fn connections(server: &Server) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.client().await);
    }
    clients
}

/// A call, and how long it took.
async fn timed(client: Client, user: usize) -> (Duration, Result<CacheStatus, Status>) {
    let began = Instant::now();
    let outcome = get(&client, of(&user.to_string())).await.map(|answer| answer.status);
    (began.elapsed(), outcome)
}

fn print(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    eprintln!("{} {what}: p50 {:.1?}, p99 {:.1?}, most {:.1?}", took.len(), at(50), at(99), at(100));
}

#[tokio::test]
async fn misses_beyond_the_places_are_refused_at_once_while_hits_go_on_and_memory_stays() {
    const MISSES: usize = 1000;
    let (cluster, server) = instance(MISSES + 2).await;
    let clients = connections(&server).await;
    get(&clients[0], of("1")).await.unwrap();
    let before = server.memory_mib();

    let held = cluster.sources.hold(OF_STRATEGY).await;
    let mut misses = JoinSet::new();
    for user in 0..MISSES {
        misses.spawn(timed(clients[user % CONNECTIONS].clone(), 2 + user));
    }
    let mut hits = Vec::new();
    let mut refused = Vec::new();
    // Nothing is read until the sources are let go, so a caller who is answered before is refused.
    while refused.len() < MISSES - PLACES {
        let (took, hit) = timed(clients[refused.len() % CONNECTIONS].clone(), 1).await;
        assert_eq!(hit.expect("hits go on"), CacheStatus::HitMemory);
        hits.push(took);
        while let Some(ended) = misses.try_join_next() {
            let (took, outcome) = ended.unwrap();
            assert_overloaded(&outcome.expect_err("the sources are held"));
            refused.push(took);
        }
    }
    let more = server.memory_mib().saturating_sub(before);
    assert!(more < MORE_MEMORY_MIB, "{more} MiB more than the {before} before");
    print("refused", refused);
    print("hits beside them", hits);

    held.release().await;
    let (fell, mut let_in) = (Instant::now(), 0);
    while let Some(ended) = misses.join_next().await {
        match ended.unwrap().1 {
            Ok(_) => let_in += 1,
            // It had no turn to look while others had theirs.
            Err(status) => assert_overloaded(&status),
        }
    }
    assert!(let_in > 0, "what was let in is answered");
    get(&clients[0], of(&(MISSES + 2).to_string())).await.expect("the overload is over");
    eprintln!("{let_in} were let in; over after {:.1?}, {more} MiB more", fell.elapsed());
}

#[tokio::test]
async fn ten_times_the_callers_of_what_is_in_memory_are_answered_and_leave_nothing_behind() {
    const CALLERS: usize = 640;
    const CALLS_EACH: usize = 5;
    const USERS: usize = 20;
    let (_cluster, server) = instance(USERS).await;
    let clients = connections(&server).await;
    for user in 1..=USERS {
        get(&clients[0], of(&user.to_string())).await.unwrap();
    }
    let (before, began) = (server.memory_mib(), Instant::now());

    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let client = clients[caller % CONNECTIONS].clone();
        callers.spawn(async move {
            let mut took = Vec::new();
            for call in 0..CALLS_EACH {
                let (time, outcome) = timed(client.clone(), 1 + (caller + call) % USERS).await;
                match outcome {
                    Ok(status) => assert_eq!(status, CacheStatus::HitMemory),
                    Err(status) => assert_overloaded(&status),
                }
                took.push(time);
            }
            took
        });
    }
    let mut took = Vec::new();
    while let Some(ended) = callers.join_next().await {
        took.extend(ended.unwrap());
    }

    eprintln!("{} calls in {:.1?}", took.len(), began.elapsed());
    print("calls", took);
    let more = server.memory_mib().saturating_sub(before);
    assert!(more < MORE_MEMORY_MIB, "{more} MiB more than the {before} before");
    assert_eq!(get(&clients[0], of("1")).await.unwrap().status, CacheStatus::HitMemory);
    wait_for("nobody to wait any more", async || (stats(&clients[0]).await.loads_active == 0).then_some(())).await;
}

#[tokio::test]
async fn when_all_tiers_are_emptied_under_load_they_are_filled_again() {
    const USERS: usize = 60;
    let (mut cluster, server) = instance(USERS).await;
    let caller = server.caller().await;
    let users: Vec<String> = (1..=USERS).map(|user| user.to_string()).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    for user in &users {
        caller.until(user, CacheStatus::HitMemory).await;
    }
    let load = Load::start(&caller, &users, 20);
    let is_hit =
        |asked: &TimedCall| asked.outcome.as_ref().is_ok_and(|answer| answer.status() == CacheStatus::HitMemory);
    load.more(2 * USERS).await;

    assert_eq!(cluster.redis().command("FLUSHALL").await, "+OK");
    // A position that nothing cached has reached: memory refuses what it holds as soon as the log is read.
    let lose = "UPDATE invalidation_log_head SET position = position + 1, low_watermark = position + 1; TRUNCATE comprehensive_user_data_cache";
    cluster.cache.execute_unprepared(lose).await.unwrap();

    let lost = Instant::now();
    let mut asked = load.until("something to be lost", |asked| !is_hit(asked)).await;
    // Each caller asks for all users in turn: after so many hits in a row every user has been one.
    let mut recovered = false;
    while !recovered {
        let more = load.more(USERS).await;
        recovered = more.iter().all(is_hit);
        asked.extend(more);
    }
    eprintln!("{} answers until all were hits again, after {:.1?}", asked.len(), lost.elapsed());
    for status in asked.iter().filter_map(|asked| asked.outcome.as_ref().err()) {
        assert_overloaded(status);
    }
    drop(load);
    for user in &users {
        assert_eq!(caller.get(user).await.status(), CacheStatus::HitMemory);
    }
}
