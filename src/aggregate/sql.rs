//! Reads tables that belong to the planning application, on either database.
//!
//! Each statement stands whole in a `.sql` file. It casts the columns that it selects to text, bigint or double
//! precision, so that both databases return the same three types for any stored value: SQLite stores any value in any
//! column, and a broken column must never fail a section. A value that cannot be read is absent, with a warning.
//!
//! A statement names each column with its table's alias. Each source reads in one read-only transaction, so that its
//! rows agree with each other.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseTransaction, DbErr, IsolationLevel, QueryResult, TransactionTrait, Value,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::value::from_members;
use crate::{
    database::{Dialect, Pool, SqlFile, unless_refused},
    source_schema::{Family, SourceTable},
};

/// JSON deeper than this is treated as broken: protobuf decoders stop at 100 levels, and each level
/// of a `Value` takes three of them.
const JSON_LEVELS_MAX: usize = 24;

/// The database that the sources read from, and the limits of reading.
#[derive(Clone, Debug)]
pub struct SourceDatabase {
    pool: Pool,
    /// As many as the pool has connections. A source waits here, up to its own time limit. The pool's time limit then
    /// covers only the opening of a connection, which is quick or hopeless.
    permits: Arc<Semaphore>,
    /// A larger JSON column counts as absent.
    json_bytes_max: i64,
}

impl SourceDatabase {
    #[must_use]
    pub fn new(pool: Pool, column_bytes_max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(pool.max_connections() as usize));
        Self { pool, permits, json_bytes_max: i64::try_from(column_bytes_max).unwrap_or(i64::MAX) }
    }

    /// Begins a read-only transaction in which all statements see the same rows.
    pub async fn begin(&self) -> Result<ReadTransaction, DbErr> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_closed| DbErr::Custom("the semaphore is never closed".to_owned()))?;
        let dialect = Dialect::of(&self.pool);
        let transaction = unless_refused(&self.pool, async {
            match dialect {
                // A deferred transaction: in WAL mode its first read fixes the snapshot.
                Dialect::Sqlite => self.pool.begin().await,
                Dialect::Postgres => {
                    let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
                    self.pool.begin_with_config(Some(isolation), Some(access)).await
                }
            }
        })
        .await?;
        Ok(ReadTransaction { transaction, dialect, json_bytes_max: self.json_bytes_max, _permit: permit })
    }
}

/// One source's read-only transaction.
#[derive(Debug)]
pub struct ReadTransaction {
    transaction: DatabaseTransaction,
    dialect: Dialect,
    json_bytes_max: i64,
    _permit: OwnedSemaphorePermit,
}

impl ReadTransaction {
    pub(super) async fn all<const N: usize>(
        &self,
        statement: SqlFile,
        values: [Value; N],
    ) -> Result<Vec<SourceRow>, DbErr> {
        let rows = self.transaction.query_all_raw(self.dialect.file(statement, values)).await?;
        Ok(rows.into_iter().map(SourceRow).collect())
    }

    /// The first row.
    pub(super) async fn one<const N: usize>(
        &self,
        statement: SqlFile,
        values: [Value; N],
    ) -> Result<Option<SourceRow>, DbErr> {
        Ok(self.transaction.query_one_raw(self.dialect.file(statement, values)).await?.map(SourceRow))
    }

    /// The limit of a JSON column, for the statements that read one.
    pub(super) fn json_bytes_max(&self) -> Value {
        self.json_bytes_max.into()
    }

    pub(super) fn time(&self, time: DateTime<Utc>) -> Value {
        self.dialect.time(time)
    }

    /// Ends the transaction, in which nothing was written. Dropping it does the same, later.
    pub async fn end(self) -> Result<(), DbErr> {
        self.transaction.rollback().await
    }

