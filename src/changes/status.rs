//! Whether each table's triggers are there and as this version creates them. Changes nothing.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, QueryResult, Value};

use super::{
    postgres, sqlite,
    watched::{OUTBOX, Watched, sections_of},
};
use crate::{
    database::Dialect,
    model::SectionSet,
    source_schema::{Catalogue, SourceTable, TABLES},
};

/// The triggers of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableTriggers {
    /// The table.
    pub table: &'static str,
    /// What is there.
    pub state: TriggerState,
}

/// The state of one table's triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerState {
    /// As this version creates them.
    Installed,
    /// As another version creates them, incomplete, or disabled.
    Outdated,
    /// No trigger.
    Absent,
    /// Triggers do not see all of its rows: a view, a foreign table, or a table that others inherit from.
    Unwatchable,
    /// There is no such table.
    TableMissing,
}

impl TriggerState {
    /// For people and scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Outdated => "outdated",
            Self::Absent => "absent",
            Self::Unwatchable => "cannot be watched",
            Self::TableMissing => "table missing",
        }
    }
}

/// The state of each table's triggers. Changes nothing.
pub async fn status(db: &impl ConnectionTrait) -> Result<Vec<TableTriggers>, DbErr> {
    let catalogue = Catalogue::read(db).await?;
    status_of(db, &catalogue, &TABLES).await
}

/// The same for some tables whose catalogue is known.
pub(super) async fn status_of(
    db: &impl ConnectionTrait,
    catalogue: &Catalogue,
    tables: &[&'static SourceTable],
) -> Result<Vec<TableTriggers>, DbErr> {
    let found = if Dialect::of(db).is_sqlite() {
        found_in_sqlite(db, catalogue, tables).await?
    } else {
        found_in_postgres(db, tables).await?
    };
    let of = |table: &&'static SourceTable| {
        let state = match found.get(table.name) {
            _ if !catalogue.has_table(table) => TriggerState::TableMissing,
            None => TriggerState::Absent,
            Some(state) => *state,
        };
        TableTriggers { table: table.name, state }
    };
    Ok(tables.iter().map(of).collect())
}

/// The sections of tables that are there and whose triggers are not as they should be.
pub(super) fn unwatched(states: &[TableTriggers]) -> SectionSet {
    let is_watched = |state| matches!(state, TriggerState::Installed | TriggerState::TableMissing);
    let states = states.iter().filter(|of| !is_watched(of.state));
    let tables = states.filter_map(|of| TABLES.into_iter().find(|table| table.name == of.table));
    tables.fold(SectionSet::NONE, |sections, table| sections.union(sections_of(table)))
}

/// The schema of the outbox, quoted; where it would be created if there is none.
pub(super) async fn schema_of_outbox(db: &impl ConnectionTrait) -> Result<String, DbErr> {
    let sql = "SELECT quote_ident(COALESCE((SELECT CAST(n.nspname AS TEXT) FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)), \
               CAST(current_schema() AS TEXT))) AS name";
    let row = db.query_one_raw(Dialect::of(db).statement(sql, [OUTBOX.into()])).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("the outbox's schema".to_owned()))?.try_get("", "name")
}

/// Whether rows of the table are noted one by one: statement triggers do not see all of them.
pub(super) async fn needs_row_triggers(db: &impl ConnectionTrait, table: &SourceTable) -> Result<bool, DbErr> {
    Ok(relations(db, &[table]).await?.iter().any(Relation::needs_row_triggers))
}

#[derive(FromQueryResult)]
struct Relation {
    name: String,
    relation: i64,
    kind: String,
    is_partition: bool,
    is_root: bool,
    is_subscribed: bool,
    trigger_name: Option<String>,
    enabled: Option<String>,
    for_rows: Option<bool>,
    body: Option<String>,
    as_owner: Option<bool>,
}

impl Relation {
    fn needs_row_triggers(&self) -> bool {
        self.is_subscribed || (self.is_root && self.kind == "p")
    }

    /// A table that inherits without being a partition gets no copy of a trigger.
    fn is_unwatchable(&self) -> bool {
        !["r", "p"].contains(&self.kind.as_str()) || (!self.is_root && !self.is_partition)
    }
}

