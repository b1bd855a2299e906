//! What a writer of the planning application may do to a row, drawn at random: values come from other rows of the same
//! column, so that they are of the right kind, point at rows that are there, and move rows between owners.

use rand::{RngExt as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use userdata_migrations::columns_of;

use super::{
    ground::Ground,
    tables::{TABLES, Table, table},
};

/// One statement.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) table: &'static Table,
    pub(super) sql: String,
    /// The rows that it touches, as a condition on `r`; those that it makes are of the same owners.
    pub(super) rows: String,
    /// Whether it is about columns that anybody reads.
    pub(super) matters: bool,
}

/// Columns that hold words, so that any word is a value.
const WORDS: [&str; 14] = [
    "name",
    "title",
    "description",
    "industry",
    "website_url",
    "page_url",
    "competitor_url",
    "competitor_domain",
    "platform",
    "content_type",
    "status",
    "priority",
    "data_source",
    "research_depth",
];
/// Among others forms that no reader expects.
const VALUES: [&str; 10] = [
    "[]",
    "{}",
    "null",
    "7",
    "\"word {n}\"",
    "[\"gap {n}\", {\"topic\": \"topic {n}\"}]",
    "{\"overall_score\": {n}}",
    "{\"tone\": \"tone {n}\", \"demographics\": [\"group {n}\"], \"content_gaps\": [\"gap {n}\"]}",
    "[{\"name\": \"pillar {n}\", \"percentage\": 40}]",
    "{\"relevance_score\": 0.{n}, \"title\": \"rival {n}\", \"summary\": \"automation of marketing {n}\"}",
];

impl Change {
    /// One that the test itself has written.
    pub(super) fn of(name: &str, sql: &str, rows: &str) -> Self {
        Self { table: table(name), sql: sql.to_owned(), rows: rows.to_owned(), matters: true }
    }

    /// Any change of any table, of a row of one of these users; none if there is no such row.
    pub(super) async fn any(ground: &Ground, rng: &mut ChaCha8Rng, users: &[&str]) -> Option<Self> {
        let table = TABLES.choose(rng).unwrap();
        let id = some_row(ground, rng, table, users).await?;
        let other = some_row(ground, rng, table, users).await?;
        let (name, input) = (table.name, table.input());
        let read = || input.plain.iter().chain(input.json).filter(|column| **column != "id");
        let columns = read().collect::<Vec<_>>();
        let one = format!("r.id = {id}");
        let set = |value: String, rows: &str, matters: bool| Self {
            table,
            sql: format!("UPDATE {name} AS r SET {value} WHERE {rows}"),
            rows: rows.to_owned(),
            matters,
        };
        let copied = |column: &str| format!("{column} = (SELECT o.{column} FROM {name} o WHERE o.id = {other})");
        Some(match rng.random_range(0..100) {
            0..25 => set(copied(columns.choose(rng).unwrap()), &one, true),
            25..40 => match input.json.choose(rng) {
                Some(column) => {
                    let value = VALUES.choose(rng).unwrap().replace("{n}", &rng.random_range(10..99).to_string());
                    set(format!("{column} = '{value}'"), &one, true)
                }
                None => set(copied(columns.choose(rng).unwrap()), &one, true),
            },
            40..50 => {
                let words: Vec<_> = columns.iter().filter(|column| WORDS.contains(column)).collect();
                let word = format!("'word {}'", rng.random_range(10..99));
                match words.choose(rng) {
                    Some(column) => set(format!("{column} = {word}"), &one, true),
                    None => set(format!("{0} = NULL", columns.choose(rng).unwrap()), &one, true),
                }
            }
            50..55 => set(format!("{0} = NULL", columns.choose(rng).unwrap()), &one, true),
            // A save that changes nothing.
            55..60 => {
                let same: Vec<String> = columns.iter().map(|column| format!("{column} = {column}")).collect();
                set(same.join(", "), &one, false)
            }
            60..68 => {
                let all = columns_of(&ground.db, name).await.unwrap();
                let unread: Vec<_> = all.iter().filter(|column| !is_read(table, column)).collect();
                set(copied(unread.choose(rng)?), &one, false)
            }
            68..75 if columns.contains(&&"updated_at") => {
                let at = format!("updated_at = '2026-0{}-11 10:00:00'", rng.random_range(1..9));
                set(at, &one, true)
            }
            68..82 => inserted(ground, table, &one).await,
            82..90 if !table.is_parent || rng.random_bool(0.2) => deleted(table, one),
            // Many at once, of whomever.
            90..95 => set(copied(columns.choose(rng).unwrap()), &some_of_many(rng, id), true),
            95..97 => inserted(ground, table, &some_of_many(rng, id)).await,
            97..99 if !table.is_parent => deleted(table, some_of_many(rng, id)),
            _ => set(copied(columns.choose(rng).unwrap()), &one, true),
        })
    }
}

/// Whether anything reads a column. `updated_at` matters where it tells the newest row.
fn is_read(table: &Table, column: &str) -> bool {
    let input = table.input();
    column == "id" || column == "updated_at" || input.plain.contains(&column) || input.json.contains(&column)
}

fn some_of_many(rng: &mut ChaCha8Rng, id: i64) -> String {
    format!("r.id BETWEEN {} AND {} AND r.id % 3 = {}", id - 1500, id + 1500, rng.random_range(0..3))
}

fn deleted(table: &'static Table, rows: String) -> Change {
    // SQLite knows no alias here.
    let sql = format!("DELETE FROM {0} WHERE id IN (SELECT r.id FROM {0} r WHERE {rows})", table.name);
    Change { table, sql, rows, matters: true }
}

/// Copies of rows.
async fn inserted(ground: &Ground, table: &'static Table, rows: &str) -> Change {
    let name = table.name;
    let columns = columns_of(&ground.db, name).await.unwrap();
    let columns: Vec<&str> = columns.iter().map(String::as_str).filter(|column| *column != "id").collect();
    let copies = columns.iter().map(|column| match *column {
        // Unique for each user.
        "page_url" => format!("r.page_url || '/' || (SELECT MAX(m.id) FROM {name} m)"),
        column => format!("r.{column}"),
    });
    let sql = format!(
        "INSERT INTO {name} (id, {}) SELECT (SELECT MAX(m.id) FROM {name} m) + ROW_NUMBER() OVER (ORDER BY r.id), {} \
         FROM {name} r WHERE {rows}",
        columns.join(", "),
        copies.collect::<Vec<_>>().join(", ")
    );
    Change { table, sql, rows: rows.to_owned(), matters: true }
}

/// The id of a row of one of these users.
async fn some_row(ground: &Ground, rng: &mut ChaCha8Rng, table: &Table, users: &[&str]) -> Option<i64> {
    let from = format!("FROM {} r WHERE {} = '{}'", table.name, table.owner, users.choose(rng).unwrap());
    let rows = ground.number(&format!("SELECT COUNT(*) {from}")).await.filter(|rows| *rows > 0)?;
    let place = rng.random_range(0..rows);
    ground.number(&format!("SELECT CAST(r.id AS BIGINT) {from} ORDER BY r.id LIMIT 1 OFFSET {place}")).await
}
