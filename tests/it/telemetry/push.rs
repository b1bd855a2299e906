//! Metrics as a collector receives them, the end of a process that sends, and collectors that are not there.

use std::{collections::BTreeSet, time::Duration};

use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point::Value};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use userdata::{proto::v1::CacheStatus, telemetry::names::INSTRUMENTS};

use super::collector::{collector, collector_with_tls, sending_to, text};
use testkit::{
    RefusingPort,
    ask::{get, of},
    cluster::{Layout, cluster},
    pki::Authority,
    server::serve,
    wait_for,
};

fn names(metrics: &[Metric]) -> BTreeSet<&str> {
    metrics.iter().map(|metric| metric.name.as_str()).collect()
}

#[tokio::test]
async fn a_collector_is_sent_every_instrument() {
    let (collector, cluster) = (collector().await, cluster(Layout::Sqlite).await.with_redis().await);
    // What is not there has no series: with the change feed all is.
    let _server = serve(collector.told_by(cluster.settings().with("sources.change_feed", true))).await;
    let listed: BTreeSet<&str> = INSTRUMENTS.iter().map(|of| of.name).collect();
    let metrics = wait_for("all metrics", async || {
        let metrics = collector.metrics();
        (names(&metrics) == listed).then_some(metrics)
    })
    .await;
    for of in INSTRUMENTS {
        let metric = metrics.iter().find(|metric| metric.name == of.name).unwrap();
        assert_eq!((metric.unit.as_str(), metric.description.as_str()), (of.unit, of.description), "{}", of.name);
    }
    assert_eq!(collector.resource("service.name").as_deref(), Some("userdata"));
    assert_eq!(collector.resource("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn what_has_not_been_sent_is_sent_when_the_process_ends() {
    let (collector, cluster) = (collector().await, cluster(Layout::Sqlite).await);
    cluster.sources.add_user("1", &[11]).await;
    let mut server = serve(collector.told_at_the_end_by(cluster.settings())).await;
    assert_eq!(get(&server.client().await, of("1")).await.unwrap().status, CacheStatus::Assembled);
    cluster.has_stored(1).await;
    assert!(collector.metrics().is_empty());

    server.terminate().await;
    let metrics = collector.metrics();
    let served = metrics.iter().find(|metric| metric.name == "userdata.served").expect("it was sent");
    let Some(Data::Sum(sum)) = &served.data else { panic!("{served:?}") };
    let assembled = sum.data_points.iter().find(|point| text(&point.attributes, "status").unwrap() == "ASSEMBLED");
    assert_eq!(assembled.and_then(|point| point.value), Some(Value::AsDouble(1.0)));
    assert!(collector.has_span("load"), "its trace was sent too");
}

#[tokio::test]
async fn a_collector_behind_tls_is_sent_to_if_the_right_authority_certifies_it() {
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new(directory.path(), "ours");
    Authority::new(directory.path(), "other");
    ours.certify_server();
    let read = |name: &str| std::fs::read(ours.file(name)).unwrap();
    ours.certify_client(&["spiffe://userdata"]);
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read("cert"), read("key")))
        .client_ca_root(Certificate::from_pem(read("ours-ca")));
    let collector = collector_with_tls(tls).await;
    for (authority, reached) in [("ours-ca", true), ("other-ca", false), ("nothing", false)] {
        let cluster = cluster(Layout::Sqlite).await;
        cluster.sources.add_user(authority, &[11]).await;
        let mut settings = collector.told_by(cluster.settings());
        for (variable, name) in
            [("CERTIFICATE", authority), ("CLIENT_CERTIFICATE", "client"), ("CLIENT_KEY", "client-key")]
        {
            let file = ours.file(name).to_str().unwrap().to_owned();
            settings.environment.push((format!("OTEL_EXPORTER_OTLP_{variable}"), file));
        }
        let server = serve(settings).await;
        get(&server.client().await, of(authority)).await.unwrap();
        if reached {
            wait_for("its metrics", async || (!collector.metrics().is_empty()).then_some(())).await;
            wait_for("its traces", async || collector.has_span("load").then_some(())).await;
        } else {
            let said =
                if authority == "nothing" { "nothing.pem cannot be read" } else { "does not reach its collector" };
            wait_for(said, async || server.log().contains(said).then_some(())).await;
        }
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_nothing_and_is_told_of_once() {
    let nobody = RefusingPort::bound();
    // Its backlog takes connections, which are never answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (collector, refused) in [(nobody.address(), true), (silent.local_addr().unwrap(), false)] {
        let cluster = cluster(Layout::Sqlite).await;
        cluster.sources.add_user("1", &[11]).await;
        let settings = sending_to(&format!("http://{collector}"), cluster.settings(), 20);
        let mut server = serve(settings).await;
        let client = server.client().await;
        assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::Assembled);
        for _ in 0..100 {
            assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::HitMemory);
        }
        let told = |signal: &str| {
            let log = server.log();
            let told = log.lines().filter(|line| line.contains("does not reach its collector"));
            told.filter(|line| line.contains(signal)).count()
        };
        if refused {
            wait_for("both to be told of", async || (told("traces") > 0 && told("metrics") > 0).then_some(())).await;
            assert_eq!((told("traces"), told("metrics")), (1, 1), "{}", server.log());
        }
        server.signal("TERM");
        let began = Instant::now();
        assert_eq!(server.exit_code().await, 0);
        // A second for the last telemetry; the rest is for a busy machine.
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_second_signal_waits_for_no_collector() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = cluster(Layout::Postgres).await;
    cluster.sources.add_user("1", &[11]).await;
    let settings = cluster.settings().with("server.drain", "10m");
    let mut server = serve(sending_to(&format!("http://{}", silent.local_addr().unwrap()), settings, 3_600_000)).await;
    let held = cluster.sources.hold("onboarding_sessions").await;
    let client = server.client().await;
    let mut in_flight = JoinSet::new();
    in_flight.spawn(async move { get(&client, of("1")).await.map(drop) });
    held.is_waited_for_by(1).await;

    server.signal("TERM");
    wait_for("the first signal to be heard", async || (server.probe("/readyz").await.0 == 503).then_some(())).await;
    server.signal("INT");
    let began = Instant::now();
    assert_eq!(server.exit_code().await, 130);
    // The library would wait for five seconds.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
