//! ReadTransaction tables that somebody else owns, on either database, with one text per statement.
//!
//! Every column is cast to text, bigint or double precision in the statement itself, so that both
//! databases hand out the same three types whatever is stored: SQLite takes anything in any column,
//! and a broken column must never fail a section. What cannot be read is absent, with a warning.
//!
//! Placeholders are written `:name`. Each source reads in one read-only transaction of its own, so
//! that its rows agree with each other.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr, IsolationLevel, QueryResult, Statement,
    TransactionTrait, Value,
};
use serde_json::Value as Json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::database::{Pool, unless_refused};

/// JSON deeper than this is treated as broken: protobuf decoders stop at 100 levels, and each level
/// of a `Value` takes three of them.
const JSON_LEVELS_MAX: usize = 24;

/// The database that the sources read from, and the limits for what they read.
#[derive(Clone, Debug)]
pub struct SourceDatabase {
    pool: Pool,
    /// As many as the pool has connections. Waiting happens here, for as long as the source may take; the
    /// pool's own limit is left to opening a connection, which is quick or hopeless.
    turns: Arc<Semaphore>,
    /// Bytes of a JSON column at most; a larger one counts as absent.
    column_bytes_max: usize,
}

impl SourceDatabase {
    /// Reads through `pool`.
    #[must_use]
    pub fn new(pool: Pool, column_bytes_max: usize) -> Self {
        let turns = Arc::new(Semaphore::new(pool.max_connections() as usize));
        Self { pool, turns, column_bytes_max }
    }

    /// Begins a read-only transaction in which all statements see the same rows.
    pub async fn begin(&self) -> Result<ReadTransaction, DbErr> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_closed| DbErr::Custom("nothing closes it".to_owned()))?;
        let transaction = unless_refused(&self.pool, async {
            match self.pool.get_database_backend() {
                // A deferred transaction: in WAL mode its first read fixes the snapshot.
                DatabaseBackend::Sqlite => self.pool.begin().await,
                _ => {
                    let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
                    self.pool.begin_with_config(Some(isolation), Some(access)).await
                }
            }
        })
        .await?;
        Ok(ReadTransaction { transaction, dialect: self.dialect(), _turn: turn })
    }

    /// How this database's statements are spelled.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        let backend = self.pool.get_database_backend();
        Dialect { backend, column_bytes_max: self.column_bytes_max }
    }
}

/// One source's read-only transaction.
#[derive(Debug)]
pub struct ReadTransaction {
    transaction: DatabaseTransaction,
    dialect: Dialect,
    _turn: OwnedSemaphorePermit,
}

impl ReadTransaction {
    /// How statements are spelled here.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// All rows of a statement whose placeholders are `:name`.
    pub async fn all(&self, sql: &str, values: &[(&str, Value)]) -> Result<Vec<SourceRow>, DbErr> {
        let rows = self.transaction.query_all_raw(self.dialect.statement(sql, values)).await?;
        Ok(rows.into_iter().map(SourceRow).collect())
    }

    /// The first row of a statement, if there is one.
    pub async fn one(&self, sql: &str, values: &[(&str, Value)]) -> Result<Option<SourceRow>, DbErr> {
        Ok(self.transaction.query_one_raw(self.dialect.statement(sql, values)).await?.map(SourceRow))
    }

    /// Ends the transaction. Nothing was written; dropping it does the same, later.
    pub async fn end(self) -> Result<(), DbErr> {
        self.transaction.rollback().await
    }
}

/// The differences between the two databases, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    backend: DatabaseBackend,
    column_bytes_max: usize,
}

