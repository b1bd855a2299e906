//! The connection pools of an instance, and what has to be in the databases before it can serve.
//!
//! Each use has a pool of its own, so that one that is slow or full never delays another.

use std::time::Duration;

use futures::future::join_all;
use userdata_migrations::{MigrationError, Tables};

use super::StartError;
use crate::{
    cache::invalidation_log::LogPools,
    changes,
    clock::Clock,
    config::{Config, DatabaseSetting, Pooler, PrivacySettings},
    database::{self, Access, ConnectError, Dialect, Pool},
    demo,
    error::with_causes,
    privacy::{MasterKeyError, MasterKeys, wrong_master_keys},
    telemetry::Meter,
};

/// One or two are in use at once. The others replace those that do not answer because the network is silent.
const LOG_READ_CONNECTIONS: u32 = 5;
/// As before: the committer uses one at a time, trimming another.
const LOG_COMMIT_CONNECTIONS: u32 = 3;
/// One moves changes, one counts them for the statistics. The others replace those that do not answer.
const OUTBOX_CONNECTIONS: u32 = 4;
/// For opening a connection to the sources, including TLS and authentication. Much shorter than the timeout of a
/// source, so that a database that does not answer is recognized.
const SOURCES_CONNECT: Duration = Duration::from_secs(2);

/// A look-up takes less than a millisecond; an instance makes one for each user it meets.
const KEYS_CONNECTIONS: u32 = 4;

/// For a write of a key: to make one, or to delete it.
const KEYS_WRITE_MAX: Duration = Duration::from_secs(5);

/// How long the start waits for the key database at least.
const KEYS_AT_START: Duration = Duration::from_secs(2);

const KEYS: &str = "the key database (privacy.keys_url)";
const LOG: &str = "the invalidation log (database.url)";

/// The pools. Connections are opened when they are needed, so none of the databases has to be up.
#[derive(Debug)]
pub(super) struct Databases {
    pub(super) cache: Pool,
    pub(super) log_reads: Pool,
    pub(super) log_commits: Pool,
    /// None: each user has a file.
    pub(super) sources: Option<Pool>,
    /// Their primary, if `sources` is of a replica. None: not known.
    pub(super) sources_primary: Option<Pool>,
    /// None: no change feed.
    pub(super) outbox: Option<Pool>,
    /// None: nothing is encrypted.
    pub(super) keys: Option<Pool>,
}

impl Databases {
    pub(super) async fn open(config: &Config) -> Result<Self, StartError> {
        let (database, sources) = (&config.database, &config.sources);
        let cache = options(Access::ReadWrite, database.max_connections, database.timeout);
        let log = |connections| options(Access::Log, connections, database.timeout);
        let sources_options = database::Options {
            acquire_timeout: SOURCES_CONNECT.min(sources.hard_timeout),
            ..options(Access::ReadOnly, sources.max_connections, sources.hard_timeout)
        };
        let outbox = database::Options {
            access: Access::Outbox,
            max_connections: OUTBOX_CONNECTIONS,
            ..sources_options.clone()
        };
        let with_files = sources.files().is_some();
        // Users' files have no outbox.
        let outbox_database = config.outbox_database().filter(|_| sources.change_feed && !with_files);
        let cache_database = config.cache_database();
        Ok(Self {
            cache: open("the cache's database (database.url)", cache_database, &cache).await?,
            log_reads: open(LOG, cache_database, &log(LOG_READ_CONNECTIONS)).await?,
            log_commits: open(LOG, cache_database, &log(LOG_COMMIT_CONNECTIONS)).await?,
            sources: match with_files {
                true => None,
                false => {
                    let what = "the sources' database (sources.database_url)";
                    Some(open(what, config.sources_database(), &sources_options).await?)
                }
            },
            sources_primary: match (&sources.database_url, config.relay_database()) {
                (Some(_), Some(primary)) if !Dialect::of_url(primary.url.expose()).is_sqlite() => {
                    Some(open("the sources' primary (sources.relay_database_url)", primary, &sources_options).await?)
                }
                _ => None,
            },
            keys: match config.key_database() {
                Some(database) => Some(open(KEYS, database, &keys_options(&config.privacy)).await?),
                None => None,
            },
            outbox: match outbox_database {
                Some(database) => Some(open("the outbox (sources.relay_database_url)", database, &outbox).await?),
                None => None,
            },
        })
    }

