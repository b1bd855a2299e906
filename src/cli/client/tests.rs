//! The client commands against a server in this process that answers from a script.

use std::net::SocketAddr;

use clap::Parser;
use prost::Message;
use serde_json::{Value as Json, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::{Iter, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::proto::{
    SealedResponse, Timestamp,
    google::rpc,
    v1::{
        AccessedEntry, CacheInfo, CacheStatus, ChangeStats, CleanupCacheRequest, CleanupCacheResponse,
        ComprehensiveUserData, Freshness, Generator, GetCacheStatsRequest, GetCacheStatsResponse,
        GetComprehensiveUserDataRequest, InvalidateCacheRequest, InvalidateCacheResponse, InvalidationLogStats,
        Section, SectionReport, SectionStats, SourceStats, StalenessCheckStats, State, TierStats, Wait,
        WarmCacheRequest, WarmCacheResponse, WarmItem,
        server::user_data_service_server::{UserDataService, UserDataServiceServer},
    },
};

/// Answers from a script; what it answers follows from the request.
struct Script;

#[tonic::async_trait]
impl UserDataService for Script {
    type WarmCacheStream = Iter<std::vec::IntoIter<Result<WarmCacheResponse, Status>>>;

    async fn get_comprehensive_user_data(
        &self,
        request: Request<GetComprehensiveUserDataRequest>,
    ) -> Result<Response<SealedResponse>, Status> {
        let request = request.into_inner();
        match request.user_id.as_str() {
            "" => Err(Status::with_error_details(
                Code::InvalidArgument,
                "invalid request",
                ErrorDetails::with_bad_request_violation("user_id", "must not be empty"),
            )),
            "nobody" => Err(Status::not_found("user not found")),
            "slow" => {
                std::future::pending::<()>().await;
                Err(Status::internal("pending ended"))
            }
            // The request comes back in the reply, so that tests see what was sent.
            _ => Ok(Response::new(document(format!("{request:?}")))),
        }
    }

    async fn invalidate_cache(
        &self,
        request: Request<InvalidateCacheRequest>,
    ) -> Result<Response<InvalidateCacheResponse>, Status> {
        let request = request.into_inner();
        let expected = InvalidateCacheRequest {
            user_id: "1".into(),
            strategy_id: Some(2),
            wait: Wait::All.into(),
            reason: "test".into(),
            purge: true,
        };
        if request != expected {
            return Err(Status::invalid_argument(format!("{request:?}")));
        }
        Ok(Response::new(InvalidateCacheResponse { removed_entries: 3, token: "log:7".into() }))
    }

    async fn get_cache_stats(
        &self,
        request: Request<GetCacheStatsRequest>,
    ) -> Result<Response<GetCacheStatsResponse>, Status> {
        let count = request.into_inner().most_accessed_limit;
        let entry = AccessedEntry { user_id: "alice".into(), access_count: 42, ..Default::default() };
        Ok(Response::new(GetCacheStatsResponse {
            total_entries: Some(12),
            valid_entries: Some(10),
            expired_entries: Some(2),
            most_accessed: vec![entry; usize::try_from(count).unwrap_or_default()],
            tiers: vec![TierStats {
                tier: "memory".into(),
                enabled: true,
                entries: Some(9),
                bytes: Some(2048),
                hit_rate: 0.975,
                breaker_state: "closed".into(),
                ..Default::default()
            }],
            sources: vec![SourceStats { source: "onboarding".into(), runs: 5, ..Default::default() }],
            sections: vec![SectionStats { section: Section::GapAnalysis.into(), read: 8, reused: 3 }],
            changes: Some(ChangeStats {
                active: true,
                changes: 7,
                invalidations: 6,
                backlog: Some(1),
                ..ChangeStats::default()
            }),
            staleness_check: Some(StalenessCheckStats { compared: 30, stale: 2, ..Default::default() }),
            ai_calls_shared: 4,
            ai_prompt_tokens: 900,
            ai_completion_tokens: 50,
            invalidation_log: Some(InvalidationLogStats { applied: 17, ..Default::default() }),
            version: "9.9.9".into(),
            ..Default::default()
        }))
    }

    async fn cleanup_cache(
        &self,
        request: Request<CleanupCacheRequest>,
    ) -> Result<Response<CleanupCacheResponse>, Status> {
        Ok(Response::new(CleanupCacheResponse { deleted_count: request.into_inner().limit.into() }))
    }

    async fn warm_cache(&self, request: Request<WarmCacheRequest>) -> Result<Response<Self::WarmCacheStream>, Status> {
        let items = request.into_inner().items;
        let total = i32::try_from(items.len()).unwrap_or_default();
        let replies = items.into_iter().zip(1..).map(|(item, done)| Ok(warmed(item, done, total)));
        Ok(Response::new(tokio_stream::iter(replies.collect::<Vec<_>>())))
    }
}

fn document(industry: String) -> SealedResponse {
    let document = ComprehensiveUserData { user_id: "1".into(), industry, ..Default::default() };
    let second = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let cache_info = CacheInfo {
        is_cached: true,
        status: CacheStatus::HitMemory.into(),
        age: Some(std::time::Duration::from_secs(12).into()),
        timestamp: second(1_000_000),
        verified: true,
        token: "log:17".into(),
        ..Default::default()
    };
    let report = SectionReport {
        section: Section::GapAnalysis.into(),
        state: State::Stale.into(),
        generator: Generator::Algorithm.into(),
        read_at: second(999_940),
        took: Some(std::time::Duration::from_millis(45).into()),
        reason: "TIMEOUT".into(),
        ..Default::default()
    };
    SealedResponse::new(&[], &cache_info, &SealedResponse::encoded_reports(&[report]), document.encode_to_vec().into())
}

fn warmed(item: WarmItem, done: i32, total: i32) -> WarmCacheResponse {
    let error = (item.user_id == "nobody").then(|| rpc::Status {
        code: Code::NotFound.into(),
        message: "user not found".into(),
        details: Vec::new(),
    });
    let status = if error.is_some() { CacheStatus::Unspecified } else { CacheStatus::Assembled };
    WarmCacheResponse { done, total, item: Some(item), status: status.into(), error }
}

/// The scripted server, until it is dropped.
struct Scripted {
    address: SocketAddr,
    _server: JoinSet<Result<(), tonic::transport::Error>>,
}

impl Scripted {
    async fn start(ready: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (reporter, health) = tonic_health::server::health_reporter();
        let status = if ready { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
        reporter.set_service_status("", status).await;
        let mut server = JoinSet::new();
        server.spawn(
            Server::builder()
                .add_service(UserDataServiceServer::new(Script))
                .add_service(health)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { address, _server: server }
    }

    /// What a command prints, and what its exit code would be.
    async fn run(&self, arguments: &[&str]) -> (String, Result<(), Failure>) {
        let address = format!("http://{}", self.address);
        run_against(&address, arguments).await
    }
}

async fn run_against(address: &str, arguments: &[&str]) -> (String, Result<(), Failure>) {
    #[derive(Parser)]
    struct TestLine {
        #[command(subcommand)]
        command: ClientCommand,
    }
    let line = [&["userdata"], arguments, &["--addr", address]].concat();
    let command = TestLine::try_parse_from(line).expect("a command").command;
    let mut printed = Vec::new();
    let result = command.call(&mut Output::to(&mut printed, false)).await;
    (String::from_utf8(printed).expect("UTF-8"), result)
}

/// Whether the words stand in one line of the text, in this order.
fn has_line(text: &str, words: &[&str]) -> bool {
    text.lines().any(|line| {
        let mut rest = line;
        words.iter().all(|word| match rest.split_once(word) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

#[tokio::test]
async fn get_shows_head_sections_and_outline() {
    let server = Scripted::start(true).await;
    let (text, result) = server.run(&["get", "1"]).await;
    result.expect("found");
    let lines: [&[&str]; 7] = [
        &["status", "HIT_MEMORY"],
        &["age", "12.0s"],
        &["verified", "true"],
        &["token", "log:17"],
        &["section", "state", "generator", "read", "took", "notes"],
        &["gap_analysis", "STALE", "ALGORITHM", "1m 0s ago", "45.0ms", "TIMEOUT"],
        &["user_id", "3 B", "1"],
    ];
    for words in lines {
        assert!(has_line(&text, words), "{words:?} in\n{text}");
    }
}

#[tokio::test]
async fn get_prints_proto3_json_with_the_protos_own_field_names_on_one_line() {
    let server = Scripted::start(true).await;
    let (text, result) = server.run(&["get", "1", "-o", "json"]).await;
    result.expect("found");
    assert_eq!(text.lines().count(), 1);
    let reply: Json = serde_json::from_str(&text).expect("JSON");
    assert_eq!(reply["data"]["user_id"], "1");
    assert_eq!(reply["cache_info"]["status"], "CACHE_STATUS_HIT_MEMORY");
    assert_eq!(reply["cache_info"]["is_cached"], true);
    assert_eq!(reply["cache_info"]["age"], "12s");
    assert_eq!(reply["sections"][0]["read_at"], "1970-01-12T13:45:40Z");
    assert_eq!(reply["sections"][0]["section"], "SECTION_GAP_ANALYSIS");
}

#[tokio::test]
async fn get_sends_what_was_asked_for() {
    let server = Scripted::start(true).await;
    let line = [
        "get",
        "1",
        "--strategy",
        "-2",
        "--refresh",
        "--sections",
        "onboarding,gap_analysis",
        "--param",
        "depth=2",
        "--param",
        "style=a b",
        "--param",
        "list=[1]",
        "--min-token",
        "log:7",
        "--freshness",
        "strict",
        "--max-age",
        "5s",
        "-o",
        "json",
    ];
    let (text, result) = server.run(&line).await;
    result.expect("found");

    let reply: Json = serde_json::from_str(&text).expect("JSON");
    let parameters = json!({ "depth": 2, "style": "a b", "list": [1] });
    let expected = GetComprehensiveUserDataRequest {
        user_id: "1".into(),
        strategy_id: Some(-2),
        force_refresh: true,
        parameters: parameters.as_object().cloned().map(Into::into),
        sections: vec![Section::Onboarding.into(), Section::GapAnalysis.into()],
        min_token: "log:7".into(),
        freshness: Freshness::Strict.into(),
        max_age: Some(std::time::Duration::from_secs(5).into()),
    };
    assert_eq!(reply["data"]["industry"], format!("{expected:?}"));
}

#[tokio::test]
async fn failures_are_one_line_and_the_codes_number() {
    let server = Scripted::start(true).await;
    let cases: [(&[&str], &str, u8); 3] = [
        (&["get", ""], "INVALID_ARGUMENT: invalid request (user_id: must not be empty)", 3),
        (&["get", "nobody"], "NOT_FOUND: user not found", 5),
        (&["get", "slow", "--timeout", "50ms"], "DEADLINE_EXCEEDED: no answer within --timeout", 4),
    ];
    for (arguments, line, exit) in cases {
        let (printed, result) = server.run(arguments).await;
        let failure = result.expect_err("failed");
        assert_eq!((failure.to_string().as_str(), failure.number()), (line, exit));
        assert_eq!(printed, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    for arguments in [&["get", "1"] as &[&str], &["warm", "1"], &["healthcheck"]] {
        let (_, result) = run_against(&format!("http://{unused}"), arguments).await;
        let failure = result.expect_err("the port is closed");
        assert_eq!(failure.number(), 14);
        let expected = format!("UNAVAILABLE: cannot connect to http://{unused}: Connection refused");
        assert!(failure.to_string().starts_with(&expected), "{failure}");
    }
}

#[tokio::test]
async fn invalidate_returns_rows_and_token() {
    let server = Scripted::start(true).await;
    let line = ["invalidate", "1", "--strategy", "2", "--wait", "all", "--purge", "--reason", "test"];
    let (text, result) = server.run(&line).await;
    result.expect("acknowledged");
    assert!(has_line(&text, &["rows removed", "3"]) && has_line(&text, &["token", "log:7"]), "{text}");

    let (json, result) = server.run(&[line.as_slice(), &["-o", "json"]].concat()).await;
    result.expect("acknowledged");
    assert_eq!(json, "{\"removed_entries\":\"3\",\"token\":\"log:7\"}\n");
}

#[tokio::test]
async fn stats_show_tiers_sources_and_the_most_accessed() {
    let server = Scripted::start(true).await;
    let (text, result) = server.run(&["stats", "--most-accessed", "2"]).await;
    result.expect("answered");
    let lines: [&[&str]; 9] = [
        &["server", "9.9.9"],
        &["rows", "12 (10 valid, 2 expired)"],
        &["memory", "9", "2.00 KiB", "97.5 %", "closed"],
        &["onboarding", "5"],
        &["gap_analysis", "8", "3"],
        &["changes", "7 relayed as 6 invalidations, 1 waiting"],
        &["staleness check", "30 documents compared, 2 sections stale (for at most -), 0 changes pending, 0 undecided"],
        &["AI calls", "0 made, 0 avoided, 4 shared, 900 tokens sent, 50 received"],
        &["alice", "-", "42"],
    ];
    for words in lines {
        assert!(has_line(&text, words), "{words:?} in\n{text}");
    }
    assert_eq!(text.matches("alice").count(), 2);
}

#[tokio::test]
async fn cleanup_tells_how_many_rows_went() {
    let server = Scripted::start(true).await;
    assert_eq!(server.run(&["cleanup", "--limit", "7"]).await, ("rows deleted  7\n".into(), Ok(())));
}

#[tokio::test]
async fn warming_goes_on_after_a_failure_and_exits_with_it() {
    let server = Scripted::start(true).await;
    let (text, result) = server.run(&["warm", "alice", "nobody", "bob"]).await;
    assert_eq!(text, "1/3 alice ASSEMBLED\n2/3 nobody NOT_FOUND: user not found\n3/3 bob ASSEMBLED\nwarmed 2 of 3\n");
    let failure = result.expect_err("one failed");
    assert_eq!((failure.to_string().as_str(), failure.number()), ("NOT_FOUND: user not found (1 of 3 failed)", 5));

    let (json, result) = server.run(&["warm", "alice", "bob", "-o", "json"]).await;
    result.expect("all warmed");
    let lines: Vec<Json> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["item"]["user_id"], "bob");
    assert_eq!(lines[1]["status"], "CACHE_STATUS_ASSEMBLED");
}

#[tokio::test]
async fn a_server_that_is_not_ready_fails_the_health_check() {
    let ready = Scripted::start(true).await;
    assert_eq!(ready.run(&["healthcheck"]).await, ("SERVING\n".into(), Ok(())));
    assert_eq!(ready.run(&["healthcheck", "-o", "json"]).await, ("{\"status\":\"SERVING\"}\n".into(), Ok(())));
    let (_, unknown) = ready.run(&["healthcheck", "--service", "nonsense"]).await;
    assert_eq!(unknown.expect_err("unknown").number(), 5);

    let draining = Scripted::start(false).await;
    let (_, result) = draining.run(&["healthcheck"]).await;
    let failure = result.expect_err("not ready");
    assert_eq!((failure.to_string().as_str(), failure.number()), ("UNAVAILABLE: the server says NOT_SERVING", 14));
}
