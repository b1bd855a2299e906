//! The copy of the log against a real one, in SQLite; what several instances see of each other is tested
//! against servers.

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use tempfile::TempDir;

use super::*;
use crate::model::{Parameters, SectionSet, UserDataQuery, UserId};

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
        connection.clone().into(),
        config::InvalidationLogSettings::default(),
        timeout,
        Clock::system(),
        &TaskTracker::new(),
    )
}

fn scope(user: &str) -> Scope {
    Scope { user: UserId::parse(user).unwrap(), strategy: None, sections: SectionSet::ALL }
}

fn last_invalidation(log: &InvalidationLog, user: &str) -> i64 {
    let query = UserDataQuery::new(UserId::parse(user).unwrap(), None, Parameters::none());
    log.view(query.key()).last_invalidation()
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
    assert_eq!((appended.position, last_invalidation(&here, "1")), (before.position, before.position));
}
