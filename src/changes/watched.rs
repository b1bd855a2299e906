//! What the triggers take from a table's description: which columns are compared, and which ids a note names.
//!
//! Decision: a trigger reads nothing but its own row and names nothing but the outbox. Whose the row is, and whether
//! another row is newer, is found by the reader of the note: it sees what the writer did not see yet, and no change of
//! another table makes the application's write fail.

use crate::{
    model::SectionSet,
    source_schema::{Catalogue, Family, Owner, SourceTable},
};

/// Where the triggers write.
pub(super) const OUTBOX: &str = "invalidation_outbox";
/// The clusters that read it.
pub(super) const CONSUMERS: &str = "invalidation_outbox_consumer";
/// How far it has been trimmed.
pub(super) const STATE: &str = "invalidation_outbox_state";

/// The columns of a note that hold ids, by the names that they have in the sources.
pub(super) const IDS: [&str; 6] = ["user_id", "session_id", "task_id", "strategy_id", "event_id", "row_id"];

/// An id in a note: the note's column and the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotedId {
    pub(super) noted: &'static str,
    pub(super) column: &'static str,
    /// The row's owner can be found by it.
    pub(super) owns: bool,
}

/// A table for which triggers are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    pub(super) table: &'static SourceTable,
}

impl Watched {
    /// The sections that a row concerns, as the outbox and the invalidation log store them.
    pub(super) fn section_bits(self) -> i64 {
        sections_of(self.table).bits()
    }

    /// What a note names of a row.
    pub(super) fn ids(self) -> Vec<NotedId> {
        let user = NotedId { noted: "user_id", column: "user_id", owns: true };
        let of = |(column, _): &(&'static str, _)| NotedId { noted: column, column, owns: true };
        let mut ids = match self.table.owner {
            Owner::UserId => vec![user],
            Owner::Parent(parents) => parents.iter().map(of).collect(),
            Owner::UserIdOrParent(parents) => [user].into_iter().chain(parents.iter().map(of)).collect(),
        };
        let strategy = self.table.strategy.filter(|column| !ids.iter().any(|id| id.column == *column));
        ids.extend(strategy.map(|column| NotedId {
            noted: if column == "id" { "row_id" } else { column },
            column,
            owns: false,
        }));
        ids
    }

    /// The columns whose change is a change, the row's id first. `updated_at` alone is none: a save that changes nothing
    /// sets it too.
    pub(super) fn compared(self) -> impl Iterator<Item = &'static str> {
        let others = self.table.columns().map(|(name, _)| name).filter(|name| !matches!(*name, "id" | "updated_at"));
        let user = self.ids().into_iter().map(|id| id.column).filter(|column| self.table.family(column).is_none());
        ["id"].into_iter().chain(others).chain(user.collect::<Vec<_>>())
    }

    /// The column as it is compared. JSON's `null` is the same as NULL for the reader.
    pub(super) fn comparable(self, row: &str, column: &str) -> String {
        match self.table.family(column) {
            Some(Family::Json) => format!("NULLIF({row}.{column}, 'null')"),
            _ => format!("{row}.{column}"),
        }
    }

    /// Whether a new `updated_at` alone may change what is read: of several rows only the newest is.
    pub(super) fn newest_counts(self) -> bool {
        self.table.newest_of.is_some()
    }

    /// With the columns that this database has. None if the table is missing, or if its rows cannot be told apart.
    pub(super) fn there(self, catalogue: &Catalogue) -> Option<Self> {
        catalogue.has_column(self.table, "id").then_some(self)
    }
}

/// The sections that are read from a table.
pub(super) fn sections_of(table: &SourceTable) -> SectionSet {
    table.sections.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source_schema::TABLES;

    #[test]
    fn a_note_of_a_parent_concerns_all_that_is_read_of_its_children() {
        for table in TABLES {
            let (Owner::Parent(parents) | Owner::UserIdOrParent(parents)) = table.owner else { continue };
            for (column, parent) in parents {
                let missing: Vec<_> =
                    sections_of(table).iter().filter(|section| !sections_of(parent).contains(*section)).collect();
                assert!(missing.is_empty(), "{}.{column}: {} lacks {missing:?}", table.name, parent.name);
                let compared: Vec<_> = Watched { table: parent }.compared().collect();
                assert!(compared.contains(&"id"), "{}: a new id gives its children another owner", parent.name);
            }
        }
    }

    #[test]
    fn a_note_names_what_its_reader_needs() {
        for table in TABLES {
            let ids = Watched { table }.ids();
            assert!(ids.iter().all(|id| IDS.contains(&id.noted)), "{}: {ids:?}", table.name);
            assert!(ids.iter().any(|id| id.owns), "{}", table.name);
            let compared: Vec<_> = Watched { table }.compared().collect();
            assert!(ids.iter().all(|id| compared.contains(&id.column)), "{}: a new owner is a change", table.name);
            let groups = table.newest_of.into_iter().all(|group| ids.iter().any(|id| id.column == group));
            assert!(groups, "{}: whether a row has a sibling is asked by an id of its note", table.name);
        }
    }
}
