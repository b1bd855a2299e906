//! A migration that is two SQL scripts: one for each database.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::{ConnectionTrait, DatabaseBackend, DbErr},
};

/// Creates tables by a script; undoing it drops them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) postgres: &'static str,
    pub(crate) sqlite: &'static str,
    /// What the scripts create, in an order in which it can be dropped.
    pub(crate) tables: &'static [&'static str],
}

impl Script {
    pub(crate) fn script(&self, backend: DatabaseBackend) -> &'static str {
        match backend {
            DatabaseBackend::Sqlite => self.sqlite,
            _ => self.postgres,
        }
    }
}

impl MigrationName for Script {
    fn name(&self) -> &str {
        self.name
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait's signatures, which async_trait compares, elide it")]
#[async_trait::async_trait]
impl MigrationTrait for Script {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.script(manager.get_database_backend())).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in self.tables {
            manager.get_connection().execute_unprepared(&format!("DROP TABLE {table}")).await?;
        }
        Ok(())
    }
}

/// Applied here by a newer program than this one. It stays, and only that program can undo it.
#[derive(Clone, Debug)]
pub(crate) struct Newer {
    pub(crate) name: String,
}

impl MigrationName for Newer {
    fn name(&self) -> &str {
        &self.name
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait's signatures, which async_trait compares, elide it")]
#[async_trait::async_trait]
impl MigrationTrait for Newer {
    async fn up(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Err(self.unknown())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Err(self.unknown())
    }
}

impl Newer {
    fn unknown(&self) -> DbErr {
        DbErr::Migration(format!("migration {} is of a newer version, and only that one can undo it", self.name))
    }
}
