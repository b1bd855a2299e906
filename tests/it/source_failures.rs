//! A source that fails, is slow or has an open circuit costs its own section, and nothing else.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use tokio::time::Instant;
use tonic::Code;
use tonic_types::StatusExt as _;
use userdata::{
    model::{SECTIONS, Section, State},
    proto::v1::{CacheInfo, CacheStatus, GetCacheStatsRequest, GetComprehensiveUserDataResponse},
};

use testkit::{
    assembly::{execute, serve_from},
    database::{BOTH, Kind, TestDatabase},
    get::{ask, complete, failed, get, invalidate, refresh, report, status},
    seeded::seeded_today,
    server::{Client, Server},
    sources::{break_table, count, mend_table},
    wait_for,
};

/// A server whose database, demo included, is there to be broken.
struct Breakable {
    db: DatabaseConnection,
    client: Client,
    _server: Server,
    _place: TestDatabase,
}

impl Breakable {
    async fn start(kind: Kind, environment: &[(&str, &str)]) -> Self {
        let (place, db) = seeded_today(kind).await;
        let server = serve_from(&place, environment).await;
        Self { db, client: server.client().await, _server: server, _place: place }
    }

    async fn take_away(&self, table: &str) {
        break_table(&self.db, table).await;
    }

    async fn put_back(&self, table: &str) {
        mend_table(&self.db, table).await;
    }

    /// Makes each statement that reads the table take this long.
    async fn slow_down(&self, table: &str, by: Duration) {
        execute(&self.db, &format!("ALTER TABLE {table} RENAME TO {table}_at_once")).await;
        let sleep = by.as_secs_f64();
        let view = format!("CREATE VIEW {table} AS SELECT t.* FROM pg_sleep({sleep}), {table}_at_once t");
        execute(&self.db, &view).await;
    }

    async fn breaker(&mut self, source: &str) -> String {
        let stats = self.client.get_cache_stats(GetCacheStatsRequest::default()).await.unwrap().into_inner();
        stats.sources.into_iter().find(|stats| stats.source == source).unwrap().breaker_state
    }
}

fn info(reply: &GetComprehensiveUserDataResponse) -> &CacheInfo {
    reply.cache_info.as_ref().unwrap()
}

/// Only these sections failed, for this reason, and the document does not stay for long.
fn check_partial(reply: &GetComprehensiveUserDataResponse, expected: &[Section], reason: &str, what: &str) {
    assert_eq!(failed(reply), expected.iter().map(|section| (*section, reason)).collect::<Vec<_>>(), "{what}");
    for section in SECTIONS.into_iter().filter(|section| !expected.contains(section)) {
        assert_eq!(report(reply, section).state(), State::Ok, "{what}: {section:?}");
    }
    assert!(!complete(reply), "{what}");
    let life = info(reply).expires_at.unwrap().seconds - info(reply).assembled_at.unwrap().seconds;
    assert!((1..=30).contains(&life), "{what}: lives {life} s");
    let data = reply.data.as_ref().unwrap();
    for (section, is_there) in [
        (Section::AiAnalysis, data.ai_analysis_results.is_some()),
        (Section::GapAnalysis, data.gap_analysis.is_some()),
        (Section::Performance, data.performance_data.is_some()),
        (Section::Recommendations, !data.recommendations_data.is_empty()),
    ] {
        assert_eq!(is_there, !expected.contains(&section), "{what}: {section:?} is there or made up");
    }
}

#[tokio::test]
async fn an_optional_source_that_fails_costs_its_own_sections() {
    for kind in BOTH {
        let mut server = Breakable::start(kind, &[]).await;
        for (table, expected, user) in [
            ("content_recommendations", &[Section::Recommendations][..], "1"),
            ("content_analytics", &[Section::Performance], "2"),
            ("calendar_events", &[Section::GapAnalysis, Section::Performance], "3"),
        ] {
            let what = format!("{kind:?} {table}");
            server.take_away(table).await;
            let reply = get(&mut server.client, user).await;
            check_partial(&reply, expected, "SQL_ERROR", &what);
            assert_eq!(status(&reply), CacheStatus::Assembled, "{what}");

            server.put_back(table).await;
            assert!(!complete(&get(&mut server.client, user).await), "{what}: it stays for its short life");
            invalidate(&mut server.client, user).await;
            let reply = get(&mut server.client, user).await;
            assert!(complete(&reply), "{what}: {:?}", failed(&reply));
        }
    }
}

#[tokio::test]
async fn a_required_source_that_fails_fails_the_call_and_is_named() {
    for kind in BOTH {
        let mut server = Breakable::start(kind, &[]).await;
        // A user each: the failure of a load is the answer for a moment longer, so that callers do not repeat it at once.
        for (table, source, user) in [
            ("onboarding_sessions", "onboarding", "1"),
            ("persona_data", "onboarding", "2"),
            ("enhanced_content_strategies", "strategy", "3"),
            ("strategy_activation_status", "strategy", "4"),
        ] {
            server.take_away(table).await;
            let status = ask(&mut server.client, user, false).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{kind:?} {table}: {status}");
            let error = status.get_details_error_info().unwrap();
            assert_eq!(
                (&error.reason[..], &error.metadata["source"][..]),
                ("SOURCE_FAILED", source),
                "{kind:?} {table}"
            );
            assert!(!status.message().contains(table), "what failed inside is not the caller's to know: {status}");
            server.put_back(table).await;
        }
        assert!(complete(&get(&mut server.client, "5").await), "{kind:?}");
    }
}

