//! The outbox cannot be read.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use tonic::Code;
use userdata::proto::v1::{CacheStatus, Freshness};

use super::{fed, fed_with, get_with, is_verified, observe, with_feed};
use testkit::{
    ask::{get, of, reason},
    cluster::{Layout, cluster},
    postgres::postgres,
    proxy::{Network, Proxy},
    server::serve,
    wait_for,
};

#[tokio::test]
async fn changes_that_cannot_be_read_are_never_taken_for_none() {
    for network in [Network::Refuse, Network::Blackhole, Network::Stall] {
        for layout in [Layout::Postgres, Layout::SqliteBesidePostgres] {
            let cluster = cluster(layout).await;
            let proxy = Proxy::before(postgres().await.port).await;
            let relay = proxy.url(&cluster.sources.database.url);
            // Of its own only if the sources have a database of their own.
            let settings = match layout {
                Layout::Postgres => with_feed(&cluster).with("sources.database_url", &cluster.sources.database.url),
                _ => with_feed(&cluster),
            };
            let settings = settings.with("sources.relay_database_url", relay);
            let fed = fed_with(cluster, vec![settings; 2]).await;
            proxy.set(network);
            fed.cluster.sources.write(11, 1).await;
            let committed = Instant::now();
            let observed = fed.clients.iter().map(|client| observe(client, 1, committed, Duration::from_secs(3)));
            eprintln!("{network:?} {layout:?}: {:?}", join_all(observed).await);
            for client in &fed.clients {
                let answer = get(client, of("1")).await.unwrap();
                assert!(!answer.verified, "{network:?} {layout:?}: {answer:?}");
                let strict = get_with(client, Freshness::Strict).await.unwrap();
                assert_eq!(
                    (strict.status, strict.count, strict.verified),
                    (CacheStatus::Assembled, 1, true),
                    "{network:?} {layout:?}: the sources still tell"
                );
                let refused = get_with(client, Freshness::Linearizable).await.unwrap_err();
                assert_eq!(
                    (refused.code(), reason(&refused).as_str()),
                    (Code::Unavailable, "CHANGE_FEED_UNREADABLE"),
                    "{network:?} {layout:?}"
                );
            }
            let tells = async |what| {
                wait_for(what, async || fed.servers[0].log().contains(what).then_some(())).await;
            };
            tells("change feed lost").await;
            proxy.restore();
            for client in &fed.clients {
                is_verified(client, 1).await;
            }
            tells("change feed read again").await;
        }
    }
}

#[tokio::test]
async fn an_outbox_that_was_never_read_is_not_taken_for_none() {
    for layout in [Layout::Postgres, Layout::SqliteBesidePostgres] {
        let cluster = cluster(layout).await;
        cluster.sources.add_user("1", &[11]).await;
        let settings = with_feed(&cluster).with("sources.database_url", &cluster.sources.database.url);
        let unreachable = "postgres://nobody:wrong@127.0.0.1:1/none";
        let server = serve(settings.with("sources.relay_database_url", unreachable)).await;
        let client = server.client().await;
        for _ in 0..2 {
            assert!(!get(&client, of("1")).await.unwrap().verified, "{layout:?}");
        }
        assert!(get_with(&client, Freshness::Strict).await.unwrap().verified, "{layout:?}");
    }
}

#[tokio::test]
async fn a_blip_of_the_outbox_costs_no_load() {
    let fed = fed(cluster(Layout::Postgres).await, 1).await;
    let client = &fed.clients[0];
    let status = get(client, of("1")).await.unwrap().status;
    assert_eq!(status, CacheStatus::HitMemory, "{}", fed.servers[0].log());
    fed.servers[0].signal("STOP");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    fed.servers[0].signal("CONT");
    is_verified(client, 0).await;
    assert_eq!(get(client, of("1")).await.unwrap().status, CacheStatus::HitMemory, "nothing is read again");
}
