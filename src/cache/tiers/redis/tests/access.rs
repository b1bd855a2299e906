//! Who may do what in Redis, and how one gets there: rights, passwords, certificates.

use servers::{
    pki::{Authority, HOST},
    redis::sentinels::sentinels,
};

use super::*;

const WAIT: Duration = Duration::from_secs(10);
/// The line for operators, which this test tries.
const RIGHTS: &str = include_str!("../../../../../docs/operating.md");

fn settings(url: String) -> config::RedisSettings {
    let timeout = Duration::from_millis(500);
    config::RedisSettings { url: Some(Secret::new(url)), timeout, ..config::RedisSettings::default() }
}

async fn tier_with(config: &config::RedisSettings) -> RedisTier {
    RedisTier::connect(config, Clock::system()).await.unwrap()
}

/// A tier that logs in as a user `app` with such rights.
async fn as_user(server: &Redis, acl: &str) -> RedisTier {
    assert_eq!(server.command(acl).await, "+OK", "{acl}");
    let user = acl.split_whitespace().nth(2).unwrap();
    let tier = tier_at(server.url().replace("redis://", &format!("redis://{user}:PASSWORD@"))).await;
    assert!(tier.connected_within(WAIT).await);
    tier
}

/// Everything that an instance does.
async fn check_all(tier: &RedisTier) {
    let snapshot = snapshot("1", None, 0);
    tier.put_by(None, &snapshot, 0).await.unwrap();
    assert!(tier.get(&snapshot.key).await.unwrap().is_some());
    assert_eq!(tier.remove(&scope("1", None)).await.unwrap(), 1);
    tier.put_by(None, &snapshot, 0).await.unwrap();
    assert!(tier.purge(&snapshot.key.user).await.unwrap() > 0);
    tier.publish("1".to_owned()).await.unwrap();
}

#[tokio::test]
async fn the_rights_that_operators_are_told_to_grant_are_enough() {
    let acl = RIGHTS.lines().find(|line| line.starts_with("ACL SETUSER userdata ")).expect("the line is there");
    let server = redis().await;
    let tier = as_user(&server, acl).await;
    check_all(&tier).await;
    let mut subscriber =
        Subscriber::connect(&settings(server.url().replace("//", "//userdata:PASSWORD@"))).await.unwrap();
    let heard = async {
        loop {
            tier.publish("hello".to_owned()).await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(100), subscriber.next()).await;
            if matches!(next, Ok(SubscriberEvent::Messages(texts)) if texts.contains(&"hello".to_owned())) {
                return;
            }
        }
    };
    tokio::time::timeout(WAIT, heard).await.expect("a message arrives");
    // The circuit and the witness of the log are part of it too.
    assert_eq!((tier.guard.breaker.state(), tier.writes_state()), ("closed", "closed"));
    // fred asks for the version as it connects, and does without it.
    let denied = server.reply("ACL LOG").await.unwrap();
    let mut lines = denied.lines();
    while lines.by_ref().any(|line| line == "object") {
        assert_eq!(lines.nth(1), Some("info"), "{denied}");
    }
}

#[tokio::test]
async fn writes_without_rights_are_skipped_until_they_are_granted_and_reads_go_on() {
    let server = redis().await;
    let tier = as_user(&server, "ACL SETUSER app on >PASSWORD ~* &* +@all -@scripting").await;
    let snapshot = snapshot("1", None, 0);
    for _ in 0..FAILURES_MAX {
        let refused = tier.put_by(None, &snapshot, 0).await.unwrap_err().line();
        assert!(refused.contains("NOPERM"), "{refused}");
        assert!(tier.get(&snapshot.key).await.unwrap().is_none(), "reads go on");
    }
    assert_eq!((tier.guard.breaker.state(), tier.writes_state()), ("closed", "open"));
    let tried = async || {
        let stats = server.reply("INFO commandstats").await.unwrap();
        stats.lines().find(|line| line.starts_with("cmdstat_eval:")).map(str::to_owned)
    };
    let before = tried().await;
    assert!(before.is_some());
    assert!(matches!(tier.put_by(None, &snapshot, 0).await, Err(TierError::Open)));
    assert_eq!(tried().await, before, "it is not even tried");

    assert_eq!(server.command("ACL SETUSER app +@scripting").await, "+OK");
    tier.clock.advance(Duration::from_secs(5));
    tier.put_by(None, &snapshot, 0).await.unwrap();
    assert_eq!(tier.writes_state(), "closed");
}

