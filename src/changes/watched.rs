//! What the triggers take from a table's description: which columns are compared, and SQL for whom a row concerns.

use crate::{
    model::SectionSet,
    source_schema::{Family, Owner, SourceTable},
};

/// The sections that a row concerns, as the outbox and the invalidation log store them.
pub(super) fn section_bits(table: &SourceTable) -> i64 {
    table.sections.iter().copied().collect::<SectionSet>().bits()
}

/// The columns whose change is a change. `updated_at` alone is none: a save that changes nothing sets it too.
pub(super) fn compared(table: &SourceTable) -> impl Iterator<Item = (&'static str, Family)> {
    table.columns().filter(|(name, _)| !matches!(*name, "id" | "updated_at"))
}

/// An expression for the user whom the row with this alias concerns, as text; NULL if no user is found.
pub(super) fn user_of(table: &SourceTable, row: &str) -> String {
    match table.owner {
        Owner::UserId if table.family("user_id") == Some(Family::Text) => format!("{row}.user_id"),
        Owner::UserId => format!("CAST({row}.user_id AS TEXT)"),
        Owner::Parent(columns) => {
            let owners: Vec<String> = columns
                .iter()
                .map(|(column, parent)| {
                    let (name, user) = (parent.name, user_of(parent, parent.name));
                    format!("(SELECT {user} FROM {name} WHERE {name}.id = {row}.{column})")
                })
                .collect();
            if let [owner] = &owners[..] { owner.clone() } else { format!("COALESCE({})", owners.join(", ")) }
        }
    }
}

/// An expression for the strategy that the row with this alias concerns, or NULL.
pub(super) fn strategy_of(table: &SourceTable, row: &str) -> String {
    table.strategy.map_or_else(|| "NULL".to_owned(), |column| format!("{row}.{column}"))
}
