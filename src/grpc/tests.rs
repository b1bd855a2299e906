//! Requests over a loopback socket, to a service whose behaviour is named by `user_id`.

use std::{net::SocketAddr, pin::Pin};

use bytes::{Buf as _, Bytes};
use futures::{Stream, StreamExt as _, future, stream};
use http::HeaderMap;
use prost::Message as _;
use tokio::{net::TcpStream, sync::oneshot};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt as _;

use super::{answer::GetReply, method::Method, metrics::MethodMetrics, refusal::Outcome, *};
use crate::proto::{
    SealedResponse,
    v1::{
        CacheInfo, CleanupCacheRequest, CleanupCacheResponse, GetCacheStatsRequest, GetCacheStatsResponse,
        GetComprehensiveUserDataRequest, InvalidateCacheRequest, InvalidateCacheResponse, WarmCacheRequest,
        WarmCacheResponse, WarmItem,
        server::user_data_service_server::{UserDataService, UserDataServiceServer},
        user_data_service_client::UserDataServiceClient,
    },
};

mod reflection;

const GET: &str = "/userdata.v1.UserDataService/GetComprehensiveUserData";

/// "hang" never answers, "panic" panics, every other user is answered at once.
struct Obedient;

#[tonic::async_trait]
impl UserDataService for Obedient {
    async fn get_comprehensive_user_data(
        &self,
        request: Request<GetComprehensiveUserDataRequest>,
    ) -> Result<Response<SealedResponse>, Status> {
        match request.get_ref().user_id.as_str() {
            "hang" => future::pending().await,
            "panic" => panic!("told to"),
            "slow" => tokio::time::sleep(Duration::from_secs(3)).await,
            "large" => {
                let mut response = Response::new(SealedResponse::default());
                let x_cache = http::HeaderValue::from_static("MISS; age=0");
                response.extensions_mut().insert(GetReply { sealed: large(), x_cache, status: "assembled" });
                return Ok(response);
            }
            _ => {}
        }
        Ok(Response::new(SealedResponse::default()))
    }

    async fn invalidate_cache(
        &self,
        request: Request<InvalidateCacheRequest>,
    ) -> Result<Response<InvalidateCacheResponse>, Status> {
        if request.get_ref().user_id == "hang" {
            future::pending::<()>().await;
        }
        Ok(Response::new(InvalidateCacheResponse::default()))
    }

    async fn get_cache_stats(
        &self,
        _: Request<GetCacheStatsRequest>,
    ) -> Result<Response<GetCacheStatsResponse>, Status> {
        Ok(Response::new(GetCacheStatsResponse::default()))
    }

    async fn cleanup_cache(&self, _: Request<CleanupCacheRequest>) -> Result<Response<CleanupCacheResponse>, Status> {
        Ok(Response::new(CleanupCacheResponse::default()))
    }

    type WarmCacheStream = Pin<Box<dyn Stream<Item = Result<WarmCacheResponse, Status>> + Send>>;

    async fn warm_cache(&self, request: Request<WarmCacheRequest>) -> Result<Response<Self::WarmCacheStream>, Status> {
        let user = request.into_inner().items.remove(0).user_id;
        let rest = async move {
            // Until here the first message waits to be sent together with more.
            tokio::task::yield_now().await;
            match user.as_str() {
                "hang" => future::pending().await,
                "panic" => panic!("told to"),
                _ => Ok(WarmCacheResponse { done: 2, ..Default::default() }),
            }
        };
        let first = future::ready(Ok(WarmCacheResponse { done: 1, ..Default::default() }));
        Ok(Response::new(stream::once(first).chain(stream::once(rest)).boxed()))
    }
}

/// More than any buffer on the way takes.
fn large() -> SealedResponse {
    SealedResponse::new(&[], &CacheInfo::default(), &[], vec![7; 3_000_000].into())
}

/// A running server; told to shut down when asked to, or forgotten with its test.
struct Running {
    address: SocketAddr,
    health: Health,
    metrics: Arc<Metrics>,
    tracker: TaskTracker,
    shutdown: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), ServeError>>,
}

async fn run(config: config::ServerSettings) -> Running {
    let tracker = TaskTracker::new();
    let service = UserDataServiceServer::new(Obedient)
        .max_decoding_message_size(config.max_request_bytes)
        .accept_compressed(CompressionEncoding::Gzip);
    let security = Security::open();
    let routes = Routes { rpcs: None, tonic: tonic::service::Routes::new(service) };
    let server =
        Server::with(routes, &config, security, Clock::system(), tracker.clone(), &Telemetry::quiet()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (health, metrics) = (server.health(), server.metrics());
    let (shutdown, told) = oneshot::channel();
    let ended = TaskTracker::new().spawn(server.serve(listener, std::future::ready(()), async {
        if told.await.is_err() {
            future::pending().await
        }
    }));
    Running { address, health, metrics, tracker, shutdown, ended }
}

impl Running {
    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn client(&self) -> UserDataServiceClient<Channel> {
        UserDataServiceClient::new(self.channel().await)
    }

    fn counts(&self, method: Method) -> &MethodMetrics {
        self.metrics.method(method)
    }

    /// One call by bare HTTP/2: no client library that has timers or opinions of its own.
    async fn raw(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Status {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        TaskTracker::new().spawn(connection);
        let mut request = http::Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, mut sending) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        sending.send_data(body, true).unwrap();
        let (head, mut body) = response.await.unwrap().into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return status;
        }
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data.unwrap().len()).unwrap();
        }
        let trailers: HeaderMap = body.trailers().await.unwrap().unwrap();
        Status::from_header_map(&trailers).unwrap()
    }
}