    /// Refuses a connection pooler under which the settings of connections do not take effect. Without them statements
    /// would have no time limit, those on the sources could write, and statements of other clients could be run.
    pub(super) async fn refuse_poolers(&self, config: &Config) -> Result<(), StartError> {
        let cache = Some(config.cache_database());
        let pools = [
            (Some(&self.cache), cache),
            (Some(&self.log_commits), cache),
            (self.sources.as_ref(), Some(config.sources_database())),
            (self.sources_primary.as_ref(), config.relay_database()),
            (self.outbox.as_ref(), config.outbox_database()),
            (self.keys.as_ref(), config.key_database()),
        ];
        let refused = pools.into_iter().filter_map(|(pool, database)| Some((pool?, database?)));
        let refused = refused.map(async |(pool, database)| (pool.refused_by_pooler().await, database));
        for (refusal, DatabaseSetting { setting, pooler_setting, .. }) in join_all(refused).await {
            if let Some(cause) = refusal {
                return Err(StartError::Pooler { setting, remedy: cause.remedy(pooler_setting), cause });
            }
        }
        Ok(())
    }

    pub(super) fn log(&self) -> LogPools {
        LogPools { reads: self.log_reads.clone(), commits: self.log_commits.clone() }
    }

    pub(super) fn observe(&self, meter: &Meter) {
        let of_sources = self.sources.iter().map(|pool| ("sources", pool));
        let of_sources = of_sources.chain(self.sources_primary.iter().map(|pool| ("sources_primary", pool)));
        let of_cache = [
            ("cache", &self.cache),
            ("invalidation_log", &self.log_reads),
            ("invalidation_log_commits", &self.log_commits),
        ];
        let pools = of_cache.into_iter().chain(of_sources);
        let pools = pools.chain(self.outbox.iter().map(|pool| ("outbox", pool)));
        let pools = pools.chain(self.keys.iter().map(|pool| ("keys", pool)));
        database::observe(&pools.map(|(name, pool)| (name, pool.clone())).collect::<Vec<_>>(), meter);
    }

