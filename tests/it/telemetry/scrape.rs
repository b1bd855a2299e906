//! `/metrics`: what is there, from the start, and that it tells what happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

use tonic::Code;
use userdata::{
    privacy::new_master_key,
    proto::v1::CacheStatus,
    telemetry::names::{self, INSTRUMENTS, Instrument, InstrumentKind},
};

use super::prometheus::{Scraped, metric, with_underscores};
use testkit::{
    ask::{everything_of, get, invalidate, of},
    cluster::{Cluster, Layout, cluster},
    server::{Server, serve},
    wait_for,
};

/// A server that has everything that can be measured: Redis, the change feed's pool, the key database, and HTTP.
pub(super) async fn served() -> (Cluster, Server) {
    let cluster = cluster(Layout::Sqlite).await.with_redis().await;
    let folder = std::path::Path::new(cluster.database().file()).parent().unwrap();
    let (keys, master) = (folder.join("keys.db"), folder.join("master"));
    std::fs::write(&master, new_master_key("a").unwrap()).unwrap();
    let settings = cluster.settings().with("sources.change_feed", true).with("privacy.encrypt", true);
    let settings = settings.with("http.listen", "127.0.0.1:0");
    let settings = settings.with("privacy.keys_url", format!("sqlite://{}?mode=rwc", keys.display()));
    let server = serve(settings.with("privacy.master_key_file", master.display())).await;
    server.has_read_the_outbox().await;
    (cluster, server)
}

pub(super) async fn scrape(server: &Server) -> Scraped {
    let (status, text) = server.probe("/metrics").await;
    assert_eq!(status, 200);
    Scraped::read(&text)
}

#[tokio::test]
async fn every_instrument_exists_at_zero_from_the_start_and_nothing_else_does() {
    let (_cluster, server) = served().await;
    let scraped = scrape(&server).await;

    let expected: BTreeMap<String, &str> = INSTRUMENTS.iter().map(metric).collect();
    let mut found: BTreeMap<String, &str> =
        scraped.types.iter().map(|(name, kind)| (name.clone(), kind.as_str())).collect();
    // Who we are, as a metric of its own.
    assert_eq!(found.remove("target_info"), Some("gauge"));
    assert_eq!(found, expected);

    for of in INSTRUMENTS {
        let (name, _) = metric(of);
        assert_eq!(scraped.help.get(&name).map(String::as_str), Some(of.description), "{name}");
        has_all_series(of, &name, &scraped);
    }
    for counted in [names::SERVED, names::CACHE_WRITES, names::AI_CALLS, names::LOG_GAPS] {
        assert_eq!(scraped.sum(&metric(&counted).0, &[]), 0.0, "{}", counted.name);
    }
    assert_eq!(scraped.sum("userdata_source_duration_seconds_count", &[]), 0.0);
    assert_eq!(scraped.sum("userdata_circuit_breaker_state", &[]), 0.0);
}

/// Its labels are those of the table, their values too, and each value is there.
fn has_all_series(of: &Instrument, name: &str, scraped: &Scraped) {
    let sample =
        if matches!(of.kind, InstrumentKind::Histogram(_)) { format!("{name}_count") } else { name.to_owned() };
    let series: Vec<_> = scraped.series.iter().filter(|series| series.name == sample).collect();
    assert!(!series.is_empty(), "no {sample}");
    let keys: BTreeSet<String> = of.attributes.iter().map(|attribute| with_underscores(attribute.name)).collect();
    for one in &series {
        assert_eq!(one.labels.keys().cloned().collect::<BTreeSet<_>>(), keys, "{sample}");
    }
    for attribute in of.attributes {
        let key = with_underscores(attribute.name);
        let values: BTreeSet<&str> = series.iter().map(|one| one.labels[&key].as_str()).collect();
        let listed: BTreeSet<&str> = attribute.values.iter().copied().collect();
        match attribute.name {
            // Only those that a method may end with.
            "rpc.response.status_code" => assert!(values.is_subset(&listed) && values.len() > 5, "{values:?}"),
            _ => assert_eq!(values, listed, "{sample}"),
        }
    }
}

