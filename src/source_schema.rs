//! The planning application's tables, as far as this service reads them, and what a database really has of them.
//!
//! [`tables`] is the only description of them: the readers of the sources' statements, the change triggers, the doctor
//! and the demo's inserts all work from it. docs/data.md sections 12 and 13 say the same in prose. The application
//! changes its tables without asking: a [`Catalogue`] says what one database has, and [`Schema`] adapts each statement
//! to that.
//! Invariant: each column that a `.sql` file of a source names is described, and each one described is named there
//! (the triggers alone need every table's `id`).

mod catalogue;
mod conversion;
mod schema;
mod statement;
mod tables;

use crate::model::Section;

pub use catalogue::{Catalogue, Difference};
pub use conversion::Cost;
pub use schema::{Schema, SchemaCache, Schemas};
pub(crate) use tables::*;

/// How the values of a column are read, whatever type the column has in either database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Integer,
    Double,
    Boolean,
    Text,
    /// Without a time zone, in UTC.
    Time,
    Json,
}

/// Whose a row is.
#[derive(Debug)]
pub(crate) enum Owner {
    /// The user in the row's own `user_id`.
    UserId,
    /// The owner of the parent row that this column names; of several columns, the first that is not NULL counts.
    Parent(&'static [(&'static str, &'static SourceTable)]),
    /// The user in the row's own `user_id` if that is there and not empty, else the owner of the parent row.
    UserIdOrParent(&'static [(&'static str, &'static SourceTable)]),
}

/// A table and the columns that are read from it.
#[derive(Debug)]
pub struct SourceTable {
    pub(crate) name: &'static str,
    pub(crate) owner: Owner,
    /// The column that names the enhanced strategy that a row is about. None: a row concerns all of the user's
    /// documents.
    pub(crate) strategy: Option<&'static str>,
    /// The sections that are read from the table. Sections made from these follow by themselves.
    pub(crate) sections: &'static [Section],
    /// Of several rows with the same value in this column, only the one with the newest `updated_at` is read. A new
    /// `updated_at` is then a change if there is another such row.
    pub(crate) newest_of: Option<&'static str>,
    /// Grouped by family, in the order in which a row's columns are read.
    columns: &'static [(Family, &'static [&'static str])],
}

impl SourceTable {
    /// The columns and how they are read.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&'static str, Family)> {
        self.columns.iter().flat_map(|(family, names)| names.iter().map(|name| (*name, *family)))
    }

    /// The family of a column; none if it is not read.
    #[must_use]
    pub(crate) fn family(&self, column: &str) -> Option<Family> {
        self.columns().find_map(|(name, family)| (name == column).then_some(family))
    }
}
