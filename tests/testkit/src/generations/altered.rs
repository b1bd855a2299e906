//! A generation's tables with some of their tables, columns and types otherwise: what a fork or a migration leaves.
//! Without foreign keys and indexes, which say nothing about what can be read.

use std::fmt::Write as _;

use sea_orm::DatabaseConnection;

use super::{Ids, Planning};
use crate::database::{Kind, execute};

/// A table as it is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Its type, as SQLite has it.
    pub of_type: String,
}

impl Planning {
    /// The generation's tables, to be altered.
    pub fn tables(&self) -> Vec<Table> {
        let schema = self.generation.schema(Kind::Sqlite);
        schema.split("CREATE TABLE ").skip(1).map(table).collect()
    }

    /// Creates these tables and fills them.
    pub async fn create_altered(&self, db: &DatabaseConnection, kind: Kind, tables: &[Table]) {
        let mut script = String::new();
        for table in tables {
            let columns: Vec<String> = table.columns.iter().map(|column| column.definition(kind, self.ids)).collect();
            writeln!(script, "CREATE TABLE {} ({});", table.name, columns.join(", ")).unwrap();
        }
        execute(db, &script).await;
        self.fill(db).await;
    }
}

impl Column {
    fn definition(&self, kind: Kind, ids: Ids) -> String {
        let of_type = match (self.of_type.as_str(), kind) {
            ("DATETIME", Kind::Postgres) => "TIMESTAMP WITHOUT TIME ZONE",
            ("INTEGER", Kind::Postgres) if self.name == "user_id" && ids == Ids::Clerk => "VARCHAR(255)",
            (of_type, _) => of_type,
        };
        let key = if self.name == "id" { " PRIMARY KEY" } else { "" };
        format!("{} {of_type}{key}", self.name)
    }
}

/// From `name (` to the closing bracket; keys and constraints are left out.
fn table(text: &str) -> Table {
    let (name, rest) = text.split_once(" (\n").expect("a table has columns");
    let (body, _) = rest.split_once("\n);").expect("a table ends");
    let columns = body.split(',').filter_map(|part| {
        let mut words = part.split_whitespace();
        let (name, of_type) = (words.next()?, words.next()?);
        let is_column = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_column.then(|| Column { name: name.to_owned(), of_type: of_type.to_owned() })
    });
    Table { name: name.to_owned(), columns: columns.collect() }
}
