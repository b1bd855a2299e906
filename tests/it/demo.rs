//! The demo data: the same everywhere, and as described.

use chrono::NaiveDate;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::Value as Json;
use userdata::demo::{SeedOptions, Seeded, seed, sources_are_empty};
use userdata_migrations::{Tables, up};

use testkit::database::{BOTH, Kind, TestDatabase, database};

/// Tables that the demo fills, and how many rows in all are too few to be true.
const TABLES: [(&str, usize); 17] = [
    ("onboarding_sessions", 33),
    ("website_analyses", 33),
    ("research_preferences", 32),
    ("persona_data", 32),
    ("platform_integrations", 31),
    ("competitor_analyses", 64),
    ("seo_page_audits", 320),
    ("deep_competitor_analysis_tasks", 32),
    ("deep_competitor_analysis_execution_logs", 64),
    ("content_gap_analyses", 28),
    ("content_strategies", 29),
    ("enhanced_content_strategies", 30),
    ("strategy_activation_status", 20),
    ("strategy_performance_metrics", 60),
    ("calendar_events", 500),
    ("content_analytics", 5000),
    ("content_recommendations", 125),
];

fn options() -> SeedOptions {
    SeedOptions::on(NaiveDate::from_ymd_opt(2025, 9, 1).unwrap())
}

async fn empty(kind: Kind) -> (TestDatabase, DatabaseConnection) {
    let database = database(kind).await;
    let db = database.connect().await;
    up(&db, Tables::CacheAndSources).await.unwrap();
    (database, db)
}

async fn count(db: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// A table's rows as text, in the order of ids, without the two databases' differences in writing.
async fn dump(db: &DatabaseConnection, kind: Kind, table: &str) -> Vec<Vec<Option<String>>> {
    let columns = match kind {
        Kind::Sqlite => format!("SELECT name, upper(type) AS type FROM pragma_table_info('{table}')"),
        Kind::Postgres => format!(
            "SELECT CAST(attname AS TEXT) AS name, upper(format_type(atttypid, atttypmod)) AS type FROM pg_attribute \
             WHERE attrelid = to_regclass('{table}') AND attnum > 0 ORDER BY attnum"
        ),
    };
    let columns = db.query_all_raw(Statement::from_string(db.get_database_backend(), columns)).await.unwrap();
    let select = |name: &str, of_type: &str| match of_type {
        "BOOLEAN" => format!("CAST(CAST({name} AS INTEGER) AS TEXT)"),
        "FLOAT" | "DOUBLE PRECISION" => format!("CAST(CAST({name} * 1000000 AS BIGINT) AS TEXT)"),
        "TIMESTAMP WITHOUT TIME ZONE" => format!("to_char({name}, 'YYYY-MM-DD HH24:MI:SS.US')"),
        // What is broken on SQLite is a string on PostgreSQL.
        "JSON" if kind == Kind::Sqlite => {
            format!(
                "CASE WHEN {name} IS NULL OR json_valid(CAST({name} AS TEXT)) THEN CAST({name} AS TEXT) ELSE json_quote(CAST({name} AS TEXT)) END"
            )
        }
        _ => format!("CAST({name} AS TEXT)"),
    };
    let selected: Vec<String> = columns
        .iter()
        .map(|column| {
            let of_type: String = column.try_get("", "type").unwrap();
            select(&column.try_get::<String>("", "name").unwrap(), &of_type)
        })
        .collect();
    let sql = format!("SELECT {} FROM {table} ORDER BY {table}.id", selected.join(", "));
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| (0..columns.len()).map(|column| row.try_get_by_index(column).unwrap()).collect()).collect()
}

#[tokio::test]
async fn both_databases_get_the_same_rows() {
    let (_sqlite_place, sqlite) = empty(Kind::Sqlite).await;
    let (_postgres_place, postgres) = empty(Kind::Postgres).await;
    let seeded = seed(&sqlite, &options(), |_, _| ()).await.unwrap();
    assert_eq!(seed(&postgres, &options(), |_, _| ()).await.unwrap(), seeded);

    let mut rows = 0;
    for (table, at_least) in TABLES {
        let (ours, theirs) = (dump(&sqlite, Kind::Sqlite, table).await, dump(&postgres, Kind::Postgres, table).await);
        assert!(ours.len() >= at_least, "{table}: {}", ours.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{table}");
        }
        assert_eq!(ours.len(), theirs.len(), "{table}");
        rows += ours.len();
    }
    assert_eq!(seeded, Seeded { users: 33, rows, already: false });
}

