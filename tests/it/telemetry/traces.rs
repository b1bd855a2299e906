//! Traces, as a collector receives them from a real server.

use std::{collections::BTreeMap, fmt::Write as _};

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use tonic::{Code, Request};
use userdata::{
    grpc::middleware::auth::digest,
    proto::v1::{CacheStatus, GetComprehensiveUserDataRequest},
};

use super::{
    collector::{collector, hex, text},
    scrape::scrape,
};
use testkit::{
    ask::of,
    cluster::{Layout, cluster},
    server::{Client, serve},
    wait_for,
};

const GET: &str = "userdata.v1.UserDataService/GetComprehensiveUserData";
/// Of the caller.
const PARENT: &str = "00f067aa0ba902b7";

/// A cold call, from the caller's span down. Sources that run at the same time are in the order of their names.
pub(super) const COLD: &str = "\
userdata.v1.UserDataService/GetComprehensiveUserData
  load [assembled]
    assemble
      source ai_analysis
      source gap_analysis
      source onboarding
      source performance
      source recommendations
      source strategy
    lease
    lookup database [miss]
    lookup redis [miss]
    store
      write database
      write redis
  lookup memory [miss]
";

/// A trace of its own.
fn trace(number: u32) -> String {
    format!("4bf92f3577b34da6a3ce929d{number:08x}")
}

async fn ask(client: &Client, user: &str, trace: &str, flags: &str) -> CacheStatus {
    let mut request: Request<GetComprehensiveUserDataRequest> = Request::new(of(user));
    request.metadata_mut().insert("traceparent", format!("00-{trace}-{PARENT}-{flags}").parse().unwrap());
    let reply = client.clone().get_comprehensive_user_data(request).await.unwrap().into_inner();
    reply.cache_info.unwrap().status()
}

/// The spans below one, a line each, children sorted by name.
fn tree(spans: &[Span], parent: &[u8], depth: usize) -> String {
    let mut children: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == parent).collect();
    children.sort_by_key(|span| &span.name);
    children.into_iter().fold(String::new(), |mut lines, span| {
        let outcome = text(&span.attributes, "outcome").map(|outcome| format!(" [{outcome}]")).unwrap_or_default();
        writeln!(lines, "{}{}{outcome}", "  ".repeat(depth), span.name).unwrap();
        lines + &tree(spans, &span.span_id, depth + 1)
    })
}

fn caller() -> Vec<u8> {
    PARENT
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[tokio::test]
async fn a_cold_call_is_one_trace_from_its_callers_span_to_the_last_write() {
    let (collector, cluster) = (collector().await, cluster(Layout::Postgres).await.with_redis().await);
    cluster.sources.add_user("1", &[11]).await;
    let server = serve(collector.told_by(cluster.settings())).await;
    assert_eq!(ask(&server.client().await, "1", &trace(1), "01").await, CacheStatus::Assembled);

    let spans = collector.trace_of(&trace(1), COLD.lines().count()).await;
    assert_eq!(tree(&spans, &caller(), 0), COLD);

    let by_name: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.name.as_str(), span)).collect();
    let request = by_name[GET];
    assert_eq!(request.kind(), SpanKind::Server);
    let said = |key| text(&request.attributes, key);
    assert_eq!(said("rpc.system.name").as_deref(), Some("grpc"));
    assert_eq!(said("rpc.method").as_deref(), Some(GET));
    assert_eq!(said("rpc.response.status_code").as_deref(), Some("OK"));
    assert_eq!(said("userdata.status").as_deref(), Some("ASSEMBLED"));
    // What starts together overlaps, what is made from both comes after them.
    let (onboarding, strategy) = (by_name["source onboarding"], by_name["source strategy"]);
    let both_begun = onboarding.start_time_unix_nano.max(strategy.start_time_unix_nano);
    let one_ended = onboarding.end_time_unix_nano.min(strategy.end_time_unix_nano);
    assert!(both_begun <= one_ended, "the two required sources ran one after the other");
    let both_ended = onboarding.end_time_unix_nano.max(strategy.end_time_unix_nano);
    assert!(by_name["source gap_analysis"].start_time_unix_nano >= both_ended);
    let identities =
        spans.iter().flat_map(|span| &span.attributes).filter(|attribute| attribute.key.contains("user_id"));
    assert_eq!(identities.count(), 0, "spans name nobody");
}

