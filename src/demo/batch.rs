//! TableRows on their way into the database, the same on either.
//!
//! JSON goes as text with a cast, not as the driver's JSON type: that one is `jsonb`, and its key
//! order and spaces are not those of the text that SQLite keeps.

use chrono::NaiveDateTime;
use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr, Statement, Value,
    sea_query::{Alias, Expr, ExprTrait, Query},
};
use serde_json::Value as Json;

/// SQLite takes 32,766 values a statement; the widest of our tables has 47 columns.
const ROWS_PER_STATEMENT: usize = 500;

/// A table and the columns that the demo fills, `id` first.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    pub(super) name: &'static str,
    pub(super) columns: [&'static str; N],
}

/// One value.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Plain(Value),
    Time(Option<NaiveDateTime>),
    Json(Json),
    /// Text that is no JSON, in a JSON column. PostgreSQL would not take it: there it is a JSON string.
    Broken(&'static str),
}

macro_rules! plain {
    ($($type:ty),*) => { $(impl From<$type> for Cell {
        fn from(value: $type) -> Self {
            Self::Plain(value.into())
        }
    })* };
}
plain!(i32, Option<i32>, f64, bool, &str, String);

impl From<NaiveDateTime> for Cell {
    fn from(time: NaiveDateTime) -> Self {
        Self::Time(Some(time))
    }
}

impl From<Json> for Cell {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

impl Cell {
    fn into_expression(self, backend: DatabaseBackend) -> Expr {
        let sqlite = backend == DatabaseBackend::Sqlite;
        let json = |text: String| if sqlite { Expr::val(text) } else { Expr::val(text).cast_as("json") };
        match self {
            Self::Plain(value) => Expr::val(value),
            // Always six decimals: SQLite compares text.
            Self::Time(time) if sqlite => Expr::val(time.map(|time| time.format("%Y-%m-%d %H:%M:%S%.6f").to_string())),
            Self::Time(time) => Expr::val(time),
            Self::Json(value) => json(value.to_string()),
            Self::Broken(text) if sqlite => Expr::val(text),
            Self::Broken(text) => json(Json::from(text).to_string()),
        }
    }
}

/// The rows of all tables. Invariant: a row is added after the rows that it refers to, so the order
/// in which tables got their first rows is one in which foreign keys hold.
#[derive(Debug, Default)]
pub(super) struct RowBatch(Vec<TableRows>);

#[derive(Debug)]
struct TableRows {
    table: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl RowBatch {
    pub(super) fn add<const N: usize>(&mut self, table: &'static Table<N>, row: [Cell; N]) {
        let rows = match self.0.iter_mut().position(|rows| rows.table == table.name) {
            Some(at) => &mut self.0[at],
            None => {
                self.0.push(TableRows { table: table.name, columns: &table.columns, rows: Vec::new() });
                let last = self.0.len() - 1;
                &mut self.0[last]
            }
        };
        rows.rows.push(row.into());
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|rows| rows.rows.len()).sum()
    }

    /// Every row with its table, for comparisons.
    #[cfg(test)]
    pub(super) fn described(&self) -> Vec<String> {
        let tables = self.0.iter();
        tables.flat_map(|rows| rows.rows.iter().map(|row| format!("{} {row:?}", rows.table))).collect()
    }

    /// Inserts everything, and tells after each statement how many rows are in.
    pub(super) async fn insert(
        self,
        transaction: &DatabaseTransaction,
        mut progress: impl FnMut(usize),
    ) -> Result<(), DbErr> {
        let backend = transaction.get_database_backend();
        let mut done = 0;
        for TableRows { table, columns, rows } in self.0 {
            let mut rows = rows.into_iter().peekable();
            while rows.peek().is_some() {
                let mut insert = Query::insert();
                insert.into_table(Alias::new(table)).columns(columns.iter().map(|column| Alias::new(*column)));
                for row in rows.by_ref().take(ROWS_PER_STATEMENT) {
                    // `Table<N>` and its rows have the same length.
                    insert.values_panic(row.into_iter().map(|cell| cell.into_expression(backend)));
                    done += 1;
                }
                transaction.execute(&insert).await?;
                progress(done);
            }
            if backend == DatabaseBackend::Postgres {
                // The ids were ours; the next one has to come after them.
                let bump =
                    format!("SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))");
                transaction.query_one_raw(Statement::from_string(backend, bump)).await?;
            }
        }
        Ok(())
    }
}
