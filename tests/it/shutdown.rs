//! A server that is told to end: what is under way finishes, what comes is sent away, and the process is
//! gone in time whatever its callers do.

mod rolling;
mod stuck;

use std::time::Duration;

use sea_orm::{ConnectionTrait, Statement};
use tokio::task::JoinSet;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;
use userdata::{
    clock::Clock,
    proto::v1::{CacheStatus, GetComprehensiveUserDataRequest},
};

use testkit::{
    database::{BOTH, Kind},
    demo::{hold_onboarding, serve_demo},
    raw::{Connection, GET, framed},
    wait_for,
};

fn asking(user: &str) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { user_id: user.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn requests_in_flight_finish_and_new_ones_are_sent_elsewhere() {
    let (database, mut server) = serve_demo(Kind::Postgres, &[]).await;
    let watched = HealthClient::new(server.channel().await).watch(HealthCheckRequest::default()).await;
    let mut health = watched.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let db = database.connect().await;
    let holding = hold_onboarding(&db).await;
    let mut client = server.client().await;
    let late = Connection::open_deaf_to_goodbyes(server.address).await;
    let mut in_flight = JoinSet::new();
    in_flight.spawn(async move {
        let reply = client.get_comprehensive_user_data(asking("1")).await?;
        Ok(reply.into_inner().cache_info.unwrap().status())
    });
    server.loads_in_flight(1).await;

    server.signal("TERM");

    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(server.probe("/readyz").await.0, 503);
    assert_eq!(server.probe("/healthz").await.0, 200, "it is alive");
    wait_for("the listener to be closed", async || {
        tokio::net::TcpStream::connect(server.address).await.is_err().then_some(())
    })
    .await;
    // A caller that has not heard of it yet.
    let status = late.call(GET, &[], framed(&asking("2"))).await;
    assert_eq!(
        (status.code(), status.get_details_error_info().unwrap().reason.as_str()),
        (Code::Unavailable, "DRAINING")
    );
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::ZERO), "at once, elsewhere");
    drop(late);

    holding.commit().await.unwrap();
    let answered: Result<CacheStatus, tonic::Status> = in_flight.join_next().await.unwrap().unwrap();
    assert_eq!(answered.expect("what was under way is answered"), CacheStatus::Assembled);
    assert_eq!(server.exit_code().await, 0, "{}", server.log());
    // And stored.
    let rows = "SELECT COUNT(*) FROM comprehensive_user_data_cache WHERE user_id = '1' AND format > 0";
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), rows)).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 1);
}

/// The longest that may be configured.
const LONG: (&str, &str) = ("USERDATA__SERVER__DRAIN_DELAY", "5m");

#[tokio::test]
async fn for_the_drain_delay_it_says_that_it_leaves_and_serves_everybody() {
    let (_database, mut server) = serve_demo(Kind::Sqlite, &[LONG]).await;
    let watched = HealthClient::new(server.channel().await).watch(HealthCheckRequest::default()).await;
    let mut health = watched.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut known = server.client().await;

    server.signal("TERM");

    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(server.probe("/readyz").await.0, 503);
    known.get_comprehensive_user_data(asking("1")).await.expect("known connections are served");
    let mut new = server.client().await;
    new.get_comprehensive_user_data(asking("2")).await.expect("and new ones");
    // It is in no hurry yet, and can be put in one.
    server.signal("TERM");
    assert_eq!(server.exit_code().await, 130);
}

#[tokio::test]
async fn after_the_drain_delay_it_ends() {
    let delay = Duration::from_millis(500);
    let (_database, mut server) = serve_demo(Kind::Sqlite, &[("USERDATA__SERVER__DRAIN_DELAY", "500ms")]).await;
    let clock = Clock::system();
    let told = clock.now();
    server.signal("TERM");
    assert_eq!(server.exit_code().await, 0, "{}", server.log());
    let took = clock.now().since(told);
    assert!(took >= delay, "{took:?}");
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let (database, mut server) = serve_demo(Kind::Postgres, &[("USERDATA__SERVER__DRAIN", "10m")]).await;
    let db = database.connect().await;
    let _holding = hold_onboarding(&db).await;
    let mut client = server.client().await;
    let mut in_flight = JoinSet::new();
    in_flight.spawn(async move { client.get_comprehensive_user_data(asking("1")).await.map(drop) });
    server.loads_in_flight(1).await;

    server.signal("TERM");
    wait_for("the first signal to be heard", async || (server.probe("/readyz").await.0 == 503).then_some(())).await;
    let clock = Clock::system();
    let told = clock.now();
    server.signal("INT");
    assert_eq!(server.exit_code().await, 130);
    let took = clock.now().since(told);
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test]
async fn access_counts_are_written_before_the_end() {
    for kind in BOTH {
        // Nothing else writes them in the meantime.
        let (database, mut server) = serve_demo(kind, &[("USERDATA__DATABASE__ACCESS_COUNTS_EVERY", "1h")]).await;
        let mut client = server.client().await;
        for _ in 0..4 {
            client.get_comprehensive_user_data(asking("1")).await.unwrap();
        }
        server.signal("TERM");
        assert_eq!(server.exit_code().await, 0, "{kind:?}: {}", server.log());
        let db = database.connect().await;
        let count = "SELECT access_count FROM comprehensive_user_data_cache WHERE user_id = '1'";
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), count)).await.unwrap();
        assert_eq!(row.expect("a row").try_get_by_index::<i64>(0).unwrap(), 3, "{kind:?}: one assembled, three hits");
    }
}
