//! Stored values are encrypted by a key for each user, and an erased user's values are unreadable wherever they are left.

mod commands;
mod erased;
mod reach;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tempfile::TempDir;
use userdata::{privacy::new_master_key, proto::v1::CacheStatus};
use userdata_migrations::{Tables, up};

use testkit::{
    ai::{FakeAi, Say, valid_answer},
    ask::{everything_of, get, invalidate, of, stats},
    cluster::{Cluster, Layout, cluster},
    database::{Kind, TestDatabase, database},
    server::{Settings, serve},
    sources::count,
    wait_for,
};

/// A key database with its table, and a file of master keys.
struct KeyDatabase {
    database: TestDatabase,
    connection: DatabaseConnection,
    folder: TempDir,
}

async fn key_database(kind: Kind) -> KeyDatabase {
    let database = database(kind).await;
    let connection = database.connect().await;
    up(&connection, Tables::Keys).await.unwrap();
    let keys = KeyDatabase { database, connection, folder: tempfile::tempdir().unwrap() };
    keys.write_masters(&[&new_master_key("first").unwrap()]);
    keys
}

impl KeyDatabase {
    fn master_key_file(&self) -> String {
        self.folder.path().join("master").display().to_string()
    }

    fn write_masters(&self, lines: &[&str]) {
        std::fs::write(self.master_key_file(), lines.join("\n")).unwrap();
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(self.master_key_file(), owner_only).unwrap();
    }

    fn masters(&self) -> String {
        std::fs::read_to_string(self.master_key_file()).unwrap()
    }

    /// Encrypts what an instance stores. A busy machine is not what is tested.
    fn encrypting(&self, settings: Settings) -> Settings {
        self.named_in(settings).with("privacy.encrypt", true).with("privacy.timeout", "5s")
    }

    fn named_in(&self, settings: Settings) -> Settings {
        settings.with("privacy.keys_url", &self.database.url).with("privacy.master_key_file", self.master_key_file())
    }

    async fn ids(&self) -> Vec<String> {
        let rows = self.database.rows("SELECT key_id FROM user_key ORDER BY user_digest").await;
        rows.iter().map(|row| row.try_get("", "key_id").unwrap()).collect()
    }
}

/// In every document of the user with strategy 11.
const MARK: &str = "a-mark-of-this-user";

/// Users 1 to 3 with strategies 11 to 13.
async fn with_users(layout: Layout) -> Cluster {
    let cluster = cluster(layout).await;
    for user in 1..=3 {
        cluster.sources.add_user(&user.to_string(), &[10 + user]).await;
    }
    let mark = format!("UPDATE enhanced_content_strategies SET industry = '{MARK}' WHERE id = 11");
    cluster.sources.db.execute_unprepared(&mark).await.unwrap();
    cluster
}

/// How many values of the tiers hold the mark, and how many of the AI.
async fn in_clear(cluster: &Cluster) -> (String, i64, i64) {
    let search = format!(
        "EVAL \"local n = 0; for _, k in ipairs(redis.call('KEYS', '*')) do \
         if redis.call('TYPE', k).ok == 'string' and string.find(redis.call('GET', k), ARGV[1], 1, true) then n = n + 1 end \
         end; return n\" 0 {MARK}"
    );
    let rows = format!(
        "SELECT COUNT(*) FROM comprehensive_user_data_cache \
         WHERE CAST(comprehensive_data AS TEXT) LIKE '%{MARK}%' OR CAST(sections AS TEXT) LIKE '%\"rows\"%'"
    );
    let responses = "SELECT COUNT(*) FROM ai_response_cache WHERE CAST(response AS TEXT) NOT LIKE '{\"sealed\":%'";
    (
        cluster.redis.as_ref().unwrap().command(&search).await,
        count(&cluster.cache, &rows).await,
        count(&cluster.cache, responses).await,
    )
}

