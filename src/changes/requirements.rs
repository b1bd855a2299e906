//! What the outbox needs of the database around it, for `doctor`.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, DbErr};

use super::watched::{CONSUMERS, OUTBOX, STATE};
use crate::{
    database::Dialect,
    source_schema::{Owner, TABLES},
};

/// The tables that triggers and relay write, and the rights that the relay needs on each.
pub const WRITTEN: [(&str, &[&str]); 3] = [
    (OUTBOX, &["SELECT", "DELETE"]),
    (CONSUMERS, &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    (STATE, &["SELECT", "UPDATE"]),
];

/// The columns of the sources' tables by which the relay finds whom a note concerns. Without them it invalidates for
/// everyone.
#[must_use]
pub fn read_for_owners() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut read: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
    for table in TABLES {
        read.entry(table.name).or_default().extend(table.newest_of);
        let (Owner::Parent(parents) | Owner::UserIdOrParent(parents)) = table.owner else { continue };
        for (_, parent) in parents {
            let columns = read.entry(parent.name).or_default();
            columns.insert("id");
            match parent.owner {
                Owner::UserId => drop(columns.insert("user_id")),
                Owner::Parent(by) => columns.extend(by.iter().map(|(column, _)| *column)),
                Owner::UserIdOrParent(by) => {
                    columns.extend(["user_id"].into_iter().chain(by.iter().map(|(column, _)| *column)))
                }
            }
        }
    }
    read.retain(|_, columns| !columns.is_empty());
    read.into_iter().map(|(table, columns)| (table, columns.into_iter().collect())).collect()
}

/// Which publications copy the outbox or its sisters, as `publication (table)`. A subscriber writes notes of its own into
/// them; a copy of ours beside these stops its worker, and is read there as if it were its own.
pub async fn published(db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    if Dialect::of(db).is_sqlite() {
        return Ok(Vec::new());
    }
    let sql = "SELECT concat(p.pubname, ' (', p.tablename, ')') AS name FROM pg_publication_tables p \
               WHERE p.tablename LIKE 'invalidation\\_outbox%' \
               AND to_regclass(concat(quote_ident(p.schemaname), '.', quote_ident(p.tablename))) \
               IN (to_regclass($1), to_regclass($2), to_regclass($3)) ORDER BY 1";
    let statement = Dialect::Postgres.statement(sql, [OUTBOX.into(), CONSUMERS.into(), STATE.into()]);
    db.query_all_raw(statement).await?.iter().map(|row| row.try_get("", "name")).collect()
}
