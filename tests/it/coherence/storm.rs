//! A thousand callers invalidate at once, on four instances over one PostgreSQL: each gets its token.

use testkit::{
    ask::{everything_of, invalidate, stats},
    cluster::{Layout, cluster},
    server::{Server, Settings},
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
    let began = Instant::now();
    let storm = (0..INVALIDATIONS).map(|user| {
        let client = &clients[user % INSTANCES];
        async move { invalidate(client, everything_of(&user.to_string())).await }
    });
    let answers = futures::future::join_all(storm).await;
    let took = began.elapsed();
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    eprintln!("{INVALIDATIONS} invalidations on {INSTANCES} instances: {} refused, {took:?}", refused.len());
    let said =
        |server: &Server| server.log().lines().find(|line| line.contains("not durable")).unwrap_or_default().to_owned();
    assert!(refused.is_empty(), "{} refused: {:?}", refused.len(), servers.iter().map(said).collect::<Vec<_>>());
    for client in &clients {
        assert_eq!(stats(client).await.invalidation_log.unwrap().gaps, 0);
    }
}