fn asking(user: &str) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { user_id: user.to_owned(), ..Default::default() }
}

fn warming(user: &str) -> WarmCacheRequest {
    let item = WarmItem { user_id: user.to_owned(), strategy_id: None };
    WarmCacheRequest { items: vec![item], ..Default::default() }
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message].concat().into()
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("every error carries ErrorInfo").reason
}

/// Waits for a state, as counting happens a moment after the reply was read.
async fn until(condition: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("the state comes within a minute");
}

#[tokio::test]
async fn health_is_not_serving_until_told_for_the_server_and_the_service() {
    let server = run(config::ServerSettings::default()).await;
    let mut health = HealthClient::new(server.channel().await);
    for (told, expected) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        if told {
            server.health.serving().await;
        }
        for service in ["", "userdata.v1.UserDataService"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            assert_eq!(health.check(request).await.unwrap().into_inner().status(), expected, "{service:?}");
        }
    }
}

#[tokio::test]
async fn a_request_id_is_echoed_or_created_on_answers_and_on_errors() {
    let server = run(config::ServerSettings::default()).await;
    let mut client = server.client().await;
    for user in ["1", "panic"] {
        let mut request = Request::new(asking(user));
        request.metadata_mut().insert("x-request-id", "abc-1".parse().unwrap());
        let metadata = match client.get_comprehensive_user_data(request).await {
            Ok(response) => response.metadata().clone(),
            Err(status) => status.metadata().clone(),
        };
        assert_eq!(metadata.get("x-request-id").unwrap(), "abc-1", "{user}");
    }
    let answered = client.get_comprehensive_user_data(asking("1")).await.unwrap();
    let created = answered.metadata().get("x-request-id").unwrap().to_str().unwrap();
    assert!(uuid::Uuid::parse_str(created).is_ok(), "{created}");
}

#[tokio::test]
async fn a_panic_is_internal_with_the_request_id_and_harms_nobody_else() {
    let server = run(config::ServerSettings::default()).await;
    let mut client = server.client().await;
    let status = client.get_comprehensive_user_data(asking("panic")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "INTERNAL"));
    let id = status.metadata().get("x-request-id").unwrap().to_str().unwrap();
    assert_eq!(status.get_details_request_info().unwrap().request_id, id);
    assert!(!status.message().contains("told to"), "{}", status.message());

    let mut stream = client.warm_cache(warming("panic")).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().done, 1);
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Internal);

    // The same connection still works.
    client.get_comprehensive_user_data(asking("1")).await.unwrap();
    until(|| server.counts(Method::Get).ended(Outcome::Answered) == 2).await;
    assert_eq!(server.counts(Method::Warm).ended(Outcome::Answered), 1);
}

#[tokio::test]
async fn a_passed_deadline_is_code_4_however_short_it_was() {
    let server = run(config::ServerSettings::default()).await;
    let message = framed(&asking("hang").encode_to_vec());
    let timeouts = ["0m", "1n", "1m", "2m", "5m", "20m", "100m"];
    for timeout in timeouts {
        let status = server.raw(GET, &[("grpc-timeout", timeout)], message.clone()).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{timeout}: {status:?}");
        assert_eq!(reason(&status), "DEADLINE_EXCEEDED");
    }
    until(|| server.counts(Method::Get).ended(Outcome::Expired) == timeouts.len() as u64).await;
}

#[tokio::test]
async fn callers_without_a_deadline_get_the_default_one() {
    let server =
        run(config::ServerSettings { default_deadline: Duration::from_millis(50), ..Default::default() }).await;
    let status = server.client().await.get_comprehensive_user_data(asking("hang")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_deadline_bounds_a_stream_too() {
    // Long enough for the first message on a busy machine.
    let server = run(config::ServerSettings { default_deadline: Duration::from_secs(2), ..Default::default() }).await;
    let mut stream = server.client().await.warm_cache(warming("hang")).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().done, 1);
    let status = stream.message().await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    until(|| server.counts(Method::Warm).ended(Outcome::Expired) == 1).await;
}

#[tokio::test]
async fn a_malformed_timeout_is_an_invalid_argument() {
    let server = run(config::ServerSettings::default()).await;
    let status = server.raw(GET, &[("grpc-timeout", "soon")], framed(&[])).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "INVALID_ARGUMENT"));
}