    /// SQLite's plan of a statement, one step a line.
    #[cfg(test)]
    pub(super) async fn plan<const N: usize>(&self, statement: SqlFile, values: [Value; N]) -> String {
        let explain = format!("EXPLAIN QUERY PLAN {}", self.dialect.text_of(statement));
        let steps = self.transaction.query_all_raw(self.dialect.statement(explain, values)).await.unwrap();
        let steps: Vec<String> = steps.into_iter().filter_map(|step| SourceRow(step).text("detail")).collect();
        steps.join("\n")
    }
}

/// Warnings for the section's report, such as `MALFORMED_COLUMN table.column`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(Vec<String>);

impl Warnings {
    /// Adds a warning, once.
    pub fn add(&mut self, code: &str, what: impl std::fmt::Display) {
        let warning = format!("{code} {what}");
        if !self.0.contains(&warning) {
            tracing::warn!(warning, "source column left out of the document");
            self.0.push(warning);
        }
    }

    /// In the order in which they were added.
    #[must_use]
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// A row whose columns are text, bigint or double precision.
#[derive(Debug)]
pub(super) struct SourceRow(QueryResult);

impl SourceRow {
    /// Text as stored; absent if NULL.
    pub(super) fn text(&self, column: &str) -> Option<String> {
        self.0.try_get("", column).ok().flatten()
    }

    pub(super) fn integer(&self, column: &str) -> Option<i64> {
        self.0.try_get("", column).ok().flatten()
    }

    /// A finite double; absent otherwise.
    pub(super) fn double(&self, column: &str) -> Option<f64> {
        self.0.try_get::<Option<f64>>("", column).ok().flatten().filter(|number| number.is_finite())
    }

    /// The row's columns that come from this table.
    pub(super) fn of<'a>(&'a self, table: &'static SourceTable, warnings: &'a mut Warnings) -> Columns<'a> {
        Columns { row: self, table, warnings }
    }
}

/// The columns of a row that come from one table. Readers that may add a warning are here.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    row: &'a SourceRow,
    table: &'static SourceTable,
    warnings: &'a mut Warnings,
}

impl Columns<'_> {
    pub(super) fn text(&self, column: &str) -> Option<String> {
        self.check(column, Family::Text);
        self.row.text(column)
    }

    /// An integer that fits an int32 field; absent, with a warning, if it does not.
    pub(super) fn integer(&mut self, column: &str) -> Option<i32> {
        self.check(column, Family::Integer);
        let number = self.row.integer(column)?;
        let fits = i32::try_from(number).ok();
        if fits.is_none() {
            self.warn("OUT_OF_RANGE", column);
        }
        fits
    }

    pub(super) fn double(&self, column: &str) -> Option<f64> {
        self.check(column, Family::Double);
        self.row.double(column)
    }

    pub(super) fn boolean(&self, column: &str) -> Option<bool> {
        self.check(column, Family::Boolean);
        self.row.integer(column).map(|number| number != 0)
    }

    /// A timestamp, read as UTC; absent, with a warning, if it is in another form.
    pub(super) fn time(&mut self, column: &str) -> Option<DateTime<Utc>> {
        self.check(column, Family::Time);
        let text = self.row.text(column)?;
        let time = parse_time(&text);
        if time.is_none() {
            self.warn("MALFORMED_COLUMN", column);
        }
        time
    }

    /// A JSON column; `Null` if absent, and with a warning if it is broken, too large or too deep.
    pub(super) fn json(&mut self, column: &str) -> Json {
        self.check(column, Family::Json);
        let parsed = match self.row.0.try_get::<Option<String>>("", column) {
            Ok(None) => return Json::Null,
            Ok(Some(text)) => parse_json(&text),
            // SQLite keeps any bytes in any column, also such as are no UTF-8.
            Err(_) => None,
        };
        parsed.unwrap_or_else(|| {
            self.warn("MALFORMED_COLUMN", column);
            Json::Null
        })
    }

    /// The row as a type whose fields are named as the columns.
    pub(super) fn read<T: DeserializeOwned>(&mut self) -> T {
        from_members(self.all())
    }

    /// All columns of the table that are selected and not absent, by name, in the form in which a message's JSON has them.
    pub(super) fn all(&mut self) -> Map<String, Json> {
        let mut all = Map::new();
        for (column, family) in self.table.columns() {
            let value = match family {
                Family::Integer => self.integer(column).into(),
                Family::Double => self.double(column).into(),
                Family::Boolean => self.boolean(column).into(),
                Family::Text => self.text(column).into(),
                Family::Time => self.time(column).map(|time| time.to_rfc3339()).into(),
                Family::Json => self.json(column),
            };
            if !value.is_null() {
                all.insert(column.to_owned(), value);
            }
        }
        all
    }

    fn check(&self, column: &str, family: Family) {
        debug_assert_eq!(self.table.family(column), Some(family), "{}.{column}", self.table.name);
    }

    fn warn(&mut self, code: &str, column: &str) {
        self.warnings.add(code, format_args!("{}.{column}", self.table.name));
    }
}

