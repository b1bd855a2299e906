//! A rolling restart seen by its callers: three instances leave one after the other and come back, and no call fails.
//!
//! The client does the least that one may expect: it takes the instances in turn, whether or not they are there, and
//! repeats a call that was UNAVAILABLE once, at the next one. What never left it, because its connection was just being
//! closed, it sends again, as gRPC has every client do by itself ("transparent retries"); tonic leaves that to its users.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status};
use userdata::proto::v1::CacheStatus;

use testkit::{
    ask::{everything_of, get, invalidate, of, runs, stats},
    cluster::{Layout, cluster},
    server::{Client, Server, lazy_client},
    sources::OF_STRATEGY,
    wait_for,
};

/// 200 calls a second over all instances.
const BETWEEN_CALLS: Duration = Duration::from_millis(5);
/// What is called at once. A busy machine is not to be overloaded.
const CALLS_AT_ONCE: usize = 32;
const USERS: usize = 20;
/// Every so many calls one user is invalidated, so that there are loads all the time.
const CALLS_PER_INVALIDATION: usize = 20;
/// With every instance there and after it has come back, before the next one leaves.
const CALLS_BETWEEN_RESTARTS: usize = 100;

/// The instances, in turn.
#[derive(Debug)]
struct Balanced {
    instances: Vec<Client>,
    calls: AtomicUsize,
    /// What calls failed with at first, and those that failed although they were repeated.
    repeated: Mutex<BTreeMap<String, usize>>,
    failed: Mutex<Vec<Status>>,
    answered: AtomicUsize,
}

impl Balanced {
    fn over(servers: &[Server]) -> Self {
        Self {
            instances: servers.iter().map(|server| lazy_client(server.address)).collect(),
            calls: AtomicUsize::default(),
            repeated: Mutex::default(),
            failed: Mutex::default(),
            answered: AtomicUsize::default(),
        }
    }

    async fn call(&self) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut outcome = self.attempt(call, call).await;
        if let Err(status) = &outcome
            && status.code() == Code::Unavailable
        {
            *self.repeated.lock().unwrap().entry(status.message().to_owned()).or_default() += 1;
            outcome = self.attempt(call, call + 1).await;
        }
        match outcome {
            Ok(()) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(status) => self.failed.lock().unwrap().push(status),
        }
    }

    async fn attempt(&self, call: usize, instance: usize) -> Result<(), Status> {
        loop {
            match self.send(call, &self.instances[instance % self.instances.len()]).await {
                Err(status) if was_never_sent(&status) => {}
                outcome => return outcome,
            }
        }
    }

    async fn send(&self, call: usize, client: &Client) -> Result<(), Status> {
        let user = (1 + call % USERS).to_string();
        if call.is_multiple_of(CALLS_PER_INVALIDATION) {
            return invalidate(client, everything_of(&user)).await.map(drop);
        }
        get(client, of(&user)).await.map(drop)
    }

    /// Calls until told to stop, and waits for what is under way then.
    async fn keep_calling(self: Arc<Self>, stop: CancellationToken) {
        let calls = TaskTracker::new();
        let mut ticks = interval(BETWEEN_CALLS);
        // A machine that cannot keep up is not to be asked for more afterwards.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if calls.len() < CALLS_AT_ONCE {
                let balanced = Arc::clone(&self);
                calls.spawn(async move { balanced.call().await });
            }
        }
        calls.close();
        calls.wait().await;
    }

    async fn has_answered(&self, more: usize) {
        let until = self.answered.load(Ordering::Relaxed) + more;
        wait_for("answers", async || (self.answered.load(Ordering::Relaxed) >= until).then_some(())).await;
    }
}

/// A status of a server's has no source; this one is the connection's task, which was gone.
fn was_never_sent(status: &Status) -> bool {
    status.code() == Code::Cancelled && status.source().is_some()
}

#[tokio::test]
async fn a_rolling_restart_of_three_loses_no_call_of_a_client_that_repeats_once() {
    let cluster = cluster(Layout::Postgres).await.with_redis().await;
    for user in 1..=USERS {
        cluster.sources.add_user(&user.to_string(), &[i32::try_from(user).unwrap()]).await;
    }
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(cluster.serve().await);
    }
    let (balanced, stop) = (Arc::new(Balanced::over(&servers)), CancellationToken::new());
    let mut calling = JoinSet::new();
    calling.spawn(Arc::clone(&balanced).keep_calling(stop.clone()));

    let began = Instant::now();
    for server in &mut servers {
        balanced.has_answered(CALLS_BETWEEN_RESTARTS).await;
        server.signal("TERM");
        assert_eq!(server.exit_code().await, 0, "{}", server.log());
        server.start().await;
    }
    balanced.has_answered(CALLS_BETWEEN_RESTARTS).await;
    stop.cancel();
    calling.join_all().await;

    let (calls, took) = (balanced.calls.load(Ordering::Relaxed), began.elapsed());
    eprintln!("{calls} calls in {took:.1?}, repeated: {:?}", balanced.repeated.lock().unwrap());
    let failed = balanced.failed.lock().unwrap();
    assert!(failed.is_empty(), "{} of {calls}: {:?}", failed.len(), failed[0]);
    assert_eq!(balanced.answered.load(Ordering::Relaxed), calls);
}

#[tokio::test]
async fn a_load_that_another_instance_waits_for_is_finished_by_the_one_that_leaves() {
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    cluster.note_claims().await;
    let (mut leaving, staying) = (cluster.serve().await, cluster.serve().await);
    let held = cluster.sources.hold(OF_STRATEGY).await;
    let mut asking = JoinSet::new();
    let client = leaving.client().await;
    asking.spawn(async move { get(&client, of("1")).await });
    held.is_waited_for_by(1).await;
    let client = staying.client().await;
    let other = client.clone();
    let mut sharing = JoinSet::new();
    sharing.spawn(async move { get(&other, of("1")).await });
    // It has looked into the tiers by then, in vain.
    cluster.has_claims("%", 2).await;

    leaving.signal("TERM");
    wait_for("the signal to be heard", async || (leaving.probe("/readyz").await.0 == 503).then_some(())).await;
    held.release().await;

    assert_eq!(asking.join_next().await.unwrap().unwrap().unwrap().status, CacheStatus::Assembled);
    assert_eq!(sharing.join_next().await.unwrap().unwrap().unwrap().status, CacheStatus::Shared);
    assert_eq!(leaving.exit_code().await, 0, "{}", leaving.log());
    assert!(runs(&stats(&client).await).iter().all(|(_, runs)| *runs == 0), "the sources were read once, elsewhere");
}
