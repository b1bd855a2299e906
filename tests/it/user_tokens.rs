//! Users' own tokens (JWT): whose documents they entitle to, where their keys come from, and how they end.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt as _, stream};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    codec::CompressionEncoding,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest::ListServices,
};
use userdata::{
    grpc::middleware::auth::digest,
    proto::v1::{
        CleanupCacheRequest, GetCacheStatsRequest, GetComprehensiveUserDataRequest, InvalidateCacheRequest,
        WarmCacheRequest, WarmItem, user_data_service_client::UserDataServiceClient,
    },
};

use testkit::{
    ai::{FakeAi, Say},
    ask::{of, reason},
    command::userdata_with,
    database::{Kind, TestDatabase, database},
    http::HttpRequest,
    jwt::{AUDIENCE, ISSUER, Issuer, claims, key_set, now},
    server::{Server, Settings, serve},
    wait_for,
};

/// A server that accepts users' tokens.
struct Place {
    server: Server,
    files: TempDir,
    _database: TestDatabase,
}

async fn accepting(configure: impl FnOnce(Settings, &Path) -> Settings) -> Place {
    let (files, database) = (tempfile::tempdir().unwrap(), database(Kind::Sqlite).await);
    let settings = Settings { flags: vec!["--demo".into()], ..Settings::on(&database.url) }
        .with("tls.reload_every", "20ms")
        .with("auth.jwt_issuer", ISSUER)
        .with("auth.jwt_audience", AUDIENCE);
    let server = serve(configure(settings, files.path())).await;
    Place { server, files, _database: database }
}

/// Only users call, with tokens by these keys.
async fn by_file(issuers: &[&Issuer]) -> Place {
    accepting(|settings, files| {
        let file = files.join("jwks.json");
        fs::write(&file, key_set(issuers).to_string()).unwrap();
        let settings = settings.with("auth.mode", "jwt").with("auth.jwt_keys_file", file.display());
        settings.with("http.listen", "127.0.0.1:0")
    })
    .await
}

async fn by_url(provider: &FakeAi, every: &str) -> Place {
    let url = format!("{}/jwks", provider.base_url());
    accepting(|settings, _| {
        settings.with("auth.mode", "jwt").with("auth.jwt_keys_url", url).with("auth.jwt_keys_every", every)
    })
    .await
}

fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer: MetadataValue<Ascii> = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

async fn get(channel: &Channel, token: &str, user: &str) -> Result<(), Status> {
    let client = UserDataServiceClient::new(channel.clone());
    client.clone().get_comprehensive_user_data(bearing(token, of(user))).await.map(drop)
}

async fn code(channel: &Channel, token: &str, user: &str) -> Code {
    get(channel, token, user).await.map_or_else(|status| status.code(), |()| Code::Ok)
}

/// On a connection of its own each time: refusals in a row end a connection.
async fn becomes_valid(server: &Server, token: &str) {
    let asks = async || (code(&server.channel().await, token, "1").await == Code::Ok).then_some(());
    wait_for("the token to be valid", asks).await;
}

fn assert_other_user(refused: Result<(), Status>, what: &str) {
    let status = refused.expect_err(what);
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "OTHER_USER"), "{what}");
}

#[tokio::test]
async fn a_user_reads_and_invalidates_its_own_document_and_no_other() {
    let issuer = Issuer::rsa("r");
    let place = by_file(&[&issuer]).await;
    let channel = place.server.channel().await;
    let (token, other) = (issuer.token("1"), issuer.token("2"));
    let mut client = UserDataServiceClient::new(channel.clone());
    // At a miss, from memory, and through tonic.
    let mut compressed = client.clone().send_compressed(CompressionEncoding::Gzip);
    for _ in 0..2 {
        get(&channel, &token, "1").await.unwrap();
        compressed.get_comprehensive_user_data(bearing(&token, of("1"))).await.unwrap();
    }
    for user in ["1", "3", "unknown"] {
        assert_other_user(get(&channel, &other, user).await, user);
        assert_other_user(compressed.get_comprehensive_user_data(bearing(&other, of(user))).await.map(drop), user);
        let refresh = GetComprehensiveUserDataRequest { force_refresh: true, ..of(user) };
        assert_other_user(client.get_comprehensive_user_data(bearing(&other, refresh)).await.map(drop), user);
        for purge in [false, true] {
            let message = InvalidateCacheRequest { user_id: user.to_owned(), purge, ..Default::default() };
            assert_other_user(client.invalidate_cache(bearing(&other, message)).await.map(drop), user);
        }
    }
    for purge in [false, true] {
        let message = InvalidateCacheRequest { user_id: "1".to_owned(), purge, ..Default::default() };
        client.invalidate_cache(bearing(&token, message)).await.expect("its own, erased too");
        get(&channel, &token, "1").await.unwrap();
    }
    assert!(!place.server.log().contains(&token), "no token in the log");
}

