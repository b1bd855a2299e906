//! The cache's database: reachable, migrated and writable, with an invalidation log that this instance can use.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use userdata_migrations::{MigrationError, Tables, status};

use super::{
    Findings,
    databases::{Which, failed, one, without_right},
};
use crate::{
    app,
    clock::Clock,
    config::{Config, Pooler},
    database::{Dialect, Pool},
};

/// The tables that `serve` writes.
const WRITTEN: [&str; 5] =
    ["comprehensive_user_data_cache", "ai_response_cache", "load_lease", "invalidation_log", "invalidation_log_head"];
const RIGHTS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];
/// An instance that starts reads as many.
const LOG_ROWS_MAX: i64 = 20_000;
/// Synchronized clocks differ by milliseconds.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::seconds(1);

pub(super) async fn examine(config: &Config, found: &mut Findings) {
    let url = &config.database.url;
    let which = Which { check: "cache database", database: config.cache_database(), written: true };
    let Some(db) = which.open(found).await else { return };
    found.ok("cache database", format!("{} answers", url.place()));
    let shared = config.sources.database_url.is_none() && Dialect::of(&db).is_sqlite();
    let tables = if shared { Tables::CacheAndSources } else { Tables::Cache };
    if !migrations(&db, tables, found).await {
        return;
    }
    let answers = [
        writable(&db, found).await,
        connections(&db, config, found).await,
        invalidation_log(&db, config, found).await,
        clock(&db, found).await,
    ];
    for answered in answers {
        if let Err(error) = answered {
            failed("cache database", &error, found);
        }
    }
}

/// Whether the tables exist.
async fn migrations(db: &Pool, tables: Tables, found: &mut Findings) -> bool {
    let states = match status(db, tables).await {
        Ok(states) => states,
        Err(error) => {
            let remedy = match &error {
                MigrationError::Database(_) => super::databases::HANGS,
                _ => "name an empty database in database.url, then run `userdata migrate up`",
            };
            found.fail("migrations", crate::error::with_causes(&error), remedy);
            return false;
        }
    };
    let missing: Vec<_> = states.iter().filter(|state| !state.applied).map(|state| state.name.as_str()).collect();
    if missing.is_empty() {
        found.ok("migrations", format!("up to date, {} are applied", states.len()));
    } else if Dialect::of(db).is_sqlite() {
        found.warn("migrations", format!("missing: {}", missing.join(", ")), "nothing: `userdata serve` applies them");
    } else {
        let what = format!("missing: {}", missing.join(", "));
        found.fail(
            "migrations",
            what,
            "run `userdata migrate up` with the same database.url, by a role that may create tables",
        );
    }
    missing.is_empty()
}

async fn writable(db: &Pool, found: &mut Findings) -> Result<(), DbErr> {
    if !Dialect::of(db).is_sqlite() {
        let row = one(db, "SELECT pg_is_in_recovery() AS replica", []).await?;
        if row.is_some_and(|row| row.try_get("", "replica").unwrap_or(false)) {
            found.fail("cache tables", "this is a replica, which takes no writes", "point database.url at the primary");
            return Ok(());
        }
    }
    let without = without_right(db, WRITTEN, &RIGHTS).await?;
    if without.is_empty() {
        found.ok("cache tables", "may be written");
    } else {
        let remedy = "GRANT SELECT, INSERT, UPDATE, DELETE on the cache's tables to the role in database.url";
        found.fail("cache tables", format!("not granted: {}", without.join(", ")), remedy);
    }
    Ok(())
}

/// Whether the server allows the connections of an instance, and of the one that replaces it.
async fn connections(db: &Pool, config: &Config, found: &mut Findings) -> Result<(), DbErr> {
    if Dialect::of(db).is_sqlite() {
        return Ok(());
    }
    let one_instance = i64::from(app::connections_to_cache_database(config));
    if config.database.pooler == Pooler::Transaction {
        let what = format!("an instance opens {one_instance} at most, to the connection pooler");
        found.ok("database connections", what);
        return Ok(());
    }
    let sql = "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int \
               AS of_server, rolconnlimit AS of_role FROM pg_roles WHERE rolname = current_user";
    let Some(row) = one(db, sql, []).await? else { return Ok(()) };
    let (of_server, of_role): (i32, i32) = (row.try_get("", "of_server")?, row.try_get("", "of_role")?);
    let let_in = i64::from(if of_role < 0 { of_server } else { of_server.min(of_role) });
    let what = format!(
        "an instance opens {one_instance} at most, of {let_in} that the server lets in: room for {}",
        let_in / one_instance
    );
    if let_in < 2 * one_instance {
        let remedy = "lower database.max_connections and sources.max_connections, or raise max_connections of the server \
                      (or the role's limit): while an instance is replaced there are two; or put a connection pooler between \
                      (docs/operating.md)";
        found.warn("database connections", what, remedy);
    } else {
        found.ok("database connections", what);
    }
    Ok(())
}

