//! The dashboard and the alerts ask for what is there: each name and each label in an expression is one of a scrape,
//! each instrument is on the dashboard, each alert has its section in the runbook and its test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use userdata::telemetry::names::INSTRUMENTS;

use super::{
    prometheus::metric,
    scrape::{scrape, served},
};
use testkit::binary;

/// What our metrics' names begin with.
const PREFIXES: [&str; 5] = ["userdata_", "rpc_", "db_", "process_", "tokio_"];
/// Prometheus adds them to each series.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What follows a key in the rules' file, in which each expression is one line.
fn lines_after<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim_start().trim_start_matches("- ").strip_prefix(key))
}

fn dashboard_expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/userdata.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The metrics that an expression asks for, each with the labels by which it selects.
fn selectors(expression: &str) -> Vec<(String, Vec<String>)> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| is_of_name(c) || "({".contains(c)) {
        rest = &rest[start..];
        let end = rest.find(|c: char| !is_of_name(c) && c != ':').unwrap_or(rest.len()).max(1);
        let (word, after) = rest.split_at(end);
        rest = after;
        if ["by", "on", "ignoring", "without"].contains(&word) {
            // Labels, not metrics.
            rest = &rest[rest.find(')').expect("a closed list")..];
        } else if PREFIXES.iter().any(|prefix| word.starts_with(prefix)) {
            let inside = rest.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let labels = inside.map_or("", |(labels, _)| labels).split(',').filter(|pair| !pair.is_empty());
            let key = |pair: &str| pair.split(['=', '!']).next().unwrap().trim().to_owned();
            found.push((word.to_owned(), labels.map(key).collect()));
            rest = inside.map_or(rest, |(_, after)| after);
        } else if word == "{" {
            rest = &rest[rest.find('}').expect("a closed selector")..];
        }
    }
    found
}

#[test]
fn selectors_are_found_and_labels_are_not_taken_for_metrics() {
    let of = |name: &str, labels: &[&str]| (name.to_owned(), labels.iter().map(|label| (*label).to_owned()).collect());
    assert_eq!(
        selectors(r#"sum by (rpc_method) (rate(rpc_x{rpc_method="a",le!="1"}[5m])) / up{job="x"} + userdata_y"#),
        [of("rpc_x", &["rpc_method", "le"]), of("userdata_y", &[])]
    );
}

#[tokio::test]
async fn every_expression_asks_for_series_that_a_server_has_and_every_instrument_is_on_the_dashboard() {
    let (_cluster, server) = served().await;
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in scrape(&server).await.series {
        known.entry(series.name).or_default().extend(series.labels.into_keys());
    }
    let rules = read("deploy/prometheus/rules.yml");
    let of_rules: Vec<String> = lines_after(&rules, "expr: ").map(str::to_owned).collect();
    let dashboard = dashboard_expressions();
    assert!(of_rules.len() > 10 && dashboard.len() > 20);
    for expression in of_rules.iter().chain(&dashboard) {
        for (name, labels) in selectors(expression) {
            let has = known.get(&name).unwrap_or_else(|| panic!("nothing is named {name}: {expression}"));
            for label in labels {
                assert!(
                    has.contains(&label) || TARGET_LABELS.contains(&&*label),
                    "{name} has no {label}: {expression}"
                );
            }
        }
    }
    for of in INSTRUMENTS {
        let (name, _) = metric(of);
        assert!(dashboard.iter().any(|expression| expression.contains(&name)), "{name} is on no panel");
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook_and_its_test() {
    let (rules, tests, runbook) =
        (read("deploy/prometheus/rules.yml"), read("deploy/prometheus/rules_test.yml"), read("docs/runbook.md"));
    let alerts: Vec<&str> = lines_after(&rules, "alert: ").collect();
    let sections: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, alerts, "the runbook has one section per alert, in their order");
    let links: Vec<String> = lines_after(&rules, "runbook: ").map(str::to_owned).collect();
    assert_eq!(links, alerts.iter().map(|name| format!("docs/runbook.md#{}", name.to_lowercase())).collect::<Vec<_>>());
    for alert in alerts {
        // Once among all that do not fire while all is well, and once where it fires.
        let tested = lines_after(&tests, "alertname: ").filter(|name| *name == alert).count();
        assert!(tested >= 2, "{alert} is not seen to fire");
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    for arguments in
        [["check", "rules", "deploy/prometheus/rules.yml"], ["test", "rules", "deploy/prometheus/rules_test.yml"]]
    {
        let ended = Command::new(binary("promtool", &[])).args(arguments).current_dir(file("")).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{arguments:?}: {said}");
    }
}
