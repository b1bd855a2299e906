//! What the doctor says of Redis: rights, URLs, certificates.

use testkit::redis::{
    Redis, redis,
    shards::{Shards, shards, shards_of_full_coverage},
};

use super::*;

const READ_ONLY: &str = "ACL SETUSER app on >secret allkeys allchannels +@all -@scripting";

/// With settings of Redis, and no other problem than what it says of Redis.
async fn of_redis(more: &[(&str, &str)]) -> Report {
    let database = database(Kind::Sqlite).await;
    // A busy machine may answer late.
    doctor_of(&database, &[more, &[("USERDATA__REDIS__TIMEOUT", "10s")]].concat()).await
}

async fn as_user(redis: &Redis, acl: &str) -> Report {
    assert_eq!(redis.command(acl).await, "+OK", "{acl}");
    let url = redis.url().replace("redis://", "redis://app:secret@");
    of_redis(&[("USERDATA__REDIS__URL", &url)]).await
}

#[tokio::test]
async fn a_redis_that_can_be_read_and_not_written_is_told() {
    let redis = redis().await;
    let said = as_user(&redis, READ_ONLY).await;
    said.has("redis rights", "FAIL", "cannot store documents: Redis failed: ", "ACL SETUSER");
    said.has("redis rights", "FAIL", "cannot drop documents", "docs/operating.md");
    assert!(!said.text.contains("secret"), "{}", said.text);
}

#[tokio::test]
async fn a_user_with_fewer_rights_than_an_instance_needs_is_told_and_one_without_info_is_well() {
    let redis = redis().await;
    let said = as_user(&redis, "ACL SETUSER app on >secret allkeys +@all -@dangerous").await;
    said.has("redis", "OK", "may not ask for version, role and memory (INFO)", "");
    said.has("redis rights", "OK", "stored, read, dropped and erased", "");
    let said = as_user(&redis, "ACL SETUSER app -scan").await;
    said.has("redis rights", "FAIL", "cannot erase a user", "ACL SETUSER");
    let said = as_user(&redis, "ACL SETUSER app resetkeys ~other:*").await;
    said.has("redis rights", "FAIL", "cannot read documents", "ACL SETUSER");
    assert_eq!(redis.command("DBSIZE").await, ":0", "nothing of the doctor's is left");
}

#[tokio::test]
async fn parameters_without_effect_are_told_without_their_values() {
    let redis = redis().await;
    let url = format!("{}?user=app&password=hunter2", redis.url());
    let said = of_redis(&[("USERDATA__REDIS__URL", &url)]).await;
    said.has("redis url", "WARN", "no effect: user, password", "docs/operating.md");
    assert!(!said.text.contains("hunter2"), "{}", said.text);
}

/// Which rights an instance needs, for operators.
const RIGHTS: &str = include_str!("../../../docs/operating.md");

/// What it says of a cluster whose user has no other rights than those.
async fn of_cluster(shards: &Shards) -> Report {
    let url = shards.url().replace("redis-cluster://", "redis-cluster://userdata:PASSWORD@");
    of_redis(&[("USERDATA__REDIS__URL", &url)]).await
}

async fn grant(shards: &Shards) {
    let acl = RIGHTS.lines().find(|line| line.starts_with("ACL SETUSER userdata ")).expect("the line is there");
    for node in shards.masters.iter().chain([&shards.replica]) {
        assert_eq!(node.command(acl).await, "+OK");
    }
}

#[tokio::test]
async fn a_master_of_a_cluster_that_is_away_is_named_and_the_others_are_examined() {
    let mut shards = shards().await;
    grant(&shards).await;
    let said = of_cluster(&shards).await;
    said.has("redis rights", "OK", "stored, read, dropped and erased", "");
    said.has("redis notifications", "OK", "a message arrives", "");
    let away = format!("the master 127.0.0.1:{} cannot be reached", shards.masters[1].port);
    shards.masters[1].kill().await;
    let said = of_cluster(&shards).await;
    said.has("redis nodes", "FAIL", &away, "start it, or let a replica take over");
    said.has("redis", "OK", "answers", "");
    said.has("redis rights", "OK", "stored, read and dropped", "");
    said.has("redis notifications", "OK", "a message arrives", "");
}

#[tokio::test]
async fn a_cluster_that_refuses_every_key_is_told_with_the_setting_that_helps() {
    let mut shards = shards_of_full_coverage().await;
    grant(&shards).await;
    shards.masters[1].kill().await;
    shards.refuse_without(1).await;
    let said = of_cluster(&shards).await;
    said.has("redis nodes", "FAIL", "cannot be reached", "start it");
    said.has("redis rights", "FAIL", "CLUSTERDOWN", "cluster-require-full-coverage no");
}
