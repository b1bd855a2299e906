//! The log's database is restored while no instance runs, and Redis keeps what was read in the lost time.

use sea_orm::ConnectionTrait;
use userdata::proto::v1::CacheStatus;

use testkit::{
    ask::{Answer, everything_of, get, invalidate, of},
    cluster::{Cluster, Layout, cluster},
    server::Server,
    wait_for,
};

const USERS: i32 = 15;
/// What a backup of the cache's database contains.
const TABLES: [&str; 3] = ["invalidation_log", "invalidation_log_head", "comprehensive_user_data_cache"];

/// Fifteen users whose documents are in Redis.
async fn stored() -> (Cluster, Server) {
    let cluster = cluster(Layout::PostgresBesidePostgres).await.with_redis().await;
    for user in 1..=USERS {
        cluster.sources.add_user(&user.to_string(), &[user]).await;
    }
    let server = cluster.serve().await;
    invalidate(&server.client().await, everything_of("nobody")).await.unwrap();
    ask_all(&server).await;
    all_are_in_redis(&cluster).await;
    (cluster, server)
}

async fn ask_all(server: &Server) -> Vec<Answer> {
    let client = server.client().await;
    let mut answers = Vec::new();
    for user in 1..=USERS {
        answers.push(get(&client, of(&user.to_string())).await.unwrap());
    }
    answers
}

async fn invalidate_all(server: &Server) {
    let client = server.client().await;
    for user in 1..=USERS {
        invalidate(&client, everything_of(&user.to_string())).await.unwrap();
    }
}

async fn all_are_in_redis(cluster: &Cluster) {
    let redis = cluster.redis.as_ref().unwrap();
    // A record and an index each.
    wait_for("all records", async || (redis.keys_of_users().await == 2 * i64::from(USERS)).then_some(())).await;
    wait_for("all rows", async || (cluster.rows().await == i64::from(USERS)).then_some(())).await;
}

async fn write_all(cluster: &Cluster, count: i64) {
    for user in 1..=USERS {
        cluster.sources.write(user, count).await;
    }
}

async fn back_up(cluster: &Cluster) {
    for table in TABLES {
        run(cluster, &format!("CREATE TABLE backup_of_{table} AS SELECT * FROM {table}")).await;
    }
}

