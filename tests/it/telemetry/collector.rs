//! A collector, as far as a program that sends to it can tell: it speaks OTLP, and remembers all that it is sent.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::Metric,
    trace::v1::Span,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Server, ServerTlsConfig},
};

use testkit::{pki::HOST, server::Settings, wait_for};

/// A running collector; dropping it ends it.
#[derive(Debug)]
pub(super) struct Collector {
    url: String,
    received: Received,
    _serving: JoinSet<()>,
}

#[derive(Clone, Debug, Default)]
struct Received {
    spans: Arc<Mutex<Vec<Span>>>,
    /// The latest of each name; they are cumulative.
    metrics: Arc<Mutex<Vec<Metric>>>,
    resource: Arc<Mutex<Vec<KeyValue>>>,
}

pub(super) async fn collector() -> Collector {
    serving(Server::builder(), |address| format!("http://{address}")).await
}

/// A collector that is called [`HOST`], and asks for a certificate itself.
pub(super) async fn collector_with_tls(tls: ServerTlsConfig) -> Collector {
    let server = Server::builder().tls_config(tls).unwrap();
    serving(server, |address| format!("https://{HOST}:{}", address.port())).await
}

async fn serving(mut server: Server, url: impl FnOnce(SocketAddr) -> String) -> Collector {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url(listener.local_addr().unwrap());
    let received = Received::default();
    let mut serving = JoinSet::new();
    let server = server
        .add_service(TraceServiceServer::new(received.clone()))
        .add_service(MetricsServiceServer::new(received.clone()));
    serving.spawn(async move { server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() });
    Collector { url, received, _serving: serving }
}

/// The settings of an instance that sends there, all requests traced about which callers have not decided.
pub(super) fn sending_to(url: &str, settings: Settings, period_ms: u64) -> Settings {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.to_owned()),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_on".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", period_ms.to_string()),
        ("OTEL_METRIC_EXPORT_INTERVAL", period_ms.to_string()),
    ];
    let mut settings = settings;
    settings.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    settings
}

impl Collector {
    /// The settings of an instance that sends here, at once.
    pub(super) fn told_by(&self, settings: Settings) -> Settings {
        sending_to(&self.url, settings, 20)
    }

    /// The settings of an instance that sends here when it is told to end.
    pub(super) fn told_at_the_end_by(&self, settings: Settings) -> Settings {
        sending_to(&self.url, settings, 3_600_000)
    }

    /// Everything received so far that belongs to a trace.
    pub(super) fn spans_of(&self, trace: &str) -> Vec<Span> {
        let spans = self.received.spans.lock().unwrap();
        spans.iter().filter(|span| hex(&span.trace_id) == trace).cloned().collect()
    }

    /// The same, once there are so many of them.
    pub(super) async fn trace_of(&self, trace: &str, count: usize) -> Vec<Span> {
        let look = async || Some(self.spans_of(trace)).filter(|spans| spans.len() >= count);
        wait_for(&format!("{count} spans"), look).await
    }

    /// A trace's span of this name, once it is there.
    pub(super) async fn span_of(&self, trace: &str, name: &str) -> Span {
        let look = async || self.spans_of(trace).into_iter().find(|span| span.name == name);
        wait_for(name, look).await
    }

    /// Whether a span of this name has come.
    pub(super) fn has_span(&self, name: &str) -> bool {
        self.received.spans.lock().unwrap().iter().any(|span| span.name == name)
    }

    /// All that has come, as text.
    pub(super) fn everything(&self) -> String {
        let spans = self.received.spans.lock().unwrap();
        let lines: Vec<String> = spans.iter().map(|span| format!("{span:?}")).collect();
        if lines.is_empty() {
            return String::new();
        }
        let (metrics, resource) = (self.metrics(), self.received.resource.lock().unwrap());
        format!("{}\n{metrics:?}\n{resource:?}", lines.join("\n"))
    }

    pub(super) fn metrics(&self) -> Vec<Metric> {
        self.received.metrics.lock().unwrap().clone()
    }

    pub(super) fn resource(&self, key: &str) -> Option<String> {
        text(&self.received.resource.lock().unwrap(), key)
    }
}

/// The text of an attribute.
pub(super) fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
        other => panic!("{key} is no text: {other:?}"),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|of| of.scope_spans);
        self.spans.lock().unwrap().extend(scopes.flat_map(|of| of.spans));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        for of in request.into_inner().resource_metrics {
            *self.resource.lock().unwrap() = of.resource.map(|resource| resource.attributes).unwrap_or_default();
            for metric in of.scope_metrics.into_iter().flat_map(|of| of.metrics) {
                let mut metrics = self.metrics.lock().unwrap();
                metrics.retain(|known| known.name != metric.name);
                metrics.push(metric);
            }
        }
        Ok(Response::new(Default::default()))
    }
}