#[tokio::test]
async fn over_http_a_users_token_counts_for_the_same() {
    let issuer = Issuer::p256("e");
    let place = by_file(&[&issuer]).await;
    let to = place.server.http_address();
    let with = |request: HttpRequest, user: &str| {
        request.header("authorization", &format!("Bearer {}", issuer.token(user))).send(to)
    };
    const ROUTES: &str = "/api/content-planning/calendar-generation";
    for (user, status) in [("1", 200), ("2", 403)] {
        // From a load, then from memory.
        for _ in 0..2 {
            let call = HttpRequest::call("GetComprehensiveUserData", &json!({ "user_id": "1" }));
            assert_eq!(with(call, user).await.status, status, "{user}");
            let route = HttpRequest::get(&format!("{ROUTES}/comprehensive-user-data?user_id=1"));
            assert_eq!(with(route, user).await.status, status, "{user}");
        }
        let invalidate = HttpRequest::new("DELETE", &format!("{ROUTES}/cache/invalidate/1"));
        assert_eq!(with(invalidate, user).await.status, status, "{user}");
        let stats = HttpRequest::get(&format!("{ROUTES}/cache/stats"));
        assert_eq!(with(stats, user).await.status, 403, "{user}");
    }
    let route = HttpRequest::get(&format!("{ROUTES}/comprehensive-user-data?user_id=1"));
    assert_eq!(route.header("authorization", "Bearer a.b.c").send(to).await.status, 401);
}

