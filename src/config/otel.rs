//! What OpenTelemetry's own variables say (`OTEL_*`), as far as its library does not read them itself.
//!
//! They have the names that every program's operator knows, so they are no settings of ours. As the specification
//! demands, a value that cannot be understood is ignored, and the log names it: telemetry never keeps a service from
//! starting.

use std::{collections::BTreeMap, path::PathBuf};

/// Of requests whose caller has not decided. A trace of each would cost more than the request itself.
const RATIO: f64 = 0.01;
const OTLP: &str = "otlp";
const PROTOCOLS: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"];
/// `baggage` is not read: nothing here depends on it.
const PROPAGATORS: [&str; 3] = ["tracecontext", "baggage", "none"];

/// Every variable that is honoured, by us or by the library: name, default, meaning.
pub(super) const VARIABLES: &[(&str, &str, &str)] = &[
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "none: nothing is sent",
        "The collector, such as `http://collector:4317`: metrics and traces are sent to it by gRPC, encrypted if the URL \
         begins with `https`.",
    ),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "as above", "The same for traces only."),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "as above", "The same for metrics only."),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "`grpc`", "Nothing else is spoken; the log names another value."),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "as above", "The same for traces only."),
    ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "as above", "The same for metrics only."),
    (
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "none: whom this machine trusts",
        "A file of certificates (PEM): a collector behind `https` has to be certified by one of them.",
    ),
    (
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "none",
        "A file with this service's own certificate (PEM), for collectors that ask for one.",
    ),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "none", "A file with its private key (PEM)."),
    (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "none",
        "Sent with every export, `name=value` with commas between. May hold secrets.",
    ),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "`10000`", "Milliseconds for one export; what has not left by then is dropped."),
    ("OTEL_TRACES_EXPORTER", "`otlp`", "`otlp`, or `none`: no traces are sent."),
    (
        "OTEL_METRICS_EXPORTER",
        "`otlp`",
        "`otlp`, or `none` or `prometheus`: no metrics are sent. They can always be scraped.",
    ),
    ("OTEL_LOGS_EXPORTER", "`none`", "The log is not sent: it goes to stderr, which names another value."),
    ("OTEL_SDK_DISABLED", "`false`", "`true`: nothing is sent. The scrape stays."),
    (
        "OTEL_TRACES_SAMPLER",
        "`parentbased_traceidratio`",
        "Which requests are traced: `always_on`, `always_off` or `traceidratio`, each also as `parentbased_..`: then a \
         caller that has decided is followed.",
    ),
    ("OTEL_TRACES_SAMPLER_ARG", "`0.01`", "The share of requests that is traced, 0 to 1, for `..traceidratio`."),
    (
        "OTEL_PROPAGATORS",
        "`tracecontext,baggage`",
        "Without `tracecontext` in it, callers' `traceparent` is not continued.",
    ),
    ("OTEL_SERVICE_NAME", "`userdata`", "What this service is called in metrics and traces."),
    ("OTEL_RESOURCE_ATTRIBUTES", "none", "Further attributes of this process, `name=value` with commas between."),
    ("OTEL_METRIC_EXPORT_INTERVAL", "`60000`", "Milliseconds between two exports of metrics."),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "`2048`", "Spans that wait to be sent; further ones are dropped."),
    ("OTEL_BSP_SCHEDULE_DELAY", "`5000`", "Milliseconds that spans wait for others before they are sent."),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "`512`", "Spans in one export at most."),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "`128`", "Attributes of a span at most."),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "`128`", "Events of a span at most."),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "`128`", "Links of a span at most: requests that waited for one load."),
];

/// What is sent where, and which requests are traced.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTelemetry {
    /// Traces are sent to a collector.
    pub sends_traces: bool,
    /// Metrics are sent to a collector.
    pub sends_metrics: bool,
    /// A caller's `traceparent` is continued.
    pub continues_traces: bool,
    /// A caller's decision is followed, where there is one.
    pub follows_callers: bool,
    /// The share of the other requests that is traced.
    pub ratio: f64,
    /// The service has been given a name.
    pub is_named: bool,
    /// The collectors to which something is sent, each once.
    pub collectors: Vec<String>,
    /// Who may certify a collector; none: whom this machine trusts.
    pub authority: Option<PathBuf>,
    /// Our own certificate and its key, for collectors.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// What was not understood, for the log.
    pub remarks: Vec<String>,
}

