//! One call per input in the whole cluster, at whichever instance, and whatever becomes of the one that asks.

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use userdata::proto::v1::{InvalidateCacheRequest, Wait};

use super::*;
use testkit::{
    ask::{everything_of, invalidate, stats},
    cluster::{Cluster, Layout, cluster},
    server::{Settings, serve},
    sources::count,
};

/// Of one user, at one instance.
const CALLERS: usize = 25;

type Call = JoinHandle<GetComprehensiveUserDataResponse>;

/// An instance and a connection to it.
struct Instance {
    server: Server,
    client: Client,
    /// Whom it is asked about; all of them are in the same situation.
    user: String,
}

impl Instance {
    fn call(&self, calls: usize) -> Vec<Call> {
        let tasks = TaskTracker::new();
        let one = |(mut client, user): (Client, String)| tasks.spawn(async move { get(&mut client, &user).await });
        (0..calls).map(|_| one((self.client.clone(), self.user.clone()))).collect()
    }

    async fn is_asking(&self) -> bool {
        stats(&self.client).await.sources.iter().any(|source| source.source == "ai_analysis" && source.in_flight > 0)
    }
}

/// Instances on one PostgreSQL, and an endpoint that takes calls and answers once it is released.
struct Instances {
    endpoint: FakeAi,
    cluster: Cluster,
    all: Vec<Instance>,
}

impl Instances {
    /// So many of them; `adjust` is told which one.
    async fn start(
        instances: usize,
        replies: impl IntoIterator<Item = Say>,
        adjust: impl Fn(usize, Settings) -> Settings,
    ) -> Self {
        let endpoint = FakeAi::saying(replies).await;
        endpoint.hold();
        let cluster = cluster(Layout::Postgres).await;
        cluster.note_claims().await;
        let starting = (0..instances).map(async |place| {
            let user = (place + 1).to_string();
            cluster.sources.add_user(&user, &[10 + i32::try_from(place).unwrap()]).await;
            // As long as a dead holder's lease stands still, on a busy machine, and longer. An instance whose database
            // does not answer in time calls by itself.
            let settings = cluster.settings().with("loads.budget", "50s").with("ai.soft_timeout", "40s");
            let settings = settings.with("database.timeout", "10s");
            let settings = settings.with("ai.base_url", endpoint.base_url()).with("ai.model", "fake-1");
            let server = serve(adjust(place, settings)).await;
            Instance { client: server.client().await, server, user }
        });
        let all = futures::future::join_all(starting).await;
        Self { endpoint, cluster, all }
    }

    /// Waits until a lease for a call was asked for so many times.
    async fn claims(&self, times: usize) {
        self.cluster.has_claims("ai:%", times).await;
    }

    /// Calls at every instance, of which one asks the endpoint and the others wait for it.
    async fn call(&self) -> Vec<Vec<Call>> {
        let calls = self.all.iter().map(|instance| instance.call(CALLERS)).collect();
        self.claims(self.all.len()).await;
        self.endpoint.called(1).await;
        calls
    }

    /// How many answers are remembered, once no lease for a call is held any more.
    async fn remembered(&self) -> i64 {
        wait_for("leases to be given back", async || {
            let held = "SELECT COUNT(*) FROM load_lease WHERE key LIKE 'ai:%'";
            (count(&self.cluster.cache, held).await == 0).then_some(())
        })
        .await;
        count(&self.cluster.cache, "SELECT COUNT(*) FROM ai_response_cache").await
    }
}

