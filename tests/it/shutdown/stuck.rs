//! Clients that never finish: whatever they hold, the process is gone when its time is over, and says so by exit code 0.

use std::time::Duration;

use tokio::{net::TcpStream, sync::oneshot, task::JoinSet};
use tonic_health::pb::HealthCheckRequest;
use userdata::{clock::Clock, grpc::method::Method};

use super::asking;
use testkit::{
    database::Kind,
    demo::{hold_onboarding, serve_demo},
    raw::{Connection, GET, framed},
    server::Server,
    wait_for,
};

const WATCH: &str = "/grpc.health.v1.Health/Watch";

const DRAIN: Duration = Duration::from_secs(2);
/// Coarse: the machine is shared. A load ends by itself after eight seconds.
const SLACK: Duration = Duration::from_secs(5);
const SETTING: (&str, &str) = ("USERDATA__SERVER__DRAIN", "2s");

#[tokio::test]
async fn a_request_that_does_not_end_has_its_time_and_no_more() {
    let (database, mut server) = serve_demo(Kind::Postgres, &[SETTING]).await;
    let db = database.connect().await;
    let _holding = hold_onboarding(&db).await;
    let stuck = Connection::open_deaf_to_goodbyes(server.address).await;
    let mut in_flight = JoinSet::new();
    in_flight.spawn(async move { stuck.call(GET, &[("grpc-timeout", "60S")], framed(&asking("1"))).await });
    server.loads_in_flight(1).await;

    let clock = Clock::system();
    let told = clock.now();
    server.signal("TERM");
    assert_eq!(server.exit_code().await, 0, "{}", server.log());
    let took = clock.now().since(told);
    assert!(took > DRAIN / 2, "the request had its time: {took:?}");
    assert!(took < DRAIN + SLACK, "{took:?}");
}

#[tokio::test]
async fn clients_that_hold_what_they_have_do_not_keep_the_process() {
    let (_database, mut server) = serve_demo(Kind::Sqlite, &[SETTING]).await;
    // A connection and nothing else.
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let mut tasks = JoinSet::new();
    // One whose request is never complete.
    let (mut sender, connection) = h2::client::handshake(connect(&server).await).await.unwrap();
    tasks.spawn(async move { drop(connection.await) });
    let (_answer, _never_ended) = sender.send_request(request_of(&server, GET), false).unwrap();
    // One that asks for health, and reads nothing from then on.
    let (mut sender, mut connection) = h2::client::handshake(connect(&server).await).await.unwrap();
    let (_watched, mut asking) = sender.send_request(request_of(&server, WATCH), false).unwrap();
    asking.send_data(framed(&HealthCheckRequest::default()), true).unwrap();
    let (deaf, told_deaf) = oneshot::channel();
    tasks.spawn(async move {
        tokio::select! {
            _ = &mut connection => {}
            _ = told_deaf => std::future::pending().await,
        }
    });
    for method in [GET, WATCH] {
        wait_for("the requests to have come", async || in_flight(&server, method).await.then_some(())).await;
    }
    deaf.send(()).unwrap();

    let clock = Clock::system();
    let told = clock.now();
    server.signal("TERM");
    assert_eq!(server.exit_code().await, 0, "{}", server.log());
    let took = clock.now().since(told);
    assert!(took > DRAIN / 2, "they had their time: {took:?}");
    assert!(took < DRAIN + SLACK, "{took:?}");
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// The head of a call.
fn request_of(server: &Server, path: &str) -> http::Request<()> {
    let request = http::Request::post(format!("http://{}{path}", server.address)).header("te", "trailers");
    request.header("content-type", "application/grpc").body(()).unwrap()
}

/// Whether a call of this method is being answered.
async fn in_flight(server: &Server, path: &str) -> bool {
    let series = format!("userdata_requests_in_flight{{rpc_method=\"{}\"", Method::of(path).name());
    let (_, metrics) = server.probe("/metrics").await;
    metrics.lines().any(|line| line.starts_with(&series) && !line.ends_with(" 0"))
}
