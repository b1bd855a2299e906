//! What the doctor says of Redis: rights, URLs, certificates.

use testkit::redis::{Redis, redis};

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
