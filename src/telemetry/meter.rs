//! Makes instruments from the table of names. Handed down by `app`: nothing here is global.
//!
//! What is counted already is read when somebody asks ([`Meter::observe`]), which costs a request nothing. Only
//! durations are recorded, through handles whose attributes are bound once: no look-up and no allocation per record.

use std::time::Duration;

use opentelemetry::{
    KeyValue,
    metrics::{self, BoundHistogram},
};

use super::names::{Instrument, Kind};

/// Makes instruments; without a provider, ones that do nothing. Clones make them for the same provider.
#[derive(Clone, Debug, Default)]
pub struct Meter(Option<metrics::Meter>);

/// Takes one number for each set of attribute values, in the order of the instrument's list.
pub type Observe<'a> = &'a mut dyn FnMut(&[&'static str], f64);

impl Meter {
    /// One that measures nothing.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    pub(super) fn of(meter: metrics::Meter) -> Self {
        Self(Some(meter))
    }

    /// A handle for durations with these attributes, whose series exists from now on.
    #[must_use]
    pub fn durations(&self, of: &Instrument, values: &[&'static str]) -> Durations {
        Durations(self.0.as_ref().map(|meter| {
            let histogram = meter.f64_histogram(of.name).with_unit(of.unit).with_description(of.description);
            // Its bounds come from the same table, by a view.
            histogram.build().bind(&attributes(of, values))
        }))
    }

    /// Has `read` asked for the instrument's numbers whenever somebody looks.
    pub fn observe(&self, of: &'static Instrument, read: impl Fn(Observe<'_>) + Send + Sync + 'static) {
        let Some(meter) = &self.0 else { return };
        let callback = move |observer: &dyn metrics::AsyncInstrument<f64>| {
            read(&mut |values, number| observer.observe(number, &attributes(of, values)));
        };
        // The handles say nothing; the provider keeps the callback.
        match of.kind {
            Kind::Counter => {
                let counter = meter.f64_observable_counter(of.name).with_unit(of.unit);
                let _handle = counter.with_description(of.description).with_callback(callback).build();
            }
            Kind::UpDownCounter => {
                let counter = meter.f64_observable_up_down_counter(of.name).with_unit(of.unit);
                let _handle = counter.with_description(of.description).with_callback(callback).build();
            }
            Kind::Gauge | Kind::Histogram(_) => {
                let gauge = meter.f64_observable_gauge(of.name).with_unit(of.unit);
                let _handle = gauge.with_description(of.description).with_callback(callback).build();
            }
        }
    }
}

fn attributes(of: &Instrument, values: &[&'static str]) -> Vec<KeyValue> {
    debug_assert_eq!(of.attributes.len(), values.len(), "{}", of.name);
    of.attributes.iter().zip(values).map(|(attribute, value)| KeyValue::new(attribute.name, *value)).collect()
}

/// A histogram of durations with its attributes.
#[derive(Clone, Debug, Default)]
pub struct Durations(Option<BoundHistogram<f64>>);

impl Durations {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        if let Some(histogram) = &self.0 {
            histogram.record(took.as_secs_f64());
        }
    }
}
