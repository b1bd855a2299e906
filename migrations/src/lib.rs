//! The tables, as an ordered list of migrations for SQLite and PostgreSQL.
//!
//! A run is one transaction under one lock: it is applied as a whole or not at all, and a second process that migrates
//! at the same time waits and then finds nothing left to do. Migrations are SQL files, one per database, because the
//! two dialects differ in types and defaults and a builder would hide what is created. Each works with the code before
//! it and the code after it.
//!
//! There are three sets: our own tables; the keys of users, in a database of their own; and the planning application's
//! tables, which are only ever created in the embedded database and in tests.

mod cache;
mod keys;
mod lock;
mod refusal;
mod script;
mod set;
mod sources;

use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, Statement, TransactionSession, TransactionTrait};

pub use lock::begin_alone;
pub use refusal::{MigrationError, refuse_unusable};
use set::Set;

/// The tables that a database is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// Our own: snapshots, AI responses, the invalidation log, leases.
    Cache,
    /// Our own, and the planning application's with the outbox.
    CacheAndSources,
    /// The keys of users. Never in the database of what they encrypt.
    Keys,
}

impl Tables {
    /// In the order in which they are created.
    fn sets(self) -> &'static [Set] {
        match self {
            Self::Cache => &[cache::SET],
            Self::CacheAndSources => &[cache::SET, sources::SET],
            Self::Keys => &[keys::SET],
        }
    }
}

/// A migration, and whether this database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationState {
    /// Names sort in the order of application.
    pub name: String,
    pub applied: bool,
}

/// Applies what is missing and returns the names of what was applied.
pub async fn up<C>(db: &C, tables: Tables) -> Result<Vec<String>, MigrationError>
where
    C: ConnectionTrait + TransactionTrait,
{
    let alone = begin_alone(db).await?;
    refuse_unusable(&alone, tables).await?;
    let mut applied = Vec::new();
    for set in tables.sets() {
        applied.extend(set.up(&alone).await?);
    }
    alone.commit().await?;
    Ok(applied)
}

/// Undoes the newest `steps` migrations, with all they hold, and returns their names.
pub async fn down<C>(db: &C, tables: Tables, steps: u32) -> Result<Vec<String>, MigrationError>
where
    C: ConnectionTrait + TransactionTrait,
{
    let alone = begin_alone(db).await?;
    refuse_unusable(&alone, tables).await?;
    let mut undone = Vec::new();
    for set in tables.sets().iter().rev() {
        let left = steps.saturating_sub(u32::try_from(undone.len()).unwrap_or(u32::MAX));
        undone.extend(set.down(&alone, left).await?);
    }
    alone.commit().await?;
    Ok(undone)
}

/// Every migration and whether it is applied. Changes nothing, needs no right to create tables.
pub async fn status(db: &impl ConnectionTrait, tables: Tables) -> Result<Vec<MigrationState>, MigrationError> {
    refuse_unusable(db, tables).await?;
    let mut states = Vec::new();
    for set in tables.sets() {
        states.extend(set.status(db).await?);
    }
    Ok(states)
}

/// The script that creates the outbox alone, for the sources' own database.
#[must_use]
pub fn outbox(backend: DatabaseBackend) -> &'static str {
    sources::outbox(backend)
}

/// The columns of a table; none if there is no such table.
pub async fn columns_of(db: &impl ConnectionTrait, table: &str) -> Result<Vec<String>, DbErr> {
    let backend = db.get_database_backend();
    let sql = match backend {
        DatabaseBackend::Sqlite => "SELECT name FROM pragma_table_info(?)",
        // Looks the name up as the statements after it will: along the search path.
        _ => {
            "SELECT CAST(attname AS TEXT) AS name FROM pg_attribute \
              WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
        }
    };
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, [table.into()])).await?;
    rows.iter().map(|row| row.try_get("", "name")).collect()
}
