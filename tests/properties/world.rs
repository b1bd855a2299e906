//! What the instances of a case share: one SQLite file with the sources' tables and the cache's, and one database of a
//! real Redis. Opened once, emptied before each case.
//!
//! Decision: pools are shared by all instances, and their commits are not synced. What comes between an instance and
//! its database is `userdata::fault`; losing power is not what is tested here, and a sync costs more than a step.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseBackend, DatabaseConnection, Statement,
    sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous},
};
use tempfile::TempDir;
use testkit::redis::{Redis, redis};
use userdata::database::Pool;
use userdata_migrations::{Tables, up};

use crate::{
    instance::LEASE,
    script::{Key, Lie},
    stored::{Stock, Stored},
};

/// Databases of a redis-server.
const REDIS_DATABASES: usize = 16;

/// Everything shared.
pub(crate) struct World {
    /// The test's own connection.
    db: DatabaseConnection,
    pub(crate) cache_pool: Pool,
    pub(crate) log_pool: Pool,
    pub(crate) sources_pool: Pool,
    pub(crate) redis_url: String,
    redis: BufReader<TcpStream>,
    _directory: TempDir,
}

const ROWS: &str = "
INSERT INTO onboarding_sessions (id, user_id) VALUES (1, '1'), (2, '2');
INSERT INTO research_preferences (session_id, research_depth, content_types) VALUES (1, '0', '[]'), (2, '0', '[]');
INSERT INTO enhanced_content_strategies (id, user_id, name, industry) VALUES
  (11, '1', '0', 'technology'), (12, '1', '0', 'technology'), (21, '2', '0', 'technology');
INSERT INTO strategy_activation_status (strategy_id, user_id, activation_date, status)
  VALUES (11, 1, '2025-01-01 00:00:00', 'active');
CREATE TABLE saved AS SELECT * FROM comprehensive_user_data_cache;";

impl World {
    pub(crate) async fn open() -> Self {
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        let number = OPENED.fetch_add(1, Ordering::SeqCst);
        let directory = tempfile::Builder::new().prefix("userdata-properties-").tempdir().unwrap();
        let url = format!("sqlite://{}/world.db?mode=rwc", directory.path().display());
        let db = pool(&url, 1).await;
        up(&db, Tables::CacheAndSources).await.unwrap();
        db.execute_unprepared(ROWS).await.unwrap();
        let port = redis_port();
        let redis = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        redis.set_nodelay(true).unwrap();
        let number = number % REDIS_DATABASES;
        let mut world = Self {
            db,
            cache_pool: pool(&url, 6).await.into(),
            log_pool: pool(&url, 6).await.into(),
            // One per source: an assembly does not wait for itself.
            sources_pool: pool(&url, 6).await.into(),
            redis_url: format!("redis://127.0.0.1:{port}/{number}"),
            redis: BufReader::new(redis),
            _directory: directory,
        };
        world.redis(&["SELECT", &number.to_string()]);
        world
    }

    /// As after a first start: no invalidations, nothing cached, all counts 0.
    pub(crate) async fn empty(&mut self) {
        let lease_ms = LEASE.as_millis();
        let epoch = uuid::Uuid::new_v4();
        self.run(&format!(
            "BEGIN; DELETE FROM invalidation_log; DELETE FROM comprehensive_user_data_cache; DELETE FROM load_lease; \
             DELETE FROM saved; \
             DELETE FROM ai_response_cache; \
             UPDATE invalidation_log_head SET epoch = '{epoch}', position = 0, low_watermark = 0, lease_ms = {lease_ms}; \
             UPDATE research_preferences SET research_depth = '0'; \
             UPDATE enhanced_content_strategies SET name = '0', industry = 'technology'; \
             COMMIT"
        ))
        .await;
        self.redis(&["FLUSHDB"]);
    }

    /// A user's sources say this from now on.
    pub(crate) async fn write(&mut self, key: Key, count: i64) {
        let user = key.user();
        self.run(&format!(
            "BEGIN; UPDATE research_preferences SET research_depth = '{count}' WHERE session_id = {user}; \
             UPDATE enhanced_content_strategies SET name = '{count}' WHERE user_id = '{user}'; COMMIT"
        ))
        .await;
    }

    /// An AI would be told something else of a user from now on.
    pub(crate) async fn trade(&mut self, key: Key, count: i64) {
        let user = key.user();
        self.run(&format!(
            "UPDATE enhanced_content_strategies SET industry = 'trade {count}' WHERE user_id = '{user}'"
        ))
        .await;
    }

    /// The database goes back to an empty log and goes on from there.
    pub(crate) async fn lose_commits(&mut self) {
        self.run("BEGIN; DELETE FROM invalidation_log; UPDATE invalidation_log_head SET position = 0, low_watermark = 0; COMMIT").await;
    }

