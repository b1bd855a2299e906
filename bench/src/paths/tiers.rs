//! A hit in Redis, in SQLite and in PostgreSQL, and in an encrypted Redis, one call at a time, beside the plain GET of the same record and the
//! plain SELECT of the same row with the same client libraries.
//!
//! The instance keeps documents in memory for a millisecond, and is asked for each again when that is over. What a hit
//! asked Redis and PostgreSQL for is counted by them.

use std::time::Duration;

use fred::interfaces::{ClientLike as _, KeysInterface as _};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use tempfile::TempDir;
use userdata::{clock::Clock, privacy::new_master_key};

use super::{
    Scale,
    drive::{Call, Until, as_f64, closed, quantile},
    instance::Instance,
};
use testkit::{
    database::{Kind, TestDatabase, demo_database},
    redis::{Redis, redis},
    sources::count,
    wait_for,
};

use crate::wire::{empty, median};

/// The demo users whose documents have all sections.
const USERS: u64 = 30;
/// Longer than a measurement.
const LONG: &str = "1h";
const ROW: &str = "SELECT CAST(comprehensive_data AS TEXT) AS document, CAST(sections AS TEXT) AS sections, log_epoch, \
                   as_of, format FROM comprehensive_user_data_cache WHERE user_id = $1 AND strategy_key = 0";

/// Milliseconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    p50: f64,
    p99: f64,
}

/// The tier of a hit, its round trips, and the plain call.
struct Row {
    name: &'static str,
    hits: Vec<Times>,
    plain: Vec<Times>,
    cpu_us: Vec<f64>,
    asked: String,
}

pub(super) async fn table(scale: Scale) -> String {
    let calls = scale.of(800, 90);
    let (redis, other_redis) = (redis().await, redis().await);
    let (sqlite, postgres) = (demo_database(Kind::Sqlite).await, demo_database(Kind::Postgres).await);
    let (encrypted, keys) = (demo_database(Kind::Sqlite).await, Keys::new());
    // One name for all: an instance that assembles all documents first.
    for (database, redis, keys) in
        [(&sqlite, Some(&redis), None), (&postgres, None, None), (&encrypted, Some(&other_redis), Some(&keys))]
    {
        let first = start(database, redis, LONG, keys).await;
        ask(&first, USERS);
        database.wait_for_documents(i64::try_from(USERS).unwrap()).await;
    }
    let in_memory = start(&sqlite, Some(&redis), LONG, None).await;
    let in_redis = start(&sqlite, Some(&redis), "1ms", None).await;
    let in_sqlite = start(&sqlite, None, "1ms", None).await;
    let in_postgres = start(&postgres, None, "1ms", None).await;
    let in_encrypted_redis = start(&encrypted, Some(&other_redis), "1ms", Some(&keys)).await;
    let (plain_redis, plain_encrypted) = (PlainRedis::connect(&redis).await, PlainRedis::connect(&other_redis).await);
    let (plain_sqlite, plain_postgres) = (sqlite.connect_read_only().await, postgres.connect_read_only().await);

    let redis_asked = counted_by_redis(&in_redis, &redis, calls).await;
    let postgres_asked = counted_by_postgres(&in_postgres, &postgres, calls).await;
    let row = |name, asked: &str| Row { name, hits: vec![], plain: vec![], cpu_us: vec![], asked: asked.to_owned() };
    let mut rows = [
        row("memory", "nothing"),
        row("Redis", &redis_asked),
        row("SQLite", "the same statement"),
        row("PostgreSQL", &postgres_asked),
        row("Redis, encrypted", "the same"),
    ];
    ask(&in_memory, USERS);
    for round in 0..scale.rounds() {
        for place in 0..rows.len() {
            let place = (place + round) % rows.len();
            let (instance, tier) = [
                (&in_memory, "memory"),
                (&in_redis, "redis"),
                (&in_sqlite, "database"),
                (&in_postgres, "database"),
                (&in_encrypted_redis, "redis"),
            ][place];
            let (before, cpu) = (instance.hits(tier).await, instance.cpu());
            let ran = ask(instance, calls);
            let cpu = instance.cpu() - cpu;
            assert_eq!(instance.hits(tier).await - before, i64::try_from(calls).unwrap(), "all are hits in {tier}");
            let row = &mut rows[place];
            row.cpu_us.push(cpu.as_secs_f64() * 1e6 / as_f64(calls));
            row.hits.push(ran);
            match place {
                1 => row.plain.push(plain_redis.gets(calls).await),
                2 => row.plain.push(selects(&plain_sqlite, calls).await),
                3 => row.plain.push(selects(&plain_postgres, calls).await),
                4 => row.plain.push(plain_encrypted.gets(calls).await),
                _ => {}
            }
            eprintln!("round {}, {}: {ran:?}, plain {:?}", round + 1, row.name, row.plain.last());
        }
    }
    let head =
        ["a hit in", "p50, ms", "p99, ms", "plain: p50, ms", "p99, ms", "p50 against plain", "CPU, us", "statements"];
    let mut table = empty(head.map(str::to_owned).into());
    for row in rows {
        let of = |times: &[Times], figure: fn(&Times) -> f64| median(times.iter().map(figure).collect());
        let hit = [of(&row.hits, |t| t.p50), of(&row.hits, |t| t.p99)].map(|ms| format!("{ms:.3}"));
        let plain = if row.plain.is_empty() {
            ["", "", ""].map(str::to_owned)
        } else {
            let ratios = row.hits.iter().zip(&row.plain).map(|(hit, plain)| hit.p50 / plain.p50).collect();
            let [p50, p99] = [of(&row.plain, |t| t.p50), of(&row.plain, |t| t.p99)].map(|ms| format!("{ms:.3}"));
            [p50, p99, format!("{:.2}", median(ratios))]
        };
        let name = row.name.to_owned();
        let rest = [format!("{:.0}", median(row.cpu_us)), row.asked];
        table.add_row(std::iter::once(name).chain(hit).chain(plain).chain(rest));
    }
    format!(
        "One connection, one call at a time, {calls} calls a round, {} rounds, demo documents; plain: GET by fred, SELECT by \
         SeaORM\n\n{table}",
        scale.rounds()
    )
}

