//! Prometheus' text format, as far as we write it, and the names that our instruments have in it.

use std::collections::BTreeMap;

use userdata::telemetry::names::{Instrument, InstrumentKind};

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// A scrape, read.
#[derive(Debug)]
pub(super) struct Scraped {
    pub(super) series: Vec<Series>,
    /// By metric name.
    pub(super) types: BTreeMap<String, String>,
    pub(super) help: BTreeMap<String, String>,
}

impl Scraped {
    pub(super) fn read(text: &str) -> Self {
        let mut scraped = Self { series: vec![], types: BTreeMap::new(), help: BTreeMap::new() };
        for line in text.lines() {
            if let Some(of) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of.split_once(' ').expect("a type");
                assert_eq!(scraped.types.insert(name.to_owned(), kind.to_owned()), None, "{name} twice");
            } else if let Some(of) = line.strip_prefix("# HELP ") {
                let (name, help) = of.split_once(' ').expect("a help text");
                scraped.help.insert(name.to_owned(), help.to_owned());
            } else {
                scraped.series.push(series(line));
            }
        }
        scraped
    }

    /// The sum of all series of this name that have these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &&Series| {
            series.name == name
                && labels.iter().all(|(key, value)| series.labels.get(*key).is_some_and(|of| of == value))
        };
        let found: Vec<f64> = self.series.iter().filter(has).map(|series| series.value).collect();
        assert!(!found.is_empty(), "there is no {name} with {labels:?}");
        found.iter().sum()
    }
}

/// `name{key="value",..} number`; our values hold neither quotes nor backslashes.
fn series(line: &str) -> Series {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("no end: {line}"));
    let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (key, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("no pair: {line}"));
        (key.to_owned(), value.trim_end_matches('"').to_owned())
    };
    Series { name: name.to_owned(), labels: pairs.map(pair).collect(), value }
}

/// As a label or the beginning of a name: Prometheus knows no dots.
pub(super) fn with_underscores(name: &str) -> String {
    name.replace('.', "_")
}

/// An instrument's name and type.
pub(super) fn metric(of: &Instrument) -> (String, &'static str) {
    let unit = match of.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        unit => {
            assert!(unit.starts_with('{'), "no suffix is known for {unit}");
            ""
        }
    };
    let (suffix, kind) = match of.kind {
        InstrumentKind::Counter => ("_total", "counter"),
        InstrumentKind::UpDownCounter | InstrumentKind::Gauge => ("", "gauge"),
        InstrumentKind::Histogram(_) => ("", "histogram"),
    };
    (format!("{}{unit}{suffix}", with_underscores(of.name)), kind)
}
