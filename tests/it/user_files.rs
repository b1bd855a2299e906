//! Where each user has a SQLite file, the service reads it without touching it, and notices its changes.

mod folder;
mod generations;
mod many;
mod operator;

use std::{fs, process::Command, time::Duration};

use tokio::time::Instant;
use tonic::Code;
use userdata::proto::v1::{CacheStatus, Freshness};

use testkit::{
    ask::{self, Answer, get, of, reason},
    redis::redis,
    server::{Client, serve},
    sqlite_writer::SqliteWriter,
    user_folder::{UserFolder, count},
    wait_for,
};

/// The poll and the lease, and some more.
const PROMISED: Duration = Duration::from_millis(900);
/// What a busy machine needs to see a change, with unverified answers in the meantime.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

async fn answer(client: &Client, user: &str) -> Answer {
    get(client, of(user)).await.unwrap_or_else(|status| panic!("user {user}: {status:?}"))
}

/// Asks until the answer has the count. From `written` and the promised time on, no verified answer may be older.
async fn seen(clients: &[&Client], user: &str, expected: i64, written: Instant, what: &str) {
    let mut slowest = Duration::ZERO;
    for client in clients {
        wait_for(what, async || {
            let asked = written.elapsed();
            let answer = answer(client, user).await;
            if answer.count == expected {
                return Some(());
            }
            assert!(!answer.verified || asked < PROMISED, "{what}: {answer:?} after {asked:?}");
            slowest = asked;
            None
        })
        .await;
    }
    assert!(slowest < SEEN_WITHIN, "{what}: seen after {slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_is_served_from_their_own_file() {
    let folder = UserFolder::new().await;
    folder.add("7", 70);
    folder.add("user_33Gz-x", 33);
    let server = serve(folder.settings()).await;
    let client = server.client().await;
    for (user, count) in [("7", 70), ("user_33Gz-x", 33)] {
        let first = answer(&client, user).await;
        assert_eq!((first.status, first.count, first.verified), (CacheStatus::Assembled, count, true), "{user}");
        let hit = answer(&client, user).await;
        assert_eq!((hit.status, hit.count, hit.verified), (CacheStatus::HitMemory, count, true), "{user}");
    }
    // An id that the application reduces to the name of another user's file has no rows in it.
    for user in ["8", "user_33Gz.-x", "../7", "..", "workspace_7/db"] {
        let refused = get(&client, of(user)).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "USER_NOT_FOUND"), "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_of_another_process_is_seen_in_time_by_every_instance() {
    let folder = UserFolder::new().await;
    folder.add("7", 0);
    let redis = redis().await;
    let settings = folder.settings().with("redis.url", redis.url());
    let (one, other) = (serve(settings.clone()).await, serve(settings).await);
    let clients = [&one.client().await, &other.client().await];
    for client in clients {
        answer(client, "7").await;
    }
    let mut next = 0;
    for mode in ["delete", "wal", "truncate"] {
        let mut writer = folder.writer("7");
        writer.execute(&format!("PRAGMA journal_mode={mode}"));
        for step in ["commit", "second commit", "commit and VACUUM", "commit and checkpoint"] {
            next += 1;
            count(&mut writer, next);
            match step {
                "commit and VACUUM" => writer.execute("VACUUM"),
                "commit and checkpoint" => writer.execute("PRAGMA wal_checkpoint(TRUNCATE)"),
                _ => {}
            }
            seen(&clients, "7", next, Instant::now(), &format!("{mode}: {step}")).await;
        }
        writer.execute("PRAGMA journal_mode=delete");
        writer.end();
    }

    // A restore: an older file in place of this one, with the times that it had.
    let (file, saved) = (folder.file("7"), folder.outside().join("saved.db"));
    assert!(Command::new("cp").arg("-p").args([&file, &saved]).status().unwrap().success());
    let mut writer = folder.writer("7");
    count(&mut writer, 1000);
    seen(&clients, "7", 1000, Instant::now(), "the write before the restore").await;
    writer.end();
    fs::rename(&saved, &file).unwrap();
    seen(&clients, "7", next, Instant::now(), "the restore").await;

    // A killed application.
    let mut writer = folder.writer("7");
    writer.execute("PRAGMA journal_mode=wal");
    count(&mut writer, 2000);
    let written = Instant::now();
    writer.kill();
    seen(&clients, "7", 2000, written, "the last commit of a killed application").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_appears_or_goes_is_noticed() {
    let folder = UserFolder::new().await;
    folder.add("1", 1);
    let server = serve(folder.settings()).await;
    let client = server.client().await;
    assert_eq!(get(&client, of("7")).await.unwrap_err().code(), Code::NotFound);
    folder.add("7", 5);
    let appeared = Instant::now();
    wait_for("the new user", async || get(&client, of("7")).await.ok().filter(|answer| answer.count == 5)).await;
    assert!(appeared.elapsed() < SEEN_WITHIN, "{:?}", appeared.elapsed());
    fs::remove_file(folder.file("7")).unwrap();
    let gone = Instant::now();
    wait_for("the user to be gone", async || get(&client, of("7")).await.err()).await;
    assert!(gone.elapsed() < SEEN_WITHIN, "{:?}", gone.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_in_a_tier_is_compared_with_the_file_before_it_is_served() {
    let folder = UserFolder::new().await;
    folder.add("7", 1);
    let mut server = serve(folder.settings()).await;
    let client = server.client().await;
    answer(&client, "7").await;
    wait_for("the row", async || (stored(&folder) == 1).then_some(())).await;
    server.terminate().await;
    server.start().await;
    let client = server.client().await;
    assert_eq!(answer(&client, "7").await.facts(), (CacheStatus::HitDatabase, 1));

    server.terminate().await;
    let mut writer = folder.writer("7");
    count(&mut writer, 2);
    server.start().await;
    let client = server.client().await;
    // At once: nobody watched the file meanwhile.
    let first = answer(&client, "7").await;
    assert_eq!((first.count, first.verified), (2, true));
}

/// Rows of the cache table.
fn stored(folder: &UserFolder) -> i64 {
    let mut writer = SqliteWriter::of(&folder.outside().join("cache/userdata.db"));
    let full = writer.try_execute(
        "CREATE TEMP TABLE one AS SELECT 1 FROM comprehensive_user_data_cache; SELECT 1 / (SELECT count(*) FROM one)",
    );
    i64::from(full == "done")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_looked_at_is_never_verified() {
    let folder = UserFolder::new().await;
    folder.add("7", 1);
    folder.add("8", 1);
    let server = serve(folder.settings()).await;
    let client = server.client().await;
    for user in ["7", "8"] {
        assert!(answer(&client, user).await.verified);
    }
    let away = folder.outside().join("away");
    fs::rename(folder.root(), &away).unwrap();
    let gone = Instant::now();
    let flagged =
        wait_for("an unverified answer", async || Some(answer(&client, "7").await).filter(|answer| !answer.verified));
    assert_eq!(flagged.await.count, 1, "the document is kept while nothing is known");
    assert!(gone.elapsed() < SEEN_WITHIN, "{:?}", gone.elapsed());
    for freshness in [Freshness::Strict, Freshness::Linearizable] {
        let mut request = of("7");
        request.set_freshness(freshness);
        assert_eq!(get(&client, request).await.unwrap_err().code(), Code::Unavailable, "{freshness:?}");
    }
    // Who has no file now is not known.
    assert_eq!(get(&client, of("9")).await.unwrap_err().code(), Code::Unavailable);
    fs::rename(&away, folder.root()).unwrap();
    wait_for("a verified answer", async || Some(answer(&client, "7").await).filter(|answer| answer.verified)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_costs_its_own_user_only() {
    let folder = UserFolder::new().await;
    folder.add("7", 1);
    folder.add("8", 1);
    fs::write(folder.file("8"), vec![b'x'; 4096]).unwrap();
    let server = serve(folder.settings()).await;
    let client = server.client().await;
    for _ in 0..8 {
        let refused = ask::get(&client, of("8")).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "SOURCE_FAILED"));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(answer(&client, "7").await.verified);
}
