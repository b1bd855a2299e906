//! Requests that are in order, at a time or of a size that is not.

use std::time::Duration;

use futures::future::join_all;
use sea_orm::ConnectionTrait;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use userdata::proto::v1::{
    CacheStatus, GetCacheStatsRequest, GetComprehensiveUserDataRequest, InvalidateCacheRequest, Section, Wait,
};

use super::{asking, assert_refused, retry_after};
use testkit::{
    ask::assert_overloaded,
    database::{Kind, TestDatabase, database},
    demo::{demo_settings, hold_onboarding, serve_demo},
    postgres::postgres,
    raw::{GET, call, framed},
    redis::redis,
    server::serve,
    wait_for,
};

fn invalidation(user: &str) -> InvalidateCacheRequest {
    InvalidateCacheRequest { user_id: user.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_passed_deadline_ends_one_callers_wait_and_not_the_load() {
    let (database, server) = serve_demo(Kind::Postgres, &[]).await;
    let db = database.connect().await;
    let holding = hold_onboarding(&db).await;
    let mut patient = server.client().await;
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { patient.get_comprehensive_user_data(asking("1")).await });
    server.loads_in_flight(1).await;

    for timeout in ["0m", "1n", "5m", "100m"] {
        let status = call(server.address, GET, &[("grpc-timeout", timeout)], framed(&asking("1"))).await;
        assert_refused(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    }

    holding.commit().await.unwrap();
    let reply = waiting.join_next().await.unwrap().unwrap().expect("the load went on").into_inner();
    assert_eq!(reply.cache_info.unwrap().status(), CacheStatus::Assembled);
    assert_eq!(server.runs("onboarding").await, (1, 0), "one load for all of them");
}

#[tokio::test]
async fn loads_beyond_the_limit_are_refused_and_hits_are_not() {
    let limits = [("USERDATA__LOADS__MAX_CONCURRENT", "1"), ("USERDATA__LOADS__MAX_QUEUED", "1")];
    let (database, server) = serve_demo(Kind::Postgres, &limits).await;
    let mut client = server.client().await;
    client.get_comprehensive_user_data(asking("1")).await.unwrap();

    let db = database.connect().await;
    let holding = hold_onboarding(&db).await;
    let mut waiting = JoinSet::new();
    for user in ["2", "3", "4", "5"] {
        let mut client = client.clone();
        waiting.spawn(async move { client.get_comprehensive_user_data(asking(user)).await.map(drop) });
    }
    // One is being read, one waits, two are too many.
    for _ in 0..2 {
        assert_overloaded(&waiting.join_next().await.unwrap().unwrap().unwrap_err());
    }
    let hit = client.get_comprehensive_user_data(asking("1")).await.unwrap().into_inner();
    assert_eq!(hit.cache_info.unwrap().status(), CacheStatus::HitMemory);

    holding.commit().await.unwrap();
    assert!(waiting.join_all().await.iter().all(Result::is_ok), "what was let in is answered");
    client.get_comprehensive_user_data(asking("4")).await.expect("the overload is over");
}

#[tokio::test]
async fn callers_beyond_the_limit_of_waiting_ones_are_refused() {
    let (database, server) = serve_demo(Kind::Postgres, &[("USERDATA__LOADS__MAX_WAITING", "1")]).await;
    let mut client = server.client().await;
    let db = database.connect().await;
    let holding = hold_onboarding(&db).await;
    let mut first = JoinSet::new();
    let mut waiting = client.clone();
    first.spawn(async move { waiting.get_comprehensive_user_data(asking("1")).await.map(drop) });
    server.loads_in_flight(1).await;
    assert_overloaded(&client.get_comprehensive_user_data(asking("1")).await.unwrap_err());
    holding.commit().await.unwrap();
    first.join_next().await.unwrap().unwrap().expect("the first one is answered");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused() {
    let limit = [("USERDATA__SERVER__MAX_CONCURRENT_REQUESTS", "1")];
    let (_database, server) = serve_demo(Kind::Sqlite, &limit).await;
    let client = server.client().await;
    // Each works for longer than the lease, so at least one of two finds the only place taken.
    let invalidations = join_all([1, 2].map(async |_| {
        let request = InvalidateCacheRequest { wait: Wait::All.into(), ..invalidation("1") };
        client.clone().invalidate_cache(request).await
    }));
    let refused: Vec<Status> = invalidations.await.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 1);
    assert_overloaded(&refused[0]);
    wait_for("the place to be free", async || {
        client.clone().get_cache_stats(GetCacheStatsRequest::default()).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_reply_beyond_the_limit_names_the_sections_and_their_sizes_and_is_not_cached() {
    let (database, server) = serve_demo(Kind::Sqlite, &[("USERDATA__SERVER__MAX_RESPONSE_BYTES", "64KiB")]).await;
    let large = format!(r#"{{"story": "{}"}}"#, "x".repeat(100_000));
    let session = "SELECT id FROM onboarding_sessions WHERE user_id = '1'";
    let enlarge = format!("UPDATE website_analyses SET seo_audit = '{large}' WHERE session_id IN ({session})");
    let enlarged = database.connect().await.execute_unprepared(&enlarge).await.unwrap();
    assert_eq!(enlarged.rows_affected(), 1, "user 1 has a website");

    let mut client = server.client().await;
    for attempt in 1..=2 {
        let status = client.get_comprehensive_user_data(asking("1")).await.map(drop).unwrap_err();
        assert_refused(&status, Code::ResourceExhausted, "RESPONSE_TOO_LARGE");
        let sizes = status.get_details_error_info().unwrap().metadata;
        let size = |name: &str| sizes[name].parse::<usize>().unwrap();
        assert!(size("SECTION_ONBOARDING") > 100_000 && size("bytes") > size("SECTION_ONBOARDING"), "{sizes:?}");
        assert_eq!(sizes.keys().filter(|name| name.starts_with("SECTION_")).count(), 7, "{sizes:?}");
        assert!(status.message().contains("SECTION_ONBOARDING"), "{}", status.message());
        assert_eq!(server.runs("onboarding").await.0, attempt, "nothing was cached");
    }
    // What the message advises helps.
    let sections = vec![Section::Strategy.into(), Section::Recommendations.into()];
    let request = GetComprehensiveUserDataRequest { sections, ..asking("1") };
    let reply = client.get_comprehensive_user_data(request).await.expect("a selection that fits").into_inner();
    assert_eq!(reply.sections.len(), 2);
    let stats = client.get_cache_stats(GetCacheStatsRequest::default()).await.unwrap().into_inner();
    assert_eq!((stats.total_entries, stats.tiers[0].entries), (Some(0), Some(0)));
}

/// The database refuses connections and ends those that there are.
async fn lock_out(database: &TestDatabase) {
    let name = database.url.rsplit_once('/').unwrap().1;
    let db = postgres().await.administer().await;
    db.execute_unprepared(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    db.execute_unprepared(&end).await.unwrap();
}

/// Undoes [`lock_out`].
async fn let_in(database: &TestDatabase) {
    let name = database.url.rsplit_once('/').unwrap().1;
    let db = postgres().await.administer().await;
    db.execute_unprepared(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.unwrap();
}

#[tokio::test]
async fn an_invalidation_without_database_is_not_acknowledged_and_may_be_repeated() {
    let (database, server) = serve_demo(Kind::Postgres, &[]).await;
    let mut client = server.client().await;
    client.get_comprehensive_user_data(asking("1")).await.unwrap();
    lock_out(&database).await;
    let status = client.invalidate_cache(invalidation("1")).await.unwrap_err();
    assert_refused(&status, Code::Unavailable, "INVALIDATION_NOT_DURABLE");
    assert_eq!(retry_after(&status), Duration::from_secs(1));
    let_in(&database).await;
    wait_for("the database to be used again", async || client.clone().invalidate_cache(invalidation("1")).await.ok())
        .await;
}

#[tokio::test]
async fn a_purge_names_the_tier_that_it_cannot_clean_and_its_invalidation_holds() {
    let mut redis = redis().await;
    let database = database(Kind::Sqlite).await;
    let server = serve(demo_settings(&database, &[("USERDATA__REDIS__URL", &redis.url())])).await;
    let mut client = server.client().await;
    client.get_comprehensive_user_data(asking("1")).await.unwrap();
    redis.kill().await;

    let purge = InvalidateCacheRequest { purge: true, ..invalidation("1") };
    let status = client.invalidate_cache(purge.clone()).await.unwrap_err();
    assert_refused(&status, Code::Unavailable, "PURGE_INCOMPLETE");
    assert_eq!(status.get_details_error_info().unwrap().metadata["tier"], "redis");
    assert_eq!(retry_after(&status), Duration::from_secs(1));
    let reply = client.get_comprehensive_user_data(asking("1")).await.unwrap().into_inner();
    assert_eq!(reply.cache_info.unwrap().status(), CacheStatus::Assembled, "the invalidation holds");

    redis.start().await;
    wait_for("the purge to succeed", async || client.clone().invalidate_cache(purge.clone()).await.ok()).await;
}
