//! Who may be sent requests, as orchestrators ask: `grpc.health.v1`, and plain HTTP on the metrics port.

use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use userdata::proto::v1::GetCacheStatsRequest;

use testkit::{
    database::{Kind, database},
    demo::{demo_settings, serve_demo},
    server::{Server, launch},
};

async fn health(server: &Server, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let reply = HealthClient::new(server.channel().await).check(request).await;
    reply.map(|reply| reply.into_inner().status()).map_err(|status| status.code())
}

#[tokio::test]
async fn a_started_server_is_alive_ready_and_serving() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    for service in ["", "userdata.v1.UserDataService"] {
        assert_eq!(health(&server, service).await, Ok(ServingStatus::Serving), "{service:?}");
    }
    assert_eq!(health(&server, "no.such.Service").await, Err(Code::NotFound));
    assert_eq!(server.probe("/healthz").await, (200, "alive\n".to_owned()));
    assert_eq!(server.probe("/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(server.probe("/other").await.0, 404);
}

#[tokio::test]
async fn a_server_without_its_tables_is_alive_but_not_ready() {
    let database = database(Kind::Postgres).await;
    let mut settings = demo_settings(&database, &[]);
    settings.flags.retain(|flag| flag != "--demo");
    let server = launch(settings).await;
    for service in ["", "userdata.v1.UserDataService"] {
        assert_eq!(health(&server, service).await, Ok(ServingStatus::NotServing), "{service:?}");
    }
    assert_eq!(server.probe("/healthz").await.0, 200);
    assert_eq!(server.probe("/readyz").await, (503, "not ready\n".to_owned()));
    // Not serving is advice; who calls all the same is told what is missing.
    let status = server.client().await.get_cache_stats(GetCacheStatsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}
