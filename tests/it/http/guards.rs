//! Whom HTTP serves: the same callers as gRPC, and no pages of strange origins; both versions of HTTP; its end.

use std::process::Command;

use serde_json::json;
use testkit::{http::HttpRequest, wait_for};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use userdata::grpc::middleware::auth::digest;

use super::{demo, send};

const DOCUMENT: &str = "/api/content-planning/calendar-generation/comprehensive-user-data?user_id=1";

#[tokio::test]
async fn what_grpc_refuses_http_refuses() {
    let files = tempfile::tempdir().unwrap();
    let tokens = files.path().join("tokens");
    let line = |role: &str| format!("{role} {} a-{role}\n", hex::encode(digest(role)));
    std::fs::write(&tokens, ["reader", "operator"].map(line).concat()).unwrap();
    let (_place, server) =
        demo(|settings| settings.with("auth.mode", "token").with("auth.tokens_file", tokens.display())).await;
    let bearer = |request: HttpRequest, token: &str| request.header("authorization", &format!("Bearer {token}"));
    let get = || HttpRequest::call("GetComprehensiveUserData", &json!({ "user_id": "1" }));
    let stats = || HttpRequest::call("GetCacheStats", &json!({}));
    for (request, status, reason) in [
        (get(), 401, Some("UNAUTHENTICATED")),
        (bearer(get(), "guessed"), 401, Some("UNAUTHENTICATED")),
        (bearer(get(), "reader"), 200, None),
        (bearer(stats(), "reader"), 403, Some("PERMISSION_DENIED")),
        (bearer(stats(), "operator"), 200, None),
        (HttpRequest::get(DOCUMENT), 401, Some("UNAUTHENTICATED")),
        (bearer(HttpRequest::get(DOCUMENT), "reader"), 200, None),
        (bearer(HttpRequest::get(DOCUMENT), "operator"), 403, Some("PERMISSION_DENIED")),
    ] {
        let response = send(&server, request.clone()).await;
        assert_eq!((response.status, response.header("x-error-reason")), (status, reason), "{request:?}");
        assert!(response.header("x-request-id").is_some());
        assert_eq!(response.header("www-authenticate"), (status == 401).then_some("Bearer"));
    }
    let refused = send(&server, HttpRequest::get(DOCUMENT)).await.json();
    assert!(refused["detail"].as_str().unwrap().starts_with("credentials are required"), "{refused}");
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing_and_read_nothing() {
    let (_place, server) = demo(|settings| settings.with("http.allowed_origins", "https://app.example")).await;
    let invalidate = || HttpRequest::call("InvalidateCache", &json!({ "user_id": "1" }));
    for (origin, status) in [("https://app.example", 200), ("https://evil.example", 403), ("null", 403)] {
        let response = send(&server, invalidate().header("origin", origin)).await;
        assert_eq!(response.status, status, "{origin}");
        let allowed = response.header("access-control-allow-origin");
        assert_eq!(allowed, (status == 200).then_some(origin));
    }
    let preflight = HttpRequest::new("OPTIONS", DOCUMENT)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET");
    let response = send(&server, preflight).await;
    assert_eq!(response.status, 204);
    assert!(response.header("access-control-allow-headers").unwrap().contains("authorization"));
}

#[tokio::test]
async fn a_refused_caller_is_answered_although_its_body_is_on_its_way() {
    let files = tempfile::tempdir().unwrap();
    let tokens = files.path().join("tokens");
    std::fs::write(&tokens, format!("reader {} a-reader\n", hex::encode(digest("reader")))).unwrap();
    let (_place, server) =
        demo(|settings| settings.with("auth.mode", "token").with("auth.tokens_file", tokens.display())).await;
    let target = "/userdata.v1.UserDataService/GetComprehensiveUserData";
    let head =
        format!("POST {target} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n");
    let mut stream = TcpStream::connect(server.http_address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..60 {
        stream.write_all(&[b' '; 1000]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut reply = vec![0; "HTTP/1.1 401".len()];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, b"HTTP/1.1 401");
}

#[tokio::test]
async fn without_credentials_only_names_that_cannot_be_rebound_are_served() {
    let (_place, server) = demo(|settings| settings).await;
    for (host, status) in [("localhost", "200"), ("userdata", "200"), ("evil.example", "421")] {
        assert_eq!(curl(&server, &["--http1.1", "--header", &format!("host: {host}")]), format!("1.1 {status}"));
    }
    let crossing = HttpRequest::get(&format!("{DOCUMENT}&force_refresh=1")).header("sec-fetch-site", "cross-site");
    assert_eq!(send(&server, crossing).await.status, 403, "it would cost a load");
}

/// Whether curl gets the document, by which version of HTTP.
fn curl(server: &testkit::server::Server, arguments: &[&str]) -> String {
    let url = format!("http://{}{DOCUMENT}", server.http_address());
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"])
        .args(arguments)
        .arg(url)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn both_versions_of_http_are_served() {
    let (_place, server) = demo(|settings| settings).await;
    assert_eq!(curl(&server, &["--http1.1"]), "1.1 200");
    assert_eq!(curl(&server, &["--http2-prior-knowledge"]), "2 200");
    assert_eq!(curl(&server, &["--http2"]), "1.1 200", "an upgrade is not offered");
}

#[tokio::test]
async fn a_connection_of_http_1_serves_one_request_after_the_other() {
    let (_place, server) = demo(|settings| settings).await;
    let mut stream = TcpStream::connect(server.http_address()).await.unwrap();
    for _ in 0..3 {
        // Byte by byte: the first alone tells nothing of the version.
        for byte in format!("GET {DOCUMENT} HTTP/1.1\r\nhost: a\r\n\r\n").bytes() {
            stream.write_all(&[byte]).await.unwrap();
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
    }
}

#[tokio::test]
async fn requests_over_http_are_counted_as_such() {
    let (_place, server) = demo(|settings| settings).await;
    send(&server, HttpRequest::get(DOCUMENT)).await;
    send(&server, HttpRequest::call("GetComprehensiveUserData", &json!({ "user_id": "nobody" }))).await;
    send(&server, HttpRequest::get("/nothing")).await;
    for (method, code) in [
        ("userdata.v1.UserDataService/GetComprehensiveUserData", "OK"),
        ("userdata.v1.UserDataService/GetComprehensiveUserData", "NOT_FOUND"),
        ("_OTHER", "UNIMPLEMENTED"),
    ] {
        let series = format!(
            "rpc_server_call_duration_seconds_count{{rpc_method=\"{method}\",rpc_response_status_code=\"{code}\",\
             rpc_system_name=\"http\"}} "
        );
        // A call is counted when its last byte has been handed over, which its caller may have read before.
        wait_for("the call to be counted", async || {
            let (_, metrics) = server.probe("/metrics").await;
            (metrics.lines().find_map(|line| line.strip_prefix(&series)) == Some("1")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_http_port_leaves_with_the_server() {
    let (_place, mut server) = demo(|settings| settings).await;
    let mut idle = TcpStream::connect(server.http_address()).await.unwrap();
    idle.write_all(format!("GET {DOCUMENT} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    idle.read_u8().await.unwrap();
    // Without a request, a connection keeps nothing going.
    let mut half = TcpStream::connect(server.http_address()).await.unwrap();
    half.write_all(b"POST /x HTTP/1.1\r\nhost: x\r\nCon").await.unwrap();
    server.signal("TERM");
    assert_eq!(server.exit_code().await, 0);
    assert!(!server.log().contains("did not finish"), "{}", server.log());
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
}
