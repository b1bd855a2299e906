//! What the sources read, where, and what no odd row can do.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use userdata::{
    aggregate::{Aggregator, Assembled},
    config,
    model::{SECTIONS, Section, State},
    proto::v1::{CacheStatus, ComprehensiveUserData},
};
use userdata_migrations::{Tables, up};

use testkit::{
    assembly::{
        DEMO_USERS, aggregator, assemble, base_day, document, execute, facts, json, noon, patient, payload, scalar,
        serve_from,
    },
    database::{BOTH, Kind, TestDatabase, database},
    get::{complete, get, invalidate, status},
    inputs::{INPUTS, Input},
    seeded::{seeded, seeded_today},
    wait_for,
};

/// The demo user to whose rows the odd values are given, and both kinds of strategies of theirs.
const USER: &str = "1";
const ENHANCED: Option<i64> = Some(12);
const LEGACY: Option<i64> = Some(11);

/// Small enough to exceed with a short text.
const COLUMN_BYTES_MAX: usize = 2048;

/// What a JSON column may hold that is not what is expected there.
struct Odd {
    what: &'static str,
    text: String,
    /// It cannot be read, so it is named.
    named: bool,
    code: &'static str,
    /// Figures cannot be taken from it by a statement, so it is named for analytics.
    named_in_statements: bool,
}

fn odd(what: &'static str, text: impl Into<String>, named: bool, named_in_statements: bool) -> Odd {
    Odd { what, text: format!("'{}'", text.into()), named, code: "MALFORMED_COLUMN", named_in_statements }
}

