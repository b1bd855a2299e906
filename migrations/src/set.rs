//! A list of migrations with its own record of what is applied.
//!
//! Each set has a table of its own instead of sea-orm's `seaql_migrations`, because that one may be
//! the planning application's. A database that is ahead of this program is not an error: when a
//! release is rolled back, the older binary has to start on the newer tables.
//!
//! Rejected: sea-orm-migration. It builds SeaORM with all its default features and a schema reader, and would need as
//! much code to record in another table and to accept newer migrations.

use std::time::{SystemTime, UNIX_EPOCH};

use sea_orm::{ConnectionTrait, DbErr, Statement};

use crate::{MigrationState, columns_of, script::Script};

/// An ordered list of migrations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    /// Where the applied ones are recorded.
    pub(crate) record: &'static str,
    pub(crate) scripts: &'static [Script],
}

impl Set {
    /// Applies what is missing; returns its names.
    pub(crate) async fn up(self, transaction: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
        let (record, now) = (self.record, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
        transaction
            .execute_unprepared(&format!(
                "CREATE TABLE IF NOT EXISTS {record} (version VARCHAR NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)"
            ))
            .await?;
        let applied = self.applied(transaction).await?;
        let mut added = Vec::new();
        for script in self.scripts.iter().filter(|script| !applied.iter().any(|name| name == script.name)) {
            let name = script.name;
            transaction.execute_unprepared(script.of(transaction.get_database_backend())).await?;
            transaction
                .execute_unprepared(&format!("INSERT INTO {record} (version, applied_at) VALUES ('{name}', {now})"))
                .await?;
            added.push(name.to_owned());
        }
        Ok(added)
    }

    /// Undoes the newest `steps`; returns their names, newest first.
    pub(crate) async fn down(self, transaction: &impl ConnectionTrait, steps: u32) -> Result<Vec<String>, DbErr> {
        let mut undone = self.applied(transaction).await?;
        undone.reverse();
        undone.truncate(usize::try_from(steps).unwrap_or(usize::MAX));
        for name in &undone {
            let script = self.scripts.iter().find(|script| script.name == name).ok_or_else(|| {
                DbErr::Migration(format!("migration {name} is of a newer version, and only that one can undo it"))
            })?;
            for table in script.tables {
                transaction.execute_unprepared(&format!("DROP TABLE IF EXISTS {table}")).await?;
            }
            transaction.execute_unprepared(&format!("DELETE FROM {} WHERE version = '{name}'", self.record)).await?;
        }
        Ok(undone)
    }

    /// Applied and missing migrations, then those that a newer program has applied.
    pub(crate) async fn status(self, db: &impl ConnectionTrait) -> Result<Vec<MigrationState>, DbErr> {
        let mut applied = self.applied(db).await?;
        let mut states = Vec::new();
        for script in self.scripts {
            let before = applied.len();
            applied.retain(|name| name != script.name);
            states.push(MigrationState { name: script.name.to_owned(), applied: applied.len() < before });
        }
        states.extend(applied.into_iter().map(|name| MigrationState { name, applied: true }));
        Ok(states)
    }

    /// Whether its record lacks the first migration: every release has applied that one.
    pub(crate) async fn is_from_before_first_release(self, db: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let applied = self.applied(db).await?;
        Ok(!applied.is_empty() && !applied.iter().any(|name| name == self.scripts[0].name))
    }

    /// The names on record, in the order of application; none if there is no record yet.
    pub(crate) async fn applied(self, db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
        if columns_of(db, self.record).await?.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT version FROM {} ORDER BY version", self.record);
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
        rows.iter().map(|row| row.try_get("", "version")).collect()
    }
}
