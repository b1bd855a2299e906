//! Rows as SQL literals. Either database reads a quoted literal as its column's type, so that the same text fits
//! whatever type a fork has given to the column.

use std::{collections::BTreeMap, fmt::Write as _};

use chrono::NaiveDateTime;
use sea_orm::DatabaseConnection;
use serde_json::Value as Json;

use crate::database::execute;

/// Rows in the order in which they are inserted.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<Row>);

/// One row; columns without a cell are NULL.
#[derive(Debug)]
pub(super) struct Row {
    table: &'static str,
    cells: Vec<(&'static str, String)>,
}

impl Rows {
    pub(super) fn add(&mut self, table: &'static str) -> &mut Row {
        self.0.push(Row { table, cells: Vec::new() });
        self.0.last_mut().expect("just added")
    }

    /// Inserts the rows. Tables and columns that the database lacks are left out.
    pub(super) async fn insert(self, db: &DatabaseConnection) {
        let mut there: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut script = String::new();
        for row in self.0 {
            if !there.contains_key(row.table) {
                there.insert(row.table, userdata_migrations::columns_of(db, row.table).await.unwrap());
            }
            let (columns, values): (Vec<_>, Vec<_>) =
                row.cells.into_iter().filter(|(column, _)| there[row.table].iter().any(|name| name == column)).unzip();
            if !columns.is_empty() {
                let (columns, values) = (columns.join(", "), values.join(", "));
                writeln!(script, "INSERT INTO {} ({columns}) VALUES ({values});", row.table).unwrap();
            }
        }
        execute(db, &script).await;
    }
}

impl Row {
    pub(super) fn set(&mut self, column: &'static str, cell: impl Into<Cell>) -> &mut Self {
        self.cells.push((column, quoted(&cell.into().0)));
        self
    }

    pub(super) fn json(&mut self, column: &'static str, json: Json) -> &mut Self {
        self.cells.push((column, quoted(&json.to_string())));
        self
    }

    /// What SQLAlchemy writes for `None` in a JSON column: the text `null`, not NULL.
    pub(super) fn json_null(&mut self, column: &'static str) -> &mut Self {
        self.json(column, Json::Null)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value's text.
pub(super) struct Cell(String);

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<i32> for Cell {
    fn from(number: i32) -> Self {
        Self(number.to_string())
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self(number.to_string())
    }
}

/// Both databases take 1 and 0.
impl From<bool> for Cell {
    fn from(truth: bool) -> Self {
        Self(i32::from(truth).to_string())
    }
}

/// With six decimals, as SQLAlchemy writes a time on SQLite.
impl From<NaiveDateTime> for Cell {
    fn from(time: NaiveDateTime) -> Self {
        Self(time.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
    }
}
