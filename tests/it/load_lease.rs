//! One load per key in the whole cluster, at whichever instance callers ask, and whatever becomes of the loading one.

mod rows;

use std::{collections::BTreeMap, time::Duration};

use tokio::{task::JoinHandle, time::Instant};
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};
use userdata::proto::v1::{CacheStatus, GetComprehensiveUserDataRequest, InvalidateCacheRequest, Wait};

use testkit::{
    ask::{Answer, everything_of, get, invalidate, of, reason, runs, stats},
    cluster::{Cluster, Layout, cluster},
    server::{Client, Server, Settings, serve},
    sources::{OF_STRATEGY, count},
    wait_for,
};

const INSTANCES: usize = 4;
/// What one assembly takes.
const ONE_RUN_EACH: [(&str, i64); 6] = [
    ("ai_analysis", 1),
    ("gap_analysis", 1),
    ("onboarding", 1),
    ("performance", 1),
    ("recommendations", 1),
    ("strategy", 1),
];
/// From the end of a holder to the last answer: its lease stands still for 5 s, and the machine is busy.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(9);

/// An instance and a connection to it.
struct Instance {
    server: Server,
    client: Client,
}

type Call = JoinHandle<Result<Answer, Status>>;

impl Instance {
    async fn start(settings: Settings) -> Self {
        let server = serve(settings).await;
        let client = server.client().await;
        Self { server, client }
    }

    /// So many calls at once.
    fn call(&self, calls: usize, request: &GetComprehensiveUserDataRequest) -> Vec<Call> {
        let tasks = TaskTracker::new();
        let one = |(client, request): (Client, GetComprehensiveUserDataRequest)| {
            tasks.spawn(async move { get(&client, request).await })
        };
        (0..calls).map(|_| one((self.client.clone(), request.clone()))).collect()
    }

    /// Waits until a load is under way here, or waits for one elsewhere.
    async fn has_a_load(&self) {
        wait_for("a load", async || (stats(&self.client).await.loads_active > 0).then_some(())).await;
    }

    /// Whether it reads the sources.
    async fn is_loading(&self) -> bool {
        stats(&self.client).await.sources.iter().any(|source| source.in_flight > 0)
    }
}

/// Instances on one PostgreSQL, and a user without a cached document.
async fn instances(adjust: impl Fn(Settings) -> Settings) -> (Cluster, Vec<Instance>) {
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    let starting = (0..INSTANCES).map(|_| Instance::start(adjust(cluster.settings())));
    let instances = futures::future::join_all(starting).await;
    (cluster, instances)
}

/// How often each source has run on all of these.
async fn runs_of(instances: &[Instance]) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for instance in instances {
        for (source, number) in runs(&stats(&instance.client).await) {
            *sums.entry(source.to_owned()).or_default() += number;
        }
    }
    sums
}

fn once() -> BTreeMap<String, i64> {
    ONE_RUN_EACH.map(|(source, number)| (source.to_owned(), number)).into()
}

/// Waits until no lease is held any more.
async fn leases_are_given_back(cluster: &Cluster) {
    wait_for("leases to be given back", async || {
        (count(&cluster.cache, "SELECT COUNT(*) FROM load_lease").await == 0).then_some(())
    })
    .await;
}

async fn answers(calls: Vec<Call>) -> Vec<Answer> {
    let answers = futures::future::join_all(calls).await;
    answers.into_iter().map(|answer| answer.unwrap().unwrap()).collect()
}

#[tokio::test]
async fn a_cold_key_on_four_instances_costs_one_load() {
    let (cluster, instances) = instances(|settings| settings).await;
    cluster.note_claims().await;
    let hold = cluster.sources.hold(OF_STRATEGY).await;
    let calls: Vec<Call> = instances.iter().flat_map(|instance| instance.call(250, &of("1"))).collect();
    // Each has looked into the tiers by then, in vain.
    cluster.has_claims("%", INSTANCES).await;
    hold.is_waited_for_by(1).await;
    hold.release().await;

    let answers = answers(calls).await;
    let assembled = answers.iter().filter(|answer| answer.status == CacheStatus::Assembled).count();
    assert_eq!((answers.len(), assembled), (1000, 1), "one caller's load, and 999 who shared it");
    assert!(answers.iter().all(|answer| answer.status != CacheStatus::HitDatabase), "they waited: nothing was there");
    assert_eq!(runs_of(&instances).await, once());
    assert_eq!(cluster.rows().await, 1, "stored before the others were answered");
    leases_are_given_back(&cluster).await;
}

