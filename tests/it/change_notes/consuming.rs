//! What a cluster has consumed, and when that does not tell it enough.

use std::time::Duration;

use testkit::{
    database::{BOTH, Kind, database},
    sources::sources,
};
use tokio::time::Instant;
use userdata::{
    changes::{Consumed, Consumer, Discontinuity, Outbox, Reported},
    model::{Invalidation, Section::Onboarding},
};
use uuid::Uuid;

use super::{Cluster, bits, told, watched};

fn consumer(cluster: Uuid, known: &[Uuid], consumed: &Consumed) -> Consumer {
    let token = "epoch-1:7".parse().unwrap();
    Consumer { cluster, nonce: Uuid::new_v4(), known: known.to_vec(), consumed: consumed.clone(), token }
}

#[tokio::test]
async fn a_reading_that_finds_nothing_returns_what_was_consumed_before() {
    for kind in BOTH {
        let sources = sources(kind).await;
        let mut cluster = watched(&sources).await;
        let outbox = &cluster.outbox;
        let first = outbox.read(None).await.unwrap();
        assert_eq!(first.discontinuity, Some(Discontinuity::NotRegistered), "{kind:?}");
        for _ in 0..2 {
            let reading = outbox.read(Some(&cluster.consumed)).await.unwrap();
            assert_eq!((reading.rows, reading.discontinuity), (0, None), "{kind:?}");
            assert_eq!(reading.consumed, cluster.consumed, "{kind:?}");
        }
        assert!(outbox.is_consumed(&cluster.consumed).await.unwrap(), "{kind:?}");
        assert_eq!(outbox.backlog(Some(&cluster.consumed)).await.unwrap(), 0, "{kind:?}");
        let stored = serde_json::to_string(&cluster.consumed).unwrap();
        cluster.consumed = serde_json::from_str(&stored).unwrap();
        sources.write(11, 1).await;
        assert!(!cluster.outbox.is_consumed(&cluster.consumed).await.unwrap(), "{kind:?}");
        assert_eq!(cluster.outbox.backlog(Some(&cluster.consumed)).await.unwrap(), 1, "{kind:?}");
        let reading = cluster.read().await;
        assert_eq!((reading.rows, reading.changes.len()), (1, 1), "{kind:?}");
        assert!(reading.age < std::time::Duration::from_secs(60), "{kind:?}");
    }
}

#[tokio::test]
async fn notes_are_deleted_when_all_clusters_have_read_them_for_a_while() {
    for kind in BOTH {
        let sources = sources(kind).await;
        let place = &sources.database;
        let mut ahead = watched(&sources).await;
        let behind = Cluster::begin(place).await;
        let ids = [Uuid::new_v4(), Uuid::new_v4()];
        let notes = async || place.rows("SELECT id FROM invalidation_outbox").await.len();
        // Ten minutes pass.
        let past = match kind {
            Kind::Postgres => "now() AT TIME ZONE 'utc' - INTERVAL '11 minutes'",
            Kind::Sqlite => "strftime('%Y-%m-%d %H:%M:%f', 'now', '-11 minutes') || '000'",
        };
        let later = format!("UPDATE invalidation_outbox_state SET next_since = {past}");
        let mut known = vec![];
        for _ in 0..3 {
            sources.write(11, 1).await;
            sources.write(11, 2).await;
            ahead.read().await;
        }
        let before = notes().await;
        for round in 0..4 {
            let reported = consumer(ids[0], &known, &ahead.consumed);
            assert_eq!(ahead.outbox.report(&reported).await.unwrap(), Reported::Ours, "{kind:?}");
            known.push(reported.nonce);
            if round == 0 {
                let reported = consumer(ids[1], &[], &behind.consumed);
                assert_eq!(behind.outbox.report(&reported).await.unwrap(), Reported::Ours, "{kind:?}");
            }
            ahead.outbox.trim().await.unwrap();
            place.execute(&later).await;
        }
        // Those from before it began: what it has not read is there.
        assert_eq!(behind.outbox.backlog(Some(&behind.consumed)).await.unwrap(), 6, "{kind:?}: of {before}");
        let mut read = Cluster { outbox: behind.outbox.clone(), consumed: behind.consumed.clone() };
        assert_eq!(read.read().await.discontinuity, None, "{kind:?}");

        // It is not seen for an hour.
        let gone = past.replace("11 minutes", "61 minutes");
        let gone = format!(
            "UPDATE invalidation_outbox_consumer SET seen_at = {gone} WHERE epoch = 'epoch-1' AND cluster = '{}'",
            ids[1]
        );
        place.execute(&gone).await;
        // SQLite keeps the last note that was read.
        let left = usize::from(kind == Kind::Sqlite);
        let patience = Instant::now() + Duration::from_secs(60);
        while notes().await != left {
            assert!(Instant::now() < patience, "{kind:?}: {} notes are left", notes().await);
            // A transaction in any database of the server keeps later notes in doubt, also one of another test.
            ahead.read().await;
            let reported = consumer(ids[0], &known, &ahead.consumed);
            ahead.outbox.report(&reported).await.unwrap();
            known.push(reported.nonce);
            ahead.outbox.trim().await.unwrap();
            place.execute(&later).await;
        }
        assert_eq!(ahead.read().await.discontinuity, None, "{kind:?}");
        let returns = behind.outbox.read(Some(&behind.consumed)).await.unwrap();
        assert_eq!(returns.discontinuity, Some(Discontinuity::Trimmed), "{kind:?}");
    }
}