/// `YYYY-MM-DD HH:MM:SS` with at most six decimals: what both databases print.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let (seconds, fraction) =
        text.split_once('.').map_or((text, None), |(seconds, fraction)| (seconds, Some(fraction)));
    let fraction_reads = fraction.is_none_or(|f| (1..=6).contains(&f.len()) && f.bytes().all(|b| b.is_ascii_digit()));
    if seconds.len() != 19 || !fraction_reads {
        return None;
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok().map(|time| time.and_utc())
}

/// Strict JSON of at most [`JSON_LEVELS_MAX`] levels; U+0000 in its strings becomes U+FFFD.
fn parse_json(text: &str) -> Option<Json> {
    let mut value: Json = serde_json::from_str(text).ok()?;
    tidy(&mut value, 1).then_some(value)
}

/// Replaces U+0000; false if the value is too deep.
fn tidy(value: &mut Json, level: usize) -> bool {
    let replace = |text: &mut String| {
        if text.contains('\0') {
            *text = text.replace('\0', "\u{fffd}");
        }
    };
    match value {
        Json::String(text) => {
            replace(text);
            true
        }
        Json::Array(items) => level <= JSON_LEVELS_MAX && items.iter_mut().all(|item| tidy(item, level + 1)),
        Json::Object(entries) => {
            if entries.keys().any(|key| key.contains('\0')) {
                *entries = std::mem::take(entries)
                    .into_iter()
                    .map(|(key, item)| (key.replace('\0', "\u{fffd}"), item))
                    .collect();
            }
            level <= JSON_LEVELS_MAX && entries.values_mut().all(|item| tidy(item, level + 1))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{aggregate::value, source_schema::TABLES, testing::withstands_mutated};

    /// Each `.sql` file of the sources: its name and its text without comments.
    fn statements() -> Vec<(String, String)> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/aggregate");
        let (mut statements, mut directories) = (Vec::new(), vec![root]);
        while let Some(directory) = directories.pop() {
            for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "sql") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
                    statements.push((path.display().to_string(), lines.join("\n")));
                }
            }
        }
        assert!(statements.len() > 20, "the statements are looked for in the wrong place");
        statements
    }

    #[test]
    fn placeholders_are_the_databases_own() {
        for (file, text) in statements() {
            let numbers: BTreeSet<u32> = text
                .split('$')
                .skip(1)
                .filter_map(|after| after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
                .collect();
            let last = numbers.last().copied().unwrap_or_default();
            assert_eq!(numbers, (1..=last).collect(), "both databases number them from $1: {file}");
        }
    }

    #[test]
    fn statements_name_the_columns_that_are_described_and_no_other() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut named = BTreeSet::new();
        for (file, text) in statements() {
            let words: Vec<&str> = text.split_whitespace().collect();
            // An alias follows its table; a part of the statement (`WITH own AS`) has its own name.
            let tables: BTreeMap<&str, &SourceTable> = words
                .windows(2)
                .filter_map(|pair| {
                    Some((pair[1].trim_matches(')'), *TABLES.iter().find(|table| table.name == pair[0])?))
                })
                .collect();
            assert!(!tables.is_empty(), "{file}");
            for (at, _) in text.match_indices('.') {
                let alias = text[..at].rsplit(|c| !is_word(c)).next().unwrap();
                let column = text[at + 1..].split(|c| !is_word(c)).next().unwrap();
                if let Some(table) = tables.get(alias) {
                    assert!(table.family(column).is_some(), "{}.{column} is not described: {file}", table.name);
                    named.insert((table.name, column.to_owned()));
                }
            }
        }
        for table in TABLES {
            for (column, _) in table.columns() {
                let is_named = column == "id" || named.contains(&(table.name, column.to_owned()));
                assert!(is_named, "no statement reads {}.{column}", table.name);
            }
        }
    }

    #[test]
    fn no_statement_reads_secrets_or_crawled_pages() {
        for (file, text) in statements() {
            for never in ["api_keys", "crawl_result", ".*", "SELECT *"] {
                assert!(!text.contains(never), "{never}: {file}");
            }
        }
    }

    #[test]
    fn timestamps_have_one_form() {
        assert_eq!(parse_time("2025-09-01 10:00:00.25").unwrap().to_rfc3339(), "2025-09-01T10:00:00.250+00:00");
        for broken in [
            "2025-09-01",
            "2025-09-01T10:00:00",
            "2025-09-01 10:00:00Z",
            "2025-09-01 10:00:00.1234567",
            "2025-13-01 10:00:00",
            "infinity",
        ] {
            assert_eq!(parse_time(broken), None, "{broken}");
        }
    }

    #[test]
    fn json_is_strict_and_shallow() {
        assert_eq!(parse_json(r#"{"a": "x\u0000", "a": 2}"#).unwrap(), serde_json::json!({"a": 2}));
        assert_eq!(parse_json("\"x\\u0000y\"").unwrap(), "x\u{fffd}y");
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse_json(&nested(24)).is_some());
        for broken in ["NaN", "{} x", "#", r#""\ud800""#, &nested(25)] {
            assert_eq!(parse_json(broken), None, "{broken}");
        }
    }

    #[test]
    fn any_column_is_a_value_of_few_levels_or_none() {
        let valid = [
            r##"{"tone": "casual", "themes": ["a", {"name": "b"}], "score": 0.5, "palette": "#fff; #000"}"##,
            r#"[{"week": 1, "insights": {"gaps": ["pricing \u00e9"]}}, null, true, 1e3, "x\u0000"]"#,
        ];
        let (mut read, mut refused) = (0, 0);
        withstands_mutated(
            &valid.map(|text| text.as_bytes().to_vec()),
            |length| 256 * length + 64 * 1024,
            |bytes| {
                let Some(mut json) = parse_json(&String::from_utf8_lossy(&bytes)) else {
                    refused += 1;
                    return;
                };
                read += 1;
                // An escaped backslash may stand before the same letters.
                assert!(tidy(&mut json, 1) && !json.to_string().replace(r"\\", "").contains(r"\u0000"));
                // What the sources do with such a value.
                let of = |key| value::member(&json, key);
                for part in [&json, of("tone"), of("themes"), value::path(&json, "insights.gaps")] {
                    let _ = (value::text(part), value::number(part), value::score01(part), value::level(part));
                    let (strings, pillars) = (value::strings(part), value::pillars(part));
                    assert!(strings.len() <= 50 && strings.iter().all(|text| text.chars().count() <= 300));
                    drop(pillars);
                }
            },
        );
        assert!(read > 100 && refused > 100, "{read} read, {refused} refused: the inputs are not nearly right");
    }
}
