//! Who gets an answer: encryption, credentials, roles, and their exchange while the server runs.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tonic::{
    Code, Request, Status,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use userdata::{
    grpc::middleware::auth::digest,
    proto::v1::{
        CacheStatus, CleanupCacheRequest, GetCacheStatsRequest, GetComprehensiveUserDataRequest,
        InvalidateCacheRequest, WarmCacheRequest, WarmItem, user_data_service_client::UserDataServiceClient,
    },
};

use testkit::{
    ask::reason,
    command::userdata,
    database::{Kind, TestDatabase, database},
    pki::{Authority, HOST},
    server::{Server, Settings, launch},
    wait_for,
};

/// Files are looked at so often.
const RELOAD: &str = "20ms";

/// A server with TLS, its database with the demo's users, and the authority that it is certified by.
struct Secured {
    server: Server,
    authority: Authority,
    directory: TempDir,
    tokens: Option<TempDir>,
    _place: TestDatabase,
}

async fn secured(configure: impl FnOnce(Settings) -> Settings) -> Secured {
    let (directory, place) = (tempfile::tempdir().unwrap(), database(Kind::Sqlite).await);
    let authority = Authority::new(directory.path(), "server");
    authority.certify_server();
    let settings = Settings { flags: vec!["--demo".into()], ..Settings::on(&place.url) }
        .with("tls.cert", authority.file("cert").display())
        .with("tls.key", authority.file("key").display())
        .with("tls.reload_every", RELOAD);
    let server = launch(configure(settings)).await;
    let secured = Secured { server, authority, directory, tokens: None, _place: place };
    wait_for("the server to be ready", async || (secured.server.probe("/readyz").await.0 == 200).then_some(())).await;
    secured
}

/// With one token per role, named like it.
async fn by_token() -> Secured {
    let tokens = tempfile::tempdir().unwrap();
    let file = tokens.path().join("tokens");
    fs::write(&file, ["reader", "writer", "operator"].map(|role| line(role, role)).concat()).unwrap();
    let secured =
        secured(|settings| settings.with("auth.mode", "token").with("auth.tokens_file", file.display())).await;
    Secured { tokens: Some(tokens), ..secured }
}

fn line(role: &str, token: &str) -> String {
    let digest: String = digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{role} {digest} the-{role}\n")
}

impl Secured {
    async fn channel(&self, tls: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("https://{}", self.server.address)).unwrap();
        endpoint.connect_timeout(Duration::from_secs(20)).tls_config(tls)?.connect().await
    }

    async fn trusting(&self) -> Channel {
        self.channel(self.authority.trusted()).await.unwrap()
    }

    fn tokens(&self) -> PathBuf {
        self.tokens.as_ref().expect("callers by token").path().join("tokens")
    }
}

fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// Calls a method by its name and says how that ended.
async fn call(channel: &Channel, method: &str, user: &str, token: &str) -> Result<(), Status> {
    let mut client = UserDataServiceClient::new(channel.clone());
    let user_id = user.to_owned();
    match method {
        "get" => {
            let message = GetComprehensiveUserDataRequest { user_id, ..Default::default() };
            client.get_comprehensive_user_data(bearing(token, message)).await.map(drop)
        }
        "invalidate" => {
            let message = InvalidateCacheRequest { user_id, ..Default::default() };
            client.invalidate_cache(bearing(token, message)).await.map(drop)
        }
        "stats" => client.get_cache_stats(bearing(token, GetCacheStatsRequest::default())).await.map(drop),
        "cleanup" => client.cleanup_cache(bearing(token, CleanupCacheRequest::default())).await.map(drop),
        "warm" => {
            let items = vec![WarmItem { user_id, ..Default::default() }];
            client.warm_cache(bearing(token, WarmCacheRequest { items, ..Default::default() })).await.map(drop)
        }
        "health" => {
            let health = HealthClient::new(channel.clone()).check(bearing(token, HealthCheckRequest::default())).await;
            health.map(drop)
        }
        _ => unreachable!("{method}"),
    }
}

