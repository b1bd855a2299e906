//! An instance that is killed at any moment, under writes and invalidations, again and again: what was
//! acknowledged holds, what is found afterwards is whole, and a verified answer comes soon.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use sea_orm::{Database, DatabaseConnection};
use tokio::time::Instant;
use userdata::model::{UserHash, UserId};
use userdata::proto::v1::{
    CacheStatus, ComprehensiveUserData, GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse,
};

use testkit::{
    ask::{Answer, of, stats},
    assembly::scalar,
    cluster::{Cluster, Layout, cluster},
    database::Kind,
    oracle::{Oracle, User, users},
    server::{Client, Server, serve},
    wait_for,
};

const USERS: i32 = 6;
/// Of each kind of database, in every run of the tests; and when there is time.
const FEW_KILLS: usize = 5;
const MANY_KILLS: usize = 30;
/// From the start of the process; what is expected is a second.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Whom the dead process was loading at that moment waits until its lease has stood still for five seconds.
const ANSWERS_EVERYBODY_WITHIN: Duration = Duration::from_secs(10);

async fn ask(client: &Client, request: GetComprehensiveUserDataRequest) -> GetComprehensiveUserDataResponse {
    client.clone().get_comprehensive_user_data(request).await.unwrap().into_inner()
}

/// Every acknowledged invalidation is in the log.
async fn nothing_acknowledged_is_lost(db: &DatabaseConnection, users: &[Arc<User>]) {
    let log = "SELECT CAST(position AS TEXT) || ' ' || CAST(user_hash AS TEXT) AS entry FROM invalidation_log";
    let log: BTreeSet<String> = texts(db, log).await.into_iter().collect();
    for user in users {
        let hash = UserHash::of(&UserId::parse(&user.name).unwrap()).column();
        for token in user.tokens() {
            let (_, position) = token.rsplit_once(':').unwrap();
            assert!(log.contains(&format!("{position} {hash}")), "{token} of {} is lost", user.name);
        }
    }
}