#[tokio::test]
async fn fifty_cold_keys_on_four_instances_cost_fifty_loads() {
    const USERS: usize = 50;
    let (cluster, instances) = instances(|settings| settings).await;
    let users: Vec<String> = (0..USERS).map(|number| format!("user-{number}")).collect();
    for (user, strategy) in users.iter().zip(100..) {
        cluster.sources.add_user(user, &[strategy]).await;
    }
    let hold = cluster.sources.hold(OF_STRATEGY).await;
    let mut calls: Vec<Call> = Vec::new();
    for user in &users {
        calls.extend(instances.iter().flat_map(|instance| instance.call(5, &of(user))));
    }
    for instance in &instances {
        wait_for("a load for every user", async || {
            (stats(&instance.client).await.loads_active >= USERS as i32).then_some(())
        })
        .await;
    }
    hold.release().await;

    let answers = answers(calls).await;
    let assembled = answers.iter().filter(|answer| answer.status == CacheStatus::Assembled).count();
    assert_eq!((answers.len(), assembled), (1000, USERS), "one caller's load for each user");
    assert!(answers.chunks(4 * 5).zip(&users).all(|(answers, user)| answers.iter().all(|one| one.user == *user)));
    let each = ONE_RUN_EACH.map(|(source, once)| (source.to_owned(), once * USERS as i64));
    assert_eq!(runs_of(&instances).await, each.into());
    leases_are_given_back(&cluster).await;
}

/// How a holder ends.
async fn check_takeover(signal: &str) {
    let (cluster, mut instances) = instances(|settings| settings).await;
    let hold = cluster.sources.hold(OF_STRATEGY).await;
    let mut calls: Vec<Vec<Call>> = instances.iter().map(|instance| instance.call(20, &of("1"))).collect();
    for instance in &instances {
        instance.has_a_load().await;
    }
    hold.is_waited_for_by(1).await;
    let loading = futures::future::join_all(instances.iter().map(Instance::is_loading)).await;
    assert_eq!(loading.iter().filter(|loading| **loading).count(), 1, "{signal}: one instance loads");
    let place = loading.iter().position(|loading| *loading).unwrap();
    let (mut holder, holders_calls) = (instances.remove(place), calls.remove(place));

    let ended_at = Instant::now();
    if signal == "KILL" {
        holder.server.kill().await;
        // PostgreSQL notices that it is gone, long before a survivor takes over.
        hold.is_waited_for_by(0).await;
        hold.is_waited_for_by(1).await;
    } else {
        holder.server.signal(signal);
        hold.is_waited_for_by(2).await;
    }
    hold.release().await;
    let answers = answers(calls.into_iter().flatten().collect()).await;
    let took = ended_at.elapsed();
    assert!(took < TAKEN_OVER_WITHIN, "{signal}: {took:?}");
    assert!(answers.iter().all(|answer| answer.count == 0));
    assert_eq!(runs_of(&instances).await, once(), "{signal}: one survivor, once");
    leases_are_given_back(&cluster).await;

    if signal == "STOP" {
        // What it read before this is what it will still write.
        cluster.sources.write(11, 1).await;
        // All of them are asked below, and without waiting only the instance that acknowledged has to know.
        let everywhere = InvalidateCacheRequest { wait: Wait::All.into(), ..everything_of("1") };
        invalidate(&instances[0].client, everywhere).await.unwrap();
        holder.server.signal("CONT");
        // Its own callers asked before the invalidation.
        for call in holders_calls {
            let _ = call.await.unwrap();
        }
        instances.push(holder);
        for instance in instances.iter().chain(&instances) {
            let answer = get(&instance.client, of("1")).await.unwrap();
            assert_eq!((answer.count, answer.verified), (1, true), "a late write is seen by nobody");
        }
    }
}

#[tokio::test]
async fn a_killed_holders_load_is_taken_over_by_one_survivor() {
    check_takeover("KILL").await;
}

#[tokio::test]
async fn a_frozen_holders_load_is_taken_over_and_what_it_writes_later_harms_nothing() {
    check_takeover("STOP").await;
}

