//! What the triggers take from a table's description and from the tables that are there: which columns are compared, and
//! SQL for whom a row concerns.
//!
//! A trigger that fails makes the application's own write fail. So it names only what is there, and compares nothing
//! whose type has no comparison.

use crate::{
    database::Dialect,
    model::SectionSet,
    source_schema::{Catalogue, Family, Owner, SourceTable},
};

/// A table for which triggers are made.
#[derive(Clone, Copy)]
pub(super) struct Watched<'a> {
    pub(super) table: &'static SourceTable,
    pub(super) catalogue: &'a Catalogue,
}

impl<'a> Watched<'a> {
    /// None if the table is missing, or if its rows cannot be told apart.
    pub(super) fn new(table: &'static SourceTable, catalogue: &'a Catalogue) -> Option<Self> {
        catalogue.has_column(table, "id").then_some(Self { table, catalogue })
    }

    /// The sections that a row concerns, as the outbox and the invalidation log store them.
    pub(super) fn section_bits(self) -> i64 {
        self.table.sections.iter().copied().collect::<SectionSet>().bits()
    }

    /// The columns whose change is a change. `updated_at` alone is none: a save that changes nothing sets it too.
    pub(super) fn compared(self) -> impl Iterator<Item = &'static str> {
        let there = move |name: &&'static str| self.catalogue.has_column(self.table, name);
        self.table.columns().map(|(name, _)| name).filter(|name| !matches!(*name, "id" | "updated_at")).filter(there)
    }

    /// The column as it is compared. JSON's `null` is the same as NULL for the reader.
    pub(super) fn comparable(self, row: &str, column: &str) -> String {
        let sqlite = self.catalogue.dialect().is_sqlite();
        match self.table.family(column) {
            Some(Family::Json) if sqlite => format!("NULLIF({row}.{column}, 'null')"),
            Some(Family::Json) => format!("NULLIF(CAST({row}.{column} AS TEXT), 'null')"),
            _ if sqlite || self.catalogue.has_equality(self.table, column) => format!("{row}.{column}"),
            _ => format!("CAST({row}.{column} AS TEXT)"),
        }
    }

    /// The column by which rows are grouped of which only the newest is read.
    pub(super) fn newest_of(self) -> Option<&'static str> {
        let has = |column: &str| self.catalogue.has_column(self.table, column);
        self.table.newest_of.filter(|group| has(group) && has("updated_at"))
    }

    /// An expression for the user whom the row with this alias concerns, as text; NULL if no user is found.
    pub(super) fn user(self, row: &str) -> String {
        user_of(self.table, row, self.catalogue)
    }

    /// An expression for the strategy that the row with this alias concerns, or NULL.
    pub(super) fn strategy(self, row: &str) -> String {
        let column = self.table.strategy.filter(|column| self.catalogue.is_integer(self.table, column));
        match (column, self.catalogue.dialect()) {
            (Some(column), Dialect::Sqlite) => format!("{row}.{column}"),
            // Cast, because NULL without a type cannot be combined with a bigint in a UNION.
            (Some(column), Dialect::Postgres) => format!("CAST({row}.{column} AS BIGINT)"),
            (None, Dialect::Sqlite) => "NULL".to_owned(),
            (None, Dialect::Postgres) => "CAST(NULL AS BIGINT)".to_owned(),
        }
    }
}

fn user_of(table: &SourceTable, row: &str, catalogue: &Catalogue) -> String {
    let own = catalogue.has_column(table, "user_id").then(|| format!("CAST({row}.user_id AS TEXT)"));
    let owners: Vec<String> = match table.owner {
        Owner::UserId => own.into_iter().collect(),
        Owner::Parent(parents) => owners_by(table, parents, row, catalogue).collect(),
        Owner::UserIdOrParent(parents) => {
            let own = own.map(|user| format!("NULLIF({user}, '')"));
            own.into_iter().chain(owners_by(table, parents, row, catalogue)).collect()
        }
    };
    match &owners[..] {
        [] => "CAST(NULL AS TEXT)".to_owned(),
        [owner] => owner.clone(),
        _ => format!("COALESCE({})", owners.join(", ")),
    }
}

fn owners_by(
    table: &SourceTable,
    parents: &'static [(&'static str, &'static SourceTable)],
    row: &str,
    catalogue: &Catalogue,
) -> impl Iterator<Item = String> {
    parents
        .iter()
        .filter(move |(column, parent)| catalogue.is_integer(table, column) && catalogue.is_integer(parent, "id"))
        .map(move |(column, parent)| {
            let (name, user) = (parent.name, user_of(parent, parent.name, catalogue));
            format!("(SELECT {user} FROM {name} WHERE {name}.id = {row}.{column})")
        })
}
