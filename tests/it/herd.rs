//! Many callers of one cold user: each source is read once, whichever callers stay or leave.

use std::collections::BTreeMap;

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::{Code, Status};
use userdata::proto::v1::{CacheStatus, GetComprehensiveUserDataRequest};

use testkit::{
    ask::{Answer, get, of, reason, runs, stats},
    cluster::{Cluster, Layout, cluster},
    raw,
    server::{Client, Server, serve},
    sources::OF_STRATEGY,
    wait_for,
};

const CALLERS: usize = 1000;
/// A connection carries at most 256 calls at once.
const CONNECTIONS: usize = 8;

/// What one assembly takes.
const ONE_RUN_EACH: [(&str, i64); 6] = [
    ("onboarding", 1),
    ("strategy", 1),
    ("ai_analysis", 1),
    ("gap_analysis", 1),
    ("performance", 1),
    ("recommendations", 1),
];

type Call = JoinHandle<Result<Answer, Status>>;

/// A user with a strategy and without a cached document.
async fn cold(layout: Layout) -> (Cluster, Server, Vec<Client>) {
    let cluster = cluster(layout).await;
    cluster.sources.add_user("1", &[11]).await;
    let server = cluster.serve().await;
    let clients = connections(&server).await;
    (cluster, server, clients)
}

async fn connections(server: &Server) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.client().await);
    }
    clients
}

/// So many calls at once.
fn call(clients: &[Client], calls: usize, request: &GetComprehensiveUserDataRequest) -> Vec<Call> {
    let tasks = TaskTracker::new();
    let one = |(client, request): (Client, GetComprehensiveUserDataRequest)| {
        tasks.spawn(async move { get(&client, request).await })
    };
    clients.iter().cycle().take(calls).map(|client| one((client.clone(), request.clone()))).collect()
}