async fn texts(db: &DatabaseConnection, sql: &str) -> Vec<String> {
    use sea_orm::{ConnectionTrait, Statement};
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows.into_iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// What is on the disk, opened as after a crash: the test's own connections would not have to repair anything.
async fn a_copy_of_the_file_is_whole(cluster: &Cluster, users: &[Arc<User>]) {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("userdata.db");
    let file = cluster.database().file();
    std::fs::copy(file, &copy).unwrap();
    std::fs::copy(format!("{file}-wal"), directory.path().join("userdata.db-wal")).unwrap();
    let copy = Database::connect(format!("sqlite://{}", copy.display())).await.unwrap();
    assert_eq!(scalar(&copy, "PRAGMA integrity_check").await.as_deref(), Some("ok"));
    nothing_acknowledged_is_lost(&copy, users).await;
    copy.close().await.unwrap();
}

/// The document without the time at which it was made.
fn dateless(response: &GetComprehensiveUserDataResponse) -> ComprehensiveUserData {
    let mut document = response.data.clone().unwrap();
    document.ai_analysis_results.as_mut().unwrap().analysis_date = None;
    for window in &mut document.performance_data.as_mut().unwrap().windows {
        (window.since, window.until) = (None, None);
    }
    document
}

/// All of them are whole: one that is as new as the sources equals what these say now.
async fn answers_are_whole(client: &Client, users: &[Arc<User>], answers: &[GetComprehensiveUserDataResponse]) {
    let mut compared = 0;
    for (user, found) in users.iter().zip(answers) {
        let answer = Answer::of(found);
        assert_eq!(user.wrong(&answer, user.acknowledged()), None);
        let fresh = ask(client, GetComprehensiveUserDataRequest { force_refresh: true, ..of(&user.name) }).await;
        if answer.count == Answer::of(&fresh).count {
            assert!(dateless(found) == dateless(&fresh), "{answer:?}: {:?}, not {:?}", found.data, fresh.data);
            compared += 1;
        }
    }
    assert!(compared + 1 >= users.len(), "one invalidation at most was not acknowledged: {compared}");
    assert!(stats(client).await.tiers.iter().all(|tier| tier.garbage == 0), "something was torn");
}

async fn check_kills(layout: Layout, kills: usize) {
    let mut cluster = cluster(layout).await;
    if layout == Layout::Postgres {
        cluster = cluster.with_redis().await;
    }
    let users = users(&cluster, USERS).await;
    let mut server = serve(cluster.settings()).await;
    let (mut first, mut last): (Vec<Duration>, Vec<Duration>) = Default::default();
    let mut invalidations = 0;
    let mut statuses: BTreeMap<CacheStatus, usize> = BTreeMap::new();
    for kill in 0..kills {
        let oracle = Oracle::start(&cluster, &users, &server.client().await, None);
        // At another moment each time; some answers are in the tiers by then.
        oracle.more(20 + 7 * (kill % 5), 5 + kill % 7).await;
        oracle.assert_right("before the kill");
        server.kill().await;
        let seen = oracle.stop().await;
        assert!(seen.wrong.is_empty(), "{layout:?}: {}", seen.wrong[0]);
        invalidations += seen.invalidations;
        if cluster.database().kind() == Kind::Sqlite {
            a_copy_of_the_file_is_whole(&cluster, &users).await;
        }
        nothing_acknowledged_is_lost(&cluster.cache, &users).await;

        let started_at = Instant::now();
        server.start().await;
        let client = server.client().await;
        let asking = users.iter().map(async |user| (ask(&client, of(&user.name)).await, started_at.elapsed()));
        let (answers, took): (Vec<_>, Vec<_>) = join_all(asking).await.into_iter().unzip();
        first.extend(took.iter().min());
        last.extend(took.iter().max());
        for answer in &answers {
            *statuses.entry(Answer::of(answer).status).or_default() += 1;
        }
        answers_are_whole(&client, &users, &answers).await;
    }
    first.sort();
    last.sort();
    eprintln!(
        "{layout:?}: {kills} kills, {invalidations} invalidations kept; from start to a verified answer {:.1?} \
         (median), {:.1?} (slowest); to everybody's {:.1?}, {:.1?}; {statuses:?}",
        first[kills / 2],
        first[kills - 1],
        last[kills / 2],
        last[kills - 1]
    );
    // Medians: a busy machine may be slow once.
    assert!(first[kills / 2] <= ANSWERS_WITHIN, "{layout:?}: {first:?}");
    assert!(last[kills / 2] <= ANSWERS_EVERYBODY_WITHIN, "{layout:?}: {last:?}");
    everything_is_found(&cluster, &mut server, &users).await;
}

/// Once nothing is written any more, a kill costs no document.
async fn everything_is_found(cluster: &Cluster, server: &mut Server, users: &[Arc<User>]) {
    wait_for("all documents to be found after a kill", async || {
        wait_for("rows", async || (cluster.rows().await == i64::from(USERS)).then_some(())).await;
        server.kill().await;
        server.start().await;
        let client = server.client().await;
        let answers = join_all(users.iter().map(async |user| ask(&client, of(&user.name)).await)).await;
        let found = |answer| matches!(Answer::of(answer).status, CacheStatus::HitRedis | CacheStatus::HitDatabase);
        answers.iter().all(found).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_on_a_file_can_be_killed_at_any_moment() {
    check_kills(Layout::Sqlite, FEW_KILLS).await;
}

#[tokio::test]
async fn an_instance_on_postgres_can_be_killed_at_any_moment() {
    check_kills(Layout::Postgres, FEW_KILLS).await;
}

#[tokio::test]
#[ignore = "takes minutes; few kills are always tested"]
async fn instances_can_be_killed_many_times() {
    for layout in [Layout::Sqlite, Layout::Postgres] {
        check_kills(layout, MANY_KILLS).await;
    }
}