#[tokio::test]
async fn roles_entitle_to_their_methods_whether_or_not_a_user_exists_or_is_in_memory() {
    let secured = by_token().await;
    // In memory from now on: a hit is judged like a miss.
    call(&secured.trusting().await, "get", "1", "reader").await.unwrap();
    for (token, allowed) in [
        ("reader", &["health", "get"][..]),
        ("writer", &["health", "get", "invalidate"]),
        ("operator", &["health", "invalidate", "stats", "cleanup", "warm"]),
        ("unknown", &["health"]),
        ("", &["health"]),
    ] {
        // Refusals in a row end a connection.
        let channel = secured.trusting().await;
        let refused = if ["unknown", ""].contains(&token) { Code::Unauthenticated } else { Code::PermissionDenied };
        for method in ["health", "get", "invalidate", "stats", "cleanup", "warm"] {
            let mut told = Vec::new();
            for user in ["1", "2", "nobody", "\u{7f}", ""] {
                match call(&channel, method, user, token).await {
                    Err(status) if status.code() == refused => {
                        told.push((status.message().to_owned(), reason(&status)))
                    }
                    done => assert!(allowed.contains(&method), "{token} {method} {user}: {done:?}"),
                }
            }
            assert_eq!(told.len(), if allowed.contains(&method) { 0 } else { 5 }, "{token} {method}");
            told.dedup();
            assert!(told.len() <= 1, "the same for every user: {told:?}");
        }
    }
    let log = secured.server.log();
    assert!(log.contains("the-writer") && !log.contains(&line("reader", "reader")[7..71]), "names, no credentials");
}

#[tokio::test]
async fn nothing_is_told_in_the_clear_or_to_who_trusts_somebody_else() {
    let secured = by_token().await;
    let plain = Endpoint::from_shared(format!("http://{}", secured.server.address)).unwrap().connect().await;
    if let Ok(channel) = plain {
        assert!(call(&channel, "health", "", "").await.is_err());
    }
    let other = Authority::new(secured.directory.path(), "other");
    assert!(secured.channel(other.trusted()).await.is_err());
    call(&secured.trusting().await, "get", "1", "reader").await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_holds_up_nobody_else() {
    let secured = by_token().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(secured.server.address).await.unwrap());
    }
    call(&secured.trusting().await, "get", "1", "reader").await.unwrap();
    // And is ended by the server.
    let ended = wait_for("the handshake to be given up", async || silent[0].read(&mut [0]).await.ok()).await;
    assert_eq!(ended, 0);
}

#[tokio::test]
async fn tokens_are_exchanged_while_the_server_runs_and_a_broken_file_changes_nothing() {
    let secured = by_token().await;
    let channel = secured.trusting().await;
    let ends = async |token: &str| call(&channel, "get", "1", token).await.map_err(|status| status.code());
    let code = async |token: &str, expected| {
        wait_for("the callers to be read again", async || (ends(token).await == expected).then_some(())).await;
    };
    code("reader", Ok(())).await;

    fs::write(secured.tokens(), line("reader", "rotated")).unwrap();
    code("rotated", Ok(())).await;
    assert_eq!(ends("reader").await, Err(Code::Unauthenticated));

    fs::write(secured.tokens(), "reader hunter2 web\n").unwrap();
    wait_for("a warning", async || secured.server.log().contains("line 1: expected").then_some(())).await;
    assert_eq!(ends("rotated").await, Ok(()));
    assert!(!secured.server.log().contains("hunter2"));

    fs::remove_file(secured.tokens()).unwrap();
    wait_for("a warning", async || secured.server.log().contains("cannot be read").then_some(())).await;
    assert_eq!(ends("rotated").await, Ok(()));

    fs::write(secured.tokens(), line("writer", "again")).unwrap();
    code("again", Ok(())).await;
}

#[tokio::test]
async fn a_new_certificate_counts_for_new_connections_and_ends_no_old_one() {
    let secured = by_token().await;
    let old = secured.trusting().await;
    let successor = Authority::new(secured.directory.path(), "successor");
    successor.certify_server();
    let new = wait_for("the new certificate", async || secured.channel(successor.trusted()).await.ok()).await;
    call(&new, "get", "1", "reader").await.unwrap();
    call(&old, "get", "1", "reader").await.unwrap();
    assert!(secured.channel(secured.authority.trusted()).await.is_err());
}