#[tokio::test]
async fn what_happens_is_counted_under_its_name() {
    // Without the change feed: to it the new user would be a change.
    let cluster = cluster(Layout::Sqlite).await.with_redis().await;
    let server = cluster.serve().await;
    cluster.sources.add_user("1", &[11]).await;
    let client = server.client().await;
    assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::Assembled);
    cluster.has_stored(1).await;
    for _ in 0..3 {
        assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::HitMemory);
    }
    assert_eq!(get(&client, of("nobody")).await.unwrap_err().code(), Code::NotFound);
    invalidate(&client, everything_of("1")).await.unwrap();
    assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::Assembled);
    cluster.has_stored(1).await;

    let calls = "rpc_server_call_duration_seconds_count";
    let get = ("rpc_method", "userdata.v1.UserDataService/GetComprehensiveUserData");
    // A call is counted when its last byte has been handed over, which its caller may have read before.
    let scraped = wait_for("all calls to be counted", async || {
        let scraped = scrape(&server).await;
        let all = scraped.sum(calls, &[get]) == 6.0;
        let written = scraped.sum("userdata_cache_writes_total", &[("tier", "database"), ("outcome", "ok")]) == 2.0;
        (all && written).then_some(scraped)
    })
    .await;
    let count = |name: &str, labels: &[(&str, &str)]| scraped.sum(name, labels);

    assert_eq!(count(calls, &[get, ("rpc_response_status_code", "OK")]), 5.0);
    assert_eq!(count(calls, &[get, ("rpc_response_status_code", "NOT_FOUND")]), 1.0);
    assert_eq!(count("userdata_requests_in_flight", &[get]), 0.0);
    assert_eq!(count("userdata_served_total", &[("status", "ASSEMBLED")]), 2.0);
    assert_eq!(count("userdata_served_total", &[("status", "HIT_MEMORY")]), 3.0);
    assert_eq!(count("userdata_served_total", &[]), 5.0);

    let lookups = "userdata_cache_lookup_duration_seconds_count";
    assert_eq!(count(lookups, &[("tier", "memory"), ("outcome", "hit")]), 3.0);
    assert_eq!(count(lookups, &[("tier", "memory"), ("outcome", "miss")]), 3.0);
    assert!(count(lookups, &[("tier", "redis"), ("outcome", "miss")]) >= 2.0);
    assert_eq!(count(lookups, &[("outcome", "error")]), 0.0);
    assert_eq!(count("userdata_superseded_total", &[]), 1.0, "the copy in memory that the invalidation had outdated");
    assert!(count("userdata_cache_entries", &[]) >= 1.0);
    assert!(count("userdata_cache_bytes", &[]) > 0.0);
    for tier in ["memory", "redis", "database"] {
        let writes = |outcome| count("userdata_cache_writes_total", &[("tier", tier), ("outcome", outcome)]);
        assert_eq!((writes("ok"), writes("error")), (2.0, 0.0), "{tier}");
    }

    let runs = "userdata_source_duration_seconds_count";
    assert_eq!(count(runs, &[("source", "onboarding"), ("outcome", "ok")]), 3.0);
    assert_eq!(count(runs, &[("source", "ai_analysis"), ("outcome", "ok")]), 2.0);
    assert_eq!(count("userdata_source_in_flight", &[]), 0.0);
    let loads = |outcome| count("userdata_load_duration_seconds_count", &[("outcome", outcome)]);
    assert_eq!((loads("assembled"), loads("not_found"), loads("failed")), (2.0, 1.0, 0.0));
    assert_eq!(count("userdata_load_active", &[]), 0.0);

    assert_eq!(count("userdata_invalidation_log_commits_total", &[]), 1.0);
    assert_eq!(count("userdata_invalidation_log_applied", &[]), 1.0);
    let lease = count("userdata_invalidation_log_lease_remaining_seconds", &[]);
    assert!((0.0..=0.5).contains(&lease) && count("userdata_invalidation_log_lag_seconds", &[]) >= 0.0, "{lease}");

    assert!(count("process_memory_usage_bytes", &[]) > 1e6);
    assert!(count("process_cpu_time_seconds_total", &[]) > 0.0);
    assert!(count("tokio_runtime_workers", &[]) >= 1.0);
    assert_eq!(count("db_client_connection_max", &[("db_client_connection_pool_name", "invalidation_log")]), 5.0);
}

/// By its own rules for names. These are the semantic conventions', which Prometheus would name otherwise.
const NAMED_ELSEWHERE: [&str; 3] =
    ["db_client_connection_count", "process_thread_count", "process_unix_file_descriptor_count"];

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_a_scrape() {
    let (_cluster, server) = served().await;
    let (_, text) = server.probe("/metrics").await;
    let program = testkit::binary("promtool", &[]);
    let mut promtool =
        Command::new(program).args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ended = promtool.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    let wrong: Vec<_> =
        said.lines().filter(|line| !NAMED_ELSEWHERE.iter().any(|name| line.starts_with(name))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // 3: it has remarks; anything else would mean that it could not read the text.
    assert!(matches!(ended.status.code(), Some(0 | 3)), "{:?}: {said}", ended.status);
    eprintln!("a scrape: {} bytes, {} lines", text.len(), text.lines().count());
}