impl OpenTelemetry {
    /// As the process's environment says.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self::of(&std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// As this environment says.
    #[must_use]
    pub fn of(environment: &BTreeMap<String, String>) -> Self {
        // Empty means not set, says the specification.
        let said = |name: &str| {
            debug_assert!(VARIABLES.iter().any(|(known, ..)| *known == name), "{name} is not in the reference");
            environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
        };
        let mut remarks = Vec::new();

        let sends = |signal: &str, remarks: &mut Vec<String>| {
            let variable = format!("OTEL_{signal}_EXPORTER");
            let exporters: Vec<&str> = said(&variable).unwrap_or(OTLP).split(',').map(str::trim).collect();
            for unknown in exporters.iter().filter(|name| ![OTLP, "none", "prometheus"].contains(*name)) {
                remarks.push(format!("{variable}: {unknown} is not known here; otlp, prometheus and none are"));
            }
            let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
            let collector = said(&own).or_else(|| said("OTEL_EXPORTER_OTLP_ENDPOINT"));
            collector.filter(|_| exporters.contains(&OTLP))
        };
        let disabled = said("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let traces_to = sends("TRACES", &mut remarks).filter(|_| !disabled);
        let metrics_to = sends("METRICS", &mut remarks).filter(|_| !disabled);
        let mut collectors: Vec<String> = traces_to.into_iter().chain(metrics_to).map(str::to_owned).collect();
        collectors.dedup();
        remarks.extend(not_spoken(&said));

        let file = |name: &str| said(name).map(PathBuf::from);
        let certificate = file("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE");
        let key = file("OTEL_EXPORTER_OTLP_CLIENT_KEY");
        if certificate.is_some() != key.is_some() {
            let both = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY";
            remarks.push(format!("{both}: one is of no use without the other"));
        }

        let (follows_callers, ratio) = sampler(&said, &mut remarks);
        let propagators = said("OTEL_PROPAGATORS").unwrap_or("tracecontext,baggage");
        Self {
            sends_traces: traces_to.is_some(),
            sends_metrics: metrics_to.is_some(),
            continues_traces: propagators.split(',').any(|name| name.trim() == "tracecontext"),
            follows_callers,
            ratio,
            is_named: said("OTEL_SERVICE_NAME").is_some()
                || said("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|text| text.contains("service.name=")),
            collectors,
            authority: file("OTEL_EXPORTER_OTLP_CERTIFICATE"),
            identity: certificate.zip(key),
            remarks,
        }
    }
}

/// Values that no part of this program knows.
fn not_spoken<'a>(said: &impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let protocols = PROTOCOLS.iter().filter_map(|variable| {
        let protocol = said(variable).filter(|protocol| *protocol != "grpc")?;
        Some(format!("{variable}: {protocol} is not spoken here, only grpc; name a collector's gRPC port"))
    });
    let logs = said("OTEL_LOGS_EXPORTER").filter(|exporter| *exporter != "none");
    let logs = logs.map(|exporter| format!("OTEL_LOGS_EXPORTER: {exporter} is not known here; the log goes to stderr"));
    let propagators = said("OTEL_PROPAGATORS").unwrap_or_default().split(',').map(str::trim);
    let unknown = propagators.filter(|name| !name.is_empty() && !PROPAGATORS.contains(name));
    let unknown = unknown.map(|name| format!("OTEL_PROPAGATORS: {name} is not known here; tracecontext is"));
    protocols.chain(logs).chain(unknown).collect()
}

/// Whether callers decide, and the share of requests about which they have not.
fn sampler<'a>(said: &impl Fn(&str) -> Option<&'a str>, remarks: &mut Vec<String>) -> (bool, f64) {
    let name = said("OTEL_TRACES_SAMPLER").unwrap_or("parentbased_traceidratio");
    let (follows_callers, root) = name.strip_prefix("parentbased_").map_or((false, name), |root| (true, root));
    let ratio = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => {
            let argument = said("OTEL_TRACES_SAMPLER_ARG");
            let ratio = argument.and_then(|text| text.parse().ok()).filter(|ratio| (0.0..=1.0).contains(ratio));
            if let (Some(text), None) = (argument, ratio) {
                remarks.push(format!("OTEL_TRACES_SAMPLER_ARG: {text} is no number from 0 to 1; {RATIO} is used"));
            }
            ratio.unwrap_or(RATIO)
        }
        _ => {
            remarks.push(format!("OTEL_TRACES_SAMPLER: {name} is not known here; callers decide, else {RATIO}"));
            return (true, RATIO);
        }
    };
    (follows_callers, ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> OpenTelemetry {
        OpenTelemetry::of(&variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn nothing_is_sent_before_somebody_says_where() {
        let sends = |variables: &[(&str, &str)]| {
            let of = of(variables);
            (of.sends_traces, of.sends_metrics)
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        assert_eq!(sends(&[]), (false, false));
        assert_eq!(sends(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), (false, false));
        assert_eq!(sends(&[endpoint]), (true, true));
        assert_eq!(sends(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4317")]), (true, false));
        assert_eq!(sends(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), (false, true));
        assert_eq!(sends(&[endpoint, ("OTEL_METRICS_EXPORTER", "prometheus")]), (true, false));
        assert_eq!(sends(&[endpoint, ("OTEL_METRICS_EXPORTER", "prometheus, otlp")]), (true, true));
        assert_eq!(sends(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), (false, false));
    }

    #[test]
    fn samplers_are_those_of_the_specification() {
        let sampler = |name: &str, argument: &str| {
            let of = of(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)]);
            (of.follows_callers, of.ratio, of.remarks.len())
        };
        assert_eq!(sampler("", ""), (true, RATIO, 0));
        assert_eq!(sampler("", "0.5"), (true, 0.5, 0));
        assert_eq!(sampler("parentbased_always_on", ""), (true, 1.0, 0));
        assert_eq!(sampler("parentbased_always_off", "1"), (true, 0.0, 0));
        assert_eq!(sampler("always_on", ""), (false, 1.0, 0));
        assert_eq!(sampler("traceidratio", "0.25"), (false, 0.25, 0));
        assert_eq!(sampler("traceidratio", "2"), (false, RATIO, 1));
        assert_eq!(sampler("xray", ""), (true, RATIO, 1));
    }

    #[test]
    fn what_is_not_understood_is_told_and_does_no_harm() {
        let odd = of(&[("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]);
        assert_eq!(odd.remarks.len(), 2, "{:?}", odd.remarks);
        let other = of(&[
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ]);
        assert_eq!((other.continues_traces, other.remarks.len()), (false, 3), "{:?}", other.remarks);
        let usual = of(&[
            ("OTEL_PROPAGATORS", "tracecontext, baggage"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        ]);
        assert_eq!(usual.remarks, [""; 0]);
        assert!(of(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=x")]).is_named);
    }
}
