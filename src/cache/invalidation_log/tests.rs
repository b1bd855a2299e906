//! The copy of the log against a real one, in SQLite; what several instances see of each other is tested
//! against servers.

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use tempfile::TempDir;

use super::*;
use crate::{
    cache::testing::eventually,
    model::{Parameters, SectionSet, UserDataQuery, UserHash, UserId},
};

async fn database() -> (TempDir, DatabaseConnection) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("log.db").display());
    let connection = Database::connect(ConnectOptions::new(url).sqlx_logging(false).to_owned()).await.unwrap();
    userdata_migrations::up(&connection, userdata_migrations::Tables::Cache).await.unwrap();
    (directory, connection)
}

fn log(connection: &DatabaseConnection) -> InvalidationLog {
    let timeout = Duration::from_secs(5);
    InvalidationLog::new(
        LogPools { reads: connection.clone().into(), commits: connection.clone().into() },
        config::InvalidationLogSettings::default(),
        timeout,
        Clock::system(),
        &TaskTracker::new(),
    )
}

fn scope(user: &str) -> Scope<UserHash> {
    Scope { user: UserHash::of(&UserId::parse(user).unwrap()), strategy: None, sections: SectionSet::ALL }
}

fn last_invalidation(log: &InvalidationLog, user: &str) -> i64 {
    let query = UserDataQuery::new(UserId::parse(user).unwrap(), None, Parameters::none());
    log.view(query.key()).last_invalidation()
}

/// A reading that takes longer than the lease, on a busy machine, is valid no more when it ends.
async fn becomes_valid(log: &InvalidationLog) {
    eventually("the log is valid", || async {
        log.catch_up().await.unwrap();
        log.validity() == LogValidity::Verified
    })
    .await;
}

#[tokio::test]
async fn rows_are_applied_however_many_came_since_the_last_time() {
    let (_directory, connection) = database().await;
    let (here, there) = (log(&connection), log(&connection));
    here.catch_up().await.unwrap();
    there.catch_up().await.unwrap();
    let epoch = here.position().epoch;
    for (user, missed) in [("1", 0), ("2", 1), ("3", 2)] {
        for _ in 0..missed {
            there.append(scope("4")).await.unwrap();
        }
        let position = here.append(scope(user)).await.unwrap().token.position;
        assert_eq!(last_invalidation(&here, user), position);
    }
    there.catch_up().await.unwrap();
    for (user, position) in [("1", 1), ("2", 3), ("3", 6), ("4", 5)] {
        assert_eq!((last_invalidation(&here, user), last_invalidation(&there, user)), (position, position), "{user}");
    }
    assert_eq!((here.position(), here.position().epoch), (there.position(), epoch), "nothing was lost");
}

#[tokio::test]
async fn lost_commits_begin_a_new_epoch_also_when_others_took_their_places() {
    for refilled in [0, 1, 2, 3] {
        let (_directory, connection) = database().await;
        let (here, there) = (log(&connection), log(&connection));
        here.append(scope("1")).await.unwrap();
        let before = here.append(scope("1")).await.unwrap().token;
        for statement in
            ["DELETE FROM invalidation_log WHERE position > 0", "UPDATE invalidation_log_head SET position = 0"]
        {
            connection.execute_unprepared(statement).await.unwrap();
        }
        for _ in 0..refilled {
            there.append(scope("2")).await.unwrap();
        }
        here.catch_up().await.unwrap();
        let after = here.position();
        assert_ne!(after.epoch, before.epoch, "{refilled}");
        assert_eq!(
            (after.position, last_invalidation(&here, "1")),
            (refilled, refilled),
            "the floor covers all there was"
        );
    }
}

