//! The application changes its tables as it likes: its own writes succeed, and their changes are told.

use sea_orm::{ConnectionTrait, TransactionTrait};
use testkit::{
    database::{BOTH, Kind},
    sources::sources,
};
use userdata::{changes, model::Section::Onboarding};

use super::{bits, in_one_session, watched};

const SITE: &str =
    "INSERT INTO website_analyses (id, session_id, website_url, brand_analysis) VALUES (1, 1, 'w', '{}')";

#[tokio::test]
async fn columns_may_be_dropped_renamed_and_altered_in_a_session_that_goes_on_writing() {
    let sources = sources(Kind::Postgres).await;
    let mut cluster = watched(&sources).await;
    sources.database.execute(SITE).await;
    let a = [format!("a {}", bits(&[Onboarding]))];
    for (change, write, is_told) in [
        ("SELECT 1", "UPDATE website_analyses SET status = 'one'", true),
        (
            "ALTER TABLE website_analyses RENAME COLUMN brand_analysis TO brand",
            "UPDATE website_analyses SET status = 'two'",
            true,
        ),
        ("SELECT 1", "UPDATE website_analyses SET brand = '{\"a\": 1}'", false),
        ("ALTER TABLE website_analyses DROP COLUMN status", "UPDATE website_analyses SET website_url = 'x'", true),
        (
            "ALTER TABLE website_analyses ADD COLUMN status INT, ALTER COLUMN website_url TYPE TEXT",
            "UPDATE website_analyses SET status = 3",
            true,
        ),
        (
            "ALTER TABLE website_analyses RENAME COLUMN brand TO brand_analysis",
            "UPDATE website_analyses SET brand_analysis = '{\"a\": 2}'",
            true,
        ),
        (
            "ALTER TABLE website_analyses ALTER COLUMN brand_analysis TYPE JSONB USING '{}'",
            "UPDATE website_analyses SET brand_analysis = '[]'",
            true,
        ),
        ("ALTER TABLE website_analyses DROP COLUMN id CASCADE", "UPDATE website_analyses SET website_url = 'y'", true),
        ("ALTER TABLE website_analyses DROP COLUMN session_id", "UPDATE website_analyses SET website_url = 'z'", false),
    ] {
        // The plan that the trigger keeps is made before the change, in the session that goes on.
        let session = sources.db.begin().await.unwrap();
        session.execute_unprepared("UPDATE website_analyses SET crawl_result = '{}'").await.unwrap();
        session.execute_unprepared(change).await.unwrap();
        session.commit().await.unwrap();
        cluster.read().await;
        sources.database.execute(write).await;
        let told = cluster.told().await;
        assert_eq!(told, if is_told { &a[..] } else { &[] }, "{change}; {write}");
    }
}

#[tokio::test]
async fn the_plan_of_a_session_follows_the_columns() {
    let sources = sources(Kind::Postgres).await;
    let mut cluster = watched(&sources).await;
    let statements = [
        SITE,
        "UPDATE website_analyses SET status = 'one'",
        "ALTER TABLE website_analyses DROP COLUMN brand_analysis",
        "UPDATE website_analyses SET status = 'two'",
        "ALTER TABLE website_analyses RENAME COLUMN session_id TO session",
        "ALTER TABLE website_analyses ADD COLUMN session_id VARCHAR",
        "UPDATE website_analyses SET session_id = '2'",
        "ALTER TABLE website_analyses ALTER COLUMN session_id TYPE INT USING 2",
        "ALTER TABLE website_analyses ALTER COLUMN status TYPE TEXT",
        "UPDATE website_analyses SET status = 'three'",
    ];
    in_one_session(&sources.db, &statements).await;
    let told = cluster.told().await;
    let onboarding = bits(&[Onboarding]);
    assert!(told.contains(&format!("b {onboarding}")), "{told:?}");
}