/// A column to select and how it is read.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// Text as stored.
    Text(&'static str),
    /// JSON, parsed strictly; absent if broken, too large or too deep.
    Json(&'static str),
    /// An integer.
    Integer(&'static str),
    /// A finite double.
    Double(&'static str),
    /// A boolean.
    Boolean(&'static str),
    /// A timestamp without zone, read as UTC.
    Time(&'static str),
}

impl Dialect {
    /// Whether this is SQLite; PostgreSQL otherwise.
    #[must_use]
    pub fn is_sqlite(self) -> bool {
        self.backend == DatabaseBackend::Sqlite
    }

    /// A select list: each column cast to the type it is read as, named as the column.
    #[must_use]
    pub fn select(self, alias: &str, columns: &[Column]) -> String {
        let items: Vec<String> = columns.iter().map(|column| self.item(alias, *column)).collect();
        items.join(", ")
    }

    fn item(self, alias: &str, column: Column) -> String {
        let dot = if alias.is_empty() { "" } else { "." };
        match column {
            Column::Text(c) | Column::Time(c) => format!("CAST({alias}{dot}{c} AS TEXT) AS {c}"),
            Column::Integer(c) => format!("CAST({alias}{dot}{c} AS BIGINT) AS {c}"),
            Column::Double(c) => format!("CAST({alias}{dot}{c} AS DOUBLE PRECISION) AS {c}"),
            Column::Boolean(c) => format!("CAST(CAST({alias}{dot}{c} AS INTEGER) AS BIGINT) AS {c}"),
            Column::Json(c) => {
                let column = format!("{alias}{dot}{c}");
                let bytes = if self.is_sqlite() {
                    format!("length(CAST({column} AS BLOB))")
                } else {
                    format!("octet_length(CAST({column} AS TEXT))")
                };
                // '#' is no JSON: too large reads as malformed.
                format!(
                    "CASE WHEN {column} IS NULL THEN NULL WHEN {bytes} <= {max} THEN CAST({column} AS TEXT) ELSE '#' END AS {c}",
                    max = self.column_bytes_max
                )
            }
        }
    }

    /// A timestamp to bind. SQLite compares text, so all its timestamps have six decimals.
    #[must_use]
    pub fn time(self, time: DateTime<Utc>) -> Value {
        if self.is_sqlite() { time.format("%Y-%m-%d %H:%M:%S%.6f").to_string().into() } else { time.naive_utc().into() }
    }

    /// Replaces `:name` by the database's placeholders, in the order they appear. `::` is left alone.
    fn statement(self, sql: &str, values: &[(&str, Value)]) -> Statement {
        let mut text = String::with_capacity(sql.len());
        let mut bound: Vec<Value> = Vec::new();
        let mut rest = sql;
        while let Some(at) = rest.find(':') {
            let (before, after) = rest.split_at(at);
            text.push_str(before);
            let name_len = after[1..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            let name = &after[1..=name_len];
            match values.iter().find(|(known, _)| *known == name) {
                Some((_, value)) if name_len > 0 => {
                    bound.push(value.clone());
                    text.push_str(&if self.is_sqlite() { "?".to_owned() } else { format!("${}", bound.len()) });
                    rest = &after[1 + name_len..];
                }
                _ => {
                    let skip = if after.starts_with("::") { 2 } else { 1 };
                    text.push_str(&after[..skip]);
                    rest = &after[skip..];
                }
            }
        }
        text.push_str(rest);
        Statement::from_sql_and_values(self.backend, text, bound)
    }
}

/// What was left out, for the section's report: `MALFORMED_COLUMN table.column` and the like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(Vec<String>);

impl Warnings {
    /// Adds a warning, once.
    pub fn add(&mut self, code: &str, what: impl std::fmt::Display) {
        let warning = format!("{code} {what}");
        if !self.0.contains(&warning) {
            tracing::warn!(warning, "part of a row was left out");
            self.0.push(warning);
        }
    }

    /// The warnings, in the order they came up.
    #[must_use]
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// A row whose columns are text, bigint or double precision.
#[derive(Debug)]
pub struct SourceRow(QueryResult);

impl SourceRow {
    /// Text as stored; absent if NULL.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<String> {
        self.0.try_get("", column).ok().flatten()
    }

    /// An integer; absent if NULL.
    #[must_use]
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.0.try_get("", column).ok().flatten()
    }

    /// An integer that fits an int32 field; absent, with a warning, if it does not.
    pub fn int32(&self, table: &str, column: &str, warnings: &mut Warnings) -> Option<i32> {
        let number = self.integer(column)?;
        let fits = i32::try_from(number).ok();
        if fits.is_none() {
            warnings.add("OUT_OF_RANGE", format_args!("{table}.{column}"));
        }
        fits
    }

    /// A finite double; absent otherwise.
    #[must_use]
    pub fn double(&self, column: &str) -> Option<f64> {
        self.0.try_get::<Option<f64>>("", column).ok().flatten().filter(|number| number.is_finite())
    }

    /// A boolean; absent if NULL.
    #[must_use]
    pub fn boolean(&self, column: &str) -> Option<bool> {
        self.integer(column).map(|number| number != 0)
    }

    /// A timestamp, read as UTC; absent, with a warning, if it is in another form.
    pub fn time(&self, table: &str, column: &str, warnings: &mut Warnings) -> Option<DateTime<Utc>> {
        let text = self.text(column)?;
        let time = parse_time(&text);
        if time.is_none() {
            warnings.add("MALFORMED_COLUMN", format_args!("{table}.{column}"));
        }
        time
    }

    /// A JSON column; `Null` if absent, and with a warning if it is broken, too large or too deep.
    pub fn json(&self, table: &str, column: &str, warnings: &mut Warnings) -> Json {
        let parsed = match self.0.try_get::<Option<String>>("", column) {
            Ok(None) => return Json::Null,
            Ok(Some(text)) => parse_json(&text),
            // SQLite keeps any bytes in any column, also such as are no UTF-8.
            Err(_) => None,
        };
        parsed.unwrap_or_else(|| {
            warnings.add("MALFORMED_COLUMN", format_args!("{table}.{column}"));
            Json::Null
        })
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

/// A failed read, kept for the log.
pub type ReadError = Arc<DbErr>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::value, testing::withstands_mutated};

    #[test]
    fn placeholders_are_the_databases_own() {
        let dialect = |backend| Dialect { backend, column_bytes_max: 10 };
        let sql = "SELECT x::text FROM t WHERE a = :a AND b = :b OR a = :a AND c = ':no'";
        let values = [("a", Value::from(1)), ("b", Value::from(2))];
        let postgres = dialect(DatabaseBackend::Postgres).statement(sql, &values);
        assert_eq!(postgres.sql, "SELECT x::text FROM t WHERE a = $1 AND b = $2 OR a = $3 AND c = ':no'");
        assert_eq!(postgres.values.map(|v| v.0.len()), Some(3));
        let sqlite = dialect(DatabaseBackend::Sqlite).statement(sql, &values);
        assert_eq!(sqlite.sql, "SELECT x::text FROM t WHERE a = ? AND b = ? OR a = ? AND c = ':no'");
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
