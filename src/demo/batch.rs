//! Inserts the rows, with the same content in either database.
//!
//! JSON is bound as text with a cast and not as the driver's JSON type: that is `jsonb`, which changes the order of
//! keys and the spaces of the text that SQLite keeps.

use chrono::NaiveDateTime;
use sea_orm::{
    ConnectionTrait, DbErr, Value,
    sea_query::{Alias, Expr, Query},
};
use serde_json::Value as Json;

#[cfg(test)]
use crate::source_schema::{Family, TABLES};
use crate::{
    database::{Dialect, SIX_DECIMALS},
    source_schema::SourceTable,
};

/// SQLite accepts 32,766 values per statement; the widest table has 47 columns.
const ROWS_PER_STATEMENT: usize = 500;

#[derive(Clone, Debug)]
pub(super) enum Cell {
    Plain(Value),
    Time(Option<NaiveDateTime>),
    Json(Json),
    /// Text in a JSON column that is not JSON. PostgreSQL would refuse it: there it becomes a JSON string.
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
    fn into_expression(self, dialect: Dialect) -> Expr {
        match self {
            Self::Plain(value) => Expr::val(value),
            Self::Time(time) if dialect.is_sqlite() => {
                Expr::val(time.map(|time| time.format(SIX_DECIMALS).to_string()))
            }
            Self::Time(time) => Expr::val(time),
            Self::Json(value) => dialect.json(Expr::val(value.to_string())),
            Self::Broken(text) if dialect.is_sqlite() => Expr::val(text),
            Self::Broken(text) => dialect.json(Expr::val(Json::from(text).to_string())),
        }
    }
}

/// The rows of all tables. Invariant: a row is added after the rows that it refers to, so that foreign keys hold if
/// tables are filled in the order of their first rows.
#[derive(Debug, Default)]
pub(super) struct RowBatch(Vec<TableRows>);

#[derive(Debug)]
struct TableRows {
    table: &'static SourceTable,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl RowBatch {
    /// All rows of a table name the same columns in the same order.
    pub(super) fn add(&mut self, table: &'static SourceTable, row: impl IntoIterator<Item = (&'static str, Cell)>) {
        let (columns, cells): (Vec<_>, Vec<_>) = row.into_iter().unzip();
        match self.0.iter_mut().find(|rows| rows.table.name == table.name) {
            Some(rows) => {
                debug_assert_eq!(rows.columns, columns, "{}", table.name);
                rows.rows.push(cells);
            }
            None => self.0.push(TableRows { table, columns, rows: vec![cells] }),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|rows| rows.rows.len()).sum()
    }

    /// Each row with its table, for comparisons.
    #[cfg(test)]
    pub(super) fn described(&self) -> Vec<String> {
        let tables = self.0.iter();
        tables.flat_map(|rows| rows.rows.iter().map(|row| format!("{} {row:?}", rows.table.name))).collect()
    }

    /// The described columns that no row fills, or fills with a value of another family.
    #[cfg(test)]
    pub(super) fn unlike_the_description(&self) -> Vec<String> {
        let fits = |cell: &Cell, family| match cell {
            Cell::Plain(_) => !matches!(family, Family::Time | Family::Json),
            Cell::Time(_) => family == Family::Time,
            Cell::Json(_) | Cell::Broken(_) => family == Family::Json,
        };
        let mut unlike = Vec::new();
        for table in TABLES {
            let filled = self.0.iter().find(|rows| rows.table.name == table.name);
            for (column, family) in table.columns() {
                let at = filled.and_then(|filled| filled.columns.iter().position(|name| *name == column));
                if !at
                    .is_some_and(|at| filled.is_some_and(|filled| filled.rows.iter().all(|row| fits(&row[at], family))))
                {
                    unlike.push(format!("{}.{column}", table.name));
                }
            }
        }
        unlike
    }

    /// Inserts all rows, and reports their number so far after each statement.
    pub(super) async fn insert(
        self,
        transaction: &impl ConnectionTrait,
        mut progress: impl FnMut(usize),
    ) -> Result<(), DbErr> {
        let dialect = Dialect::of(transaction);
        let mut done = 0;
        for TableRows { table, columns, rows } in self.0 {
            let mut rows = rows.into_iter().peekable();
            while rows.peek().is_some() {
                let mut insert = Query::insert();
                insert.into_table(Alias::new(table.name)).columns(columns.iter().map(|column| Alias::new(*column)));
                for row in rows.by_ref().take(ROWS_PER_STATEMENT) {
                    insert.values_panic(row.into_iter().map(|cell| cell.into_expression(dialect)));
                    done += 1;
                }
                transaction.execute(&insert).await?;
                progress(done);
            }
            if dialect == Dialect::Postgres {
                // The ids were set here, so the sequence has to continue after them.
                let table = table.name;
                let bump =
                    format!("SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))");
                transaction.query_one_raw(dialect.statement(bump, [])).await?;
            }
        }
        Ok(())
    }
}