    /// Redis is not what it was.
    pub(crate) fn redis_lies(&mut self, lie: Lie) {
        const OURS: &str = "local keys = {} for _, key in ipairs(redis.call('KEYS', 'comprehensive*')) do \
             if redis.call('TYPE', key).ok == 'string' then keys[#keys + 1] = key end end table.sort(keys) ";
        let script = match lie {
            Lie::Save => "for _, key in ipairs(keys) do redis.call('COPY', key, 'saved:' .. key, 'REPLACE') end",
            Lie::PutBack => {
                "for _, key in ipairs(redis.call('KEYS', 'saved:*')) do \
                 redis.call('COPY', key, string.sub(key, 7), 'REPLACE') end"
            }
            Lie::Garble => {
                "for _, key in ipairs(keys) do local value = redis.call('GET', key) \
                 redis.call('SET', key, string.sub(value, 1, math.floor(#value / 2))) end"
            }
            Lie::Forget => "for _, key in ipairs(keys) do redis.call('DEL', key) end",
            Lie::Swap => {
                "local values = {} for n, key in ipairs(keys) do values[n] = redis.call('GET', key) end \
                 for n, key in ipairs(keys) do redis.call('SET', key, values[n % #keys + 1]) end"
            }
        };
        self.redis(&["EVAL", &format!("{OURS}{script}"), "0"]);
    }

    /// The cache table is not what it was. Its rows say themselves whose they are, so none is mistaken for another.
    pub(crate) async fn table_lies(&mut self, lie: Lie) {
        const TABLE: &str = "comprehensive_user_data_cache";
        let sql = match lie {
            Lie::Save => format!("DELETE FROM saved; INSERT INTO saved SELECT * FROM {TABLE}"),
            Lie::PutBack => format!(
                "DELETE FROM {TABLE} WHERE data_hash IN (SELECT data_hash FROM saved); \
                 INSERT OR REPLACE INTO {TABLE} SELECT * FROM saved"
            ),
            Lie::Garble => format!(
                "UPDATE {TABLE} SET comprehensive_data = substr(comprehensive_data, 1, length(comprehensive_data) / 2)"
            ),
            Lie::Forget | Lie::Swap => format!("DELETE FROM {TABLE}"),
        };
        self.run(&format!("BEGIN; {sql}; COMMIT")).await;
    }

    /// What lies in the shared tiers. Of a record its fixed places are read (src/cache/tiers/redis/record.rs).
    pub(crate) async fn stock(&mut self) -> Stock {
        const ROWS: &str = "SELECT position, data_hash, cache.log_epoch, as_of, complete, read_position FROM invalidation_log_head \
             LEFT JOIN comprehensive_user_data_cache AS cache ON TRUE WHERE invalidation_log_head.id = 1";
        const RECORDS: &str = "local found = '' for _, key in ipairs(redis.call('KEYS', 'comprehensive*')) do \
             if redis.call('TYPE', key).ok == 'string' then local head = redis.call('GETRANGE', key, 0, 33) \
             if #head == 34 and string.sub(head, 1, 4) == 'UDSN' then local hex = '' \
             for place = 11, 34 do hex = hex .. string.format('%02x', string.byte(head, place)) end \
             found = found .. key .. ' ' .. string.byte(head, 10) % 2 .. ' ' .. hex .. '\\n' end end end return found";
        let mut stock = Stock::default();
        let rows = self.db.query_all_raw(Statement::from_string(DatabaseBackend::Sqlite, ROWS)).await.unwrap();
        for row in rows {
            stock.head = row.try_get("", "position").unwrap();
            let Some(key) = row.try_get::<Option<String>>("", "data_hash").unwrap() else { continue };
            stock.documents.push(Stored {
                tier: "table",
                key,
                log: row.try_get("", "log_epoch").unwrap(),
                complete: row.try_get::<i32>("", "complete").unwrap() != 0,
                as_of: row.try_get("", "as_of").unwrap(),
                read_position: row.try_get("", "read_position").unwrap(),
            });
        }
        for line in self.redis(&["EVAL", RECORDS, "0"]).lines() {
            let [key, complete, hex] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let (as_of, rest) = hex.split_at(16);
            let (position, log) = rest.split_at(16);
            let (key, log, as_of) = (key.to_owned(), log.to_owned(), as_of.to_owned());
            stock.documents.push(Stored {
                tier: "redis",
                key,
                log,
                complete: complete == "1",
                as_of,
                read_position: i64::from_str_radix(position, 16).unwrap(),
            });
        }
        stock
    }

    async fn run(&self, sql: &str) {
        self.db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The reply: a text, or its first line.
    fn redis(&mut self, words: &[&str]) -> String {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.redis.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        self.redis.read_line(&mut line).unwrap();
        assert!(!line.starts_with('-'), "{words:?}: {line}");
        // `$-1` is no text.
        let Some(length) = line.strip_prefix('$').and_then(|length| length.trim().parse::<usize>().ok()) else {
            return line;
        };
        // Behind the text stand two more bytes.
        let mut text = vec![0; length + 2];
        self.redis.read_exact(&mut text).unwrap();
        text.truncate(text.len() - 2);
        String::from_utf8(text).unwrap()
    }
}

async fn pool(url: &str, connections: u32) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(60))
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Off)
                .busy_timeout(Duration::from_secs(10))
                .foreign_keys(false)
        });
    Database::connect(options).await.unwrap()
}

/// The port of this process' Redis; each world has a database of its own in it.
pub(crate) fn redis_port() -> u16 {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    let start = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(redis());
    REDIS.get_or_init(start).port
}