#[tokio::test]
async fn a_slow_optional_source_is_waited_for_until_its_soft_timeout() {
    let (soft, hard) = (Duration::from_secs(3), Duration::from_secs(8));
    let mut server = Breakable::start(Kind::Postgres, &[("USERDATA__SOURCES__SOFT_TIMEOUT", "3s")]).await;
    let holding = server.db.begin().await.unwrap();
    holding.execute_unprepared("LOCK TABLE content_recommendations IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let begun = Instant::now();
    let reply = get(&mut server.client, "1").await;
    let took = begun.elapsed();
    check_partial(&reply, &[Section::Recommendations], "TIMEOUT", "held");
    assert!(took >= soft && took < hard, "{took:?}");

    holding.rollback().await.unwrap();
    assert!(complete(&get(&mut server.client, "2").await));
}

#[tokio::test]
async fn optional_sources_that_hang_leave_connections_to_the_required_ones() {
    let environment = [
        ("USERDATA__SOURCES__MAX_CONNECTIONS", "4"),
        ("USERDATA__SOURCES__SOFT_TIMEOUT", "4s"),
        ("USERDATA__SOURCES__BREAKER_FAILURES", "1000"),
    ];
    let server = Breakable::start(Kind::Postgres, &environment).await;
    let holding = server.db.begin().await.unwrap();
    let tables = "content_recommendations, content_analytics, calendar_events";
    holding.execute_unprepared(&format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
    let load = async |user: &str| get(&mut server.client.clone(), user).await;
    let stuck = futures::future::join_all(["1", "2", "3", "4"].map(load));
    let waiting = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND database = \
                   (SELECT oid FROM pg_database WHERE datname = current_database())";
    let another = async {
        // One connection of each of the three.
        wait_for("optional sources to hang", async || (count(&server.db, waiting).await >= 3).then_some(())).await;
        load("5").await
    };
    let (_, reply) = tokio::join!(stuck, another);
    for section in [Section::Onboarding, Section::Strategy] {
        let took = report(&reply, section).took.unwrap();
        assert!(took.seconds < 4, "{section:?} waited for connections: {took:?}");
    }
    holding.rollback().await.unwrap();
}

#[tokio::test]
async fn a_required_source_is_waited_for_beyond_the_soft_timeout() {
    let mut server = Breakable::start(Kind::Postgres, &[("USERDATA__SOURCES__SOFT_TIMEOUT", "50ms")]).await;
    server.slow_down("persona_data", Duration::from_millis(500)).await;
    let reply = get(&mut server.client, "1").await;
    assert_eq!(report(&reply, Section::Onboarding).state(), State::Ok);
}

#[tokio::test]
async fn sources_run_side_by_side() {
    // Half of the time that a source has.
    let by = Duration::from_secs(4);
    let mut server = Breakable::start(Kind::Postgres, &[]).await;
    // One statement of each source reads its table once.
    for table in ["persona_data", "strategy_activation_status"] {
        server.slow_down(table, by).await;
    }
    let begun = Instant::now();
    let reply = get(&mut server.client, "1").await;
    let took = begun.elapsed();
    for section in [Section::Onboarding, Section::Strategy] {
        let took = report(&reply, section).took.unwrap();
        assert!(took.seconds >= 4, "{section:?} was held: {took:?}");
    }
    assert!(took >= by && took < by * 2, "about the slower one, not both: {took:?}");
}

#[tokio::test]
async fn a_source_that_fails_again_and_again_is_left_alone_and_tried_again() {
    for kind in BOTH {
        let environment = [("USERDATA__SOURCES__BREAKER_FAILURES", "3"), ("USERDATA__SOURCES__BREAKER_PAUSE", "10m")];
        let mut server = Breakable::start(kind, &environment).await;
        server.take_away("content_recommendations").await;
        for user in ["1", "2", "3"] {
            let reply = get(&mut server.client, user).await;
            check_partial(&reply, &[Section::Recommendations], "SQL_ERROR", user);
        }
        assert_eq!(server.breaker("recommendations").await, "open");
        server.put_back("content_recommendations").await;
        let reply = get(&mut server.client, "4").await;
        check_partial(&reply, &[Section::Recommendations], "BREAKER_OPEN", "though it is back");
        assert_eq!(server.breaker("performance").await, "closed", "each source has its own");
    }
    let environment = [("USERDATA__SOURCES__BREAKER_FAILURES", "2"), ("USERDATA__SOURCES__BREAKER_PAUSE", "200ms")];
    let mut server = Breakable::start(Kind::Sqlite, &environment).await;
    server.take_away("content_recommendations").await;
    for user in ["1", "2"] {
        get(&mut server.client, user).await;
    }
    server.put_back("content_recommendations").await;
    let client = server.client.clone();
    wait_for("the source to be tried again", async || complete(&refresh(&mut client.clone(), "1").await).then_some(()))
        .await;
    assert_eq!(server.breaker("recommendations").await, "closed");
}
