//! Which of the described tables and columns a database has, and of which types.

use std::{collections::BTreeMap, fmt};

use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::{
    SourceTable,
    conversion::{self, Conversion, Cost},
    tables::{ENHANCED_STRATEGIES, LEGACY_STRATEGIES, ONBOARDING_SESSIONS, TABLES},
};
use crate::database::Dialect;

/// The columns of the described tables that are there, and their types.
///
/// Two databases with equal catalogues take the same statements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Catalogue {
    dialect: Dialect,
    /// By table, then by column, the type by the database's own name for it. A missing table has no entry.
    tables: BTreeMap<String, BTreeMap<String, String>>,
}

/// How a database differs from the description.
#[derive(Clone, Copy, Debug)]
pub enum Difference {
    TableMissing(&'static SourceTable),
    ColumnMissing(&'static SourceTable, &'static str),
    /// The column's values cannot be read in this type.
    ColumnType(&'static SourceTable, &'static str),
}

impl Difference {
    #[must_use]
    pub fn table(&self) -> &'static SourceTable {
        match self {
            Self::TableMissing(table) | Self::ColumnMissing(table, _) | Self::ColumnType(table, _) => table,
        }
    }

    /// None if the whole table is missing.
    #[must_use]
    pub fn column(&self) -> Option<&'static str> {
        match self {
            Self::TableMissing(_) => None,
            Self::ColumnMissing(_, column) | Self::ColumnType(_, column) => Some(column),
        }
    }
}

/// The warning in a section's report.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table().name;
        match self {
            Self::TableMissing(_) => write!(f, "TABLE_MISSING {table}"),
            Self::ColumnMissing(_, column) => write!(f, "COLUMN_MISSING {table}.{column}"),
            Self::ColumnType(_, column) => write!(f, "COLUMN_TYPE {table}.{column}"),
        }
    }
}

/// `$names` stands for the names of the tables. A domain counts as the type that it is made of.
const POSTGRES: &str = "SELECT CAST(c.relname AS TEXT) AS table_name, CAST(a.attname AS TEXT) AS column_name, \
     CAST(COALESCE(b.typname, t.typname) AS TEXT) AS column_type \
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid \
     LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype \
     WHERE c.oid IN (SELECT to_regclass(n.name) FROM (VALUES $names) n(name)) AND a.attnum > 0 AND NOT a.attisdropped";
const SQLITE: &str = "SELECT m.name AS table_name, c.name AS column_name, c.type AS column_type \
     FROM (VALUES $names) n JOIN sqlite_master m ON m.name = n.column1 AND m.type IN ('table', 'view') \
     JOIN pragma_table_info(m.name) c";

impl Catalogue {
    /// Reads it, in one statement.
    pub async fn read(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let dialect = Dialect::of(db);
        let names = TABLES.map(|table| format!("('{}')", table.name)).join(", ");
        let sql = if dialect.is_sqlite() { SQLITE } else { POSTGRES }.replace("$names", &names);
        let rows = db.query_all_raw(Statement::from_string(dialect.backend(), sql)).await?;
        let mut tables: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for row in rows {
            let (table, column, stored_type): (String, String, String) = row.try_get_many_by_index()?;
            tables.entry(table).or_default().insert(column, stored_type.to_lowercase());
        }
        Ok(Self { dialect, tables })
    }

    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    #[must_use]
    pub fn has_table(&self, table: &SourceTable) -> bool {
        self.tables.contains_key(table.name)
    }

    #[must_use]
    pub fn has_column(&self, table: &SourceTable, column: &str) -> bool {
        self.stored_type(table, column).is_some()
    }

    /// In lower case.
    #[must_use]
    pub fn stored_type(&self, table: &SourceTable, column: &str) -> Option<&str> {
        self.tables.get(table.name)?.get(column).map(String::as_str)
    }

    /// Whether the column is there, and holds integers; on SQLite any column may.
    #[must_use]
    pub fn is_integer(&self, table: &SourceTable, column: &str) -> bool {
        self.stored_type(table, column).is_some_and(|stored| self.dialect.is_sqlite() || conversion::is_integer(stored))
    }

    /// The condition that the user in `place`, a place of the column `user_id`, is the one whose text `value` is. An
    /// index on the column serves it.
    #[must_use]
    pub fn is_user(&self, table: &SourceTable, place: &str, value: &str) -> String {
        let stored_type = self.stored_type(table, "user_id").unwrap_or("text");
        conversion::is_user(self.dialect, stored_type, place, value)
    }

    /// The condition that the id in `place`, a place of this column, is the one whose text `value` is. An index on an
    /// integer column serves it.
    #[must_use]
    pub fn is_id(&self, table: &SourceTable, column: &str, place: &str, value: &str) -> String {
        conversion::is_id(self.dialect, self.stored_type(table, column).unwrap_or("text"), place, value)
    }

    /// Whether this is the planning application's database at all: without sessions and strategies no user is known.
    #[must_use]
    pub fn knows_users(&self) -> bool {
        [&ONBOARDING_SESSIONS, &ENHANCED_STRATEGIES, &LEGACY_STRATEGIES].into_iter().any(|table| self.has_table(table))
    }

    /// How the column comes into the form that statements expect.
    pub(super) fn conversion(&self, table: &SourceTable, column: &str) -> Conversion {
        let described = table.family(column).zip(self.stored_type(table, column));
        described.map_or(Conversion::Missing, |(family, stored_type)| {
            conversion::of(self.dialect, table, column, family, stored_type)
        })
    }

    /// What is missing or cannot be read of these columns; of a missing table, the table alone.
    pub(super) fn differences_of(
        &self,
        table: &'static SourceTable,
        columns: impl IntoIterator<Item = &'static str>,
    ) -> Vec<Difference> {
        if !self.has_table(table) {
            return vec![Difference::TableMissing(table)];
        }
        let of = |column| match self.conversion(table, column) {
            Conversion::Missing => Some(Difference::ColumnMissing(table, column)),
            Conversion::Unreadable => Some(Difference::ColumnType(table, column)),
            Conversion::None | Conversion::Expression(_) => None,
        };
        columns.into_iter().filter_map(of).collect()
    }

    /// What is missing or cannot be read of all that is described, in the order of the description.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        TABLES.iter().flat_map(|table| self.differences_of(table, table.columns().map(|(column, _)| column))).collect()
    }

    /// The columns that are read although their type is another than the description's, and what that costs.
    pub fn costs(&self) -> impl Iterator<Item = (&'static SourceTable, &'static str, Cost)> {
        TABLES.into_iter().flat_map(move |table| {
            table.columns().filter_map(move |(column, family)| {
                let stored_type = self.stored_type(table, column)?;
                Some((table, column, conversion::cost(self.dialect, table, column, family, stored_type)?))
            })
        })
    }
}