    /// Refuses tables of an older version: waiting does not make them usable.
    pub(super) async fn refuse_older_tables(&self) -> Result<(), StartError> {
        match userdata_migrations::refuse_unusable(&self.log_reads, Tables::Cache).await {
            Err(error @ MigrationError::BeforeFirstRelease { .. }) => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn close(self) {
        let Self { cache, log_reads, log_commits, sources, sources_primary, outbox, keys } = self;
        let others = [sources, sources_primary, outbox, keys].into_iter().flatten();
        for pool in [cache, log_reads, log_commits].into_iter().chain(others) {
            pool.close().await;
        }
    }
}

/// Refuses a key database that is the cache's or the sources' under another name, and master keys that its keys are not
/// wrapped by. Neither is noticed while it cannot be reached.
pub(super) async fn refuse_keys(
    privacy: &PrivacySettings,
    keys: &Pool,
    masters: &MasterKeys,
) -> Result<(), StartError> {
    let waits_at_most = privacy.timeout.max(KEYS_AT_START);
    let looking = async {
        userdata_migrations::refuse_unusable(keys, Tables::Keys).await?;
        Ok::<_, MigrationError>(wrong_master_keys(keys, masters).await?)
    };
    // Boxed: the future would be a part of that of the whole start.
    let looked = tokio::time::timeout(waits_at_most, Box::pin(database::unless_refused(keys, looking))).await;
    let error = match looked {
        Ok(Ok(names)) => match names.into_iter().next() {
            Some(name) => return Err(MasterKeyError::Wrong { name }.into()),
            None => return Ok(()),
        },
        Ok(Err(error @ MigrationError::KeysBesideDocuments { .. })) => return Err(error.into()),
        Ok(Err(error)) => with_causes(&error),
        Err(_) => "it does not answer".to_owned(),
    };
    tracing::warn!(error, "key database not examined at the start; wrong master keys are noticed when a key is read");
    Ok(())
}

/// Connections to the cache's database that an instance opens at most.
pub(crate) fn connections_to_cache_database(config: &Config) -> u32 {
    let sources = &config.sources;
    let shared = sources.database_url.is_none();
    let outbox = if shared && sources.change_feed { OUTBOX_CONNECTIONS } else { 0 };
    let of_sources = if shared { sources.max_connections } else { 0 };
    config.database.max_connections + LOG_READ_CONNECTIONS + LOG_COMMIT_CONNECTIONS + of_sources + outbox
}

/// As the service uses the key database.
pub(crate) fn keys_options(privacy: &PrivacySettings) -> database::Options {
    let options = options(Access::ReadWrite, KEYS_CONNECTIONS, privacy.timeout.max(KEYS_WRITE_MAX));
    database::Options { pooler: privacy.pooler, ..options }
}

fn options(access: Access, max_connections: u32, timeout: Duration) -> database::Options {
    database::Options {
        access,
        application_name: "userdata".to_owned(),
        max_connections,
        acquire_timeout: timeout,
        statement_timeout: 2 * timeout,
        pooler: Pooler::None,
    }
}

async fn open(
    what: &'static str,
    database: DatabaseSetting<'_>,
    options: &database::Options,
) -> Result<Pool, StartError> {
    let options = database::Options { pooler: database.pooler, ..options.clone() };
    Pool::open(database.url.expose(), &options).await.map_err(|cause| StartError::Database { what, cause })
}

/// A single connection that can write, for migrating, seeding and installing triggers. It is opened at once, because
/// nothing works without. A SQLite file with the planning application's tables is refused as the cache's before its
/// journal mode is changed.
pub async fn connect_single(
    what: &'static str,
    database: DatabaseSetting<'_>,
    access: Access,
    timeout: Duration,
) -> Result<Pool, StartError> {
    connect_checked(what, database, access, timeout, Tables::CacheAndSources).await
}

/// The same for the key database.
pub(crate) async fn connect_keys(
    database: DatabaseSetting<'_>,
    access: Access,
    timeout: Duration,
) -> Result<Pool, StartError> {
    if access == Access::ReadWrite {
        let created = database::create_for_owner_alone(database.url.expose());
        created.map_err(|cause| StartError::Database { what: KEYS, cause })?;
    }
    connect_checked(KEYS, database, access, timeout, Tables::Keys).await
}

async fn connect_checked(
    what: &'static str,
    database: DatabaseSetting<'_>,
    access: Access,
    timeout: Duration,
    tables: Tables,
) -> Result<Pool, StartError> {
    let DatabaseSetting { url, setting, pooler, pooler_setting } = database;
    let connect = async |access| {
        let options = database::Options { pooler, ..options(access, 1, timeout) };
        Pool::connect(url.expose(), &options).await.map_err(|error| match error {
            ConnectError::Pooler(cause) => StartError::Pooler { setting, remedy: cause.remedy(pooler_setting), cause },
            ConnectError::Database(cause) => StartError::Database { what, cause },
        })
    };
    if access == Access::ReadWrite && database::file_of(url.expose()).is_some_and(|file| file.exists()) {
        let as_it_is = connect(Access::ReadOnly).await?;
        userdata_migrations::refuse_unusable(&as_it_is, tables).await?;
        as_it_is.close().await;
    }
    connect(access).await
}

/// Creates the table of keys in a file, which belongs to this process. Refuses the file of the cache under another name.
async fn prepare_keys(config: &Config) -> Result<(), StartError> {
    let in_file = |of: &DatabaseSetting<'_>| Dialect::of_url(of.url.expose()).is_sqlite();
    let Some(database) = config.key_database().filter(in_file) else { return Ok(()) };
    let database = connect_keys(database, Access::ReadWrite, config.sources.hard_timeout).await?;
    for name in userdata_migrations::up(&database, Tables::Keys).await? {
        tracing::info!(name, "key database migrated");
    }
    database.close().await;
    Ok(())
}

/// Migrates the embedded database, which belongs to this process. The demo also migrates and seeds a database server,
/// if the sources are in the cache's database.
pub(super) async fn prepare(config: &Config) -> Result<(), StartError> {
    prepare_cache(config).await?;
    // Order: last. By the tables of the cache its database is recognized under each name.
    prepare_keys(config).await
}

async fn prepare_cache(config: &Config) -> Result<(), StartError> {
    let cache = config.cache_database();
    let shared = config.sources.database_url.is_none();
    let seeding = config.demo.enabled && shared;
    if !(Dialect::of_url(cache.url.expose()).is_sqlite() || seeding) {
        return Ok(());
    }
    // Not the cache's pool: its timeouts are those of look-ups.
    let timeout = config.sources.hard_timeout;
    let database = connect_single("the cache's database (database.url)", cache, Access::ReadWrite, timeout).await?;
    let tables = if shared { Tables::CacheAndSources } else { Tables::Cache };
    for name in userdata_migrations::up(&database, tables).await? {
        tracing::info!(name, "database migrated");
    }
    if seeding && demo::sources_are_empty(&database).await.map_err(StartError::Demo)? {
        let options = demo::SeedOptions::on(config.demo.as_of.unwrap_or_else(|| Clock::system().utc().date_naive()));
        let seeded = demo::seed(&database, &options, |_, _| {}).await.map_err(StartError::Demo)?;
        tracing::info!(users = seeded.users, rows = seeded.rows, "demo data written");
    }
    // Last: nothing is cached yet that the demo data could change.
    if shared && config.sources.change_feed {
        changes::install_if_outdated(&database).await?;
    }
    database.close().await;
    Ok(())
}