#[tokio::test]
async fn an_invalidation_at_a_position_that_was_in_use_begins_a_new_epoch() {
    let (_directory, connection) = database().await;
    let here = log(&connection);
    here.append(scope("1")).await.unwrap();
    let before = here.append(scope("1")).await.unwrap().token;
    // The floor stands where we do: no row's nonce tells that the head has gone back and come again.
    for statement in [
        "DELETE FROM invalidation_log WHERE position > 0",
        "UPDATE invalidation_log_head SET position = 1, low_watermark = 2",
    ] {
        connection.execute_unprepared(statement).await.unwrap();
    }
    let appended = here.append(scope("1")).await.unwrap().token;
    assert_ne!(appended.epoch, before.epoch);
    // Once more in the new epoch: an epoch that is read after a commit may have begun before it.
    let again = before.position + 1;
    assert_eq!((appended.position, last_invalidation(&here, "1")), (again, again));
}

/// So many rows at once, as other instances would have added them; each of another user, `n1` to `n<last>`.
async fn add_rows(connection: &DatabaseConnection, first: i64, last: i64) {
    let row = |n: i64| format!("({n}, {}, 127, {})", scope(&format!("n{n}")).user.column(), n * 7);
    let rows: Vec<String> = (first..=last).map(row).collect();
    let rows =
        format!("INSERT INTO invalidation_log (position, user_hash, sections, nonce) VALUES {}", rows.join(", "));
    let head = format!("UPDATE invalidation_log_head SET position = {last}");
    for statement in [rows, head] {
        connection.execute_unprepared(&statement).await.unwrap();
    }
}

#[tokio::test]
async fn an_instance_that_begins_with_a_long_log_reads_its_end_and_counts_the_rest_as_outdated() {
    let (_directory, connection) = database().await;
    add_rows(&connection, 1, 300_000).await;
    let here = log(&connection);
    here.catch_up().await.unwrap();
    assert_eq!(here.position().position, 300_000);
    becomes_valid(&here).await;
    for (user, outdated_below) in [("n299999", 299_999), ("n280001", 280_001), ("n5", 280_000), ("other", 280_000)] {
        assert_eq!(last_invalidation(&here, user), outdated_below, "{user}");
    }
    let appended = here.append(scope("n5")).await.unwrap().token;
    assert_eq!((appended.position, last_invalidation(&here, "n5")), (300_001, 300_001));
}

#[tokio::test]
async fn an_instance_that_is_behind_reads_all_pages_unless_there_are_very_many() {
    let (_directory, connection) = database().await;
    let here = log(&connection);
    here.append(scope("1")).await.unwrap();
    let epoch = here.position().epoch;
    add_rows(&connection, 2, 50_000).await;
    here.catch_up().await.unwrap();
    for (user, position) in [("1", 1), ("n2", 2), ("n2001", 2001), ("n50000", 50_000), ("other", 0)] {
        assert_eq!(last_invalidation(&here, user), position, "{user}");
    }
    add_rows(&connection, 50_001, 300_000).await;
    here.catch_up().await.unwrap();
    for (user, position) in [("1", 280_000), ("n290000", 290_000), ("other", 280_000)] {
        assert_eq!(last_invalidation(&here, user), position, "{user}");
    }
    assert_eq!((here.position().epoch, here.stats().gaps), (epoch, 0), "nothing was lost");
}

#[tokio::test]
async fn pages_that_were_read_are_kept_when_a_later_one_fails() {
    let (_directory, connection) = database().await;
    let here = log(&connection);
    here.catch_up().await.unwrap();
    add_rows(&connection, 1, 10_000).await;
    // An integer overflow fails the statement that reads row 7000.
    for statement in [
        "ALTER TABLE invalidation_log RENAME TO entries",
        "CREATE VIEW invalidation_log AS SELECT position, user_hash, strategy_id, nonce, created_at, \
         CASE position WHEN 7000 THEN abs(-9223372036854775807 - 1 + position - 7000) ELSE sections END AS sections \
         FROM entries",
    ] {
        connection.execute_unprepared(statement).await.unwrap();
    }
    here.catch_up().await.unwrap_err();
    assert_eq!(here.position().position, 6000);
    for statement in ["DROP VIEW invalidation_log", "ALTER TABLE entries RENAME TO invalidation_log"] {
        connection.execute_unprepared(statement).await.unwrap();
    }
    here.catch_up().await.unwrap();
    assert_eq!((here.position().position, last_invalidation(&here, "n7000")), (10_000, 7000));
}

