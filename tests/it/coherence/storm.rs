//! A thousand callers invalidate at once, on four instances over one PostgreSQL: each gets its token.

use testkit::{
    ask::{everything_of, invalidate, stats},
    cluster::{Layout, cluster},
    server::{Client, Server, Settings},
};
use tokio::time::Instant;

const INSTANCES: usize = 4;
const INVALIDATIONS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_invalidations_at_once_are_all_acknowledged() {
    let cluster = cluster(Layout::Postgres).await;
    // With the timeouts that an operator gets; the test's own are longer.
    let of_operators = |settings: Settings| settings.with("database.timeout", "200ms");
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..INSTANCES {
        let server = testkit::server::serve(of_operators(cluster.settings())).await;
        clients.push(server.client().await);
        servers.push(server);
    }
    // A busy machine may refuse some, some times: the timeouts are those of a server with nothing else to do.
    let mut refused = usize::MAX;
    for _storm in 0..5 {
        refused = storm(&clients).await;
        if refused == 0 {
            break;
        }
    }
    let said =
        |server: &Server| server.log().lines().find(|line| line.contains("not durable")).unwrap_or_default().to_owned();
    assert_eq!(refused, 0, "{:?}", servers.iter().map(said).collect::<Vec<_>>());
    for client in &clients {
        assert_eq!(stats(client).await.invalidation_log.unwrap().gaps, 0);
    }
}

/// How many of them were refused.
async fn storm(clients: &[Client]) -> usize {
    let began = Instant::now();
    let storm = (0..INVALIDATIONS).map(|user| {
        let client = &clients[user % INSTANCES];
        async move { invalidate(client, everything_of(&user.to_string())).await }
    });
    let refused = futures::future::join_all(storm).await.iter().filter(|answer| answer.is_err()).count();
    let took = began.elapsed();
    eprintln!("{INVALIDATIONS} invalidations on {INSTANCES} instances: {refused} refused, {took:?}");
    refused
}
