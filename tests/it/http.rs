//! HTTP beside gRPC, as its callers see it.

mod connect;
mod guards;
mod planning;

use serde_json::Value as Json;
use testkit::{
    database::{Kind, TestDatabase, demo_database},
    http::{HttpRequest, HttpResponse},
    server::{Server, Settings, serve},
};

/// An instance over the demo's data with HTTP.
async fn demo(settings: impl FnOnce(Settings) -> Settings) -> (TestDatabase, Server) {
    let place = demo_database(Kind::Sqlite).await;
    let with_http = Settings::on(&place.url).with("http.listen", "127.0.0.1:0");
    let server = serve(settings(with_http)).await;
    (place, server)
}

async fn send(server: &Server, request: HttpRequest) -> HttpResponse {
    request.send(server.http_address()).await
}

/// A call by Connect's protocol that succeeds.
async fn call(server: &Server, method: &str, message: Json) -> Json {
    let response = send(server, HttpRequest::call(method, &message)).await;
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    response.json()
}