#[tokio::test]
async fn two_clusters_with_one_id_are_told_apart() {
    for kind in BOTH {
        let sources = sources(kind).await;
        let cluster = watched(&sources).await;
        let (outbox, id) = (&cluster.outbox, Uuid::new_v4());
        assert_eq!(outbox.reported(id).await.unwrap(), None, "{kind:?}");
        let first = consumer(id, &[], &cluster.consumed);
        assert_eq!(outbox.report(&first).await.unwrap(), Reported::Ours, "{kind:?}");
        let clone = consumer(id, &[first.nonce], &cluster.consumed);
        assert_eq!(outbox.report(&clone).await.unwrap(), Reported::Ours, "{kind:?}: it knows the nonce");
        let again = consumer(id, &[first.nonce], &cluster.consumed);
        assert_eq!(outbox.report(&again).await.unwrap(), Reported::AnotherHolder, "{kind:?}");
        let row = outbox.reported(id).await.unwrap();
        assert_eq!(row, Some((clone.nonce, clone.token)), "{kind:?}: and writes nothing");
    }
}

/// What a stored position looks like after the database was put back to an earlier state.
fn with_snapshot_in_the_future(consumed: &Consumed) -> Consumed {
    let mut json = serde_json::to_value(consumed).unwrap();
    json["up_to"]["Snapshot"] = "900000000:900000000:".into();
    serde_json::from_value(json).unwrap()
}

fn with(consumed: &Consumed, pointer: &str, value: &str) -> Consumed {
    let mut json = serde_json::to_value(consumed).unwrap();
    *json.pointer_mut(pointer).unwrap() = value.into();
    serde_json::from_value(json).unwrap()
}

#[tokio::test]
async fn a_database_that_was_put_back_or_exchanged_continues_nothing() {
    let sources = sources(Kind::Postgres).await;
    let cluster = watched(&sources).await;
    for (before, expected) in [
        (with_snapshot_in_the_future(&cluster.consumed), Discontinuity::Restored),
        (with(&cluster.consumed, "/server/timeline", "0000002A"), Discontinuity::Restored),
        (with(&cluster.consumed, "/server/identity", "7.7"), Discontinuity::AnotherServer),
    ] {
        let reading = cluster.outbox.read(Some(&before)).await.unwrap();
        assert_eq!((reading.discontinuity, reading.changes.len()), (Some(expected), 0));
        assert!(!cluster.outbox.is_consumed(&before).await.unwrap());
    }
}

