//! The log, metrics and traces of the process.
//!
//! Started once, first, and passed down; no global of a library is used. Metrics are always kept and can be scraped.
//! Metrics and traces are also sent to a collector if the `OTEL_*` variables name one.

mod durations;
mod log;
mod meter;
pub mod names;
mod per_core;
mod printable_lines;
mod process;
mod push;
mod quantiles;
mod scrape;
pub mod trace;

use std::time::Duration;

use opentelemetry::{Key, metrics::MeterProvider as _, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{Aggregation, Instrument, MeterProviderBuilder, SdkMeterProvider, Stream},
    trace::SdkTracerProvider,
};
use prometheus::Registry;

pub use durations::DurationHistogram;
pub use log::LogError;
pub use meter::{Meter, Observe};
pub use per_core::PerCore;
pub use quantiles::Quantiles;
pub use scrape::Scrape;
pub use trace::Sampling;

use crate::{
    clock::Clock,
    config::{self, OpenTelemetry},
};
use durations::Accounts;
use names::{INSTRUMENTS, InstrumentKind};

/// The instrumentation scope, and the default service name.
const SCOPE: &str = "userdata";

/// What has been started. Clones share it.
#[derive(Clone, Debug)]
pub struct Telemetry {
    metrics: SdkMeterProvider,
    durations: Accounts,
    scrape: Scrape,
    /// None: traces are off.
    traces: Option<SdkTracerProvider>,
    sampling: Sampling,
}

/// Starts the log, for the whole process.
pub fn log_only(config: &config::LogSettings) -> Result<(), LogError> {
    log::start(config, None)
}

impl Telemetry {
    /// Starts log, metrics and traces of a server, for the whole process. Needs a runtime: the connections to a collector
    /// are its tasks.
    pub fn start(config: &config::LogSettings, said: &OpenTelemetry) -> Result<Self, LogError> {
        let mut remarks = said.remarks.clone();
        let mut told = |error: push::PushError| remarks.push(error.to_string());
        let resource = resource(said);
        let traces = said.sends_traces.then(|| push::traces(resource.clone(), said));
        let traces = traces.and_then(|built| built.map_err(&mut told).ok());
        let metrics = said.sends_metrics.then(|| push::metrics(said));
        let metrics = metrics.and_then(|built| built.map_err(&mut told).ok());

        log::start(config, traces.as_ref().map(|traces| traces.tracer(SCOPE)))?;
        for remark in remarks {
            tracing::warn!(remark, "telemetry setting ignored");
        }
        let builder = SdkMeterProvider::builder().with_resource(resource);
        let builder = match metrics {
            Some(reader) => builder.with_reader(reader),
            None => builder,
        };
        let sampling = if traces.is_some() { Sampling::of(said) } else { Sampling::none() };
        Ok(Self { traces, sampling, ..Self::measuring(builder) })
    }

    /// Metrics only, for an instance within another program.
    #[must_use]
    pub fn quiet() -> Self {
        Self::measuring(SdkMeterProvider::builder())
    }

    fn measuring(builder: MeterProviderBuilder) -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false);
        let reader = exporter.build().expect("an empty registry takes anything");
        let metrics = builder.with_reader(reader).with_view(histogram_bounds).build();
        let durations = Accounts::default();
        let scrape = Scrape::of(registry);
        let telemetry = Self { metrics, durations, scrape, traces: None, sampling: Sampling::none() };
        process::observe(&telemetry.meter(), &Clock::system());
        telemetry
    }

    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter::of(self.metrics.meter(SCOPE), self.durations.clone())
    }

    #[must_use]
    pub fn sampling(&self) -> Sampling {
        self.sampling.clone()
    }

    /// Sends pending metrics and spans. What cannot be sent in time is lost.
    pub async fn stop(self, at_most: Duration) {
        let Self { metrics, traces, .. } = self;
        // The library blocks until its own threads end.
        let metrics = tokio::task::spawn_blocking(move || metrics.shutdown_with_timeout(at_most));
        let traces = tokio::task::spawn_blocking(move || traces.map(|of| of.shutdown_with_timeout(at_most)));
        let _ = tokio::time::timeout(at_most, async { tokio::join!(metrics, traces) }).await;
    }

    #[must_use]
    pub fn scrape(&self) -> Scrape {
        self.scrape.clone()
    }
}

/// Name, version and instance id, unless the environment has them.
fn resource(said: &OpenTelemetry) -> Resource {
    let instance = uuid::Uuid::new_v4().to_string();
    let of_environment = Resource::builder().build();
    let known = |key: &'static str| of_environment.get(&Key::new(key)).is_some();
    let name = (!said.is_named).then_some(("service.name", SCOPE.to_owned()));
    let version = ("service.version", env!("CARGO_PKG_VERSION").to_owned());
    let others = [version, ("service.instance.id", instance)].into_iter().filter(|(key, _)| !known(key));
    let ours = name.into_iter().chain(others).map(|(key, value)| opentelemetry::KeyValue::new(key, value));
    Resource::builder().with_attributes(ours).build()
}

/// Without minimum and maximum: over the lifetime of a process they say nothing, and for an empty series they are wrong.
fn histogram_bounds(instrument: &Instrument) -> Option<Stream> {
    let of = INSTRUMENTS.iter().find(|of| of.name == instrument.name())?;
    let InstrumentKind::Histogram(bounds) = of.kind else { return None };
    let aggregation = Aggregation::ExplicitBucketHistogram { boundaries: bounds.to_vec(), record_min_max: false };
    Stream::builder().with_aggregation(aggregation).build().ok()
}
