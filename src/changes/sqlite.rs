//! SQLite's triggers: one per event, for each row.
//!
//! They name only columns that are there, and the outbox. SQLite refuses `ALTER TABLE .. DROP COLUMN` for a column that a
//! trigger names; everything else that changes tables works with the triggers in place.
//!
//! `INSERT OR REPLACE` runs no delete trigger unless `recursive_triggers` is on. The replaced row nearly always has the
//! same owner, whom the insert trigger names.

use super::watched::{NotedId, OUTBOX, Watched};
use crate::source_schema::Catalogue;

/// The events of the triggers.
pub(super) const EVENTS: [&str; 3] = ["insert", "update", "delete"];

pub(super) fn name(table: &str, event: &str) -> String {
    format!("userdata_{table}_{event}")
}

/// The statements that create the triggers, by which an installed version is recognised.
pub(super) fn triggers(watched: Watched, catalogue: &Catalogue) -> Vec<String> {
    let table = watched.table.name;
    let columns = ColumnsThere { watched, catalogue };
    let trigger = |event: &str, timing: &str, body: &str| {
        format!("CREATE TRIGGER {} AFTER {timing} ON {table} BEGIN {body}; END", name(table, event))
    };
    let touched = columns.touched().join(", ");
    vec![
        trigger("insert", "INSERT", &columns.note(&["NEW"], "0", "1")),
        trigger(
            "update",
            &format!("UPDATE OF {touched}"),
            &columns.note(&["OLD", "NEW"], &columns.quiet(), &columns.differs()),
        ),
        trigger("delete", "DELETE", &columns.note(&["OLD"], "0", "1")),
    ]
}

/// The statements that take them away.
pub(super) fn removal(table: &str) -> Vec<String> {
    EVENTS.iter().map(|event| format!("DROP TRIGGER IF EXISTS {}", name(table, event))).collect()
}

/// A note that everything of the table has changed.
pub(super) fn everything(watched: Watched) -> String {
    let (table, bits) = (watched.table.name, watched.section_bits());
    format!("INSERT INTO {OUTBOX} (source, sections) VALUES ('{table}', {bits})")
}

/// The columns of a table that are there.
struct ColumnsThere<'a> {
    watched: Watched,
    catalogue: &'a Catalogue,
}

impl ColumnsThere<'_> {
    fn has(&self, column: &str) -> bool {
        self.catalogue.has_column(self.watched.table, column)
    }

    fn ids(&self) -> Vec<NotedId> {
        self.watched.ids().into_iter().filter(|id| self.has(id.column)).collect()
    }

    fn compared(&self) -> Vec<&'static str> {
        self.watched.compared().filter(|column| self.has(column)).collect()
    }

    fn updated_at(&self) -> bool {
        self.watched.newest_counts() && self.has("updated_at")
    }

    /// The columns that an update has to name for its trigger to run.
    fn touched(&self) -> Vec<&'static str> {
        self.compared().into_iter().chain(self.updated_at().then_some("updated_at")).collect()
    }

    fn changed(&self) -> String {
        let differs = |column: &&str| {
            let (old, new) = (self.watched.comparable("OLD", column), self.watched.comparable("NEW", column));
            format!("{old} IS NOT {new}")
        };
        self.compared().iter().map(differs).collect::<Vec<_>>().join(" OR ")
    }

    /// Whether `updated_at` alone differs.
    fn quiet(&self) -> String {
        match self.updated_at() {
            true => format!("NOT ({})", self.changed()),
            false => "0".to_owned(),
        }
    }

    /// Whether anything that counts differs.
    fn differs(&self) -> String {
        match self.updated_at() {
            true => format!("({} OR OLD.updated_at IS NOT NEW.updated_at)", self.changed()),
            false => format!("({})", self.changed()),
        }
    }

    /// A note of each of these rows' owners. A row without an owner concerns no one.
    fn note(&self, rows: &[&str], quiet: &str, condition: &str) -> String {
        let (table, bits, ids) = (self.watched.table.name, self.watched.section_bits(), self.ids());
        let noted: Vec<&str> = ids.iter().map(|id| id.noted).collect();
        let of = |row: &&str| {
            let values: Vec<String> =
                ids.iter().map(|id| format!("CAST({row}.{} AS TEXT) AS {}", id.column, id.noted)).collect();
            format!("SELECT {}", values.join(", "))
        };
        let rows: Vec<String> = rows.iter().map(of).collect();
        let owned: Vec<String> =
            ids.iter().filter(|id| id.owns).map(|id| format!("r.{} IS NOT NULL", id.noted)).collect();
        let noted = noted.join(", ");
        if owned.is_empty() {
            // The owners cannot be told: the column is gone.
            return format!("INSERT INTO {OUTBOX} (source, sections) SELECT '{table}', {bits} WHERE {condition}");
        }
        format!(
            "INSERT INTO {OUTBOX} (source, {noted}, sections, only_updated_at) \
             SELECT '{table}', {noted}, {bits}, {quiet} FROM ({}) r WHERE ({}) AND {condition}",
            rows.join(" UNION "),
            owned.join(" OR ")
        )
    }
}