/// A key database in a file, and the file of a master key.
struct Keys {
    url: String,
    master_key_file: String,
    _folder: TempDir,
}

impl Keys {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let master_key_file = format!("{}/master", folder.path().display());
        std::fs::write(&master_key_file, new_master_key("bench").unwrap()).unwrap();
        let url = format!("sqlite://{}/keys.db?mode=rwc", folder.path().display());
        Self { url, master_key_file, _folder: folder }
    }
}

async fn start(database: &TestDatabase, redis: Option<&Redis>, in_memory_for: &str, keys: Option<&Keys>) -> Instance {
    let url = redis.map(Redis::url);
    let mut settings = vec![
        ("database.url", database.url.as_str()),
        ("memory.ttl", in_memory_for),
        // Their statements would count with the hits.
        ("database.access_counts_every", LONG),
        ("database.sweep_every", LONG),
        ("sources.change_feed", "false"),
    ];
    settings.extend(url.as_deref().map(|url| ("redis.url", url)));
    if let Some(keys) = keys {
        let named =
            [("privacy.keys_url", keys.url.as_str()), ("privacy.master_key_file", keys.master_key_file.as_str())];
        settings.extend(named.into_iter().chain([("privacy.encrypt", "true")]));
    }
    Instance::start(&settings).await
}

fn ask(instance: &Instance, calls: u64) -> Times {
    let ran = closed(instance.address, (1, 1), Until::Calls(calls), |n| Call::get((1 + n % USERS).to_string()));
    Times { p50: ran.ms(0.5), p99: ran.ms(0.99) }
}

