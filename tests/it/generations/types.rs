//! Changes of type that the application's migrations and forks make on PostgreSQL: the documents stay the same.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::DatabaseConnection;
use testkit::{
    assembly::{aggregator, assemble, base_day, document, json, noon, patient},
    database::{Kind, TestDatabase},
    generations::{Generation, Ids, Planning, USERS, Who},
};

use super::documents::doctor_on_tables;

/// Assembled at the noon of the rows' base day, as texts, with each section's warnings.
pub(super) async fn documents(db: &DatabaseConnection, ids: Ids) -> Vec<(Who, String, Vec<String>)> {
    let aggregator = aggregator(db, &patient());
    let mut documents = Vec::new();
    for who in USERS {
        let assembled = assemble(&aggregator, ids.of(who), None, as_of()).await;
        let assembled = assembled.unwrap_or_else(|error| panic!("{who:?}: {error:?}"));
        let warnings = assembled.parts.iter().flat_map(|part| part.facts.warnings.iter().cloned()).collect();
        documents.push((who, json(&document(&assembled)), warnings));
    }
    documents
}

pub(super) fn as_of() -> DateTime<Utc> {
    noon()
}

pub(super) fn planning(generation: Generation, ids: Ids) -> Planning {
    Planning { generation, ids, base_day: base_day() }
}

/// What is altered, and the statements for it.
struct Alteration {
    what: &'static str,
    statements: Vec<String>,
}

/// The columns of these types, as `table.column`.
async fn columns_of_type(place: &TestDatabase, of_type: &str) -> Vec<(String, String)> {
    let sql = format!(
        "SELECT table_name::text AS t, column_name::text AS c FROM information_schema.columns \
         WHERE table_schema = current_schema() AND data_type = '{of_type}' AND column_name <> 'id' \
         AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = current_schema()) ORDER BY 1, 2"
    );
    let rows = place.rows(&sql).await;
    rows.iter().map(|row| (row.try_get("", "t").unwrap(), row.try_get("", "c").unwrap())).collect()
}

async fn altered(place: &TestDatabase, from: &str, to: &str, using: impl Fn(&str) -> String) -> Vec<String> {
    let columns = columns_of_type(place, from).await;
    assert!(!columns.is_empty(), "no column is {from}");
    let alter = |(table, column): (String, String)| {
        format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE {to} USING {}", using(&column))
    };
    columns.into_iter().map(alter).collect()
}

async fn alterations(place: &TestDatabase, planning: &Planning) -> Vec<Alteration> {
    let users = planning.generation.integer_users().iter();
    let users = users.map(|table| format!("ALTER TABLE {table} ALTER COLUMN user_id TYPE VARCHAR(255)")).collect();
    let cast = |to: &'static str| move |column: &str| format!("{column}::text::{to}");
    let at_utc = |column: &str| format!("{column} AT TIME ZONE 'UTC'");
    vec![
        Alteration { what: "user_id to varchar", statements: users },
        Alteration { what: "JSON to jsonb", statements: altered(place, "json", "jsonb", cast("jsonb")).await },
        Alteration { what: "JSON to text", statements: altered(place, "json", "text", cast("text")).await },
        Alteration {
            what: "times with a zone",
            statements: altered(place, "timestamp without time zone", "timestamptz", at_utc).await,
        },
        Alteration {
            what: "integers to bigint",
            statements: altered(place, "integer", "bigint", cast("bigint")).await,
        },
        Alteration {
            what: "integers to numeric",
            statements: without_keys(altered(place, "integer", "numeric", cast("numeric")).await),
        },
        Alteration {
            what: "integers to doubles",
            statements: without_keys(altered(place, "integer", "double precision", cast("double precision")).await),
        },
        Alteration {
            what: "doubles to numeric",
            statements: altered(place, "double precision", "numeric", cast("numeric")).await,
        },
        Alteration {
            what: "texts to text",
            statements: altered(place, "character varying", "text", cast("text")).await,
        },
    ]
}

/// Ids are joined by an equal type.
fn without_keys(statements: Vec<String>) -> Vec<String> {
    statements.into_iter().filter(|statement| !statement.contains("_id TYPE")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_type_change_no_document() {
    for generation in [Generation::Aug22, Generation::Newest] {
        let planning = planning(generation, Ids::Numeric);
        let place = planning.database(Kind::Postgres).await;
        let before = documents(&place.connect_read_only().await, planning.ids).await;
        for Alteration { what, statements } in alterations(&place, &planning).await {
            let copy = planning.database(Kind::Postgres).await;
            let db = copy.connect().await;
            for statement in statements {
                testkit::assembly::execute(&db, &statement).await;
            }
            let after = documents(&copy.connect_read_only().await, planning.ids).await;
            for (before, after) in before.iter().zip(after) {
                assert_eq!(*before, after, "{generation:?}, {what}");
            }
        }
    }
}

/// What doctor has to name, and with which words, because reading it in its type costs something.
const COSTS: [(&str, &str, &str); 3] = [
    ("content_analytics", "metrics TYPE text USING metrics::text", "content_analytics.metrics"),
    ("content_analytics", "recorded_at TYPE timestamptz USING recorded_at AT TIME ZONE 'UTC'", "recorded_at"),
    ("strategy_performance_metrics", "roi_ratio TYPE text USING roi_ratio::text", "roi_ratio"),
];

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_a_type_costs() {
    let place = planning(Generation::Newest, Ids::Numeric).database(Kind::Postgres).await;
    for (table, column, name) in COSTS {
        place.execute(&format!("ALTER TABLE {table} ALTER COLUMN {column}")).await;
        let found = doctor_on_tables(&place).await;
        assert!(found.iter().any(|found| found.contains(name)), "{name} is not in {found:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_cannot_be_read_costs_its_column_only() {
    let planning = planning(Generation::Newest, Ids::Numeric);
    let place = planning.database(Kind::Postgres).await;
    let alter = "ALTER TABLE website_analyses ALTER COLUMN updated_at TYPE bytea USING NULL, \
                 ALTER COLUMN seo_audit TYPE bytea USING NULL";
    place.execute(alter).await;
    let named: BTreeSet<String> = documents(&place.connect_read_only().await, planning.ids)
        .await
        .into_iter()
        .flat_map(|(_, _, warnings)| warnings)
        .collect();
    let expected = ["seo_audit", "updated_at"].map(|column| format!("COLUMN_TYPE website_analyses.{column}"));
    assert_eq!(named, BTreeSet::from(expected));
    let found = doctor_on_tables(&place).await;
    assert!(found.iter().any(|found| found.contains("website_analyses.seo_audit")), "{found:#?}");
}