#[tokio::test]
async fn seeding_twice_changes_nothing() {
    for kind in BOTH {
        let (_place, db) = empty(kind).await;
        assert!(sources_are_empty(&db).await.unwrap(), "{kind:?}");
        let mut heard = Vec::new();
        let first = seed(&db, &options(), |done, total| heard.push((done, total))).await.unwrap();
        assert_eq!(heard.last(), Some(&(first.rows, first.rows)), "{kind:?}");
        assert!(heard.is_sorted() && heard.len() > 16, "{kind:?}: progress is told: {heard:?}");
        assert!(!sources_are_empty(&db).await.unwrap(), "{kind:?}");

        let before = dump(&db, kind, "content_analytics").await;
        let other = SeedOptions { seed: 7, ..options() };
        let again = seed(&db, &other, |_, _| panic!("nothing is written")).await.unwrap();
        assert_eq!(again, Seeded { users: 0, rows: 0, already: true }, "{kind:?}");
        assert_eq!(dump(&db, kind, "content_analytics").await, before, "{kind:?}");
    }
}

#[tokio::test]
async fn programs_that_seed_at_once_seed_once() {
    for kind in BOTH {
        let (place, db) = empty(kind).await;
        let other = place.connect().await;
        let demo = options();
        let (one, two) = tokio::join!(seed(&db, &demo, |_, _| ()), seed(&other, &demo, |_, _| ()));
        let already = [one.unwrap().already, two.unwrap().already];
        assert!(already.contains(&true) && already.contains(&false), "{kind:?}: {already:?}");
    }
}

