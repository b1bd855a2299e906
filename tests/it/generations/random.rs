//! Random subsets of the newest generation's tables and columns, with random types of each column's family: no call
//! fails, and the warnings name what is missing, exactly.

use std::collections::BTreeSet;

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestCaseError, TestRunner},
};
use testkit::{
    assembly::{aggregator, assemble, document, json, patient},
    database::{Kind, database},
    generations::{Column, Generation, Ids, Planning, Table, USERS},
    inputs::INPUTS,
};
use userdata::aggregate::{AggregateError, SourceError};

use super::types::{as_of, planning};

/// A database of its own for each.
const CASES_SQLITE: u32 = 40;
const CASES_POSTGRES: u32 = 16;
/// About a fifth of the columns.
const ALTERATIONS_MAX: usize = 40;

/// The newest generation's tables, altered.
struct Altered {
    tables: Vec<Table>,
    /// What was altered, for a reader.
    how: Vec<String>,
}

impl std::fmt::Debug for Altered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.how.join("; "))
    }
}

/// What is done to a table: it goes, or one of its columns goes, or that gets another type.
#[derive(Clone, Debug)]
enum Alteration {
    NoTable,
    NoColumn(Index),
    OtherType(Index, Index),
}

fn alteration() -> impl Strategy<Value = (Index, Alteration)> {
    let what = prop_oneof![
        1 => Just(Alteration::NoTable),
        3 => any::<Index>().prop_map(Alteration::NoColumn),
        8 => any::<(Index, Index)>().prop_map(|(column, of_type)| Alteration::OtherType(column, of_type)),
    ];
    (any::<Index>(), what)
}

/// A failure is shrunk to few alterations.
fn altered(planning: &Planning, kind: Kind) -> impl Strategy<Value = Altered> + use<> {
    let (tables, ids) = (planning.tables(), planning.ids);
    prop::collection::vec(alteration(), 0..=ALTERATIONS_MAX).prop_map(move |alterations| {
        let mut altered = Altered { tables: tables.clone(), how: Vec::new() };
        for (table, what) in alterations {
            altered.apply(&table, &what, kind, ids);
        }
        altered
    })
}

impl Altered {
    fn apply(&mut self, table: &Index, what: &Alteration, kind: Kind, ids: Ids) {
        if self.tables.is_empty() {
            return;
        }
        let at = table.index(self.tables.len());
        let table = &mut self.tables[at];
        match what {
            Alteration::NoTable => {
                self.how.push(format!("no {}", table.name));
                self.tables.remove(at);
            }
            Alteration::NoColumn(column) => {
                let column = column.index(table.columns.len());
                if table.columns[column].name != "id" {
                    let gone = table.columns.remove(column);
                    self.how.push(format!("no {}.{}", table.name, gone.name));
                }
            }
            Alteration::OtherType(column, of_type) => {
                let column = column.get_mut(&mut table.columns);
                let types = family(&table.name, column, kind, ids);
                column.of_type = (*of_type.get(types)).to_owned();
                self.how.push(format!("{}.{} is {}", table.name, column.name, column.of_type));
            }
        }
    }
}