#[tokio::test]
async fn a_refused_login_is_the_reason_of_every_failed_call() {
    let server = redis().await;
    assert_eq!(server.command("ACL SETUSER app on >right ~* &* +@all").await, "+OK");
    let tier = tier_at(server.url().replace("redis://", "redis://app:wrong@")).await;
    let refused = |line: &str| line.contains("not connected: ") && line.contains("WRONGPASS");
    eventually("the refusal is known", || async { refused(&tier.not_connected().line()) }).await;
    let snapshot = snapshot("1", None, 0);
    let failed = [
        tier.publish("1".to_owned()).await.unwrap_err(),
        tier.put_by(None, &snapshot, 0).await.unwrap_err(),
        tier.get(&snapshot.key).await.unwrap_err(),
    ];
    assert!(failed.iter().all(|error| refused(&error.line())), "{failed:?}");

    assert_eq!(server.command("ACL SETUSER app >wrong").await, "+OK");
    assert!(tier.connected_within(WAIT).await);
    check_all(&tier).await;
}

#[tokio::test]
async fn a_redis_without_memory_is_tried_with_each_document() {
    let (server, tier) = connected().await;
    assert_eq!(server.command("CONFIG SET maxmemory 1").await, "+OK");
    for _ in 0..=FAILURES_MAX {
        let refused = tier.put_by(None, &snapshot("1", None, 0), 0).await.unwrap_err().line();
        assert!(refused.contains("OOM"), "{refused}");
    }
    assert_eq!(tier.writes_state(), "closed");
}

#[tokio::test]
async fn sentinels_have_a_password_of_their_own() {
    let group = sentinels().await;
    group.protect("hush").await;
    let without = tier_at(group.url()).await;
    let with = tier_at(format!("{}&sentinelPassword=hush", group.url())).await;
    assert!(with.connected_within(WAIT).await);
    check_all(&with).await;
    assert!(!client(&without).is_connected());
}

/// Options for TLS on a second port, certified by an authority of its own for [`HOST`].
fn by_tls(authority: &Authority, more: &str) -> String {
    authority.certify_node();
    let file = |name: &str| authority.file(name).display().to_string();
    format!(
        "--tls-port TLS --tls-cert-file {} --tls-key-file {} --tls-ca-cert-file {} {more}",
        file("cert"),
        file("key"),
        file("redis-ca")
    )
}

#[tokio::test]
async fn an_own_authority_a_client_certificate_and_stated_names_are_enough_for_tls() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path(), "redis");
    let server = redis_with(&by_tls(&authority, "--tls-auth-clients yes")).await;
    authority.certify_client(&["spiffe://userdata"]);
    let file = |name: &str| Some(authority.file(name));
    // An address, while the certificate is for a name.
    let by_address = settings(format!("rediss://127.0.0.1:{}", server.tls_port));
    let trusted = config::RedisSettings {
        ca: file("redis-ca"),
        cert: file("client"),
        key: file("client-key"),
        ..by_address.clone()
    };
    let named = config::RedisSettings { server_names: format!("other.example, {HOST}"), ..trusted.clone() };
    let tier = tier_with(&named).await;
    assert!(tier.connected_within(WAIT).await);
    check_all(&tier).await;
    let misnamed = config::RedisSettings { server_names: "other.example".to_owned(), ..trusted.clone() };
    let anonymous = config::RedisSettings { cert: None, key: None, ..named.clone() };
    for (what, config) in
        [("untrusted", &by_address), ("unnamed", &trusted), ("misnamed", &misnamed), ("anonymous", &anonymous)]
    {
        assert!(!tier_with(config).await.connected_within(Duration::from_secs(1)).await, "{what}");
    }
    let missing = config::RedisSettings { ca: Some(directory.path().join("none.pem")), ..named };
    let error = RedisTier::connect(&missing, Clock::system()).await.unwrap_err().line();
    assert!(error.contains("redis.ca (") && error.contains("none.pem"), "{error}");
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let hanging = config::RedisSettings { ca: Some(fifo), ..missing };
    let error = RedisTier::connect(&hanging, Clock::system()).await.unwrap_err().line();
    assert!(error.contains("it is not a regular file"), "{error}");
}
