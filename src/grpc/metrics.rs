//! Metrics of requests, per method.
//!
//! Invariant: every request that reached the server is counted exactly once, when the last byte of its reply was handed
//! over *or* when it was dropped half way. A [`RequestRecord`] is begun outside of everything else and counts itself
//! on drop, so no way out can forget it.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use tonic::Code;
use tracing::Span;

use super::{method::Method, refusal::Outcome, transport::peer::Peer};
use crate::{
    clock::{Clock, Moment},
    telemetry::{DurationHistogram, Meter, PerCore, names},
};

/// gRPC's codes, 0 to 16, as the semantic conventions name them.
pub const CODES: &[&str] = names::CALL_DURATION.attributes[2].values;

/// The server's counts since it started.
#[derive(Debug)]
pub struct Metrics {
    protocol: Protocol,
    methods: [MethodMetrics; Method::ALL.len()],
    meter: Meter,
    clock: Clock,
}

/// How requests come: the semantic conventions' `rpc.system.name`, and a name of ours for HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    /// Connect's protocol and the planning application's routes.
    Http,
}

impl Protocol {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// The counts of one method.
#[derive(Debug)]
pub struct MethodMetrics {
    counts: PerCore<RequestCounts>,
    /// By code. A code that is not expected has none until it happens.
    durations: Vec<OnceLock<DurationHistogram>>,
}

/// The part of one core: a request may begin on another than it ends on, so only the sum of `in_flight` says something.
#[derive(Debug, Default)]
struct RequestCounts {
    in_flight: AtomicI64,
    outcomes: [AtomicU64; 5],
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new(protocol: Protocol, clock: Clock, meter: &Meter) -> Arc<Self> {
        let metrics = Arc::new(Self {
            protocol,
            methods: Method::ALL.map(|of| MethodMetrics::new(protocol, of, meter)),
            meter: meter.clone(),
            clock,
        });
        let read = Arc::downgrade(&metrics);
        meter.observe(&names::REQUESTS_IN_FLIGHT, move |observe| {
            let Some(metrics) = read.upgrade() else { return };
            for method in Method::ALL {
                #[expect(clippy::cast_precision_loss, reason = "requests at once are few")]
                observe(&[protocol.name(), method.name()], metrics.method(method).in_flight() as f64);
            }
        });
        metrics
    }

    /// The counts of one method.
    #[must_use]
    pub fn method(&self, method: Method) -> &MethodMetrics {
        &self.methods[method.index()]
    }

    /// Starts a request's clock.
    #[must_use]
    pub fn begin(self: &Arc<Self>, method: Method) -> RequestRecord {
        self.method(method).counts.mine().in_flight.fetch_add(1, Relaxed);
        RequestRecord {
            metrics: Arc::clone(self),
            method,
            began: self.clock.now(),
            outcome: Outcome::Abandoned,
            code: Code::Cancelled,
            span: Span::none(),
            peer: None,
        }
    }
}

impl MethodMetrics {
    fn new(protocol: Protocol, method: Method, meter: &Meter) -> Self {
        let bound = |code: &&'static str| {
            let is_expected = method.may_end_with(code);
            if is_expected { OnceLock::from(durations(meter, protocol, method, code)) } else { OnceLock::new() }
        };
        Self { counts: PerCore::default(), durations: CODES.iter().map(bound).collect() }
    }

    /// Requests being answered now.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.counts.parts().map(|part| part.in_flight.load(Relaxed)).sum()
    }

    /// Requests that ended so.
    #[must_use]
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.counts.parts().map(|part| part.outcomes[outcome as usize].load(Relaxed)).sum()
    }
}

fn durations(meter: &Meter, protocol: Protocol, method: Method, code: &'static str) -> DurationHistogram {
    meter.durations(&names::CALL_DURATION, &[protocol.name(), method.name(), code])
}

/// A request that is being answered: abandoned, unless it is said to have ended otherwise.
#[derive(Debug)]
pub struct RequestRecord {
    metrics: Arc<Metrics>,
    method: Method,
    began: Moment,
    outcome: Outcome,
    code: Code,
    span: Span,
    peer: Option<Peer>,
}

impl RequestRecord {
    /// The connection of the request has one more in progress until this is dropped.
    pub fn on(&mut self, peer: Peer) {
        peer.request_begins();
        self.peer = Some(peer);
    }

    /// From now on the end is recorded in this span too.
    pub fn continue_in(&mut self, span: Span) {
        self.span = span;
    }

    /// None if the request is not traced.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// How the request ends; counted when this is dropped.
    pub fn ends(&mut self, outcome: Outcome, code: Code) {
        self.outcome = outcome;
        self.code = code;
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let now = self.metrics.clock.now();
        let took = now.since(self.began);
        if let Some(peer) = &self.peer {
            peer.request_ended(now);
        }
        record_code(&self.span, self.code);
        let of = self.metrics.method(self.method);
        let counts = of.counts.mine();
        counts.in_flight.fetch_sub(1, Relaxed);
        counts.outcomes[self.outcome as usize].fetch_add(1, Relaxed);
        let unexpected =
            || durations(&self.metrics.meter, self.metrics.protocol, self.method, CODES[self.code as usize]);
        of.durations[self.code as usize].get_or_init(unexpected).record(took);
    }
}

/// Records in a request's span how it ended.
pub fn record_code(span: &Span, code: Code) {
    if !span.is_none() {
        span.record("rpc.response.status_code", CODES[code as usize]);
        if is_our_fault(code) {
            span.record("otel.status_code", "ERROR");
        }
    }
}

/// The codes that make a server's span an error, by the semantic conventions for gRPC.
fn is_our_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::Telemetry;

    #[test]
    fn a_call_is_in_flight_until_it_is_dropped_and_then_counted_once() {
        let clock = Clock::system();
        let telemetry = Telemetry::quiet();
        let metrics = Metrics::new(Protocol::Grpc, clock.clone(), &telemetry.meter());
        let mut call = metrics.begin(Method::Get);
        let left = metrics.begin(Method::Get);
        assert_eq!(metrics.method(Method::Get).in_flight(), 2);

        clock.advance(Duration::from_secs(3));
        call.ends(Outcome::Answered, Code::NotFound);
        drop(call);
        drop(left);
        let mut never_seen = metrics.begin(Method::Get);
        never_seen.ends(Outcome::Answered, Code::DataLoss);
        drop(never_seen);

        let counts = metrics.method(Method::Get);
        assert_eq!(counts.in_flight(), 0);
        assert_eq!((counts.ended(Outcome::Answered), counts.ended(Outcome::Abandoned)), (2, 1));
        let scraped = telemetry.scrape().text();
        let buckets = |code: &str, bound: &str| {
            let series = format!(
                "rpc_server_call_duration_seconds_bucket{{rpc_method=\"{}\",rpc_response_status_code=\"{code}\",\
                 rpc_system_name=\"grpc\",le=\"{bound}\"}} ",
                Method::Get.name()
            );
            scraped.lines().find_map(|line| line.strip_prefix(&series)).map(str::to_owned)
        };
        for code in ["NOT_FOUND", "CANCELLED"] {
            assert_eq!(
                (buckets(code, "2.5"), buckets(code, "5")),
                (Some("0".to_owned()), Some("1".to_owned())),
                "{code}"
            );
        }
        assert_eq!(buckets("OK", "10").as_deref(), Some("0"), "there before it happens");
        assert_eq!(buckets("DATA_LOSS", "10").as_deref(), Some("1"), "there when it has happened");
        assert_eq!(buckets("ABORTED", "10"), None);
    }
}
