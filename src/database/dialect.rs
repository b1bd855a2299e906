//! The two databases, and everything that each of them spells in its own way.
//!
//! sea-query builds the statements that it can express; any other stands whole in a `.sql` file per database
//! ([`SqlFile`]). The clock is always the database's, so that instances with clocks of their own agree.

use chrono::{DateTime, NaiveDateTime, Utc};
use sea_orm::{
    ConnectionTrait, DatabaseBackend, Statement, StatementBuilder, Value,
    sea_query::{Expr, ExprTrait},
};

/// The form in which SQLite stores times: it compares them as text, so all have six decimals.
pub(crate) const SIX_DECIMALS: &str = "%Y-%m-%d %H:%M:%S%.6f";

/// Which database a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

/// A statement that sea-query cannot express: one file per database, with that database's placeholders (`$1`, `?1`).
#[derive(Clone, Copy, Debug)]
pub struct SqlFile {
    pub postgres: &'static str,
    pub sqlite: &'static str,
}

impl SqlFile {
    /// A statement that both databases read as it is: its placeholders are `$1`.
    #[must_use]
    pub const fn same(text: &'static str) -> Self {
        Self { postgres: text, sqlite: text }
    }
}

impl Dialect {
    /// The dialect of a connection, pool or transaction.
    pub fn of(db: &impl ConnectionTrait) -> Self {
        match db.get_database_backend() {
            DatabaseBackend::Sqlite => Self::Sqlite,
            _ => Self::Postgres,
        }
    }

    /// The dialect of a URL; anything that is not SQLite is left to PostgreSQL's parser to refuse.
    #[must_use]
    pub fn of_url(url: &str) -> Self {
        if url.starts_with("sqlite:") { Self::Sqlite } else { Self::Postgres }
    }

    #[must_use]
    pub fn is_sqlite(self) -> bool {
        self == Self::Sqlite
    }

    #[must_use]
    pub fn backend(self) -> DatabaseBackend {
        match self {
            Self::Postgres => DatabaseBackend::Postgres,
            Self::Sqlite => DatabaseBackend::Sqlite,
        }
    }

    /// A statement of sea-query's as text with its values.
    pub fn build(self, statement: &impl StatementBuilder) -> Statement {
        self.backend().build(statement)
    }

    /// The text of a statement that is built once and given its values later, by [`parameter`]s.
    pub fn text(self, statement: &impl StatementBuilder) -> String {
        self.build(statement).sql
    }

    /// A finished text with the values of its placeholders.
    pub fn statement(self, sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.backend(), sql, values)
    }

    /// The statement of a pair of files, with the values of its placeholders.
    pub fn file(self, file: SqlFile, values: impl IntoIterator<Item = Value>) -> Statement {
        self.statement(self.text_of(file), values)
    }

    /// This database's text of a pair of files.
    #[must_use]
    pub fn text_of(self, file: SqlFile) -> &'static str {
        match self {
            Self::Postgres => file.postgres,
            Self::Sqlite => file.sqlite,
        }
    }

    /// A time to bind.
    #[must_use]
    pub fn time(self, time: DateTime<Utc>) -> Value {
        match self {
            Self::Postgres => time.naive_utc().into(),
            Self::Sqlite => time.format(SIX_DECIMALS).to_string().into(),
        }
    }

    /// The database's time in UTC; in a transaction of PostgreSQL's, the time at which it began.
    #[must_use]
    pub fn now(self) -> Expr {
        Expr::cust(match self {
            Self::Postgres => "(now() AT TIME ZONE 'utc')",
            Self::Sqlite => "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')",
        })
    }

    // In sea-query's templates the expressions stand where the database's own placeholders would: `$1`, or `?`.

    /// The database's time and so many microseconds more, or fewer if they are negative.
    pub fn now_plus_micros(self, micros: impl Into<Expr>) -> Expr {
        let sql = match self {
            Self::Postgres => "((now() AT TIME ZONE 'utc') + CAST($1 AS BIGINT) * INTERVAL '1 microsecond')",
            Self::Sqlite => "(strftime('%Y-%m-%d %H:%M:%f', 'now', (? / 1000000.0) || ' seconds') || '000')",
        };
        Expr::cust_with_exprs(sql, [micros.into()])
    }

    /// Microseconds from now, the moment itself and not the transaction's beginning, until `time`: a floating-point
    /// number, which also infinite times have.
    pub fn micros_until(self, time: impl Into<Expr>) -> Expr {
        let sql = match self {
            Self::Postgres => {
                "(CAST(EXTRACT(EPOCH FROM $1) AS DOUBLE PRECISION) \
                 - CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)) * 1000000"
            }
            Self::Sqlite => "(julianday(?) - julianday('now')) * 86400000000.0",
        };
        Expr::cust_with_exprs(sql, [time.into()])
    }

    /// A stored time as text, for [`read_time`]. NULL if it is infinite. sqlx panics at years that chrono does not have.
    pub fn time_text(self, time: impl Into<Expr>) -> Expr {
        let sql = match self {
            Self::Postgres => "to_char($1, 'YYYY-MM-DD HH24:MI:SS.US')",
            Self::Sqlite => "CAST(? AS TEXT)",
        };
        Expr::cust_with_exprs(sql, [time.into()])
    }

    /// The database's time as milliseconds since 1970.
    #[must_use]
    pub fn now_ms(self) -> Expr {
        Expr::cust(match self {
            Self::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
            Self::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
        })
    }

    /// A text as the value of a JSON column.
    #[must_use]
    pub fn json(self, text: Expr) -> Expr {
        match self {
            Self::Postgres => text.cast_as("JSON"),
            Self::Sqlite => text,
        }
    }
}

/// The time of a [`Dialect::time_text`]. None if it is not one.
#[must_use]
pub fn read_time(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok().map(|time| time.and_utc())
}

/// A numbered placeholder, for a text that is built once. Both databases read `$1`.
#[must_use]
pub fn parameter(number: u8) -> Expr {
    Expr::cust(format!("${number}"))
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::Query;

    use super::*;

    #[test]
    fn a_text_that_is_built_once_keeps_its_numbered_placeholders() {
        let query = Query::select()
            .expr(Dialect::Sqlite.now_plus_micros(parameter(2)))
            .and_where(parameter(1).eq(parameter(2)))
            .to_owned();
        let text = Dialect::Sqlite.text(&query);
        assert!(text.contains("($2 / 1000000.0)") && text.ends_with("WHERE ($1) = ($2)"), "{text}");
    }

    #[tokio::test]
    async fn the_embedded_database_tells_the_time_in_one_form() {
        let db = sea_orm::Database::connect("sqlite::memory:").await.unwrap();
        let dialect = Dialect::of(&db);
        let hour = dialect.now_plus_micros(3_600_000_000_i64);
        let query =
            Query::select().expr(hour.clone()).expr(dialect.micros_until(hour)).expr(dialect.now_ms()).to_owned();
        let row = db.query_one_raw(dialect.build(&query)).await.unwrap().unwrap();
        let (text, micros, now_ms): (String, f64, i64) = row.try_get_many_by_index().unwrap();
        let read = read_time(&text).unwrap();
        assert_eq!(dialect.time(read), text.into(), "six decimals");
        let ours = crate::clock::Clock::system().utc();
        assert!((read - ours).num_seconds().abs_diff(3600) <= 5, "{read}");
        assert!((micros - 3.6e9).abs() < 5e6, "{micros}");
        assert!(now_ms.abs_diff(ours.timestamp_millis()) < 5000, "{now_ms}");
    }
}
