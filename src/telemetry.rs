//! What the process tells about itself: the log, metrics and traces.
//!
//! Started once, before anything else, and handed down from there; no library's global is used, so that whoever
//! measures says by whose leave. Metrics are always kept and can be scraped.

mod log;
mod meter;
pub mod names;
mod process;
mod scrape;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::{
    Resource,
    metrics::{Aggregation, Instrument, SdkMeterProvider, Stream},
};
use prometheus::Registry;

pub use log::LogError;
pub use meter::{Durations, Meter, Observe};
pub use scrape::Scrape;

use crate::{clock::Clock, config};
use names::{INSTRUMENTS, Kind};

/// Whose numbers these are, where several programs' come together.
const SCOPE: &str = "userdata";

/// Everything that has been started.
#[derive(Debug)]
pub struct Telemetry {
    metrics: SdkMeterProvider,
    scrape: Scrape,
}

/// Starts the log, for the whole process.
pub fn log_only(config: &config::Log) -> Result<(), LogError> {
    log::start(config)
}

impl Telemetry {
    /// Starts what a server needs, for the whole process. To be called within the runtime.
    pub fn start(config: &config::Log) -> Result<Self, LogError> {
        log::start(config)?;
        Ok(Self::quiet())
    }

    /// Metrics alone, as for an instance within another program.
    #[must_use]
    pub fn quiet() -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false);
        let reader = exporter.build().expect("an empty registry takes anything");
        let metrics = SdkMeterProvider::builder()
            .with_resource(resource())
            .with_reader(reader)
            .with_view(histogram_bounds)
            .build();
        let telemetry = Self { metrics, scrape: Scrape::of(registry) };
        process::observe(&telemetry.meter(), &Clock::system());
        telemetry
    }

    /// Makes instruments.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter::of(self.metrics.meter(SCOPE))
    }

    /// For whoever serves the numbers.
    #[must_use]
    pub fn scrape(&self) -> Scrape {
        self.scrape.clone()
    }
}

/// Says who we are, as far as the environment does not.
fn resource() -> Resource {
    Resource::builder().build()
}

/// Least and greatest values are left out: over the whole life of a process they say nothing, and of an empty series
/// they would be nonsense.
fn histogram_bounds(instrument: &Instrument) -> Option<Stream> {
    let of = INSTRUMENTS.iter().find(|of| of.name == instrument.name())?;
    let Kind::Histogram(bounds) = of.kind else { return None };
    let aggregation = Aggregation::ExplicitBucketHistogram { boundaries: bounds.to_vec(), record_min_max: false };
    Stream::builder().with_aggregation(aggregation).build().ok()
}