#[tokio::test]
async fn beyond_the_limit_requests_are_shed_while_health_still_answers() {
    let server = run(config::ServerSettings { max_concurrent_requests: 1, ..Default::default() }).await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    let hanging = TaskTracker::new().spawn(async move {
        // A Get would give its permit back.
        client.invalidate_cache(InvalidateCacheRequest { user_id: "hang".to_owned(), ..Default::default() }).await
    });
    until(|| server.counts(Method::Invalidate).in_flight() == 1).await;

    let status = other.get_comprehensive_user_data(asking("1")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    assert!(status.get_details_retry_info().is_some());
    HealthClient::new(server.channel().await).check(HealthCheckRequest::default()).await.unwrap();

    // A caller that leaves frees its permit, and is counted as having left.
    hanging.abort();
    until(|| server.counts(Method::Invalidate).ended(Outcome::Abandoned) == 1).await;
    other.get_comprehensive_user_data(asking("1")).await.unwrap();
    until(|| server.counts(Method::Get).ended(Outcome::Answered) == 1).await;
    assert_eq!(server.counts(Method::Get).ended(Outcome::Shed), 1);
    assert_eq!(server.counts(Method::Get).in_flight(), 0);
}

#[tokio::test]
async fn messages_that_cannot_be_read_are_refused_and_harm_nobody_else() {
    let server = run(config::ServerSettings::default()).await;
    let mut client = server.client().await;
    let mut compressing = server.client().await.send_compressed(CompressionEncoding::Gzip);

    let status = client.get_comprehensive_user_data(asking(&"x".repeat(70_000))).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::OutOfRange, "MESSAGE_TOO_LARGE"));

    let bomb = compressing.get_comprehensive_user_data(asking(&"0".repeat(10_000_000))).await.unwrap_err();
    assert_eq!((bomb.code(), reason(&bomb).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));

    let broken = server.raw(GET, &[], framed(&[0xff; 9])).await;
    assert_eq!((broken.code(), reason(&broken).as_str()), (Code::Internal, "INTERNAL"));

    let unknown = server.raw("/userdata.v1.UserDataService/Nothing", &[], framed(&[])).await;
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::Unimplemented, "UNIMPLEMENTED"));

    client.get_comprehensive_user_data(asking("1")).await.unwrap();
    compressing.get_comprehensive_user_data(asking("1")).await.unwrap();
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight_and_ends_watches() {
    let server = run(config::ServerSettings::default()).await;
    server.health.serving().await;
    let mut watch =
        HealthClient::new(server.channel().await).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut client = server.client().await;
    let slow = TaskTracker::new().spawn(async move { client.get_comprehensive_user_data(asking("slow")).await });
    until(|| server.counts(Method::Get).in_flight() == 1).await;

    server.shutdown.send(()).unwrap();

    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watch.message().await.unwrap_err().code(), Code::Unavailable);
    slow.await.unwrap().unwrap();
    server.ended.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
    server.tracker.close();
    server.tracker.wait().await;
}

#[tokio::test]
async fn a_reply_is_complete_though_the_server_was_told_to_stop_while_it_was_sent() {
    let server = run(config::ServerSettings::default()).await;
    let (sender, connection) = h2::client::handshake(TcpStream::connect(server.address).await.unwrap()).await.unwrap();
    TaskTracker::new().spawn(connection);
    let request = http::Request::post(format!("http://{}{GET}", server.address)).header("te", "trailers");
    let request = request.header("content-type", "application/grpc").body(()).unwrap();
    let (response, mut sending) = sender.ready().await.unwrap().send_request(request, false).unwrap();
    sending.send_data(framed(&asking("large").encode_to_vec()), true).unwrap();
    let mut reply = response.await.unwrap().into_body();
    let first = reply.data().await.unwrap().unwrap();

    // Until here the client's windows keep most of it back.
    server.shutdown.send(()).unwrap();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }

    let mut received = first.len();
    reply.flow_control().release_capacity(first.len()).unwrap();
    while let Some(data) = reply.data().await {
        let data = data.unwrap();
        received += data.len();
        reply.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(received, large().into_pieces().remaining());
    assert_eq!(reply.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    server.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_off_and_counted() {
    let drain = Duration::from_millis(200);
    let server = run(config::ServerSettings { drain, ..Default::default() }).await;
    let mut client = server.client().await;
    let stuck = TaskTracker::new().spawn(async move { client.get_comprehensive_user_data(asking("hang")).await });
    until(|| server.counts(Method::Get).in_flight() == 1).await;

    server.shutdown.send(()).unwrap();

    assert!(matches!(server.ended.await.unwrap(), Err(ServeError::CutOff(_))));
    server.tracker.close();
    server.tracker.wait().await;
    assert!(stuck.await.unwrap().is_err());
    assert_eq!(server.metrics.method(Method::Get).ended(Outcome::Abandoned), 1);
    assert_eq!(server.metrics.method(Method::Get).in_flight(), 0);
}
