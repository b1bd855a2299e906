//! Documents that are assembled again behind a change, before anybody asks: with real servers, triggers and the relay.

use std::time::Duration;

use userdata::{
    changes,
    proto::v1::{CacheStatus, PrefetchStats},
};

use testkit::{
    ask::{get, of, runs, stats},
    cluster::{Cluster, Layout, cluster},
    server::{Client, Settings, serve},
    wait_for,
};

async fn with_triggers(layout: Layout) -> (Cluster, Settings) {
    let cluster = cluster(layout).await;
    cluster.sources.add_user("1", &[11]).await;
    changes::install(&cluster.sources.db).await.unwrap();
    let settings = cluster.settings().with("sources.change_feed", true).with("prefetch.enabled", true);
    (cluster, settings.with("prefetch.quiet", "200ms"))
}

async fn prefetches(client: &Client) -> PrefetchStats {
    stats(client).await.prefetch.unwrap()
}

/// Waits for the document, unless it has been given up. If it takes too long, all that is known is told.
async fn finished(client: &Client, documents: i64) -> PrefetchStats {
    let mut seen = None;
    let look = wait_for("a document that is assembled ahead", async || {
        let all = stats(client).await;
        let prefetches = all.prefetch.unwrap();
        let given_up = [
            prefetches.skipped_unread,
            prefetches.skipped_unlikely,
            prefetches.skipped_busy,
            prefetches.skipped_budget,
            prefetches.skipped_failed,
        ];
        assert_eq!(given_up, [0; 5], "{prefetches:?}");
        let is_there = prefetches.finished == documents;
        seen = Some(all);
        is_there.then_some(prefetches)
    });
    match tokio::time::timeout(Duration::from_secs(50), look).await {
        Ok(finished) => finished,
        Err(_) => panic!("{documents} were to be assembled: {seen:#?}"),
    }
}

#[tokio::test]
async fn after_a_change_and_a_moment_of_quiet_the_next_reader_finds_the_new_document_in_memory() {
    for layout in [Layout::Sqlite, Layout::Postgres] {
        let (cluster, settings) = with_triggers(layout).await;
        let server = serve(settings).await;
        server.has_read_the_outbox().await;
        let client = server.client().await;
        get(&client, of("1")).await.unwrap();
        for count in 1..=3 {
            cluster.sources.write(11, count).await;
            finished(&client, count).await;
            let answer = get(&client, of("1")).await.unwrap();
            assert_eq!(answer.facts(), (CacheStatus::HitMemory, count), "{layout:?}");
            assert_eq!(prefetches(&client).await.read, count, "{layout:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_assembled_for_nobody_or_where_it_is_switched_off() {
    let (cluster, settings) = with_triggers(Layout::Sqlite).await;
    let (on, off) = (serve(settings.clone()).await, serve(settings.with("prefetch.enabled", false)).await);
    for server in [&on, &off] {
        server.has_read_the_outbox().await;
    }
    let (on, off) = (on.client().await, off.client().await);
    get(&off, of("1")).await.unwrap();
    cluster.sources.write(11, 1).await;
    wait_for("the change", async || (get(&off, of("1")).await.unwrap().count == 1).then_some(())).await;
    // The user that was read last: when that read has been dealt with, so have all before it.
    cluster.sources.add_user("2", &[21]).await;
    get(&on, of("2")).await.unwrap();
    cluster.sources.write(21, 1).await;
    assert_eq!(finished(&on, 1).await.started, 1, "nobody has read user 1's here");
    assert_eq!(stats(&off).await.prefetch, None);
}

#[tokio::test]
async fn one_instance_assembles_for_all() {
    let (cluster, settings) = with_triggers(Layout::Postgres).await;
    let (one, two) = (serve(settings.clone()).await, serve(settings).await);
    for server in [&one, &two] {
        server.has_read_the_outbox().await;
    }
    let clients = [one.client().await, two.client().await];
    for client in &clients {
        get(client, of("1")).await.unwrap();
    }
    let strategy_runs = async || {
        let mut all = 0;
        for client in &clients {
            all += runs(&stats(client).await).into_iter().find(|(source, _)| *source == "strategy").unwrap().1;
        }
        all
    };
    cluster.has_stored(1).await;
    let before = strategy_runs().await;
    cluster.sources.write(11, 1).await;
    for client in &clients {
        finished(client, 1).await;
        assert_eq!(get(client, of("1")).await.unwrap().facts(), (CacheStatus::HitMemory, 1));
    }
    assert_eq!(strategy_runs().await - before, 1);
}