/// The types that a column may have instead of the application's.
fn family(table: &str, column: &Column, kind: Kind, ids: Ids) -> &'static [&'static str] {
    let name = column.name.as_str();
    let key = name == "id" || name.ends_with("_id");
    match (column.of_type.as_str(), kind) {
        _ if name == "user_id" => match (ids, kind) {
            (Ids::Clerk, Kind::Postgres) => &["VARCHAR(255)", "TEXT"],
            // An event that names no user has an empty text.
            (_, Kind::Postgres) if table == "calendar_events" => &["VARCHAR(255)", "TEXT"],
            _ => &["VARCHAR(255)", "TEXT", "INTEGER", "BIGINT"],
        },
        ("INTEGER" | "BIGINT", _) if key => &["INTEGER", "BIGINT"],
        ("INTEGER" | "BIGINT" | "DECIMAL" | "DOUBLE PRECISION", _) => {
            &["INTEGER", "BIGINT", "DECIMAL", "DOUBLE PRECISION"]
        }
        ("FLOAT" | "REAL", _) => &["FLOAT", "NUMERIC", "REAL"],
        ("DATETIME" | "TIMESTAMP", Kind::Sqlite) => &["DATETIME", "TIMESTAMP"],
        ("DATETIME" | "TIMESTAMPTZ", Kind::Postgres) => &["DATETIME", "TIMESTAMPTZ"],
        ("JSON" | "JSONB", Kind::Postgres) => &["JSON", "JSONB", "TEXT"],
        ("JSON", Kind::Sqlite) => &["JSON", "TEXT"],
        ("BOOLEAN", _) => &["BOOLEAN"],
        _ => &["VARCHAR(1000)", "TEXT"],
    }
}

/// What the warnings have to name.
fn missing(tables: &[Table]) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    let inputs = INPUTS.iter().flat_map(|input| [(input.table, input.plain), (input.table, input.json)]);
    for (name, columns) in inputs {
        let Some(table) = tables.iter().find(|table| table.name == name) else {
            missing.insert(format!("TABLE_MISSING {name}"));
            continue;
        };
        let absent = columns.iter().filter(|column| !table.columns.iter().any(|there| there.name == **column));
        missing.extend(absent.map(|column| format!("COLUMN_MISSING {name}.{column}")));
    }
    missing
}

/// Without one of these tables the database is not the application's.
fn knows_users(tables: &[Table]) -> bool {
    let of_users = ["onboarding_sessions", "enhanced_content_strategies", "content_strategies"];
    tables.iter().any(|table| of_users.contains(&table.name.as_str()))
}

/// Assembles all users' documents. Without sessions and strategies a user is unknown, which is no failure.
async fn check(planning: &Planning, kind: Kind, tables: &[Table]) -> Result<(), TestCaseError> {
    let place = database(kind).await;
    planning.create_altered(&place.connect().await, kind, tables).await;
    let db = place.connect_read_only().await;
    let aggregator = aggregator(&db, &patient());
    let expected = missing(tables);
    let mut named = BTreeSet::new();
    let mut known = 0;
    for who in USERS {
        match assemble(&aggregator, planning.ids.of(who), None, as_of()).await {
            Ok(assembled) => {
                known += 1;
                for part in &assembled.parts {
                    prop_assert!(part.facts.state != userdata::model::State::Failed, "{who:?}: {:?}", part.facts);
                    named.extend(part.facts.warnings.iter().cloned());
                }
                prop_assert!(json(&document(&assembled)).len() > 2);
            }
            Err(AggregateError::UnknownUser) => {}
            Err(AggregateError::Source { error: SourceError::NoTables, .. }) if !knows_users(tables) => {}
            Err(error) => return Err(TestCaseError::fail(format!("{who:?}: {error:?}"))),
        }
    }
    if known > 0 {
        prop_assert_eq!(named, expected);
    }
    Ok(())
}

/// Has a runtime of its own, which the search blocks on.
fn search(kind: Kind, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for ids in [Ids::Numeric, Ids::Clerk] {
        let planning = planning(Generation::Newest, ids);
        let config = Config { cases: cases / 2, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let found =
            runner.run(&altered(&planning, kind), |altered| runtime.block_on(check(&planning, kind, &altered.tables)));
        if let Err(error) = found {
            panic!("{kind:?} {ids:?}: {error}");
        }
    }
}

#[test]
fn whatever_is_missing_on_sqlite_costs_itself_only() {
    search(Kind::Sqlite, CASES_SQLITE);
}

#[test]
fn whatever_is_missing_on_postgres_costs_itself_only() {
    search(Kind::Postgres, CASES_POSTGRES);
}