async fn invalidation_log(db: &Pool, config: &Config, found: &mut Findings) -> Result<(), DbErr> {
    let sql =
        "SELECT position, low_watermark, CAST(lease_ms AS BIGINT) AS lease_ms FROM invalidation_log_head WHERE id = 1";
    let Some(head) = one(db, sql, []).await? else {
        let remedy = format!(
            "restore its row from a backup; or, while no instance runs: DELETE FROM invalidation_log; INSERT INTO \
             invalidation_log_head (id, epoch, position, low_watermark, lease_ms) VALUES (1, '{}', 0, 0, {})",
            uuid::Uuid::new_v4(),
            config.invalidation_log.lease.as_millis()
        );
        found.fail("invalidation log", "invalidation_log_head is empty: nothing can be invalidated", remedy);
        return Ok(());
    };
    let (position, low_watermark): (i64, i64) = (head.try_get("", "position")?, head.try_get("", "low_watermark")?);
    let theirs_ms: i64 = head.try_get("", "lease_ms")?;
    let ours_ms = i64::try_from(config.invalidation_log.lease.as_millis()).unwrap_or(i64::MAX);
    if ours_ms > theirs_ms {
        found.fail(
            "invalidation log",
            format!("invalidation_log.lease is {ours_ms} ms, and the cluster agreed on {theirs_ms} ms: `serve` refuses to start"),
            "use that invalidation_log.lease, or change invalidation_log_head.lease_ms while no instance runs",
        );
    } else {
        found.ok(
            "invalidation log",
            format!("at {position}, low watermark {low_watermark}; leases of {theirs_ms} ms, ours {ours_ms} ms"),
        );
    }
    invalidation_rows(db, position, low_watermark, found).await
}

/// The newest rows: all there, and readable.
async fn invalidation_rows(db: &Pool, position: i64, low_watermark: i64, found: &mut Findings) -> Result<(), DbErr> {
    let after = low_watermark.max(position - LOG_ROWS_MAX);
    let sql =
        "SELECT position, user_hash FROM invalidation_log WHERE position > $1 AND position <= $2 ORDER BY position";
    let rows = db.query_all_raw(Dialect::of(db).statement(sql, [after.into(), position.into()])).await?;
    let is_odd = |row: &&QueryResult| row.try_get::<Option<i64>>("", "user_hash").is_err();
    let odd: Vec<i64> = rows.iter().filter(is_odd).filter_map(|row| row.try_get("", "position").ok()).collect();
    let missing = position - after - i64::try_from(rows.len()).unwrap_or(i64::MAX);
    // Trimmed meanwhile.
    let low_watermark = "SELECT low_watermark FROM invalidation_log_head WHERE id = 1";
    let trimmed = one(db, low_watermark, []).await?.and_then(|row| row.try_get::<i64>("", "low_watermark").ok());
    if missing > 0 && trimmed.is_none_or(|trimmed| trimmed <= after) {
        let what = format!("rows missing among the newest {}: {missing}", position - after);
        let remedy = "see whether something between the instances and PostgreSQL does not keep a session (a pooler), or \
                      deletes rows; instances treat everything that was read before the gap as outdated";
        found.warn("invalidation log rows", what, remedy);
    }
    if let Some(first) = odd.first() {
        let what = format!("rows that cannot be read: {}, the first at position {first}", odd.len());
        let remedy = "find out what wrote them; instances treat everything that was read before them as outdated, and the \
                      rows are trimmed with the others";
        found.warn("invalidation log rows", what, remedy);
    }
    Ok(())
}

/// Not for an embedded database, which uses the local clock.
async fn clock(db: &Pool, found: &mut Findings) -> Result<(), DbErr> {
    if Dialect::of(db).is_sqlite() {
        return Ok(());
    }
    let clock = Clock::system();
    let began = clock.now();
    let row = one(db, "SELECT clock_timestamp() AS now", []).await?;
    let theirs: Option<DateTime<Utc>> = row.map(|row| row.try_get("", "now")).transpose()?;
    // The server read its clock about half way.
    let ours = clock.utc() - TimeDelta::from_std(clock.now().since(began) / 2).unwrap_or_default();
    let Some(apart) = theirs.map(|theirs| theirs - ours) else { return Ok(()) };
    let milliseconds = apart.num_milliseconds();
    if apart.abs() > CLOCKS_APART_MAX {
        found.warn(
            "database clock",
            format!("{milliseconds} ms from this machine's"),
            "synchronise both by NTP: each instance expires documents by its own clock; invalidations do not depend on it",
        );
    } else {
        found.ok("database clock", format!("{milliseconds} ms from this machine's"));
    }
    Ok(())
}
