//! Installs, inspects and removes the triggers, each in one transaction.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use userdata_migrations::{begin_alone, columns_of, outbox};

use super::{postgres, sqlite, watched::Watched};
use crate::{
    database::Dialect,
    source_schema::{Catalogue, Difference, SourceTable, TABLES},
};

/// Why the triggers could not be installed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(
        "there is none of the tables onboarding_sessions, enhanced_content_strategies and content_strategies: is this \
         the database of the sources?"
    )]
    NoTables,
    #[error(
        "{OUTBOX} is from a development version before 0.1.0: \
         run `ALTER TABLE {OUTBOX} RENAME COLUMN at TO created_at`, then install the triggers again"
    )]
    OutboxBeforeFirstRelease,
    /// The database refused, or could not be reached.
    #[error("the database refused")]
    Database(#[from] DbErr),
}

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
    /// As another version creates them, or incomplete.
    Outdated,
    /// No trigger.
    Absent,
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
            Self::TableMissing => "table missing",
        }
    }
}

/// Creates the outbox if it is missing, and every trigger anew, on the tables and columns that are there. Returns what
/// is not there. Safe to repeat.
pub async fn install(db: &DatabaseConnection) -> Result<Vec<Difference>, InstallError> {
    let alone = begin_alone(db).await?;
    let catalogue = Catalogue::read(&alone).await?;
    if !catalogue.knows_users() {
        return Err(InstallError::NoTables);
    }
    match columns_of(&alone, OUTBOX).await? {
        columns if columns.is_empty() => {
            alone.execute_unprepared(outbox(db.get_database_backend())).await?;
        }
        columns if !columns.iter().any(|column| column == "created_at") => {
            return Err(InstallError::OutboxBeforeFirstRelease);
        }
        _ => {}
    }
    for table in TABLES.into_iter().filter(|table| catalogue.has_table(table)) {
        let created = Watched::new(table, &catalogue).map(creation).unwrap_or_default();
        for statement in removal(db, table).into_iter().chain(created) {
            alone.execute_unprepared(&statement).await?;
        }
    }
    alone.commit().await?;
    Ok(catalogue.differences())
}

/// The same, unless all triggers are current.
pub async fn install_if_outdated(db: &DatabaseConnection) -> Result<(), InstallError> {
    let is_done = |table: &TableTriggers| matches!(table.state, TriggerState::Installed | TriggerState::TableMissing);
    if !status(db).await?.iter().all(is_done) {
        install(db).await?;
    }
    Ok(())
}

/// Drops every trigger. The outbox stays: its rows are still to be relayed.
pub async fn remove(db: &DatabaseConnection) -> Result<(), InstallError> {
    let alone = begin_alone(db).await?;
    for table in TABLES {
        if !columns_of(&alone, table.name).await?.is_empty() {
            for statement in removal(db, table) {
                alone.execute_unprepared(&statement).await?;
            }
        }
    }
    Ok(alone.commit().await?)
}

/// The state of each table's triggers. Changes nothing.
pub async fn status(db: &DatabaseConnection) -> Result<Vec<TableTriggers>, DbErr> {
    let catalogue = Catalogue::read(db).await?;
    let mut states = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let watched = Watched::new(table, &catalogue);
        let (expected, found) = if Dialect::of(db).is_sqlite() {
            let expected = watched.map(creation).unwrap_or_default();
            (expected, texts(db, SQLITE_TRIGGERS, table.name).await?)
        } else {
            let expected = watched.map(|watched| vec![postgres::body(watched); EVENTS.len()]);
            (expected.unwrap_or_default(), texts(db, POSTGRES_TRIGGERS, table.name).await?)
        };
        let state = match found {
            _ if !catalogue.has_table(table) => TriggerState::TableMissing,
            found if found.is_empty() => TriggerState::Absent,
            found if found.len() == expected.len() && expected.iter().all(|text| found.contains(text)) => {
                TriggerState::Installed
            }
            _ => TriggerState::Outdated,
        };
        states.push(TableTriggers { table: table.name, state });
    }
    Ok(states)
}

/// Where the triggers write.
pub(super) const OUTBOX: &str = "invalidation_outbox";
const EVENTS: [&str; 4] = ["insert", "update", "delete", "truncate"];
const SQLITE_TRIGGERS: &str = "SELECT sql AS text FROM sqlite_master WHERE type = 'trigger' AND tbl_name = $1 AND name LIKE 'userdata\\_%' ESCAPE '\\'";
const POSTGRES_TRIGGERS: &str = "SELECT p.prosrc AS text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
     WHERE t.tgrelid = to_regclass($1) AND t.tgname LIKE 'userdata\\_%' AND t.tgenabled <> 'D'";

fn creation(watched: Watched<'_>) -> Vec<String> {
    match watched.catalogue.dialect() {
        Dialect::Sqlite => sqlite::triggers(watched),
        Dialect::Postgres => postgres::statements(watched),
    }
}

fn removal(db: &DatabaseConnection, table: &SourceTable) -> Vec<String> {
    if Dialect::of(db).is_sqlite() {
        let name = |event: &&str| format!("DROP TRIGGER IF EXISTS {}", sqlite::name(table.name, event));
        return EVENTS.iter().filter(|event| **event != "truncate").map(name).collect();
    }
    let name = postgres::name(table.name);
    let triggers = EVENTS.map(|event| format!("DROP TRIGGER IF EXISTS {name}_{event} ON {}", table.name));
    triggers.into_iter().chain([format!("DROP FUNCTION IF EXISTS {name}()")]).collect()
}

async fn texts(db: &DatabaseConnection, sql: &str, table: &str) -> Result<Vec<String>, DbErr> {
    let rows = db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, [table.into()])).await?;
    rows.iter().map(|row| row.try_get("", "text")).collect()
}