#[tokio::test]
async fn an_odd_json_value_fails_no_write() {
    let sources = sources(Kind::Postgres).await;
    let mut cluster = watched(&sources).await;
    sources.database.execute(&SITE.replace("'{}'", "'{\"a\": \"\\u0000\"}'")).await;
    sources.database.execute("UPDATE website_analyses SET crawl_result = '\"\\u0000\"', status = 'odd'").await;
    assert_eq!(cluster.told().await, [format!("a {}", bits(&[Onboarding]))]);
    let same = "UPDATE website_analyses SET seo_audit = 'null', brand_analysis = '{\"a\": \"\\u0000\"}'";
    sources.database.execute(same).await;
    assert_eq!(cluster.told().await, [""; 0], "JSON's null is no value");
}

#[tokio::test]
async fn a_dropped_parent_fails_no_write_to_its_children() {
    for kind in BOTH {
        let sources = sources(kind).await;
        let mut cluster = watched(&sources).await;
        sources.database.execute(SITE).await;
        cluster.read().await;
        let cascade = if kind == Kind::Postgres { " CASCADE" } else { "" };
        sources.database.execute(&format!("DROP TABLE onboarding_sessions{cascade}")).await;
        let reading = cluster.read().await;
        assert!(!reading.changes.is_empty(), "{kind:?}: the rows are gone for everyone");
        sources.database.execute("UPDATE website_analyses SET status = 'orphan'").await;
        assert_eq!(cluster.told().await, [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn sqlites_tables_are_rebuilt_with_the_triggers_in_place() {
    let sources = sources(Kind::Sqlite).await;
    let mut cluster = watched(&sources).await;
    sources.database.execute(SITE).await;
    cluster.read().await;
    for table in ["onboarding_sessions", "content_strategies", "website_analyses", "calendar_events"] {
        // As alembic's batch mode does it.
        in_one_session(
            &sources.db,
            &[
                &format!("CREATE TABLE _alembic_tmp_{table} AS SELECT * FROM {table}"),
                &format!("DROP TABLE {table}"),
                &format!("ALTER TABLE _alembic_tmp_{table} RENAME TO {table}"),
            ],
        )
        .await;
        let reading = cluster.read().await;
        assert!(!reading.unwatched.is_empty() && !reading.changes.is_empty(), "{table}: {reading:?}");
        cluster.outbox.repair().await.unwrap();
        let reading = cluster.read().await;
        assert!(reading.unwatched.is_empty() && !reading.changes.is_empty(), "{table}: {reading:?}");
    }
    sources.database.execute("UPDATE website_analyses SET status = 'rebuilt'").await;
    assert_eq!(cluster.told().await, [format!("a {}", bits(&[Onboarding]))]);

    sources.database.execute("ALTER TABLE calendar_events ADD COLUMN extra TEXT").await;
    sources.database.execute("ALTER TABLE calendar_events RENAME COLUMN status TO state").await;
    sources.database.execute("UPDATE website_analyses SET status = 'again'").await;
    let dropped = sources.db.execute_unprepared("ALTER TABLE website_analyses DROP COLUMN brand_analysis").await;
    assert!(dropped.is_err(), "SQLite's own rule; docs/operating.md says what to do");
    changes::remove(&sources.db).await.unwrap();
    sources.database.execute("ALTER TABLE website_analyses DROP COLUMN brand_analysis").await;
    changes::install(&sources.db).await.unwrap();
    sources.database.execute("UPDATE website_analyses SET status = 'without'").await;
    assert!(cluster.read().await.unwatched.is_empty());
}

#[tokio::test]
async fn a_session_cannot_hide_the_outbox_from_the_triggers() {
    let sources = sources(Kind::Postgres).await;
    let mut cluster = watched(&sources).await;
    let statements = [
        "CREATE TEMP TABLE invalidation_outbox (id INT)",
        "CREATE SCHEMA other",
        "SET LOCAL search_path = other, public",
        SITE,
    ];
    in_one_session(&sources.db, &statements).await;
    assert_eq!(cluster.told().await, [format!("a {}", bits(&[Onboarding]))]);
}
