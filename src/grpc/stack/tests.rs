//! Every line of the stack matters, and so does its place: each change of the list below makes its test fail.
//!
//! The lines are put together anew here, so that one can be left out or two can change places.

use std::{collections::HashSet, future::pending, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt as _, stream};
use prost::Message as _;
use tempfile::TempDir;
use tonic::{Code, Status, body::Body};
use tower::{Layer as _, service_fn, util::BoxCloneService};
use tracing::{Subscriber, field::Visit, span};
use tracing_subscriber::{layer::Context, prelude::*};

use super::*;
use crate::{
    app::App,
    cache::{ReadOptions, UserDataCache},
    clock::Clock,
    config::{Config, Secret},
    grpc::{
        answer::{Answer, Content},
        call::Call,
        method::Method,
        middleware::auth::{Callers, Services, digest},
        service::UserDataRpcs,
        testing::{self, TestBody},
    },
    model::{Parameters, UserDataQuery, UserId},
    proto::v1::GetComprehensiveUserDataRequest,
    reload::Reloaded,
    sync::Mutex,
    telemetry::Telemetry,
};

/// The lines of the stack below the outermost one, which cannot stand elsewhere: it alone takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum StackLine {
    RequestId,
    ContentType,
    CatchPanic,
    DeadlineParsed,
    Auth,
    Trace,
    Drain,
    Receive,
    MemoryHit,
    ConcurrencyLimit,
    Deadline,
}

use StackLine::{
    Auth, CatchPanic, ConcurrencyLimit, ContentType, Deadline, DeadlineParsed, Drain, MemoryHit, Receive, RequestId,
    Trace,
};

