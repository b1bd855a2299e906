//! A list of migrations with its own record of what is applied.
//!
//! Each set has a table of its own instead of sea-orm's `seaql_migrations`, because that one may be
//! the planning application's. A database that is ahead of this program is not an error: when a
//! release is rolled back, the older binary has to start on the newer tables.

use sea_orm_migration::{
    Migration, MigrationStatus, MigrationTrait, MigratorTraitSelf,
    sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, DynIden, Statement, sea_query::IntoIden},
};

use crate::{
    MigrationState, columns_of,
    script::{Newer, Script},
};

/// An ordered list of migrations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    /// Where the applied ones are recorded.
    pub(crate) record: &'static str,
    pub(crate) scripts: &'static [Script],
}

impl Set {
    /// Applies what is missing; returns its names.
    pub(crate) async fn up(self, transaction: &DatabaseTransaction) -> Result<Vec<String>, DbErr> {
        let migrator = self.migrator(transaction).await?;
        let pending = names(&migrator.get_pending_migrations(transaction).await?);
        migrator.up(transaction, None).await?;
        Ok(pending)
    }

    /// Undoes the newest `steps`; returns their names, newest first.
    pub(crate) async fn down(self, transaction: &DatabaseTransaction, steps: u32) -> Result<Vec<String>, DbErr> {
        let migrator = self.migrator(transaction).await?;
        let mut undone = names(&migrator.get_applied_migrations(transaction).await?);
        undone.reverse();
        undone.truncate(usize::try_from(steps).unwrap_or(usize::MAX));
        migrator.down(transaction, Some(steps)).await?;
        Ok(undone)
    }

    /// What is applied and what is not.
    pub(crate) async fn status(self, db: &impl ConnectionTrait) -> Result<Vec<MigrationState>, DbErr> {
        let migrations = self.migrator(db).await?.get_migration_with_status_read_only(db).await?;
        let state = |migration: &Migration| MigrationState {
            name: migration.name().to_owned(),
            applied: migration.status() == MigrationStatus::Applied,
        };
        Ok(migrations.iter().map(state).collect())
    }

    /// Whether its record lacks the first migration: every release has applied that one.
    pub(crate) async fn is_from_before_first_release(self, db: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let applied = self.applied(db).await?;
        Ok(!applied.is_empty() && !applied.iter().any(|name| name == self.scripts[0].name))
    }

    async fn migrator(self, db: &impl ConnectionTrait) -> Result<Migrator, DbErr> {
        let known = |name: &String| self.scripts.iter().any(|script| script.name == name);
        let mut newer = self.applied(db).await?;
        newer.retain(|name| !known(name));
        Ok(Migrator { set: self, newer })
    }

    /// The names on record; none if there is no record yet.
    async fn applied(self, db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
        if columns_of(db, self.record).await?.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT version FROM {} ORDER BY version", self.record);
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
        rows.iter().map(|row| row.try_get("", "version")).collect()
    }
}

/// A set, and what the database has beyond it.
struct Migrator {
    set: Set,
    newer: Vec<String>,
}

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let ours = self.set.scripts.iter().map(|script| Box::new(*script) as Box<dyn MigrationTrait>);
        let newer = self.newer.iter().map(|name| Box::new(Newer { name: name.clone() }) as Box<dyn MigrationTrait>);
        ours.chain(newer).collect()
    }

    fn migration_table_name(&self) -> DynIden {
        self.set.record.into_iden()
    }
}

fn names(migrations: &[Migration]) -> Vec<String> {
    migrations.iter().map(|migration| migration.name().to_owned()).collect()
}