#[tokio::test]
async fn rows_added_later_get_ids_of_their_own() {
    for kind in BOTH {
        let (_place, db) = empty(kind).await;
        seed(&db, &options(), |_, _| ()).await.unwrap();
        db.execute_unprepared("INSERT INTO onboarding_sessions (user_id) VALUES ('new')").await.unwrap();
        let newest = "SELECT COUNT(*) FROM onboarding_sessions WHERE user_id = 'new' AND id = (SELECT MAX(id) FROM onboarding_sessions)";
        assert_eq!(count(&db, newest).await, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn every_user_has_the_story_that_is_told() {
    let events = "calendar_events e JOIN content_strategies s ON s.id = e.strategy_id";
    let analytics = "content_analytics a JOIN content_strategies s ON s.id = a.strategy_id";
    let of_session = "JOIN onboarding_sessions o ON o.id = x.session_id WHERE o.user_id";
    let cases = [
        ("one session, two for every fifth", "onboarding_sessions WHERE user_id = '1'".to_owned(), 1..=1),
        ("one session, two for every fifth", "onboarding_sessions WHERE user_id = '10'".to_owned(), 2..=2),
        ("1: competitors", format!("competitor_analyses x {of_session} = '1'"), 2..=5),
        ("1: page audits", "seo_page_audits WHERE user_id = '1'".to_owned(), 10..=60),
        ("1: events", format!("{events} WHERE s.user_id = 1"), 20..=60),
        ("1: a day on 2 to 4 platforms", format!("{analytics} WHERE s.user_id = 1"), 180..=360),
        ("1: recommendations", "content_recommendations WHERE user_id = 1".to_owned(), 5..=20),
        ("1: an active strategy", "strategy_activation_status WHERE strategy_id = 12".to_owned(), 1..=1),
        ("1: metrics", "strategy_performance_metrics WHERE user_id = '1'".to_owned(), 3..=6),
        ("3: an active and an inactive one", "enhanced_content_strategies WHERE user_id = '3'".to_owned(), 2..=2),
        ("5: none active", "enhanced_content_strategies WHERE user_id = '5'".to_owned(), 0..=0),
        ("15: one inactive", "enhanced_content_strategies WHERE user_id = '15'".to_owned(), 1..=1),
        ("15: one inactive", "strategy_activation_status WHERE user_id = 15".to_owned(), 0..=0),
        ("everybody has a legacy one", "content_strategies WHERE user_id <= 25".to_owned(), 25..=25),
        ("26: no persona", format!("persona_data x {of_session} = '26'"), 0..=0),
        ("26: no competitors", format!("competitor_analyses x {of_session} = '26'"), 0..=0),
        ("26: no gap row", "content_gap_analyses WHERE user_id = 26".to_owned(), 0..=0),
        ("26: no page audits", "seo_page_audits WHERE user_id = '26'".to_owned(), 0..=0),
        ("27: no research", format!("research_preferences x {of_session} = '27'"), 0..=0),
        ("27: legacy only", "enhanced_content_strategies WHERE user_id = '27'".to_owned(), 0..=0),
        ("27: pillars as strings", "content_strategies WHERE user_id = 27 AND CAST(content_pillars AS TEXT) LIKE '[\"%'".to_owned(), 1..=1),
        ("27: no events", format!("{events} WHERE s.user_id = 27"), 0..=0),
        ("27: no recommendations", "content_recommendations WHERE user_id = 27".to_owned(), 0..=0),
        ("28: a scalar", format!("{analytics} WHERE s.user_id = 28 AND CAST(a.metrics AS TEXT) = '7'"), 1..=1),
        ("28: an array", format!("{analytics} WHERE s.user_id = 28 AND CAST(a.metrics AS TEXT) LIKE '[%'"), 1..=1),
        ("29: onboarding", "onboarding_sessions WHERE user_id = '29'".to_owned(), 1..=1),
        ("29: no legacy strategy", "content_strategies WHERE user_id = 29".to_owned(), 0..=0),
        ("29: no enhanced strategy", "enhanced_content_strategies WHERE user_id = '29'".to_owned(), 0..=0),
        ("30: two active rows", "strategy_activation_status WHERE user_id = 30 AND status = 'active'".to_owned(), 2..=2),
        ("30: one without date", "strategy_activation_status WHERE user_id = 30 AND activation_date IS NULL".to_owned(), 1..=1),
        ("30: twins", "content_strategies l JOIN enhanced_content_strategies e ON e.id = l.id WHERE e.user_id = '30' AND l.user_id = 30".to_owned(), 1..=1),
        ("no other twins", "content_strategies l JOIN enhanced_content_strategies e ON e.id = l.id".to_owned(), 1..=1),
        ("text ids: strategies", "enhanced_content_strategies WHERE user_id IN ('demo_anna', 'demo_ben', 'demo_chloé')".to_owned(), 3..=4),
        ("text ids: sessions", "onboarding_sessions WHERE user_id LIKE 'demo_%'".to_owned(), 3..=3),
        ("nobody else", "onboarding_sessions WHERE user_id = '999999'".to_owned(), 0..=0),
        ("nothing measured in the future", "content_analytics WHERE recorded_at > '2025-09-01 00:00:00.000000'".to_owned(), 0..=0),
        ("all within 90 days", "content_analytics WHERE recorded_at <= '2025-06-03 00:00:00.000000'".to_owned(), 0..=0),
    ];
    for kind in BOTH {
        let (_place, db) = empty(kind).await;
        seed(&db, &options(), |_, _| ()).await.unwrap();
        for (story, from, expected) in &cases {
            let rows = count(&db, &format!("SELECT COUNT(*) FROM {from}")).await;
            assert!(expected.contains(&rows), "{kind:?}: {story}: {rows}, expected {expected:?}");
        }
    }
}

#[tokio::test]
async fn only_user_28_has_columns_that_do_not_parse() {
    let (_place, db) = empty(Kind::Sqlite).await;
    seed(&db, &options(), |_, _| ()).await.unwrap();
    let mut broken = Vec::new();
    for (table, column) in
        [("website_analyses", "seo_audit"), ("content_analytics", "metrics"), ("persona_data", "core_persona")]
    {
        let sql = format!("SELECT id, CAST({column} AS TEXT) AS text FROM {table} ORDER BY id");
        for row in db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap() {
            let text: String = row.try_get("", "text").unwrap();
            if serde_json::from_str::<Json>(&text).is_err() {
                broken.push((table, row.try_get::<i32>("", "id").unwrap()));
            }
        }
    }
    assert_eq!(broken, [("website_analyses", 28_001), ("content_analytics", 28_001)]);
}