async fn replies(calls: Vec<Call>) -> Vec<GetComprehensiveUserDataResponse> {
    futures::future::join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

fn as_it_is(_: usize, settings: Settings) -> Settings {
    settings
}

#[tokio::test]
async fn users_in_the_same_situation_cost_the_cluster_one_call() {
    let instances = Instances::start(4, ["one", "two"].map(titled), as_it_is).await;
    let calls = instances.call().await;
    instances.endpoint.release();
    let replies = replies(calls.into_iter().flatten().collect()).await;
    assert_eq!(replies.len(), 4 * CALLERS);
    for reply in &replies {
        assert!(complete(reply));
        assert_eq!((title(reply), &results(reply).request_hash), ("one", &results(&replies[0]).request_hash));
    }
    assert_eq!(instances.endpoint.calls(), 1);
    assert_eq!(instances.remembered().await, 1);
    let stats = futures::future::join_all(instances.all.iter().map(|instance| stats(&instance.client))).await;
    let sum = |figure: fn(&GetCacheStatsResponse) -> i64| stats.iter().map(figure).sum::<i64>();
    assert_eq!((sum(|stats| stats.ai_calls_made), sum(|stats| stats.ai_calls_avoided)), (1, 3));
}

/// What becomes of a call whose instance gets this signal.
async fn check_takeover(signal: &str) {
    let mut instances = Instances::start(3, ["one", "two", "three"].map(titled), as_it_is).await;
    let mut calls = instances.call().await;
    let asking = futures::future::join_all(instances.all.iter().map(Instance::is_asking)).await;
    assert_eq!(asking.iter().filter(|asking| **asking).count(), 1, "{signal}");
    let place = asking.iter().position(|asking| *asking).unwrap();
    let (mut holder, holders_calls) = (instances.all.remove(place), calls.remove(place));
    match signal {
        "KILL" => holder.server.kill().await,
        _ => holder.server.signal(signal),
    }
    instances.endpoint.called(2).await;
    instances.endpoint.release();
    for reply in replies(calls.into_iter().flatten().collect()).await {
        assert!(complete(&reply), "{signal}");
        assert_eq!(title(&reply), "two", "{signal}");
    }
    if signal == "STOP" {
        holder.server.signal("CONT");
        for reply in replies(holders_calls).await {
            assert_eq!(title(&reply), "two", "what was remembered first is everybody's");
        }
    }
    assert_eq!(instances.endpoint.calls(), 2, "{signal}: one survivor, once");
    assert_eq!(instances.remembered().await, 1, "{signal}");
}

#[tokio::test]
async fn a_killed_instances_call_is_made_again_by_one_survivor() {
    check_takeover("KILL").await;
}

#[tokio::test]
async fn a_frozen_instances_call_is_made_again_by_one_and_its_own_answer_changes_nothing() {
    check_takeover("STOP").await;
}

/// The load's lease and the call's would each be waited for until they count as dead: 5 s and 5 s more.
#[tokio::test]
async fn a_loader_killed_during_its_call_is_waited_for_once() {
    const ONCE: Duration = Duration::from_secs(9);
    let mut instances = Instances::start(3, ["one", "two"].map(titled), as_it_is).await;
    for instance in &mut instances.all {
        instance.user = "1".to_owned();
    }
    let mut calls: Vec<_> = instances.all.iter().map(|instance| instance.call(1)).collect();
    instances.endpoint.called(1).await;
    let asking = futures::future::join_all(instances.all.iter().map(Instance::is_asking)).await;
    let place = asking.iter().position(|asking| *asking).unwrap();
    let (mut loader, _) = (instances.all.remove(place), calls.remove(place));
    loader.server.kill().await;
    let began = Instant::now();
    instances.endpoint.called(2).await;
    let waited = began.elapsed();
    instances.endpoint.release();
    for reply in replies(calls.into_iter().flatten().collect()).await {
        assert_eq!(title(&reply), "two");
    }
    eprintln!("a loader was killed during its call: the next call began after {waited:?}");
    assert!(waited < ONCE, "{waited:?}");
}

#[tokio::test]
async fn an_endpoint_that_fails_is_not_asked_again_by_each_instance() {
    let instances = Instances::start(4, [Say::status(400)], as_it_is).await;
    let calls = instances.call().await;
    instances.endpoint.release();
    for reply in replies(calls.into_iter().flatten().collect()).await {
        check_without(&reply, "AI_REJECTED");
    }
    assert_eq!(instances.endpoint.calls(), 1);
}

#[tokio::test]
async fn an_answer_that_its_own_instance_did_not_wait_for_is_everybody_elses() {
    let hurried = |place, settings: Settings| match place {
        0 => settings.with("ai.soft_timeout", "100ms"),
        _ => settings,
    };
    let mut instances = Instances::start(2, ["late", "two"].map(titled), hurried).await;
    let [first, second] = &mut instances.all[..] else { panic!("there are two") };
    check_without(&get(&mut first.client, &first.user).await, "AI_TIMEOUT");
    let waiting = second.call(CALLERS);
    instances.claims(2).await;
    instances.endpoint.release();
    for reply in replies(waiting).await {
        assert!(complete(&reply));
        assert_eq!(title(&reply), "late");
    }
    assert_eq!(instances.endpoint.calls(), 1);
    assert_eq!(instances.remembered().await, 1);
}

#[tokio::test]
async fn a_purge_at_one_instance_leaves_no_answer_of_a_call_that_another_one_makes() {
    let instances = Instances::start(2, ["one"].map(titled), as_it_is).await;
    let [asking, purging] = &instances.all[..] else { panic!("there are two") };
    let calls = asking.call(1);
    instances.endpoint.called(1).await;
    let purge = InvalidateCacheRequest { purge: true, wait: Wait::All.into(), ..everything_of(&asking.user) };
    invalidate(&purging.client, purge).await.unwrap();
    instances.endpoint.release();
    replies(calls).await;
    assert_eq!(instances.remembered().await, 0);
}