/// In order, with the text of each in the stack's file.
const LINES: [(StackLine, &str); 11] = [
    (RequestId, "RequestIdLayer"),
    (ContentType, "FilterLayer(ContentType)"),
    (CatchPanic, "CatchPanicLayer"),
    (DeadlineParsed, "FilterLayer(self.deadline)"),
    (Auth, "FilterLayer(self.auth.clone())"),
    (Trace, "TraceLayer("),
    (Drain, "DrainLayer("),
    (Receive, "self.receive.clone()"),
    (MemoryHit, "MemoryHitLayer {"),
    (ConcurrencyLimit, "self.limit.clone()"),
    (Deadline, "DeadlineLayer"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum StackChange {
    Without(StackLine),
    /// With the line below it.
    Exchanged(StackLine, StackLine),
}

use StackChange::{Exchanged, Without};

/// Each change, and the test that fails with it.
const NOTICED: [(StackChange, &str); 18] = [
    (Without(RequestId), "every_answer_says_the_callers_id"),
    (Exchanged(RequestId, ContentType), "every_answer_says_the_callers_id"),
    (Without(ContentType), "another_protocol_is_refused"),
    (Without(CatchPanic), "a_panic_is_an_answer"),
    (Without(DeadlineParsed), "a_malformed_timeout_is_refused_before_credentials_are_looked_at"),
    (Exchanged(DeadlineParsed, Auth), "a_malformed_timeout_is_refused_before_credentials_are_looked_at"),
    (Without(Auth), "an_unknown_caller_is_refused"),
    (Exchanged(Auth, Trace), "the_span_of_a_call_names_its_caller"),
    (Without(Trace), "the_span_of_a_call_names_its_caller"),
    (Exchanged(Trace, Drain), "a_call_that_is_refused_at_drain_has_its_span"),
    (Without(Drain), "a_draining_server_receives_no_bodies"),
    (Exchanged(Drain, Receive), "a_draining_server_receives_no_bodies"),
    (Without(Receive), "a_message_that_does_not_come_is_not_waited_for"),
    (Exchanged(Receive, MemoryHit), "a_hit_needs_no_permit"),
    (Without(MemoryHit), "a_hit_needs_no_permit"),
    (Exchanged(MemoryHit, ConcurrencyLimit), "a_hit_needs_no_permit"),
    (Without(ConcurrencyLimit), "beyond_the_limit_requests_are_refused"),
    (Without(Deadline), "a_deadline_ends_the_wait"),
];

/// Lines whose order makes no difference.
const NO_DIFFERENCE: [(StackChange, &str); 3] = [
    (Exchanged(ContentType, CatchPanic), "looking at a content type does not panic"),
    (Exchanged(CatchPanic, DeadlineParsed), "parsing a timeout does not panic"),
    (Exchanged(ConcurrencyLimit, Deadline), "a permit is given back when the future is dropped, in either order"),
];

type BoxedService = BoxCloneService<Call<TestBody>, Answer, Infallible>;

fn lines() -> Vec<StackLine> {
    LINES.map(|(line, _)| line).to_vec()
}

fn changed(change: StackChange) -> Vec<StackLine> {
    let mut lines = lines();
    match change {
        Without(line) => lines.retain(|other| *other != line),
        Exchanged(above, below) => {
            let place = lines.iter().position(|line| *line == above).unwrap();
            assert_eq!(lines[place + 1], below);
            lines.swap(place, place + 1);
        }
    }
    lines
}

/// The stack of these lines over a service.
fn put_together(stack: &Stack, lines: &[StackLine], service: BoxedService) -> BoxedService {
    lines.iter().rev().fold(service, |inner, line| match line {
        RequestId => BoxCloneService::new(RequestIdLayer.layer(inner)),
        ContentType => BoxCloneService::new(FilterLayer(super::ContentType).layer(inner)),
        CatchPanic => BoxCloneService::new(CatchPanicLayer.layer(inner)),
        DeadlineParsed => BoxCloneService::new(FilterLayer(stack.deadline).layer(inner)),
        Auth => BoxCloneService::new(FilterLayer(stack.auth.clone()).layer(inner)),
        Trace => BoxCloneService::new(TraceLayer(stack.sampling.clone()).layer(inner)),
        Drain => BoxCloneService::new(DrainLayer(stack.drain.clone()).layer(inner)),
        Receive => BoxCloneService::new(stack.receive.clone().layer(inner)),
        MemoryHit => BoxCloneService::new(MemoryHitLayer { rpcs: stack.routes.rpcs.clone() }.layer(inner)),
        ConcurrencyLimit => BoxCloneService::new(stack.limit.clone().layer(inner)),
        Deadline => BoxCloneService::new(DeadlineLayer.layer(inner)),
    })
}

/// The response's status code and headers; none if there is no response in an hour, or a panic in its place.
async fn respond(
    stack: &Stack,
    lines: &[StackLine],
    service: BoxedService,
    request: Request<TestBody>,
) -> Option<Response<ResponseBody>> {
    let metrics = MetricsLayer { metrics: Arc::clone(stack.metrics()), peer: Peer::default() };
    let mut service = metrics.layer(put_together(stack, lines, service));
    let response = AssertUnwindSafe(async move { service.call(request).await }).catch_unwind();
    let Ok(response) = tokio::time::timeout(Duration::from_secs(3600), response).await.ok()?.ok()?;
    Some(response)
}

/// The code that the headers of a response tell.
async fn code(stack: &Stack, lines: &[StackLine], service: BoxedService, request: Request<TestBody>) -> Option<Code> {
    let response = respond(stack, lines, service, request).await?;
    Status::from_header_map(response.headers()).map(|status| status.code())
}

/// Checks that the property holds, and is lost with each change that this test is to notice.
async fn noticed(test: &str, property: impl AsyncFn(Vec<StackLine>) -> bool) {
    assert!(property(lines()).await, "in order");
    let changes: Vec<_> = NOTICED.into_iter().filter(|(_, by)| *by == test).collect();
    assert!(!changes.is_empty(), "{test} notices nothing");
    for (change, _) in changes {
        assert!(!property(changed(change)).await, "{change:?}");
    }
}

const TOKEN: &str = "a token";
const BEARER: (&str, &str) = ("authorization", "Bearer a token");
const GRPC: (&str, &str) = ("content-type", "application/grpc");

fn stack_with(config: &config::ServerSettings, auth: super::Auth, rpcs: Option<Arc<UserDataRpcs>>) -> Stack {
    let telemetry = Telemetry::quiet();
    let metrics = Metrics::new(crate::grpc::metrics::Protocol::Grpc, Clock::system(), &telemetry.meter());
    let routes = Routes { rpcs, tonic: tonic::service::Routes::default() };
    Stack::new(config, metrics, telemetry.sampling(), auth, routes)
}

/// One caller is known.
fn stack(config: &config::ServerSettings) -> Stack {
    let hex: String = digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    let callers = Callers::tokens(&format!("operator {hex} ops\n")).unwrap();
    stack_with(config, super::Auth::new(Services::Token(Reloaded::fixed(callers)), None), None)
}

fn answering() -> BoxedService {
    BoxCloneService::new(service_fn(async |_| Ok(Content::Encoded(Response::new(Body::empty())).into())))
}

fn hanging() -> BoxedService {
    BoxCloneService::new(service_fn(|_| pending()))
}

fn stats(headers: &[(&str, &str)]) -> Request<TestBody> {
    testing::request(Method::Stats, headers, testing::empty_message())
}

/// A call whose message never comes, though its caller would wait.
fn silent() -> Request<TestBody> {
    let headers = [GRPC, BEARER, ("grpc-timeout", "99999999H")];
    testing::request(Method::Stats, &headers, testing::body(stream::pending()))
}

#[test]
fn the_lines_are_those_of_the_stack() {
    let source = include_str!("../stack.rs");
    let written: Vec<_> = source.lines().filter_map(|line| line.trim().strip_prefix(".layer(")).collect();
    assert!(written[0].starts_with("MetricsLayer {"), "{written:?}");
    assert_eq!(written.len(), LINES.len() + 1);
    for ((line, text), written) in LINES.iter().zip(&written[1..]) {
        assert!(written.starts_with(text), "{line:?}: {written}");
    }
}

#[test]
fn every_line_and_every_pair_of_lines_is_judged() {
    let judged: HashSet<_> = NOTICED.iter().chain(&NO_DIFFERENCE).map(|(change, _)| *change).collect();
    let lines = lines();
    let left_out = lines.iter().map(|line| Without(*line));
    let exchanged = lines.windows(2).map(|pair| Exchanged(pair[0], pair[1]));
    assert_eq!(judged, left_out.chain(exchanged).collect());
}

#[tokio::test]
async fn every_answer_says_the_callers_id() {
    noticed("every_answer_says_the_callers_id", async |lines| {
        let request = stats(&[("content-type", "text/plain"), ("x-request-id", "abc-1")]);
        let response = respond(&stack(&config::ServerSettings::default()), &lines, answering(), request).await.unwrap();
        response.headers().get("x-request-id").is_some_and(|id| id == "abc-1")
    })
    .await;
}

#[tokio::test]
async fn another_protocol_is_refused() {
    noticed("another_protocol_is_refused", async |lines| {
        let request = stats(&[("content-type", "application/json"), BEARER]);
        let response = respond(&stack(&config::ServerSettings::default()), &lines, answering(), request).await.unwrap();
        response.status() == http::StatusCode::UNSUPPORTED_MEDIA_TYPE
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    noticed("a_panic_is_an_answer", async |lines| {
        let panicking = BoxCloneService::new(service_fn(async |_| panic!("told to")));
        let stack = stack(&config::ServerSettings::default());
        code(&stack, &lines, panicking, stats(&[GRPC, BEARER])).await == Some(Code::Internal)
    })
    .await;
}

#[tokio::test]
async fn a_malformed_timeout_is_refused_before_credentials_are_looked_at() {
    noticed("a_malformed_timeout_is_refused_before_credentials_are_looked_at", async |lines| {
        let request = stats(&[GRPC, ("grpc-timeout", "soon")]);
        let code = code(&stack(&config::ServerSettings::default()), &lines, answering(), request).await;
        code == Some(Code::InvalidArgument)
    })
    .await;
}

#[tokio::test]
async fn an_unknown_caller_is_refused() {
    noticed("an_unknown_caller_is_refused", async |lines| {
        let code = code(&stack(&config::ServerSettings::default()), &lines, answering(), stats(&[GRPC])).await;
        code == Some(Code::Unauthenticated)
    })
    .await;
}

/// Notes the callers that spans name.
#[derive(Clone, Default)]
struct NamedCallers(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> tracing_subscriber::Layer<S> for NamedCallers {
    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

impl Visit for NamedCallers {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        if field.name() == "caller" {
            self.0.lock().push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

async fn callers_named(stack: &Stack, lines: &[StackLine]) -> Vec<String> {
    let named = NamedCallers::default();
    let _subscriber = tracing_subscriber::registry().with(named.clone()).set_default();
    respond(stack, lines, answering(), stats(&[GRPC, BEARER])).await.unwrap();
    std::mem::take(&mut *named.0.lock())
}

#[tokio::test]
async fn the_span_of_a_call_names_its_caller() {
    noticed("the_span_of_a_call_names_its_caller", async |lines| {
        callers_named(&stack(&config::ServerSettings::default()), &lines).await == ["ops"]
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_refused_at_drain_has_its_span() {
    noticed("a_call_that_is_refused_at_drain_has_its_span", async |lines| {
        let stack = stack(&config::ServerSettings::default());
        stack.drain().begin();
        callers_named(&stack, &lines).await == ["ops"]
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_receives_no_bodies() {
    noticed("a_draining_server_receives_no_bodies", async |lines| {
        let stack = stack(&config::ServerSettings::default());
        stack.drain().begin();
        code(&stack, &lines, answering(), silent()).await == Some(Code::Unavailable)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_come_is_not_waited_for() {
    noticed("a_message_that_does_not_come_is_not_waited_for", async |lines| {
        let stack = stack(&config::ServerSettings::default());
        code(&stack, &lines, answering(), silent()).await == Some(Code::DeadlineExceeded)
    })
    .await;
}

#[tokio::test]
async fn beyond_the_limit_requests_are_refused() {
    noticed("beyond_the_limit_requests_are_refused", async |lines| {
        let stack = stack(&config::ServerSettings { max_concurrent_requests: 0, ..Default::default() });
        code(&stack, &lines, answering(), stats(&[GRPC, BEARER])).await == Some(Code::ResourceExhausted)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait() {
    noticed("a_deadline_ends_the_wait", async |lines| {
        let stack = stack(&config::ServerSettings::default());
        code(&stack, &lines, hanging(), stats(&[GRPC, BEARER])).await == Some(Code::DeadlineExceeded)
    })
    .await;
}

/// The cache over the demo's data.
async fn demo_cache() -> (Arc<UserDataCache>, App, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.database.url = Secret::new(format!("sqlite://{}/userdata.db?mode=rwc", directory.path().display()));
    config.demo.enabled = true;
    config.sources.change_feed = false;
    // Nothing here is about time, and the machine may be busy.
    config.database.timeout = Duration::from_secs(10);
    let app = Box::pin(App::connect(config, Telemetry::quiet())).await.unwrap();
    (app.cache(), app, directory)
}

#[tokio::test]
async fn a_hit_needs_no_permit() {
    let (cache, _app, _directory) = demo_cache().await;
    let query = UserDataQuery::new(UserId::parse("1").unwrap(), None, Parameters::none());
    cache.get(&query, &ReadOptions::default()).await.unwrap();
    let rpcs = Arc::new(UserDataRpcs::new(Arc::clone(&cache), Clock::system(), usize::MAX));
    let config = config::ServerSettings { max_concurrent_requests: 0, ..Default::default() };
    let stack = stack_with(&config, super::Auth::new(Services::Open, None), Some(rpcs));
    let message = GetComprehensiveUserDataRequest { user_id: "1".into(), ..Default::default() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = Bytes::from([&[0], &length[..], &message].concat());
    noticed("a_hit_needs_no_permit", async |lines| {
        // The document has to be verified, whatever else the machine does.
        cache.invalidation_log().catch_up().await.unwrap();
        let body = testing::body(stream::iter([framed.clone()]));
        let request = testing::request(Method::Get, &[GRPC], body);
        let response = respond(&stack, &lines, answering(), request).await.unwrap();
        response.headers().get("x-cache").is_some_and(|line| line.as_bytes().starts_with(b"HIT; tier=memory"))
    })
    .await;
}