#[tokio::test]
async fn certificates_count_by_their_one_uri_and_only_from_the_configured_authority() {
    let elsewhere = tempfile::tempdir().unwrap();
    let callers = Authority::new(elsewhere.path(), "callers");
    let principals = elsewhere.path().join("principals");
    fs::write(&principals, "reader spiffe://plan/web web\noperator spiffe://plan/ops ops\n").unwrap();
    let secured = secured(|settings| {
        settings
            .with("auth.mode", "mtls")
            .with("auth.principals_file", principals.display())
            .with("tls.client_ca", callers.file("callers-ca").display())
    })
    .await;
    let with = async |authority: &Authority, uris: &[&str]| {
        let tls = secured.authority.trusted().identity(authority.certify_client(uris));
        let channel = secured.channel(tls).await.map_err(|_| Code::Unknown)?;
        call(&channel, "get", "1", "").await.map_err(|status| status.code())
    };
    assert_eq!(with(&callers, &["spiffe://plan/web"]).await, Ok(()));
    assert_eq!(with(&callers, &["spiffe://plan/ops"]).await, Err(Code::PermissionDenied));
    assert_eq!(with(&callers, &["spiffe://plan/other"]).await, Err(Code::Unauthenticated));
    assert_eq!(with(&callers, &["spiffe://plan/web", "spiffe://plan/ops"]).await, Err(Code::Unauthenticated));
    assert_eq!(with(&callers, &[]).await, Err(Code::Unauthenticated));
    let forged = with(&Authority::new(secured.directory.path(), "forger"), &["spiffe://plan/web"]).await;
    assert!(!matches!(forged, Ok(()) | Err(Code::PermissionDenied)), "{forged:?}");
    let without = secured.channel(secured.authority.trusted()).await;
    if let Ok(channel) = without {
        assert!(call(&channel, "health", "", "").await.is_err(), "no connection without a certificate");
    }
}

#[tokio::test]
async fn the_command_line_speaks_tls_with_a_token_of_its_own_making() {
    let secured = by_token().await;
    let made = userdata(&["token", "new", "--role", "reader", "--name", "shell", "-o", "json"]).await.output();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    fs::write(secured.tokens(), text("line")).unwrap();

    let address = format!("https://{HOST}:{}", secured.server.address.port());
    let ca = secured.authority.file("server-ca").display().to_string();
    let (line, token) = (["get", "1", "--addr", &address, "--tls-ca", &ca], text("token"));
    let get = async || {
        let ran = userdata(&[&line[..], &["--token", &token, "-o", "json"]].concat()).await;
        (ran.exit_code == 0).then_some(ran)
    };
    let ran = wait_for("the token to count", get).await;
    assert!(ran.stdout.contains(CacheStatus::Assembled.as_str_name()), "{ran:?}");
    let ran = userdata(&line).await;
    assert_eq!(ran.exit_code, 16, "UNAUTHENTICATED: {ran:?}");
}

#[tokio::test]
async fn what_is_missing_for_safety_is_exit_78_before_anything_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("never.db").display());
    let missing = directory.path().join("missing").display().to_string();
    let settings = ["auth.mode=token".to_owned(), format!("auth.tokens_file={missing}")];
    let flags = ["serve", "--database-url", &url, "--set", &settings[0], "--set", &settings[1]];
    let ran = userdata(&flags).await;
    assert_eq!(ran.exit_code, 78, "{ran:?}");
    assert!(ran.stderr.contains(&missing), "{ran:?}");
    assert!(!directory.path().join("never.db").exists());
}

#[tokio::test]
async fn a_refusal_names_its_reason() {
    let secured = by_token().await;
    let channel = secured.trusting().await;
    assert_eq!(reason(&call(&channel, "get", "1", "").await.unwrap_err()), "UNAUTHENTICATED");
    assert_eq!(reason(&call(&channel, "stats", "", "reader").await.unwrap_err()), "PERMISSION_DENIED");
}