async fn restore(cluster: &Cluster) {
    for table in TABLES {
        run(cluster, &format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM backup_of_{table}")).await;
    }
}

async fn run(cluster: &Cluster, sql: &str) {
    cluster.cache.execute_unprepared(sql).await.unwrap();
}

/// The position and the epoch of a token.
fn position(token: &str) -> (String, i64) {
    let (epoch, position) = token.rsplit_once(':').unwrap();
    (epoch.to_owned(), position.parse().unwrap())
}

/// Invalidations of another user, until positions up to that of `token` are given a second time, or another epoch begins.
async fn reuse_positions(server: &Server, token: &str) {
    let client = server.client().await;
    let (epoch, lost) = position(token);
    wait_for("positions to be given again", async || {
        let now = position(&invalidate(&client, everything_of("nobody")).await.unwrap());
        (now.0 != epoch || now.1 > lost).then_some(())
    })
    .await;
}

/// No answer is of the lost time, and the service caches as before.
async fn nothing_lost_is_served(cluster: &Cluster, server: &Server, lost: i64, now: i64) {
    let answers = ask_all(server).await;
    let revived: Vec<&Answer> = answers.iter().filter(|answer| answer.count == lost).collect();
    assert!(
        revived.is_empty(),
        "{} of {USERS} answers are of the lost time: {revived:?}\n{}",
        revived.len(),
        server.log()
    );
    assert!(answers.iter().all(|answer| answer.facts() == (CacheStatus::Assembled, now)), "{answers:?}");
    all_are_in_redis(cluster).await;
    let again = ask_all(server).await;
    assert!(again.iter().all(|answer| answer.facts() == (CacheStatus::HitMemory, now)), "{again:?}");
}

/// A document and the invalidations before it are lost, and other invalidations get their positions.
async fn lose_documents(cluster: &Cluster, server: &mut Server) -> String {
    back_up(cluster).await;
    write_all(cluster, 1).await;
    invalidate_all(server).await;
    let last = ask_all(server).await.pop().unwrap();
    assert_eq!(last.facts(), (CacheStatus::Assembled, 1));
    all_are_in_redis(cluster).await;
    last.token
}

/// Everything is invalidated, and Redis keeps its copies: dropping them is best effort.
async fn invalidate_but_keep_records(cluster: &Cluster, server: &Server) {
    const SAVE: &str =
        "for _,k in ipairs(redis.call('KEYS','*:{*}:*')) do redis.call('HSET','saved',k,redis.call('DUMP',k)) end";
    const PUT_BACK: &str = "local saved=redis.call('HGETALL','saved') \
        for i=1,#saved,2 do redis.call('RESTORE',saved[i],0,saved[i+1],'REPLACE') end";
    let redis = cluster.redis.as_ref().unwrap();
    redis.command(&format!("EVAL \"{SAVE}\" 0")).await;
    invalidate_all(server).await;
    redis.command(&format!("EVAL \"{PUT_BACK}\" 0")).await;
    let all = 2 * i64::from(USERS);
    assert_eq!(redis.keys_of_users().await, all, "as before");
}

#[tokio::test]
async fn documents_of_a_lost_time_stay_lost_though_positions_are_given_again() {
    let (cluster, mut server) = stored().await;
    let token = lose_documents(&cluster, &mut server).await;
    server.kill().await;
    restore(&cluster).await;
    write_all(&cluster, 2).await;
    server.start().await;
    reuse_positions(&server, &token).await;
    nothing_lost_is_served(&cluster, &server, 1, 2).await;
}

#[tokio::test]
async fn a_lost_invalidation_still_outdates_what_redis_has() {
    let (cluster, mut server) = stored().await;
    back_up(&cluster).await;
    write_all(&cluster, 1).await;
    invalidate_but_keep_records(&cluster, &server).await;
    server.kill().await;
    restore(&cluster).await;
    server.start().await;
    nothing_lost_is_served(&cluster, &server, 0, 1).await;
}

#[tokio::test]
async fn redis_that_answers_later_is_compared_before_it_is_read() {
    let (mut cluster, mut server) = stored().await;
    let token = lose_documents(&cluster, &mut server).await;
    server.kill().await;
    restore(&cluster).await;
    write_all(&cluster, 2).await;
    assert_eq!(cluster.redis().command("SAVE").await, "+OK");
    cluster.redis().kill().await;
    server.start().await;
    reuse_positions(&server, &token).await;
    cluster.redis().start().await;
    // Until then the rows of the backup are served.
    let lost_epoch = position(&token).0;
    wait_for("another epoch", async || {
        let answers = ask_all(&server).await;
        assert!(answers.iter().all(|answer| answer.count != 1), "{answers:?}");
        (position(&answers[0].token).0 != lost_epoch).then_some(())
    })
    .await;
    write_all(&cluster, 3).await;
    invalidate_all(&server).await;
    nothing_lost_is_served(&cluster, &server, 1, 3).await;
}

#[tokio::test]
async fn an_instance_that_starts_beside_a_living_one_serves_nothing_lost() {
    let (cluster, mut server) = stored().await;
    let token = lose_documents(&cluster, &mut server).await;
    let mut other = cluster.serve().await;
    server.kill().await;
    restore(&cluster).await;
    write_all(&cluster, 2).await;
    server.start().await;
    reuse_positions(&server, &token).await;
    nothing_lost_is_served(&cluster, &server, 1, 2).await;
    other.kill().await;
}

#[tokio::test]
async fn an_epoch_that_has_ended_is_not_gone_on_with() {
    let (cluster, mut server) = stored().await;
    back_up(&cluster).await;
    let before = position(&ask_all(&server).await[0].token).0;
    // Another epoch begins, and an invalidation in it.
    run(&cluster, "DELETE FROM invalidation_log; UPDATE invalidation_log_head SET position = 0").await;
    let client = server.client().await;
    let token = wait_for("another epoch", async || {
        let token = invalidate(&client, everything_of("nobody")).await.ok()?;
        (position(&token).0 != before).then_some(token)
    })
    .await;
    write_all(&cluster, 1).await;
    invalidate_but_keep_records(&cluster, &server).await;
    server.kill().await;
    restore(&cluster).await;
    server.start().await;
    nothing_lost_is_served(&cluster, &server, 0, 1).await;
    let now = position(&ask_all(&server).await[0].token).0;
    assert!(now != before && now != position(&token).0, "{now}");
}

#[tokio::test]
async fn a_restart_without_a_loss_finds_everything_in_redis() {
    let (cluster, mut server) = stored().await;
    let before = ask_all(&server).await.pop().unwrap();
    invalidate(&server.client().await, everything_of("nobody")).await.unwrap();
    server.kill().await;
    run(&cluster, "DELETE FROM comprehensive_user_data_cache").await;
    server.start().await;
    let after = ask_all(&server).await;
    assert!(after.iter().all(|answer| answer.status == CacheStatus::HitRedis), "{after:?}");
    assert_eq!(position(&after[0].token).0, position(&before.token).0);
}
