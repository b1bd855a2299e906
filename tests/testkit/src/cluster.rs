//! What the instances of a cluster share: the sources' tables, the cache's database, perhaps Redis.

use sea_orm::{ConnectionTrait, DatabaseConnection};
use userdata_migrations::{Tables, up};

use crate::{
    database::{Kind, TestDatabase, database},
    redis::{Redis, redis},
    server::{Server, Settings, serve},
    sources::{Sources, count, sources},
    wait_for,
};

/// Where the cache and the sources are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All in one file.
    Sqlite,
    /// The cache in a file, the sources in PostgreSQL, where they can be held.
    SqliteBesidePostgres,
    /// All in one PostgreSQL database.
    Postgres,
    /// The cache in one PostgreSQL database, the sources in another: the one can be cut off without the other.
    PostgresBesidePostgres,
}

/// Notes which leases are asked for: a trigger sees also those who do not get theirs.
const CLAIMS: &str = "
    CREATE TABLE claims (key TEXT);
    CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO claims VALUES (NEW.key); RETURN NEW; END $$;
    CREATE TRIGGER note_claim BEFORE INSERT ON load_lease FOR EACH ROW EXECUTE FUNCTION note_claim()";

/// What instances share.
#[derive(Debug)]
pub struct Cluster {
    pub sources: Sources,
    pub redis: Option<Redis>,
    /// Apart from the sources' database.
    own: Option<TestDatabase>,
    /// The cache's tables.
    pub cache: DatabaseConnection,
}

/// Databases with all tables and no rows, no Redis.
pub async fn cluster(layout: Layout) -> Cluster {
    let kind = if layout == Layout::Sqlite { Kind::Sqlite } else { Kind::Postgres };
    let sources = sources(kind).await;
    let own = match layout {
        Layout::Sqlite | Layout::Postgres => {
            let cache = sources.db.clone();
            return Cluster { sources, redis: None, own: None, cache };
        }
        Layout::SqliteBesidePostgres => database(Kind::Sqlite).await,
        Layout::PostgresBesidePostgres => database(Kind::Postgres).await,
    };
    let cache = own.connect().await;
    up(&cache, Tables::Cache).await.unwrap();
    Cluster { sources, redis: None, own: Some(own), cache }
}

impl Cluster {
    /// The same with a Redis.
    pub async fn with_redis(self) -> Self {
        Self { redis: Some(redis().await), ..self }
    }

    /// Redis, which the test has asked for.
    pub fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("with_redis")
    }

    /// The settings of an instance.
    pub fn settings(&self) -> Settings {
        let mut environment = vec![("USERDATA__DATABASE__URL".to_owned(), self.database().url.clone())];
        if self.own.is_some() {
            environment.push(("USERDATA__SOURCES__DATABASE_URL".to_owned(), self.sources.database.url.clone()));
        }
        if let Some(redis) = &self.redis {
            environment.push(("USERDATA__REDIS__URL".to_owned(), redis.url()));
        }
        Settings { uid: None, files: None, flags: vec![], environment }
    }

    /// An instance.
    pub async fn serve(&self) -> Server {
        serve(self.settings()).await
    }

    /// The cache's database.
    pub fn database(&self) -> &TestDatabase {
        self.own.as_ref().unwrap_or(&self.sources.database)
    }

    /// From now on it is noted which leases are asked for.
    pub async fn note_claims(&self) {
        assert_eq!(self.database().kind(), Kind::Postgres, "the trigger is PostgreSQL's");
        self.run(CLAIMS).await;
    }

    /// Waits until leases of keys like this were asked for so many times, whoever got them.
    pub async fn has_claims(&self, keys_like: &str, times: usize) {
        let claims = format!("SELECT COUNT(*) FROM claims WHERE key LIKE '{keys_like}'");
        let times = i64::try_from(times).unwrap();
        wait_for("leases to be asked for", async || (count(&self.cache, &claims).await >= times).then_some(())).await;
    }

    /// Waits until so many documents have been stored behind their answers, in every tier.
    pub async fn has_stored(&self, documents: i64) {
        wait_for("rows", async || (self.rows().await == documents).then_some(())).await;
        if let Some(redis) = &self.redis {
            // Beside the records there is one index for each user: these tests have one.
            let keys = documents + i64::from(documents > 0);
            wait_for("records", async || (redis.keys_of_users().await == keys).then_some(())).await;
        }
    }

    /// Rows in the cache table.
    pub async fn rows(&self) -> i64 {
        count(&self.cache, "SELECT COUNT(*) FROM comprehensive_user_data_cache WHERE format > 0").await
    }

    /// Waits until what is stored is newer than the saved copy.
    pub async fn has_replaced_saved(&self) {
        // A record is stored before its row.
        let newer = "SELECT COUNT(*) FROM comprehensive_user_data_cache WHERE read_position > (SELECT MAX(read_position) FROM saved)";
        wait_for("a newer row", async || (count(&self.cache, newer).await > 0).then_some(())).await;
    }

    /// Takes a copy of what the tiers hold now.
    pub async fn save_tiers(&self) {
        self.run("CREATE TABLE saved AS SELECT * FROM comprehensive_user_data_cache").await;
        if let Some(redis) = &self.redis {
            assert_eq!(redis.command("SAVE").await, "+OK");
        }
    }

    /// Puts the copy back: a write that arrives late, a failover to an older copy.
    pub async fn put_saved_back(&mut self) {
        self.run("DELETE FROM comprehensive_user_data_cache").await;
        self.run("INSERT INTO comprehensive_user_data_cache SELECT * FROM saved").await;
        if let Some(redis) = &mut self.redis {
            redis.kill().await;
            redis.start().await;
        }
    }

    async fn run(&self, sql: &str) {
        self.cache.execute_unprepared(sql).await.unwrap();
    }
}