#[tokio::test]
async fn who_waits_for_anothers_load_links_to_it() {
    let (collector, cluster) = (collector().await, cluster(Layout::Postgres).await);
    cluster.sources.add_user("1", &[11]).await;
    let server = serve(collector.told_by(cluster.settings())).await;
    let client = server.client().await;

    let held = cluster.sources.hold("onboarding_sessions").await;
    let waiting = async |count: f64| {
        let look = async || (scrape(&server).await.sum("userdata_load_waiters", &[]) == count).then_some(());
        wait_for("callers that wait", look).await;
    };
    let (first, second) = (trace(1), trace(2));
    let follow = async {
        waiting(1.0).await;
        ask(&client, "1", &second, "01").await
    };
    let release = async {
        waiting(2.0).await;
        held.release().await;
    };
    let (leader, follower, ()) = tokio::join!(ask(&client, "1", &first, "01"), follow, release);
    assert_eq!((leader, follower), (CacheStatus::Assembled, CacheStatus::Shared));

    let load = collector.span_of(&first, "load").await;
    let spans = collector.trace_of(&second, 3).await;
    assert_eq!(tree(&spans, &caller(), 0), format!("{GET}\n  lookup memory [miss]\n  wait\n"));
    let wait = spans.iter().find(|span| span.name == "wait").unwrap();
    let links: Vec<_> = wait.links.iter().map(|link| (hex(&link.trace_id), link.span_id.clone())).collect();
    assert_eq!(links, [(first, load.span_id)]);
}

#[tokio::test]
async fn a_request_whose_caller_decided_against_it_leaves_no_span() {
    let (collector, cluster) = (collector().await, cluster(Layout::Sqlite).await);
    cluster.sources.add_user("1", &[11]).await;
    let server = serve(collector.told_by(cluster.settings())).await;
    let client = server.client().await;
    assert_eq!(ask(&client, "1", &trace(1), "00").await, CacheStatus::Assembled);
    cluster.has_stored(1).await;

    assert_eq!(ask(&client, "1", &trace(2), "01").await, CacheStatus::HitMemory);
    let hit = collector.span_of(&trace(2), GET).await;
    assert_eq!(text(&hit.attributes, "userdata.status").as_deref(), Some("HIT_MEMORY"));
    // Spans are sent in the order in which they ended.
    assert_eq!(collector.spans_of(&trace(1)), []);
}

#[tokio::test]
async fn a_caller_decides_about_its_trace_only_once_it_is_admitted() {
    let (collector, cluster) = (collector().await, cluster(Layout::Sqlite).await);
    cluster.sources.add_user("1", &[11]).await;
    let files = tempfile::tempdir().unwrap();
    let line = |role: &str| format!("{role} {} the-{role}\n", hex(&digest(role)));
    std::fs::write(files.path().join("tokens"), ["reader", "operator"].map(line).concat()).unwrap();
    let settings =
        cluster.settings().with("auth.mode", "token").with("auth.tokens_file", files.path().join("tokens").display());
    let server = serve(collector.told_by(settings)).await;
    let client = server.client().await;
    let ask = async |trace: u32, token: &str| {
        let mut request = Request::new(of("1"));
        let headers = request.metadata_mut();
        headers.insert("traceparent", format!("00-{}-{PARENT}-01", self::trace(trace)).parse().unwrap());
        headers.insert("tracestate", format!("vendor=state-of-{trace}").parse().unwrap());
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        client.clone().get_comprehensive_user_data(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
    };

    let refused = [(1, "", Code::Unauthenticated), (2, "guessed", Code::Unauthenticated)];
    for (trace, token, code) in refused.into_iter().chain([(3, "operator", Code::PermissionDenied)]) {
        assert_eq!(ask(trace, token).await, code);
    }
    assert_eq!(ask(4, "reader").await, Code::Ok);

    let admitted = collector.span_of(&trace(4), GET).await;
    assert_eq!((admitted.parent_span_id, admitted.trace_state.as_str()), (caller(), "vendor=state-of-4"));
    // Spans are sent in the order in which they ended.
    let sent = collector.everything();
    for refused in 1..=3 {
        assert_eq!(collector.spans_of(&trace(refused)), []);
        assert!(!sent.contains(&format!("state-of-{refused}")), "{sent}");
    }
}