/// Commands by name: `get 1.00`.
async fn counted_by_redis(instance: &Instance, redis: &Redis, calls: u64) -> String {
    assert_eq!(redis.command("CONFIG RESETSTAT").await, "+OK");
    ask(instance, calls);
    let stats = redis.reply("INFO commandstats").await.unwrap();
    let mut asked = Vec::new();
    for line in stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")) {
        let (name, figures) = line.split_once(":calls=").unwrap();
        let counted: u64 = figures.split(',').next().unwrap().parse().unwrap();
        // Commands of this measurement.
        if !["info", "config|resetstat"].contains(&name) {
            asked.push(format!("{} {:.2}", name.to_uppercase(), as_f64(counted) / as_f64(calls)));
        }
    }
    asked.join(", ")
}

/// Index look-ups in the cache table and transactions, without the instance's background statements.
async fn counted_by_postgres(instance: &Instance, database: &TestDatabase, calls: u64) -> String {
    let db = database.connect().await;
    let clock = Clock::system();
    let look_ups = "SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'comprehensive_user_data_cache'";
    let transactions = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    let figures = async || (clock.now(), count(&db, look_ups).await, count(&db, transactions).await);
    let before = figures().await;
    ask(instance, calls);
    // A connection reports its statistics after ten idle seconds.
    let told = before.1 + i64::try_from(calls).unwrap();
    while count(&db, look_ups).await < told {
        // Rarely: this is a transaction, too.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let after = figures().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let later = figures().await;
    let between = |from: (_, i64, i64), to: (_, i64, i64)| as_f64(to.2.abs_diff(from.2));
    let unasked = between(after, later) / later.0.since(after.0).as_secs_f64();
    let transactions = between(before, after) - unasked * after.0.since(before.0).as_secs_f64();
    let look_ups = as_f64(after.1.abs_diff(before.1));
    format!("look-ups {:.2}, transactions {:.2}", look_ups / as_f64(calls), transactions / as_f64(calls))
}

/// fred's GET of the same records.
struct PlainRedis {
    client: fred::clients::Client,
    names: Vec<String>,
}

impl PlainRedis {
    async fn connect(redis: &Redis) -> Self {
        let config = fred::types::config::Config::from_url(&redis.url()).unwrap();
        let client = fred::types::Builder::from_config(config).build().unwrap();
        client.init().await.unwrap();
        let users = usize::try_from(USERS).unwrap();
        let names = wait_for("the records", async || {
            let reply = redis.reply("KEYS *").await?;
            let records = reply.lines().filter(|line| line.starts_with("comprehensive") && !line.ends_with(":keys"));
            let names: Vec<String> = records.map(str::to_owned).collect();
            (names.len() == users).then_some(names)
        });
        Self { client, names: names.await }
    }

    async fn gets(&self, calls: u64) -> Times {
        let calls = usize::try_from(calls).unwrap();
        timed(self.names.iter().cycle().take(calls), async |name| {
            let record: bytes::Bytes = self.client.get(name.as_str()).await.unwrap();
            assert!(!record.is_empty());
        })
        .await
    }
}

async fn selects(db: &DatabaseConnection, calls: u64) -> Times {
    timed(0..calls, async |n| {
        let user = (1 + n % USERS).to_string();
        let select = Statement::from_sql_and_values(db.get_database_backend(), ROW, [user.into()]);
        let row = db.query_one_raw(select).await.unwrap().unwrap();
        let document: String = row.try_get("", "document").unwrap();
        assert!(!document.is_empty());
    })
    .await
}

async fn timed<T>(of: impl Iterator<Item = T>, mut call: impl AsyncFnMut(T)) -> Times {
    let (clock, mut times) = (Clock::system(), Vec::new());
    for item in of {
        let began = clock.now();
        call(item).await;
        times.push(clock.now().since(began));
    }
    times.sort_unstable();
    let ms = |share| quantile(&times, share).as_secs_f64() * 1e3;
    Times { p50: ms(0.5), p99: ms(0.99) }
}