#[tokio::test]
async fn a_file_that_was_put_back_continues_nothing_whatever_was_written_since() {
    let sources = sources(Kind::Sqlite).await;
    let mut cluster = watched(&sources).await;
    sources.write(11, 1).await;
    cluster.read().await;
    sources.database.rows("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let backup = std::fs::read(sources.database.file()).unwrap();
    sources.write(11, 2).await;
    cluster.read().await;
    let restored = database(Kind::Sqlite).await;
    std::fs::write(restored.file(), backup).unwrap();
    // A new note has the id of the lost one.
    restored.execute("UPDATE enhanced_content_strategies SET name = 'other' WHERE id = 11").await;
    let outbox = Outbox::new(restored.connect().await.into());
    let reading = outbox.read(Some(&cluster.consumed)).await.unwrap();
    assert_eq!(reading.discontinuity, Some(Discontinuity::Restored));
}

#[tokio::test]
async fn too_many_notes_are_not_read_and_too_many_users_are_everyone() {
    for kind in BOTH {
        let sources = sources(kind).await;
        let mut cluster = watched(&sources).await;
        let many = |from: i32, to: i32| match kind {
            Kind::Postgres => format!(
                "INSERT INTO onboarding_sessions (user_id) SELECT 'u' || n FROM generate_series({from}, {to}) n"
            ),
            Kind::Sqlite => format!(
                "INSERT INTO onboarding_sessions (user_id) WITH RECURSIVE n(n) AS \
                 (SELECT {from} UNION ALL SELECT n + 1 FROM n WHERE n < {to}) SELECT 'u' || n FROM n"
            ),
        };
        sources.database.execute(&many(1, 20_000)).await;
        let limited = cluster.outbox.clone().with_backlog_max(19_999);
        let reading = limited.read(Some(&cluster.consumed)).await.unwrap();
        assert_eq!(reading.discontinuity, Some(Discontinuity::Backlog), "{kind:?}");
        let reading = cluster.outbox.read(Some(&cluster.consumed)).await.unwrap();
        assert_eq!((reading.rows, reading.changes.len()), (20_000, 20_000), "{kind:?}");
        sources.database.execute(&many(20_001, 20_001)).await;
        let reading = cluster.read().await;
        assert_eq!(reading.changes.len(), 1, "{kind:?}");
        assert!(matches!(reading.changes[0], Invalidation::OfEveryone(_)), "{kind:?}");
    }
}

#[tokio::test]
async fn an_owner_that_an_error_hides_is_everyone() {
    let sources = sources(Kind::Postgres).await;
    sources.add_user("a", &[11]).await;
    userdata::changes::install(&sources.db).await.unwrap();
    let role = format!("relay_{}", Uuid::new_v4().simple());
    let place = &sources.database;
    place.execute(&format!("CREATE ROLE {role} LOGIN")).await;
    for (rights, table) in userdata::changes::WRITTEN.map(|(table, rights)| (rights.join(", "), table)) {
        place.execute(&format!("GRANT {rights} ON {table} TO {role}")).await;
    }
    let outbox = Outbox::new(place.connect_as(&role).await.into());
    let consumed = outbox.read(None).await.unwrap().consumed;
    place.execute("INSERT INTO website_analyses (session_id, website_url) VALUES (1, 'w')").await;
    sources.write(11, 1).await;
    let reading = outbox.read(Some(&consumed)).await.unwrap();
    let told = told(&reading);
    assert_eq!(told[0], format!("* {}", bits(&[Onboarding])), "{told:?}");
    assert!(told.len() == 2 && told[1].starts_with("a/11 "), "a user in the row itself is known: {told:?}");
    for (table, _) in userdata::changes::read_for_owners() {
        place.execute(&format!("GRANT SELECT ON {table} TO {role}")).await;
    }
    let reading = outbox.read(Some(&consumed)).await.unwrap();
    assert_eq!(super::told(&reading)[0], format!("a {}", bits(&[Onboarding])));
    place.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
