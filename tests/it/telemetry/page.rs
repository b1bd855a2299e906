//! docs/observability.md says what is so: its table is the table of instruments, its tree the trace of a cold call.

use std::{fmt::Write as _, fs, path::Path};

use userdata::telemetry::names::{Attribute, INSTRUMENTS, InstrumentKind};

use super::{prometheus::metric, traces::COLD};

/// More values than these are described, not listed.
const VALUES_LISTED_MAX: usize = 8;

fn table() -> String {
    let mut table =
        "| instrument | in a scrape | kind, unit | attributes | what it says |\n|---|---|---|---|---|\n".to_owned();
    for of in INSTRUMENTS {
        let kind = match of.kind {
            InstrumentKind::Counter => "counter",
            InstrumentKind::UpDownCounter => "number",
            InstrumentKind::Gauge => "level",
            InstrumentKind::Histogram(_) => "histogram",
        };
        let attributes: Vec<String> = of.attributes.iter().map(described).collect();
        let (name, scraped) = (of.name, metric(of).0);
        let (unit, attributes, description) = (of.unit, attributes.join("; "), of.description);
        writeln!(table, "| `{name}` | `{scraped}` | {kind}, {unit} | {attributes} | {description} |").unwrap();
    }
    table
}

fn described(attribute: &Attribute) -> String {
    let name = attribute.name;
    match attribute.values {
        values if values.len() < VALUES_LISTED_MAX => format!("`{name}`: {}", values.join(", ")),
        values => format!("`{name}`: {} values", values.len()),
    }
}

#[test]
fn the_page_lists_every_instrument_and_shows_a_cold_calls_trace_as_it_is() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/observability.md");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains(&table()), "the page's table has to be this one:\n{}", table());
    assert!(page.contains(&format!("```text\n{COLD}```")), "the page's tree has to be this one:\n{COLD}");
}
