//! A migration that is two SQL scripts: one for each database.

use sea_orm::DatabaseBackend;

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
    pub(crate) fn of(&self, backend: DatabaseBackend) -> &'static str {
        match backend {
            DatabaseBackend::Sqlite => self.sqlite,
            _ => self.postgres,
        }
    }
}
