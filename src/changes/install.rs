//! Installs, inspects and removes the triggers, each in one transaction.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use userdata_migrations::{begin_alone, columns_of, outbox};

use super::{postgres, sqlite};
use crate::{
    database::Dialect,
    source_schema::{self, SourceTable, TABLES},
};

/// Why the triggers could not be installed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A table lacks a column. Its trigger would fail, and with it every write to the table.
    #[error("{table} has no column {column}: its triggers would make every write to it fail")]
    Column {
        /// The table.
        table: &'static str,
        /// The first column that is missing.
        column: &'static str,
    },
    /// The table is missing.
    #[error("there is no table {table}: is this the database of the sources?")]
    Table {
        /// The table.
        table: &'static str,
    },
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
pub struct TriggerState {
    /// The table.
    pub table: &'static str,
    /// What is there.
    pub state: State,
}

/// The state of one table's triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As this version creates them.
    Installed,
    /// As another version creates them, or incomplete.
    Outdated,
    /// No trigger.
    Absent,
}

impl State {
    /// For people and scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Outdated => "outdated",
            Self::Absent => "absent",
        }
    }
}

/// Creates the outbox if it is missing, and every trigger anew. Safe to repeat.
pub async fn install(db: &DatabaseConnection) -> Result<(), InstallError> {
    let alone = begin_alone(db).await?;
    if let Some(lacking) = source_schema::lacking(&alone).await?.first() {
        return Err(match lacking.columns.first() {
            Some(column) => InstallError::Column { table: lacking.table, column },
            None => InstallError::Table { table: lacking.table },
        });
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
    for table in TABLES {
        for statement in removal(db, table).into_iter().chain(creation(db, table)) {
            alone.execute_unprepared(&statement).await?;
        }
    }
    Ok(alone.commit().await?)
}

/// The same, unless all triggers are current.
pub async fn install_if_outdated(db: &DatabaseConnection) -> Result<(), InstallError> {
    match status(db).await?.iter().all(|table| table.state == State::Installed) {
        true => Ok(()),
        false => install(db).await,
    }
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
pub async fn status(db: &DatabaseConnection) -> Result<Vec<TriggerState>, DbErr> {
    let mut states = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let (expected, found) = if Dialect::of(db).is_sqlite() {
            let expected = sqlite::triggers(table).into_iter().map(|(_, sql)| sql).collect::<Vec<_>>();
            (expected, texts(db, SQLITE_TRIGGERS, table.name).await?)
        } else {
            let expected = vec![postgres::body(table); EVENTS.len()];
            (expected, texts(db, POSTGRES_TRIGGERS, table.name).await?)
        };
        let state = match found {
            found if found.is_empty() => State::Absent,
            found if found.len() == expected.len() && expected.iter().all(|text| found.contains(text)) => {
                State::Installed
            }
            _ => State::Outdated,
        };
        states.push(TriggerState { table: table.name, state });
    }
    Ok(states)
}

/// Where the triggers write.
pub(super) const OUTBOX: &str = "invalidation_outbox";
const EVENTS: [&str; 4] = ["insert", "update", "delete", "truncate"];
const SQLITE_TRIGGERS: &str = "SELECT sql AS text FROM sqlite_master WHERE type = 'trigger' AND tbl_name = $1 AND name LIKE 'userdata\\_%' ESCAPE '\\'";
const POSTGRES_TRIGGERS: &str = "SELECT p.prosrc AS text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
     WHERE t.tgrelid = to_regclass($1) AND t.tgname LIKE 'userdata\\_%' AND t.tgenabled <> 'D'";

fn creation(db: &DatabaseConnection, table: &SourceTable) -> Vec<String> {
    if Dialect::of(db).is_sqlite() {
        sqlite::triggers(table).into_iter().map(|(_, sql)| sql).collect()
    } else {
        postgres::statements(table)
    }
}

fn removal(db: &DatabaseConnection, table: &SourceTable) -> Vec<String> {
    if Dialect::of(db).is_sqlite() {
        let drop = |(name, _)| format!("DROP TRIGGER IF EXISTS {name}");
        return sqlite::triggers(table).into_iter().map(drop).collect();
    }
    let name = postgres::name(table);
    let triggers = EVENTS.map(|event| format!("DROP TRIGGER IF EXISTS {name}_{event} ON {}", table.name));
    triggers.into_iter().chain([format!("DROP FUNCTION IF EXISTS {name}()")]).collect()
}

async fn texts(db: &DatabaseConnection, sql: &str, table: &str) -> Result<Vec<String>, DbErr> {
    let rows = db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, [table.into()])).await?;
    rows.iter().map(|row| row.try_get("", "text")).collect()
}