#[tokio::test]
async fn a_load_without_a_document_is_told_to_those_who_wait_for_it() {
    let hasty = |settings: Settings| settings.with("sources.hard_timeout", "4s").with("sources.soft_timeout", "4s");
    let (cluster, instances) = instances(hasty).await;
    // The second load dies of waiting; the first one finds that there is nothing.
    for (user, held, code, why) in
        [("nobody", false, Code::NotFound, "USER_NOT_FOUND"), ("1", true, Code::Unavailable, "SOURCE_FAILED")]
    {
        let before = runs_of(&instances).await;
        let hold = cluster.sources.hold(OF_STRATEGY).await;
        let calls: Vec<Call> = instances.iter().flat_map(|instance| instance.call(20, &of(user))).collect();
        for instance in &instances {
            instance.has_a_load().await;
        }
        if !held {
            hold.release().await;
        }
        for call in calls {
            let status = call.await.unwrap().unwrap_err();
            assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{user}");
        }
        let after = runs_of(&instances).await;
        assert_eq!(after["strategy"] - before.get("strategy").copied().unwrap_or_default(), 1, "{user}");
    }
    leases_are_given_back(&cluster).await;
}

#[tokio::test]
async fn nobody_waits_for_a_load_that_an_invalidation_has_outdated() {
    let (cluster, instances) = instances(|settings| settings).await;
    let hold = cluster.sources.hold(OF_STRATEGY).await;
    let before = instances[0].call(1, &of("1"));
    hold.is_waited_for_by(1).await;

    cluster.sources.write(11, 1).await;
    let token = invalidate(&instances[1].client, everything_of("1")).await.unwrap();
    let request = GetComprehensiveUserDataRequest { min_token: token, ..of("1") };
    let after: Vec<Call> = instances[1..].iter().flat_map(|instance| instance.call(5, &request)).collect();
    // A second load, while the first one still holds on; and no third one.
    hold.is_waited_for_by(2).await;
    for instance in &instances {
        instance.has_a_load().await;
    }
    hold.release().await;
    assert!(answers(after).await.iter().all(|answer| answer.count == 1));
    assert_eq!(answers(before).await[0].count, 0, "it asked before the invalidation");
    assert_eq!(runs_of(&instances).await["strategy"], 2);
    leases_are_given_back(&cluster).await;
}

#[tokio::test]
async fn the_leases_of_a_dead_cluster_keep_nobody_from_loading() {
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    cluster.sources.add_user("2", &[12]).await;
    let mut instance = Instance::start(cluster.settings()).await;
    let hold = cluster.sources.hold(OF_STRATEGY).await;
    let calls = instance.call(1, &of("1"));
    hold.is_waited_for_by(1).await;
    instance.server.kill().await;
    hold.release().await;
    assert!(calls.into_iter().next().unwrap().await.unwrap().is_err(), "it died");
    assert_eq!(count(&cluster.cache, "SELECT COUNT(*) FROM load_lease").await, 1, "it left its lease");

    let instance = Instance::start(cluster.settings()).await;
    let asked_at = Instant::now();
    let (other, orphan) = tokio::join!(get(&instance.client, of("2")), get(&instance.client, of("1")));
    let took = asked_at.elapsed();
    for answer in [other, orphan] {
        assert_eq!(answer.unwrap().facts(), (CacheStatus::Assembled, 0));
    }
    assert!(took < TAKEN_OVER_WITHIN, "{took:?}");
    leases_are_given_back(&cluster).await;
}

#[tokio::test]
async fn a_shutdown_gives_leases_back() {
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    let mut instance = Instance::start(cluster.settings()).await;
    let hold = cluster.sources.hold(OF_STRATEGY).await;
    let calls = instance.call(1, &of("1"));
    hold.is_waited_for_by(1).await;
    // Released once it has been told to end: `join` begins with the first.
    tokio::join!(instance.server.terminate(), hold.release());
    assert_eq!(answers(calls).await[0].facts(), (CacheStatus::Assembled, 0));
    assert_eq!(cluster.rows().await, 1, "the load stored what it had");
    assert_eq!(count(&cluster.cache, "SELECT COUNT(*) FROM load_lease").await, 0);
}

#[tokio::test]
async fn a_lease_that_cannot_be_had_costs_the_databases_time_and_no_more() {
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    // The default.
    let instance = Instance::start(cluster.settings().with("database.timeout", "200ms")).await;
    let _hold = cluster.sources.hold("load_lease").await;
    let asked_at = Instant::now();
    assert_eq!(get(&instance.client, of("1")).await.unwrap().facts(), (CacheStatus::Assembled, 0));
    let took = asked_at.elapsed();
    assert!(took < Duration::from_secs(4), "neither a holder's silence nor the longest wait: {took:?}");
    wait_for("the document to be stored", async || (cluster.rows().await == 1).then_some(())).await;
}
