//! The databases that a configuration names.

use super::{Config, Pooler, Secret};

/// A database, and the settings that name it.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseSetting<'a> {
    pub url: &'a Secret,
    /// Of the URL.
    pub setting: &'static str,
    pub pooler: Pooler,
    pub pooler_setting: &'static str,
}

impl Config {
    /// Of the cache, the invalidation log and the leases.
    #[must_use]
    pub fn cache_database(&self) -> DatabaseSetting<'_> {
        DatabaseSetting {
            url: &self.database.url,
            setting: "database.url",
            pooler: self.database.pooler,
            pooler_setting: "database.pooler",
        }
    }

    /// Of the users' keys, if there is one.
    #[must_use]
    pub fn key_database(&self) -> Option<DatabaseSetting<'_>> {
        Some(DatabaseSetting {
            url: self.privacy.keys_url.as_ref()?,
            setting: "privacy.keys_url",
            pooler: self.privacy.pooler,
            pooler_setting: "privacy.pooler",
        })
    }

    /// Of the sources.
    #[must_use]
    pub fn sources_database(&self) -> DatabaseSetting<'_> {
        let own = self.sources.database_url.as_ref();
        own.map_or_else(|| self.cache_database(), |url| self.of_sources(url, "sources.database_url"))
    }

    /// Of the sources, by the login that writes.
    #[must_use]
    pub fn relay_database(&self) -> Option<DatabaseSetting<'_>> {
        let url = self.sources.relay_database_url.as_ref()?;
        Some(self.of_sources(url, "sources.relay_database_url"))
    }

    /// Of the outbox beside the sources. None: no login is known that may write it.
    #[must_use]
    pub fn outbox_database(&self) -> Option<DatabaseSetting<'_>> {
        match self.sources.database_url {
            Some(_) => self.relay_database(),
            None => Some(self.cache_database()),
        }
    }

    fn of_sources<'a>(&self, url: &'a Secret, setting: &'static str) -> DatabaseSetting<'a> {
        DatabaseSetting { url, setting, pooler: self.sources.pooler, pooler_setting: "sources.pooler" }
    }
}
