//! What the process tells about itself: the log, metrics and traces.
//!
//! Started once, before anything else, and handed down from there; no library's global is used, so that whoever
//! measures says by whose leave. Metrics are always kept and can be scraped; both are sent to a collector if
//! OpenTelemetry's own variables name one.

mod log;
mod meter;
pub mod names;
mod process;
mod push;
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

pub use log::LogError;
pub use meter::{Durations, Meter, Observe};
pub use scrape::Scrape;
pub use trace::Sampling;

use crate::{
    clock::Clock,
    config::{self, OpenTelemetry},
};
use names::{INSTRUMENTS, Kind};

/// Whose numbers these are, where several programs' come together.
const SCOPE: &str = "userdata";

/// Everything that has been started. Clones are the same.
#[derive(Clone, Debug)]
pub struct Telemetry {
    metrics: SdkMeterProvider,
    scrape: Scrape,
    /// None: nothing is traced.
    traces: Option<SdkTracerProvider>,
    sampling: Sampling,
}

/// Starts the log, for the whole process.
pub fn log_only(config: &config::Log) -> Result<(), LogError> {
    log::start(config, None)
}

impl Telemetry {
    /// Starts what a server needs, for the whole process. To be called within the runtime, in whose tasks the
    /// connections to a collector live.
    pub fn start(config: &config::Log, said: &OpenTelemetry) -> Result<Self, LogError> {
        let mut remarks = said.remarks.clone();
        let mut told = |error: push::PushError| remarks.push(error.to_string());
        let resource = resource(said);
        let traces = said.sends_traces.then(|| push::traces(resource.clone(), said));
        let traces = traces.and_then(|built| built.map_err(&mut told).ok());
        let metrics = said.sends_metrics.then(|| push::metrics(said));
        let metrics = metrics.and_then(|built| built.map_err(&mut told).ok());

        log::start(config, traces.as_ref().map(|traces| traces.tracer(SCOPE)))?;
        for remark in remarks {
            tracing::warn!(remark, "telemetry does without something");
        }
        let builder = SdkMeterProvider::builder().with_resource(resource);
        let builder = match metrics {
            Some(reader) => builder.with_reader(reader),
            None => builder,
        };
        let sampling = if traces.is_some() { Sampling::of(said) } else { Sampling::none() };
        Ok(Self { traces, sampling, ..Self::measuring(builder) })
    }

    /// Metrics alone, as for an instance within another program.
    #[must_use]
    pub fn quiet() -> Self {
        Self::measuring(SdkMeterProvider::builder())
    }

    fn measuring(builder: MeterProviderBuilder) -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false);
        let reader = exporter.build().expect("an empty registry takes anything");
        let metrics = builder.with_reader(reader).with_view(histogram_bounds).build();
        let telemetry = Self { metrics, scrape: Scrape::of(registry), traces: None, sampling: Sampling::none() };
        process::observe(&telemetry.meter(), &Clock::system());
        telemetry
    }

    /// Makes instruments.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter::of(self.metrics.meter(SCOPE))
    }

    /// Says which requests are traced.
    #[must_use]
    pub fn sampling(&self) -> Sampling {
        self.sampling.clone()
    }

    /// Sends what has not been sent, for as long as there is time for it. What cannot be sent by then is lost.
    pub async fn stop(self, at_most: Duration) {
        let Self { metrics, traces, .. } = self;
        // The library waits on the spot, for threads of its own.
        let metrics = tokio::task::spawn_blocking(move || metrics.shutdown_with_timeout(at_most));
        let traces = tokio::task::spawn_blocking(move || traces.map(|of| of.shutdown_with_timeout(at_most)));
        let _ = tokio::time::timeout(at_most, async { tokio::join!(metrics, traces) }).await;
    }

    /// For whoever serves the numbers.
    #[must_use]
    pub fn scrape(&self) -> Scrape {
        self.scrape.clone()
    }
}

/// Says who we are, as far as the environment does not.
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

/// Least and greatest values are left out: over the whole life of a process they say nothing, and of an empty series
/// they would be nonsense.
fn histogram_bounds(instrument: &Instrument) -> Option<Stream> {
    let of = INSTRUMENTS.iter().find(|of| of.name == instrument.name())?;
    let Kind::Histogram(bounds) = of.kind else { return None };
    let aggregation = Aggregation::ExplicitBucketHistogram { boundaries: bounds.to_vec(), record_min_max: false };
    Stream::builder().with_aggregation(aggregation).build().ok()
}
