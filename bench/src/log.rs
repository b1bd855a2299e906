//! The invalidation log when it is long, on PostgreSQL: how soon an instance that starts or was stopped is verified, what
//! trimming costs the commits beside it, and the reading of the head while a backup keeps an old snapshot.

use std::time::Duration;

use comfy_table::Table;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement, TransactionTrait};
use testkit::{
    ask::stats,
    database::{Kind, demo_database, migrate_cache},
    postgres::own_postgres,
    server::{Server, Settings, serve},
    wait_for,
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use userdata::{
    cache::invalidation_log::{InvalidationLog, LogPools},
    clock::Clock,
    config,
    model::{Scope, SectionSet, UserHash, UserId},
};

/// Entries while an instance is stopped.
const WHILE_STOPPED: i64 = 1_000_000;
/// Entries that trimming finds too old.
const OLD: i64 = 1_000_000;
/// Commits while an old snapshot is open.
const COMMITS: usize = 3500;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Entries in the log when an instance starts.
    #[arg(long, default_value_t = 10_000_000)]
    entries: i64,
}

pub(crate) async fn run(options: &Options) {
    let (postgres, sources) = (own_postgres().await, demo_database(Kind::Sqlite).await);
    let url = postgres.url("postgres");
    migrate_cache(&url).await;
    let db = postgres.administer().await;
    // The checks of each instance are not what is measured; nor is its sweep, which would trim.
    let settings = Settings::on(&url).with("sources.database_url", &sources.url).with("database.sweep_every", "1h");
    let stopped = serve(settings.clone()).await;
    eprintln!("{} entries are added", options.entries);
    add(&db, OLD.min(options.entries), "interval '2 days'").await;
    add(&db, options.entries - OLD.min(options.entries), "interval '0'").await;
    db.execute_unprepared("VACUUM ANALYZE invalidation_log").await.unwrap();

    let mut table = Table::new();
    let began = Instant::now();
    let fresh = serve(settings).await;
    let head = head(&db).await;
    verified(&fresh, head).await;
    let (took, memory) = (began.elapsed(), fresh.memory_mib());
    table.add_row([
        format!("a new instance is ready and verified, {head} entries"),
        format!("{took:.1?}, {memory} MiB"),
    ]);

    stopped.signal("STOP");
    add(&db, WHILE_STOPPED, "interval '0'").await;
    let end = self::head(&db).await;
    stopped.signal("CONT");
    let began = Instant::now();
    verified(&stopped, end).await;
    let (took, memory) = (began.elapsed(), stopped.memory_mib());
    table.add_row([
        format!("an instance stopped for {WHILE_STOPPED} entries is verified"),
        format!("{took:.1?}, {memory} MiB"),
    ]);
    drop((fresh, stopped));

    let tasks = TaskTracker::new();
    let log = log(&url, &tasks).await;
    for (what, measured) in trim(&log, &db).await.into_iter().chain(under_an_old_snapshot(&log, &url).await) {
        table.add_row([what, measured]);
    }
    println!("{table}");
}

async fn log(url: &str, tasks: &TaskTracker) -> InvalidationLog {
    let connect = async || Database::connect(url.to_owned()).await.unwrap().into();
    let pools = LogPools { reads: connect().await, commits: connect().await };
    let log = InvalidationLog::new(
        pools,
        config::InvalidationLogSettings::default(),
        Duration::from_secs(5),
        Clock::system(),
        tasks,
    );
    log.catch_up().await.unwrap();
    log
}

/// Each of another user; so old.
async fn add(db: &DatabaseConnection, entries: i64, age: &str) {
    let rows = format!(
        "INSERT INTO invalidation_log (position, user_hash, sections, nonce, created_at)
         SELECT position + n, position + n, 127, (position + n) * 7, (now() AT TIME ZONE 'utc') - {age}
         FROM invalidation_log_head, generate_series(1, {entries}) AS n"
    );
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared(&rows).await.unwrap();
    let head = format!("UPDATE invalidation_log_head SET position = position + {entries}");
    transaction.execute_unprepared(&head).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn number(db: &DatabaseConnection, sql: &str) -> i64 {
    let row = db.query_one_raw(Statement::from_string(sea_orm::DatabaseBackend::Postgres, sql)).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

async fn head(db: &DatabaseConnection) -> i64 {
    number(db, "SELECT position FROM invalidation_log_head").await
}

/// Waits until an instance has applied the log up to there, and knows it.
async fn verified(server: &Server, position: i64) {
    let client = server.client().await;
    wait_for("the log to be applied", async || {
        let log = stats(&client).await.invalidation_log.unwrap();
        let remaining = log.lease_remaining.is_some_and(|left| left.seconds > 0 || left.nanos > 0);
        (log.applied >= position && remaining).then_some(())
    })
    .await;
}

fn scope() -> Scope<UserHash> {
    Scope { user: UserHash::of(&UserId::parse("1").unwrap()), strategy: None, sections: SectionSet::ALL }
}

/// Trims while invalidations are appended one after the other.
async fn trim(log: &InvalidationLog, db: &DatabaseConnection) -> Vec<(String, String)> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let began = Instant::now();
    let none = log.trim(DAY).await.unwrap();
    let found = began.elapsed();
    assert_eq!(none, 0);
    let began = Instant::now();
    let mut waits = Vec::new();
    let mut trimming = std::pin::pin!(log.trim(DAY));
    let deleted = loop {
        let appending = async {
            let began = Instant::now();
            log.append(scope()).await.unwrap();
            began.elapsed()
        };
        let mut appending = std::pin::pin!(appending);
        tokio::select! {
            deleted = &mut trimming => break deleted.unwrap(),
            waited = &mut appending => waits.push(waited),
        }
    };
    let took = began.elapsed();
    waits.sort();
    let left = number(db, "SELECT COUNT(*) FROM invalidation_log").await;
    vec![
        (format!("old entries are found among {left}"), format!("{found:.1?}")),
        (format!("{deleted} of them are deleted"), format!("{took:.1?}")),
        (
            format!("{} invalidations meanwhile", waits.len()),
            format!("p50 {:.1?}, max {:.1?}", waits[waits.len() / 2], waits.last().unwrap()),
        ),
    ]
}

/// What a reading of the head costs after many commits that an old snapshot keeps from being cleaned up.
async fn under_an_old_snapshot(log: &InvalidationLog, url: &str) -> Vec<(String, String)> {
    let backup = Database::connect(url.to_owned()).await.unwrap().begin().await.unwrap();
    backup
        .execute_unprepared(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT COUNT(*) FROM invalidation_log_head",
        )
        .await
        .unwrap();
    let before = read_head(log).await;
    for _ in 0..COMMITS {
        log.append(scope()).await.unwrap();
    }
    let after = read_head(log).await;
    backup.rollback().await.unwrap();
    vec![
        ("a reading of the log".to_owned(), format!("{before:.1?}")),
        (format!("the same after {COMMITS} commits under an old snapshot"), format!("{after:.1?}")),
    ]
}

async fn read_head(log: &InvalidationLog) -> Duration {
    const READINGS: u32 = 200;
    let began = Instant::now();
    for _ in 0..READINGS {
        log.catch_up().await.unwrap();
    }
    began.elapsed() / READINGS
}
