//! Databases that are left as they are: another application's, and those of a version before the first release.

use sea_orm::{ConnectionTrait, DbErr};

use crate::{Tables, columns_of, sources};

/// Why a database was not migrated. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error(
        "the table {OUR_TABLE} in this database is not ours (it has no column strategy_key) and is left as it is: \
         use another database or schema, or rename that table"
    )]
    ForeignTable,
    #[error(
        "the tables in this database are from a development version before 0.1.0 (found {found}) and cannot be migrated: \
         use an empty database or schema, or delete the SQLite file, then run `userdata migrate up`"
    )]
    BeforeFirstRelease {
        /// The old table, or the record that names migrations of old.
        found: &'static str,
    },
    #[error(
        "the planning application's tables are in this database (found {found}): name it in sources.database_url, and \
         give the cache a file of its own in database.url"
    )]
    ApplicationsTables { found: &'static str },
    #[error(
        "{found} is in this database: keys need a database of their own (privacy.keys_url), or each backup would hold \
         them together with what they encrypt"
    )]
    KeysBesideDocuments {
        /// A table of the cache's or the application's.
        found: &'static str,
    },
    #[error("the database could not be migrated")]
    Database(#[from] DbErr),
}

/// The table whose name the planning application may use as well.
const OUR_TABLE: &str = "comprehensive_user_data_cache";

/// One table of each other set: keys never stand beside them.
const BESIDE_KEYS: [&str; 2] = ["invalidation_log_head", "onboarding_sessions"];

/// Tables that have other names since the first release.
const RENAMED: [&str; 3] = ["fence_head", "fence_log", "ai_analysis_memo"];

/// Refuses a database that these tables cannot be created or used in. Changes nothing.
pub async fn refuse_unusable(db: &impl ConnectionTrait, tables: Tables) -> Result<(), MigrationError> {
    if tables == Tables::Keys {
        for found in BESIDE_KEYS {
            if !columns_of(db, found).await?.is_empty() {
                return Err(MigrationError::KeysBesideDocuments { found });
            }
        }
        return Ok(());
    }
    let columns = columns_of(db, OUR_TABLE).await?;
    if !columns.is_empty() && !columns.iter().any(|column| column == "strategy_key") {
        return Err(MigrationError::ForeignTable);
    }
    for found in RENAMED {
        if !columns_of(db, found).await?.is_empty() {
            return Err(MigrationError::BeforeFirstRelease { found });
        }
    }
    if tables == Tables::CacheAndSources {
        for found in sources::SET.scripts[0].tables {
            // Order: the record is read last. Another process that migrates commits it together with the tables.
            if !columns_of(db, found).await?.is_empty() && sources::SET.applied(db).await?.is_empty() {
                return Err(MigrationError::ApplicationsTables { found });
            }
        }
    }
    for set in tables.sets() {
        if set.is_from_before_first_release(db).await? {
            return Err(MigrationError::BeforeFirstRelease { found: set.record });
        }
    }
    Ok(())
}