/// SQLite takes values of any type in any column.
#[tokio::test]
async fn an_odd_row_outdates_everything_before_it_and_does_not_stop_the_log() {
    for odd in ["user_hash = ''", "user_hash = x'ff'", "sections = 'all'", "strategy_id = 'one'", "nonce = 'none'"] {
        let (_directory, connection) = database().await;
        let here = log(&connection);
        here.append(scope("1")).await.unwrap();
        add_rows(&connection, 2, 4).await;
        connection.execute_unprepared(&format!("UPDATE invalidation_log SET {odd} WHERE position = 4")).await.unwrap();
        here.catch_up().await.unwrap();
        assert!(here.append(scope("2")).await.unwrap().token.position >= 5, "{odd}");
        let (of_one, of_two) = (last_invalidation(&here, "1"), last_invalidation(&here, "2"));
        assert!(of_one >= 4 && of_two >= 5, "{odd}: {of_one} {of_two}");
        becomes_valid(&here).await;
        let later = log(&connection);
        later.catch_up().await.unwrap();
        assert_eq!(last_invalidation(&later, "2"), of_two, "{odd}");
    }
}

#[tokio::test]
async fn a_long_log_is_trimmed_in_batches_and_what_is_trimmed_counts_as_outdated() {
    let (_directory, connection) = database().await;
    let here = log(&connection);
    here.catch_up().await.unwrap();
    add_rows(&connection, 1, 10_000).await;
    let old = "UPDATE invalidation_log SET created_at = '2020-01-01 00:00:00.000000' WHERE position <= 7500";
    connection.execute_unprepared(old).await.unwrap();
    // A reader that has read the head meanwhile still finds its rows.
    for deleted in [0, 7500, 0] {
        assert_eq!(here.trim(Duration::from_secs(3600)).await.unwrap(), deleted);
        here.catch_up().await.unwrap();
    }
    for (user, position) in [("n7", 7500), ("n7501", 7501), ("other", 7500)] {
        assert_eq!(last_invalidation(&here, user), position, "{user}");
    }
    assert_eq!(here.stats().gaps, 0);
}

/// After FULL, IOERR or NOMEM at COMMIT, SQLite may have ended the transaction by itself. sqlx goes on as if it were open.
#[cfg(feature = "mutants")]
#[tokio::test]
async fn no_entry_is_acknowledged_that_another_connection_does_not_find() {
    use crate::fault::{FaultPoint, Faults, Gauge, Mode, Place};

    let (directory, connection) = database().await;
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("log.db").display());
    // A pool as it comes, which keeps a connection of which the transaction has ended by itself.
    let one = || async {
        let one = ConnectOptions::new(url.clone()).max_connections(1).sqlx_logging(false).to_owned();
        Database::connect(one).await.unwrap()
    };
    let faults = Faults::new(&Gauge::default());
    let pools = LogPools { reads: one().await.into(), commits: one().await.into() };
    let config = config::InvalidationLogSettings::default();
    let here = faults
        .during(|| InvalidationLog::new(pools, config, Duration::from_secs(5), Clock::system(), &TaskTracker::new()));
    here.append(scope("1")).await.unwrap();
    // As a disk that fills up does it: the first COMMIT ends its transaction, the second one fails and does not.
    for point in [FaultPoint::CommitEndsByItself, FaultPoint::Commit] {
        faults.set(point, Place::Before, Some(Mode::Fail));
        here.append(scope("1")).await.unwrap_err();
        faults.mend();
    }
    let mut acknowledged = 1;
    for _ in 0..3 {
        acknowledged += i64::from(here.append(scope("1")).await.is_ok());
    }
    let head = "SELECT position FROM invalidation_log_head";
    let head = sea_orm::Statement::from_string(sea_orm::DatabaseBackend::Sqlite, head);
    let durable: i64 = connection.query_one_raw(head).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    assert_eq!(durable, acknowledged);
}