async fn relations(db: &impl ConnectionTrait, tables: &[&SourceTable]) -> Result<Vec<Relation>, DbErr> {
    let names = tables.iter().map(|table| table.name).collect::<Vec<_>>().join(",");
    let values: [Value; 2] = [names.into(), postgres::SEARCH_PATH.into()];
    let sql = include_str!("sql/triggers.postgres.sql");
    let rows = db.query_all_raw(Dialect::of(db).statement(sql, values)).await?;
    rows.iter().map(|row| Relation::from_query_result(row, "")).collect()
}

/// Only tables that have triggers.
async fn found_in_postgres(
    db: &impl ConnectionTrait,
    tables: &[&'static SourceTable],
) -> Result<BTreeMap<&'static str, TriggerState>, DbErr> {
    let (schema, relations) = (schema_of_outbox(db).await?, relations(db, tables).await?);
    let mut found = BTreeMap::new();
    for table in tables {
        let of_table: Vec<&Relation> = relations.iter().filter(|relation| relation.name == table.name).collect();
        if of_table.iter().any(|relation| relation.is_unwatchable()) {
            found.insert(table.name, TriggerState::Unwatchable);
            continue;
        }
        if of_table.iter().all(|relation| relation.trigger_name.is_none()) {
            continue;
        }
        let body = postgres::body(Watched { table }, &schema);
        let installed = are_installed(table, &of_table, &body);
        found.insert(table.name, if installed { TriggerState::Installed } else { TriggerState::Outdated });
    }
    Ok(found)
}

fn are_installed(table: &SourceTable, relations: &[&Relation], body: &str) -> bool {
    let rows = relations.iter().any(|relation| relation.needs_row_triggers());
    let name = postgres::name(table.name);
    let is_as_created = |relation: &&&Relation, event: &str| {
        relation.trigger_name.as_ref().is_some_and(|trigger| *trigger == format!("{name}_{event}"))
            && relation.enabled.as_deref() == Some("A")
            && relation.body.as_deref() == Some(body)
            && relation.as_owner == Some(true)
            && relation.for_rows == Some(rows && event != "truncate")
    };
    let mut ids: Vec<i64> = relations.iter().map(|relation| relation.relation).collect();
    ids.dedup();
    ids.into_iter().all(|id| {
        let of_one: Vec<&Relation> = relations.iter().filter(|relation| relation.relation == id).copied().collect();
        let is_root = of_one.iter().any(|relation| relation.is_root);
        // TRUNCATE of a partition is seen by its new file.
        let mut events = postgres::EVENTS.iter().filter(|event| is_root || **event != "truncate");
        events.all(|event| of_one.iter().any(|relation| is_as_created(&relation, event)))
    })
}

const SQLITE_TRIGGERS: &str = "SELECT tbl_name AS name, type AS kind, sql AS text FROM sqlite_master \
     WHERE type = 'view' OR (type = 'trigger' AND name LIKE 'userdata\\_%' ESCAPE '\\')";

/// Only tables that have triggers.
async fn found_in_sqlite(
    db: &impl ConnectionTrait,
    catalogue: &Catalogue,
    tables: &[&'static SourceTable],
) -> Result<BTreeMap<&'static str, TriggerState>, DbErr> {
    let rows = db.query_all_raw(Dialect::of(db).statement(SQLITE_TRIGGERS, [])).await?;
    let columns = ["name", "kind", "text"].map(str::to_owned);
    let read = |row: &QueryResult| row.try_get_many::<(String, String, String)>("", &columns);
    let texts = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut found = BTreeMap::new();
    for table in tables {
        let of_table = texts.iter().filter(|(name, ..)| name == table.name);
        let (views, triggers): (Vec<_>, Vec<_>) = of_table.partition(|(_, kind, _)| kind == "view");
        let there: Vec<&String> = triggers.into_iter().map(|(.., text)| text).collect();
        if !views.is_empty() {
            found.insert(table.name, TriggerState::Unwatchable);
            continue;
        }
        if there.is_empty() {
            continue;
        }
        let expected = Watched { table }.there(catalogue).map(|watched| sqlite::triggers(watched, catalogue));
        let expected = expected.unwrap_or_default();
        let installed = there.len() == expected.len() && expected.iter().all(|text| there.contains(&text));
        found.insert(table.name, if installed { TriggerState::Installed } else { TriggerState::Outdated });
    }
    Ok(found)
}