/// Values of every kind that a database can hold.
fn odd_values(kind: Kind) -> Vec<Odd> {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let mut values = vec![
        Odd { text: "NULL".to_owned(), ..odd("NULL", "", false, false) },
        odd("JSON null", "null", false, false),
        odd("an integer", "7", false, false),
        odd("a fraction", "0.25", false, false),
        odd("a boolean", "true", false, false),
        odd("a string", "\"text\"", false, false),
        odd("an array", r#"[1, "a", null, [], {}]"#, false, false),
        odd("another object", r#"{"unheard of": {"of": [1]}}"#, false, false),
        odd("U+0000 in a string", r#""a\u0000b""#, false, true),
        odd("U+0000 in an object", r#"{"a\u0000": ["b\u0000"]}"#, false, true),
        odd("a lone surrogate", r#"{"a": "\ud800"}"#, true, true),
        odd("as deep as may be", nested(24), false, false),
        odd("too deep", nested(25), true, false),
        odd("too large", format!("\"{}\"", "x".repeat(COLUMN_BYTES_MAX)), true, false),
    ];
    // PostgreSQL refuses what is no JSON.
    if kind == Kind::Sqlite {
        values.extend([
            odd("half an object", r#"{"a": "#, true, true),
            odd("no text", "", true, true),
            Odd { code: "NOT_A_NUMBER", ..odd("NaN", "NaN", true, true) },
            Odd { code: "NOT_A_NUMBER", ..odd("NaN among others", r#"{"a": NaN, "b": [-Infinity]}"#, true, true) },
            odd("more than one value", "{} {}", true, true),
            Odd { text: "x'ff00'".to_owned(), ..odd("bytes", "", true, true) },
        ]);
    }
    values
}

/// One user's demo rows on one database.
struct Rows {
    kind: Kind,
    db: DatabaseConnection,
    aggregator: Aggregator,
    _place: TestDatabase,
}

impl Rows {
    async fn on(kind: Kind, limits: config::SourcesSettings) -> Self {
        let (place, db) = seeded(kind, base_day()).await;
        // Others' would only make each change take longer.
        execute(&db, "DELETE FROM content_analytics WHERE strategy_id <> 11").await;
        let aggregator = aggregator(&db, &limits);
        Self { kind, db, aggregator, _place: place }
    }

    /// Gives every row the value.
    async fn set(&self, input: &Input, columns: &[&str], value: &str) {
        let value_of = |column: &str| match value {
            "NULL" if column == "content_types" => "'null'",
            value => value,
        };
        let change = |column: &&str| match self.kind {
            Kind::Sqlite => format!("{column} = {}", value_of(column)),
            Kind::Postgres => format!("{column} = CAST({} AS JSON)", value_of(column)),
        };
        let changes: Vec<String> = columns.iter().map(change).collect();
        execute(&self.db, &format!("UPDATE {} SET {}", input.table, changes.join(", "))).await;
    }

    /// Assembles, and checks what holds whatever the rows are.
    async fn read(&self, strategy: Option<i64>, what: &str) -> Assembled {
        let assembled = assemble(&self.aggregator, USER, strategy, noon()).await;
        let assembled = assembled.unwrap_or_else(|error| panic!("{:?} {what}: {error:?}", self.kind));
        for section in SECTIONS {
            let facts = facts(&assembled, section);
            assert!(matches!(facts.state, State::Ok | State::NotFound), "{:?} {what}: {facts:?}", self.kind);
        }
        let document = document(&assembled);
        let read_back: ComprehensiveUserData = serde_json::from_str(&json(&document)).unwrap();
        assert_eq!(read_back, document, "{:?} {what}", self.kind);
        assembled
    }
}

fn warnings(assembled: &Assembled) -> BTreeSet<(Section, String)> {
    let facts = SECTIONS.into_iter().map(|section| facts(assembled, section));
    facts.flat_map(|facts| facts.warnings.iter().map(|warning| (facts.section, warning.clone()))).collect()
}

fn warning(code: &str, input: &Input, column: &str) -> (Section, String) {
    (input.section, format!("{code} {}.{column}", input.table))
}

#[tokio::test]
async fn no_json_value_in_any_column_fails_a_section_and_what_cannot_be_read_is_named() {
    for kind in BOTH {
        let limits = config::SourcesSettings { column_bytes_max: COLUMN_BYTES_MAX, ..patient() };
        let rows = Rows::on(kind, limits).await;
        for Odd { what, text, named, code, named_in_statements } in odd_values(kind) {
            for input in &INPUTS {
                if !input.json.is_empty() {
                    rows.set(input, input.json, &text).await;
                }
            }
            for (strategy, unread) in [(ENHANCED, "content_strategies"), (LEGACY, "enhanced_content_strategies")] {
                let columns = INPUTS.iter().filter(|input| input.table != unread);
                let columns = columns.flat_map(|input| input.json.iter().map(move |column| (input, *column)));
                let expected = columns
                    .filter(|(_, column)| if *column == "metrics" { named_in_statements } else { named })
                    .map(|(input, column)| warning(code, input, column));
                let expected: BTreeSet<_> = expected.collect();
                assert_eq!(warnings(&rows.read(strategy, what).await), expected, "{kind:?} {what} {strategy:?}");
            }
        }
    }
}

#[tokio::test]
async fn one_broken_column_is_named_alone() {
    for kind in BOTH {
        let rows = Rows::on(kind, patient()).await;
        let untouched = rows.read(ENHANCED, "untouched").await;
        assert_eq!(warnings(&untouched), BTreeSet::new());
        for input in INPUTS.iter().filter(|input| !input.json.is_empty()) {
            let table = input.table;
            execute(&rows.db, &format!("CREATE TABLE kept AS SELECT * FROM {table}")).await;
            let strategy = if table == "content_strategies" { LEGACY } else { ENHANCED };
            for column in input.json {
                rows.set(input, &[column], r#"'{"a": ["\ud800"]}'"#).await;
                let assembled = rows.read(strategy, column).await;
                assert_eq!(warnings(&assembled), [warning("MALFORMED_COLUMN", input, column)].into(), "{kind:?}");
                let back =
                    format!("UPDATE {table} SET {column} = (SELECT k.{column} FROM kept k WHERE k.id = {table}.id)");
                execute(&rows.db, &back).await;
            }
            execute(&rows.db, "DROP TABLE kept").await;
        }
        assert_eq!(payload(&rows.read(ENHANCED, "put back").await), payload(&untouched), "{kind:?}");
    }
}

#[tokio::test]
async fn nothing_is_read_but_the_inputs() {
    // A role that may read these columns and nothing else: no secret, no crawled page, no table that is
    // not listed. What reads more fails.
    let (place, db) = seeded(Kind::Postgres, base_day()).await;
    let name = scalar(&db, "SELECT CAST(current_database() AS TEXT)").await.unwrap();
    let role = format!("reader_of_{name}");
    execute(&db, "CREATE TABLE api_keys (id INTEGER PRIMARY KEY, user_id VARCHAR(255), api_key TEXT)").await;
    execute(&db, &format!("CREATE ROLE {role} LOGIN")).await;
    for Input { table, plain, json, .. } in &INPUTS {
        let columns = [*plain, *json].concat().join(", ");
        execute(&db, &format!("GRANT SELECT ({columns}) ON {table} TO {role}")).await;
    }
    let reader = place.connect_as(&role).await;
    let forbidden = reader.execute_unprepared("SELECT crawl_result FROM website_analyses").await.unwrap_err();
    assert!(forbidden.to_string().contains("permission denied"), "{forbidden}");

    let (ours, theirs) = (aggregator(&db, &patient()), aggregator(&reader, &patient()));
    for user in DEMO_USERS {
        let all = assemble(&ours, user, None, noon()).await.unwrap();
        let granted = assemble(&theirs, user, None, noon()).await.unwrap();
        assert!(SECTIONS.into_iter().all(|section| facts(&granted, section).state != State::Failed), "{user}");
        assert_eq!(payload(&granted), payload(&all), "{user}");
    }
    let legacy = assemble(&theirs, USER, LEGACY, noon()).await.unwrap();
    assert!(SECTIONS.into_iter().all(|section| facts(&legacy, section).state == State::Ok));

    reader.close().await.unwrap();
    execute(&db, &format!("DROP OWNED BY {role}")).await;
    execute(&db, &format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn sources_may_be_in_another_database_of_either_kind() {
    for (cache_kind, sources_kind) in BOTH.into_iter().flat_map(|cache| BOTH.map(|sources| (cache, sources))) {
        let what = format!("cache {cache_kind:?}, sources {sources_kind:?}");
        let (sources, sources_db) = seeded_today(sources_kind).await;
        let cache = database(cache_kind).await;
        let cache_db = cache.connect().await;
        up(&cache_db, Tables::Cache).await.unwrap();

        let server = serve_from(&cache, &[("USERDATA__SOURCES__DATABASE_URL", &sources.url)]).await;
        let mut client = server.client().await;
        let reply = get(&mut client, USER).await;
        assert!(complete(&reply), "{what}");
        assert_eq!(reply.data.unwrap().strategy_data.unwrap().strategy_id, 12, "{what}");
        assert_eq!(status(&get(&mut client, USER).await), CacheStatus::HitMemory, "{what}");
        invalidate(&mut client, USER).await;
        assert_eq!(status(&get(&mut client, USER).await), CacheStatus::Assembled, "{what}");

        let rows = "SELECT CAST(COUNT(*) AS TEXT) FROM comprehensive_user_data_cache";
        let stored = async || scalar(&cache_db, rows).await.filter(|count| count == "1");
        wait_for("the document to be stored", stored).await;
        assert_eq!(scalar(&sources_db, rows).await.unwrap(), "0", "{what}: not where the sources are");
        let theirs = cache_db.execute_unprepared("SELECT id FROM onboarding_sessions").await;
        assert!(theirs.is_err(), "{what}: the sources' tables are not where the cache is");
    }
}
