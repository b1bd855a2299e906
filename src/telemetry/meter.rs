//! Creates instruments from the table of names. `app` passes the meter; nothing is global.
//!
//! Counters that exist already are read at collection ([`Meter::observe`]), which costs a request nothing. Only durations
//! are recorded, through handles with bound attributes: no look-up and no allocation for each.

use std::sync::Arc;

use opentelemetry::{KeyValue, metrics};

use super::{
    durations::{Accounts, DurationHistogram},
    names::{Instrument, InstrumentKind},
};

/// Creates instruments of one provider. Without a provider they do nothing.
#[derive(Clone, Debug, Default)]
pub struct Meter(Option<Arc<MeterOf>>);

#[derive(Debug)]
struct MeterOf {
    meter: metrics::Meter,
    durations: Accounts,
}

/// Reports a number for a set of attribute values, in the order of the instrument's attributes.
pub type Observe<'a> = &'a mut dyn FnMut(&[&'static str], f64);

impl Meter {
    /// Without a provider.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    pub(super) fn of(meter: metrics::Meter, durations: Accounts) -> Self {
        Self(Some(Arc::new(MeterOf { meter, durations })))
    }

    /// A histogram with these attribute values. Its series exists from now on.
    #[must_use]
    pub fn durations(&self, of: &Instrument, values: &[&'static str]) -> DurationHistogram {
        let (Some(MeterOf { meter, durations }), InstrumentKind::Histogram(bounds)) = (self.0.as_deref(), of.kind)
        else {
            return DurationHistogram::default();
        };
        let histogram = meter.f64_histogram(of.name).with_unit(of.unit).with_description(of.description);
        // The instrument's bounds come from the same table, by a view.
        durations.open(bounds, histogram.build().bind(&attributes(of, values)))
    }

    /// Tells the instruments the durations before each collection: callbacks come first in it.
    pub(super) fn tell_durations(&self, with: &'static Instrument, read: impl Fn(Observe<'_>) + Send + Sync + 'static) {
        let Some(MeterOf { durations, .. }) = self.0.as_deref() else { return };
        let durations = durations.clone();
        self.observe(with, move |observe| {
            durations.tell();
            read(observe);
        });
    }

    /// Calls `read` for the instrument's values at each collection.
    pub fn observe(&self, of: &'static Instrument, read: impl Fn(Observe<'_>) + Send + Sync + 'static) {
        let Some(MeterOf { meter, .. }) = self.0.as_deref() else { return };
        let callback = move |observer: &dyn metrics::AsyncInstrument<f64>| {
            read(&mut |values, number| observer.observe(number, &attributes(of, values)));
        };
        // The handles are not needed: the provider keeps the callback.
        match of.kind {
            InstrumentKind::Counter => {
                let counter = meter.f64_observable_counter(of.name).with_unit(of.unit);
                let _handle = counter.with_description(of.description).with_callback(callback).build();
            }
            InstrumentKind::UpDownCounter => {
                let counter = meter.f64_observable_up_down_counter(of.name).with_unit(of.unit);
                let _handle = counter.with_description(of.description).with_callback(callback).build();
            }
            InstrumentKind::Gauge | InstrumentKind::Histogram(_) => {
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