#[tokio::test]
async fn nothing_of_a_document_nor_of_an_ai_response_is_stored_in_clear() {
    for (layout, kind) in [(Layout::Sqlite, Kind::Sqlite), (Layout::PostgresBesidePostgres, Kind::Postgres)] {
        for encrypt in [false, true] {
            let (cluster, keys) = (with_users(layout).await.with_redis().await, key_database(kind).await);
            let endpoint = FakeAi::saying([Say::answer(&valid_answer()), Say::answer(&valid_answer())]).await;
            let settings = cluster.settings().with("ai.base_url", endpoint.base_url()).with("ai.model", "fake-1");
            // Otherwise nothing would be found in a compressed record.
            let settings = settings.with("redis.compress_above", "64MiB");
            let settings = if encrypt { keys.encrypting(settings) } else { settings };
            let server = serve(settings.clone()).await;
            get(&server.client().await, of("1")).await.unwrap();
            cluster.has_stored(1).await;
            let responses = async || count(&cluster.cache, "SELECT COUNT(*) FROM ai_response_cache").await;
            wait_for("the AI response", async || (responses().await == 1).then_some(())).await;
            let found = in_clear(&cluster).await;
            match encrypt {
                false => assert_eq!(found, (":1".to_owned(), 1, 1), "{layout:?}: where it would be"),
                true => assert_eq!(found, (":0".to_owned(), 0, 0), "{layout:?}"),
            }

            // Another instance reads what is there: from Redis, from the table, and the AI response.
            let other = serve(settings.clone()).await;
            let answer = get(&other.client().await, of("1")).await.unwrap();
            assert_eq!(answer.status, CacheStatus::HitRedis, "{layout:?} {encrypt}");
            assert_eq!(cluster.redis.as_ref().unwrap().command("FLUSHALL").await, "+OK");
            let other = serve(settings).await;
            let client = other.client().await;
            assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::HitDatabase, "{layout:?} {encrypt}");
            invalidate(&client, everything_of("1")).await.unwrap();
            assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::Assembled, "{layout:?} {encrypt}");
            assert_eq!(endpoint.calls(), 1, "{layout:?} {encrypt}: the response was read");
        }
    }
}

#[tokio::test]
async fn a_value_that_was_moved_to_another_user_is_not_served() {
    let (cluster, keys) = (with_users(Layout::Postgres).await, key_database(Kind::Sqlite).await);
    let settings = keys.encrypting(cluster.settings());
    let server = serve(settings.clone()).await;
    let client = server.client().await;
    for user in ["2", "3"] {
        get(&client, of(user)).await.unwrap();
    }
    wait_for("rows", async || (cluster.rows().await == 2).then_some(())).await;
    let moved = "UPDATE comprehensive_user_data_cache SET comprehensive_data = \
                 (SELECT comprehensive_data FROM comprehensive_user_data_cache WHERE user_id = '3') WHERE user_id = '2'";
    cluster.cache.execute_unprepared(moved).await.unwrap();
    let other = serve(settings).await;
    let client = other.client().await;
    let answer = get(&client, of("2")).await.unwrap();
    assert_eq!((answer.status, answer.user.as_str(), answer.strategy), (CacheStatus::Assembled, "2", 12));
    let table = &stats(&client).await.tiers[2];
    assert!(table.garbage > 0 && table.errors == 0, "{table:?}");
    assert_eq!(get(&client, of("3")).await.unwrap().status, CacheStatus::HitDatabase, "it costs itself only");
}

#[tokio::test]
async fn what_was_stored_in_clear_before_is_not_used_and_is_swept() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let layout = if kind == Kind::Sqlite { Layout::Sqlite } else { Layout::Postgres };
        let (cluster, keys) = (with_users(layout).await, key_database(kind).await);
        let mut before = serve(cluster.settings()).await;
        let client = before.client().await;
        for user in ["1", "2"] {
            get(&client, of(user)).await.unwrap();
        }
        wait_for("rows", async || (cluster.rows().await == 2).then_some(())).await;
        let responses_in_clear = "INSERT INTO ai_response_cache \
             (request_hash, user_id, model, prompt_version, response, created_at, last_used_at) \
             VALUES ('a', '1', 'm', '1', '{}', '2099-01-01 00:00:00', '2099-01-01 00:00:00'), \
                    ('b', '1', '', '', '{\"unusable\": {}}', '2099-01-01 00:00:00', '2099-01-01 00:00:00')";
        cluster.cache.execute_unprepared(responses_in_clear).await.unwrap();
        before.terminate().await;

        let after = serve(keys.encrypting(cluster.settings()).with("database.sweep_every", "100ms")).await;
        let client = after.client().await;
        let answer = get(&client, of("1")).await.unwrap();
        assert_eq!(answer.status, CacheStatus::Assembled, "{kind:?}");
        let left = "SELECT COUNT(*) FROM comprehensive_user_data_cache WHERE format = 1";
        wait_for("the sweep", async || (count(&cluster.cache, left).await == 0).then_some(())).await;
        let responses = "SELECT COUNT(*) FROM ai_response_cache WHERE model <> ''";
        wait_for("the sweep", async || (count(&cluster.cache, responses).await == 0).then_some(())).await;
        let notes = "SELECT COUNT(*) FROM ai_response_cache";
        assert_eq!(count(&cluster.cache, notes).await, 1, "what says only that a response could not be used is kept");
        wait_for("the encrypted row", async || (cluster.rows().await == 1).then_some(())).await;

        // As an instance that does not encrypt yet writes, after sweeps that have found nothing more.
        for statement in
            ["UPDATE comprehensive_user_data_cache SET format = 1", "DELETE FROM ai_response_cache", responses_in_clear]
        {
            cluster.cache.execute_unprepared(statement).await.unwrap();
        }
        wait_for("a later sweep", async || (count(&cluster.cache, left).await == 0).then_some(())).await;
        wait_for("a later sweep", async || (count(&cluster.cache, responses).await == 0).then_some(())).await;
    }
}
