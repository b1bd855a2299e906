//! Installing the triggers, looking at them, removing them. One transaction each: all or nothing.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use userdata_migrations::{begin_alone, columns_of, outbox};

use super::{
    postgres, sqlite,
    watched::{WATCHED, Watched},
};
use crate::database::is_sqlite;

/// Why the triggers could not be installed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A table is not what we know: a trigger would fail, and with it every write to that table.
    #[error("{table} has no column {column}: its triggers would make every write to it fail")]
    Column {
        /// The table.
        table: &'static str,
        /// The first column that is missing.
        column: &'static str,
    },
    /// There is no such table.
    #[error("there is no table {table}: is this the database of the sources?")]
    Table {
        /// The table.
        table: &'static str,
    },
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

/// What is there of a table's triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As this version makes them.
    Installed,
    /// As another version makes them, or not all of them.
    Outdated,
    /// Nothing.
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
    for watched in &WATCHED {
        check(&alone, watched).await?;
    }
    if columns_of(&alone, OUTBOX).await?.is_empty() {
        alone.execute_unprepared(outbox(db.get_database_backend())).await?;
    }
    for watched in &WATCHED {
        for statement in removal(db, watched).into_iter().chain(creation(db, watched)) {
            alone.execute_unprepared(&statement).await?;
        }
    }
    Ok(alone.commit().await?)
}

/// The same, unless everything is as it should be.
pub async fn install_if_outdated(db: &DatabaseConnection) -> Result<(), InstallError> {
    match status(db).await?.iter().all(|table| table.state == State::Installed) {
        true => Ok(()),
        false => install(db).await,
    }
}

/// Drops every trigger. The outbox stays: what is in it has still to be told.
pub async fn remove(db: &DatabaseConnection) -> Result<(), InstallError> {
    let alone = begin_alone(db).await?;
    for watched in &WATCHED {
        if !columns_of(&alone, watched.table).await?.is_empty() {
            for statement in removal(db, watched) {
                alone.execute_unprepared(&statement).await?;
            }
        }
    }
    Ok(alone.commit().await?)
}

/// What is there, by table. Changes nothing.
pub async fn status(db: &DatabaseConnection) -> Result<Vec<TriggerState>, DbErr> {
    let mut states = Vec::with_capacity(WATCHED.len());
    for watched in &WATCHED {
        let (expected, found) = if is_sqlite(db) {
            let expected = sqlite::triggers(watched).into_iter().map(|(_, sql)| sql).collect::<Vec<_>>();
            (expected, texts(db, SQLITE_TRIGGERS, watched.table).await?)
        } else {
            let expected = vec![postgres::body(watched); EVENTS.len()];
            (expected, texts(db, POSTGRES_TRIGGERS, watched.table).await?)
        };
        let state = match found {
            found if found.is_empty() => State::Absent,
            found if found.len() == expected.len() && expected.iter().all(|text| found.contains(text)) => {
                State::Installed
            }
            _ => State::Outdated,
        };
        states.push(TriggerState { table: watched.table, state });
    }
    Ok(states)
}

/// What the sources' tables lack of what we read, by table: the missing columns, or no column for a table that is
/// missing itself. Changes nothing.
pub async fn lacking(db: &DatabaseConnection) -> Result<Vec<(&'static str, Vec<&'static str>)>, DbErr> {
    let mut lacking = Vec::new();
    for watched in &WATCHED {
        let columns = columns_of(db, watched.table).await?;
        let missing: Vec<_> = watched.named().filter(|column| !columns.iter().any(|there| there == column)).collect();
        if columns.is_empty() {
            lacking.push((watched.table, Vec::new()));
        } else if !missing.is_empty() {
            lacking.push((watched.table, missing));
        }
    }
    Ok(lacking)
}

/// The sources' tables and their columns that we read.
pub fn columns() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    WATCHED.iter().map(|watched| (watched.table, watched.named().collect()))
}

/// Where the triggers write.
pub(super) const OUTBOX: &str = "invalidation_outbox";
const EVENTS: [&str; 4] = ["insert", "update", "delete", "truncate"];
const SQLITE_TRIGGERS: &str = "SELECT sql AS text FROM sqlite_master WHERE type = 'trigger' AND tbl_name = $1 AND name LIKE 'userdata\\_%' ESCAPE '\\'";
const POSTGRES_TRIGGERS: &str = "SELECT p.prosrc AS text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
     WHERE t.tgrelid = to_regclass($1) AND t.tgname LIKE 'userdata\\_%' AND t.tgenabled <> 'D'";

fn creation(db: &DatabaseConnection, watched: &Watched) -> Vec<String> {
    if is_sqlite(db) {
        sqlite::triggers(watched).into_iter().map(|(_, sql)| sql).collect()
    } else {
        postgres::statements(watched)
    }
}

fn removal(db: &DatabaseConnection, watched: &Watched) -> Vec<String> {
    if is_sqlite(db) {
        let drop = |(name, _)| format!("DROP TRIGGER IF EXISTS {name}");
        return sqlite::triggers(watched).into_iter().map(drop).collect();
    }
    let name = postgres::name(watched);
    let triggers = EVENTS.map(|event| format!("DROP TRIGGER IF EXISTS {name}_{event} ON {}", watched.table));
    triggers.into_iter().chain([format!("DROP FUNCTION IF EXISTS {name}()")]).collect()
}

async fn check(db: &impl ConnectionTrait, watched: &Watched) -> Result<(), InstallError> {
    let columns = columns_of(db, watched.table).await?;
    if columns.is_empty() {
        return Err(InstallError::Table { table: watched.table });
    }
    match watched.named().find(|column| !columns.iter().any(|there| there == column)) {
        Some(column) => Err(InstallError::Column { table: watched.table, column }),
        None => Ok(()),
    }
}

async fn texts(db: &DatabaseConnection, sql: &str, table: &str) -> Result<Vec<String>, DbErr> {
    let rows = db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, [table.into()])).await?;
    rows.iter().map(|row| row.try_get("", "text")).collect()
}
