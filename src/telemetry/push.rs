//! Sending traces and metrics to a collector (OTLP over gRPC), from threads of their own.
//!
//! A collector that is not there costs nothing but its telemetry: what cannot be sent is dropped after the exporter's
//! timeout, the queue in front of it is bounded, and its failures are said once in a while. Where to, how often and
//! how patiently is said by the `OTEL_*` variables, which the library reads itself; files of certificates it does not.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{PeriodicReader, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter as ExportSpans},
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{
    clock::{Clock, Moment},
    config::OpenTelemetry,
    sync::Mutex,
};

/// Between two words about the same trouble.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    #[error("{} cannot be read: {error}", file.display())]
    File { file: PathBuf, error: io::Error },
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

/// Sends spans. Those that reach it are sampled: that was decided before they were made.
pub(super) fn traces(resource: Resource, said: &OpenTelemetry) -> Result<SdkTracerProvider, PushError> {
    let exporter = SpanExporter::builder().with_tonic().with_tls_config(tls(said)?).build()?;
    let exporter = Telling::new("traces", exporter);
    let processor = BatchSpanProcessor::builder(exporter).build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(processor)
        .build())
}

/// Reads metrics and sends them.
pub(super) fn metrics(said: &OpenTelemetry) -> Result<PeriodicReader<Telling<MetricExporter>>, PushError> {
    let exporter = MetricExporter::builder().with_tonic().with_tls_config(tls(said)?).build()?;
    Ok(PeriodicReader::builder(Telling::new("metrics", exporter)).build())
}

/// For collectors behind `https`; the others are not concerned.
fn tls(said: &OpenTelemetry) -> Result<ClientTlsConfig, PushError> {
    let read = |file: &Path| fs::read(file).map_err(|error| PushError::File { file: file.to_owned(), error });
    let config = match &said.authority {
        Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    Ok(match &said.identity {
        Some((certificate, key)) => config.identity(Identity::from_pem(read(certificate)?, read(key)?)),
        None => config,
    })
}

/// An exporter whose failures are logged, but not all of them.
#[derive(Debug)]
pub(super) struct Telling<E> {
    exporter: E,
    signal: &'static str,
    clock: Clock,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    since: Option<Moment>,
    said: Option<Moment>,
}

impl<E> Telling<E> {
    fn new(signal: &'static str, exporter: E) -> Self {
        Self { exporter, signal, clock: Clock::system(), trouble: Mutex::default() }
    }

    fn tell(&self, result: OTelSdkResult) -> OTelSdkResult {
        let now = self.clock.now();
        // Two moments: nothing can be left half changed.
        let mut trouble = self.trouble.lock();
        match &result {
            Ok(()) => {
                if trouble.since.take().is_some() {
                    tracing::info!(signal = self.signal, "telemetry reaches its collector again");
                }
            }
            Err(error) => {
                trouble.since.get_or_insert(now);
                if trouble.said.is_none_or(|said| now.since(said) >= SAID_EVERY) {
                    trouble.said = Some(now);
                    tracing::warn!(signal = self.signal, %error, "telemetry does not reach its collector and is dropped");
                }
            }
        }
        result
    }
}

impl ExportSpans for Telling<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.tell(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl PushMetricExporter for Telling<MetricExporter> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.tell(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