#[tokio::test]
async fn statistics_cleanup_and_warming_are_not_a_users_and_reflection_is() {
    let issuer = Issuer::p256("e");
    let place = by_file(&[&issuer]).await;
    let channel = place.server.channel().await;
    let token = issuer.token("1");
    get(&channel, &token, "1").await.unwrap();
    let mut client = UserDataServiceClient::new(channel.clone());
    let items = vec![WarmItem { user_id: "1".to_owned(), ..Default::default() }];
    for refused in [
        client.get_cache_stats(bearing(&token, GetCacheStatsRequest::default())).await.map(drop),
        client.cleanup_cache(bearing(&token, CleanupCacheRequest::default())).await.map(drop),
        client.warm_cache(bearing(&token, WarmCacheRequest { items, ..Default::default() })).await.map(drop),
    ] {
        let status = refused.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"));
    }
    let list = || {
        let message_request = Some(ListServices(String::new()));
        stream::iter([ServerReflectionRequest { message_request, ..Default::default() }])
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let mut answers = reflection.server_reflection_info(bearing(&token, list())).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok());
    for token in ["a.b.c", "opaque"] {
        let refused = reflection.server_reflection_info(bearing(token, list())).await.map(drop).unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn users_tokens_count_beside_those_of_services() {
    let issuer = Issuer::p256("e");
    let place = accepting(|settings, files| {
        let (keys, tokens) = (files.join("jwks.json"), files.join("tokens"));
        fs::write(&keys, key_set(&[&issuer]).to_string()).unwrap();
        let digest: String = digest("opaque").iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(&tokens, format!("reader {digest} planner\n")).unwrap();
        let settings = settings.with("auth.mode", "token").with("auth.tokens_file", tokens.display());
        settings.with("auth.jwt_keys_file", keys.display())
    })
    .await;
    let channel = place.server.channel().await;
    for (token, user, expected) in [
        ("opaque", "1", Code::Ok),
        ("opaque", "2", Code::Ok),
        (&issuer.token("1"), "1", Code::Ok),
        (&issuer.token("1"), "2", Code::PermissionDenied),
        ("guessed", "1", Code::Unauthenticated),
        (&Issuer::p256("e").token("1"), "1", Code::Unauthenticated),
    ] {
        assert_eq!(code(&channel, token, user).await, expected, "{user}");
    }
}

#[tokio::test]
async fn a_token_that_expires_is_refused_on_its_kept_connection() {
    let issuer = Issuer::rsa("r");
    let place = by_file(&[&issuer]).await;
    let channel = place.server.channel().await;
    let mut claims = claims("1");
    // With the leeway of a minute, valid for some seconds.
    let ends = now() + 12;
    claims["exp"] = json!(ends - 60);
    let token = issuer.token_of(&claims);
    get(&channel, &token, "1").await.expect("it is valid still");
    let expires = async || (code(&channel, &token, "1").await == Code::Unauthenticated).then_some(());
    wait_for("the token to expire", expires).await;
    assert!(SystemTime::now() >= UNIX_EPOCH + Duration::from_secs(ends), "not before it expires");
    get(&channel, &issuer.token("1"), "1").await.expect("the next token counts, on the same connection");
}

#[tokio::test]
async fn a_key_that_is_taken_out_of_the_file_ends_its_tokens() {
    let (old, new) = (Issuer::p256("old"), Issuer::p256("new"));
    let place = by_file(&[&old]).await;
    let channel = place.server.channel().await;
    get(&channel, &old.token("1"), "1").await.unwrap();
    let write = |text: &str| {
        let (file, next) = (place.files.path().join("jwks.json"), place.files.path().join("next"));
        fs::write(&next, text).unwrap();
        fs::rename(next, file).unwrap();
    };
    write("{}");
    wait_for("a warning", async || place.server.log().contains("no JSON object with an array").then_some(())).await;
    get(&channel, &old.token("1"), "1").await.expect("a broken file changes nothing");
    write(&key_set(&[&new]).to_string());
    becomes_valid(&place.server, &new.token("1")).await;
    assert_eq!(code(&channel, &old.token("1"), "1").await, Code::Unauthenticated);
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_waited_for_behind_the_start() {
    let issuer = Issuer::p256("e");
    let provider = FakeAi::saying([Say::json(key_set(&[&issuer]))]).await;
    provider.hold();
    let place = by_url(&provider, "1h").await;
    let channel = place.server.channel().await;
    let status = get(&channel, &issuer.token("1"), "1").await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "KEYS_UNKNOWN"));
    assert_eq!(code(&channel, "opaque", "1").await, Code::Unauthenticated);
    provider.release();
    becomes_valid(&place.server, &issuer.token("1")).await;
}

#[tokio::test]
async fn unknown_keys_have_the_address_asked_again_and_a_flood_of_them_once_a_minute() {
    let (old, new, began) = (Issuer::p256("old"), Issuer::p256("new"), Instant::now());
    let provider = FakeAi::saying([key_set(&[&old]), key_set(&[&old, &new])].map(Say::json)).await;
    let place = by_url(&provider, "1h").await;
    assert_eq!(provider.calls(), 1, "at the start");
    let channel = place.server.channel().await;
    get(&channel, &old.token("1"), "1").await.unwrap();
    assert_eq!(code(&channel, &new.token("1"), "1").await, Code::Unauthenticated);
    becomes_valid(&place.server, &new.token("1")).await;
    for connection in 0..10 {
        let channel = place.server.channel().await;
        for key in 0..20 {
            let unknown = Issuer::p256(&format!("{connection} {key}")).token("1");
            assert_eq!(code(&channel, &unknown, "1").await, Code::Unauthenticated);
        }
    }
    let allowed = 2 + began.elapsed().as_secs() / 60;
    assert!(provider.calls() as u64 <= allowed, "{} calls, {allowed} allowed", provider.calls());
    get(&channel, &old.token("1"), "1").await.unwrap();
}

#[tokio::test]
async fn a_failing_address_takes_no_known_key_away() {
    let issuer = Issuer::p256("e");
    let provider = FakeAi::saying([Say::json(key_set(&[&issuer])), Say::status(500)]).await;
    let place = by_url(&provider, "1s").await;
    provider.called(3).await;
    let channel = place.server.channel().await;
    get(&channel, &issuer.token("1"), "1").await.expect("the known keys count");
    assert_eq!(place.server.log().matches("the known ones stay in use").count(), 1, "told once in a row");
}

#[tokio::test]
async fn a_missing_file_stops_the_start_and_the_doctor_names_what_is_wrong() {
    let settings = [
        ("USERDATA__AUTH__MODE", "jwt"),
        ("USERDATA__AUTH__JWT_ISSUER", ISSUER),
        ("USERDATA__AUTH__JWT_AUDIENCE", AUDIENCE),
        ("USERDATA__AUTH__JWT_KEYS_FILE", "missing.json"),
    ];
    let ports = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let ran = userdata_with(&[&["serve"][..], &ports].concat(), &settings).await;
    assert_ne!(ran.exit_code, 0);
    assert!(ran.printed().contains("missing.json cannot be read"), "{ran:?}");

    let keys = Say::json(key_set(&[&Issuer::p256("e")]));
    for (reply, verdict, found) in [(keys, "OK", "1 keys can be used"), (Say::status(404), "FAIL", "404")] {
        let provider = FakeAi::saying([reply]).await;
        let url = format!("{}/jwks", provider.base_url());
        let settings = [settings[0], settings[1], settings[2], ("USERDATA__AUTH__JWT_KEYS_URL", url.as_str())];
        let ran = userdata_with(&[&["doctor", "-o", "json"][..], &ports].concat(), &settings).await;
        let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
        let mut findings = said["findings"].as_array().unwrap().iter();
        let finding = findings.find(|finding| finding["check"] == "users' tokens").expect("it is looked at");
        assert_eq!(finding["verdict"], verdict, "{finding}");
        assert!(finding["found"].as_str().unwrap().contains(found), "{finding}");
    }
}