async fn statuses(calls: Vec<Call>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        let answer = call.await.unwrap().unwrap();
        *counts.entry(answer.status.as_str_name().to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_thousand_callers_of_a_cold_user_cost_one_run_of_each_source() {
    for layout in [Layout::Sqlite, Layout::Postgres] {
        let (_cluster, _server, clients) = cold(layout).await;
        let counts = statuses(call(&clients, CALLERS, &of("1"))).await;
        assert_eq!(counts.values().sum::<usize>(), CALLERS, "{layout:?}");
        assert_eq!(counts["CACHE_STATUS_ASSEMBLED"], 1, "{layout:?}: {counts:?}");
        let others = ["CACHE_STATUS_ASSEMBLED", "CACHE_STATUS_SHARED", "CACHE_STATUS_HIT_MEMORY"];
        assert!(counts.keys().all(|status| others.contains(&status.as_str())), "{layout:?}: {counts:?}");
        let after = stats(&clients[0]).await;
        assert_eq!(runs(&after), ONE_RUN_EACH, "{layout:?}");
    }
}

#[tokio::test]
async fn callers_that_leave_change_nothing_for_those_who_stay() {
    let (cluster, server, clients) = cold(Layout::Postgres).await;
    let held = cluster.sources.hold(OF_STRATEGY).await;
    // The first one begins the load.
    let mut calls = call(&clients, 1, &of("1"));
    held.is_waited_for_by(1).await;
    calls.extend(call(&clients, CALLERS - 1, &of("1")));
    server.has_waiting_callers(CALLERS).await;
    let stay = calls.split_off(CALLERS * 9 / 10);
    for leaves in &calls {
        leaves.abort();
    }
    for leaves in calls {
        assert!(leaves.await.unwrap_err().is_cancelled());
    }
    held.release().await;
    assert_eq!(statuses(stay).await, BTreeMap::from([("CACHE_STATUS_SHARED".to_owned(), CALLERS / 10)]));
    assert_eq!(runs(&stats(&clients[0]).await), ONE_RUN_EACH);
}

#[tokio::test]
async fn a_load_that_everybody_left_fills_the_cache() {
    let (cluster, _server, clients) = cold(Layout::Postgres).await;
    let held = cluster.sources.hold(OF_STRATEGY).await;
    let leaves = call(&clients, 1, &of("1")).remove(0);
    held.is_waited_for_by(1).await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    held.release().await;
    wait_for("the load to end", async || (stats(&clients[0]).await.loads_active == 0).then_some(())).await;
    cluster.has_stored(1).await;
    assert_eq!(get(&clients[0], of("1")).await.unwrap().status, CacheStatus::HitMemory);
    assert_eq!(runs(&stats(&clients[0]).await), ONE_RUN_EACH);
}

#[tokio::test]
async fn a_deadline_ends_the_wait_of_its_caller_only() {
    let (cluster, server, clients) = cold(Layout::Postgres).await;
    let held = cluster.sources.hold(OF_STRATEGY).await;
    // Not the generated client: its own timer may be first, and says CANCELLED.
    let expired = raw::call(server.address, raw::GET, &[("grpc-timeout", "1S")], raw::framed(&of("1"))).await;
    held.is_waited_for_by(1).await;
    assert_eq!((expired.code(), reason(&expired).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));

    let patient = call(&clients, 20, &of("1"));
    server.has_waiting_callers(20).await;
    held.release().await;
    // It is the load that the hurried caller began.
    let counts = statuses(patient).await;
    assert_eq!(counts, BTreeMap::from([("CACHE_STATUS_SHARED".to_owned(), 20)]));
    assert_eq!(runs(&stats(&clients[0]).await), ONE_RUN_EACH);
}

#[tokio::test]
async fn refreshes_asked_for_at_once_cost_one_running_and_one_pending_load() {
    let (cluster, server, clients) = cold(Layout::Postgres).await;
    let refresh = GetComprehensiveUserDataRequest { force_refresh: true, ..of("1") };
    let held = cluster.sources.hold(OF_STRATEGY).await;
    let mut calls = call(&clients, 1, &refresh);
    held.is_waited_for_by(1).await;
    cluster.sources.write(11, 1).await;
    calls.extend(call(&clients, 99, &refresh));
    server.has_waiting_callers(100).await;
    held.release().await;

    let first = calls.remove(0).await.unwrap().unwrap();
    assert_eq!(first.facts(), (CacheStatus::Refreshed, 0));
    for call in calls {
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer.count, 1, "what runs already began before it was asked for: {answer:?}");
    }
    assert_eq!(runs(&stats(&clients[0]).await), ONE_RUN_EACH.map(|(source, once)| (source, 2 * once)));
    assert_eq!(get(&clients[0], of("1")).await.unwrap().facts(), (CacheStatus::HitMemory, 1));
}

/// An AI endpoint that takes calls and never answers; how many it has taken.
async fn silent_endpoint(tasks: &TaskTracker) -> (String, watch::Receiver<usize>, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (sender, taken) = watch::channel(0);
    let endpoint = tasks.spawn(async move {
        let mut calls = Vec::new();
        while let Ok((call, _)) = listener.accept().await {
            calls.push(call);
            sender.send_replace(calls.len());
        }
    });
    (url, taken, AbortOnDropHandle::new(endpoint))
}

#[tokio::test]
async fn a_thousand_callers_cost_one_ai_call_which_later_loads_share() {
    let (url, taken, _endpoint) = silent_endpoint(&TaskTracker::new()).await;
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    let mut settings = cluster.settings();
    for (variable, value) in [
        ("USERDATA__AI__BASE_URL", url.as_str()),
        ("USERDATA__AI__MODEL", "silent"),
        ("USERDATA__AI__SOFT_TIMEOUT", "300ms"),
        // The document without the section is loaded again soon, while the call goes on.
        ("USERDATA__LOADS__PARTIAL_TTL", "1ms"),
    ] {
        settings.environment.push((variable.to_owned(), value.to_owned()));
    }
    let server = serve(settings).await;
    let clients = connections(&server).await;
    for herd in 1..=2 {
        let counts = statuses(call(&clients, CALLERS, &of("1"))).await;
        assert!(counts["CACHE_STATUS_ASSEMBLED"] >= 1, "herd {herd}: {counts:?}");
        wait_for("the call", async || (*taken.borrow() > 0).then_some(())).await;
        let after = stats(&clients[0]).await;
        assert_eq!((after.ai_calls_made, *taken.borrow()), (1, 1), "herd {herd}: {counts:?}");
    }
}
