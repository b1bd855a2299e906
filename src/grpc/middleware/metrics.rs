//! What happened to requests, per method.
//!
//! Invariant: every request that reached the server is counted exactly once, when its reply's last
//! byte was handed over *or* when it was dropped half way. A [`Call`] is begun outside of everything
//! else and records itself on drop, so no way out can forget it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use tonic::Code;
use tracing::Span;

use crate::{
    clock::{Clock, Moment},
    grpc::{method::Method, refusal::Outcome},
    telemetry::{DurationHistogram, Meter, names},
};

/// gRPC's codes, 0 to 16, as the semantic conventions name them.
pub const CODES: &[&str] = names::CALL_DURATION.attributes[2].values;

/// The server's figures since it started.
#[derive(Debug)]
pub struct Metrics {
    methods: [MethodMetrics; Method::ALL.len()],
    meter: Meter,
    clock: Clock,
}

/// One method's figures.
#[derive(Debug)]
pub struct MethodMetrics {
    in_flight: AtomicI64,
    outcomes: [AtomicU64; 5],
    /// By code; none where none is expected, which are made when they are needed.
    durations: Vec<Option<DurationHistogram>>,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new(clock: Clock, meter: &Meter) -> Arc<Self> {
        let metrics = Arc::new(Self {
            methods: Method::ALL.map(|of| MethodMetrics::new(of, meter)),
            meter: meter.clone(),
            clock,
        });
        let read = Arc::downgrade(&metrics);
        meter.observe(&names::REQUESTS_IN_FLIGHT, move |observe| {
            let Some(metrics) = read.upgrade() else { return };
            for method in Method::ALL {
                #[expect(clippy::cast_precision_loss, reason = "requests at once are few")]
                observe(&[method.name()], metrics.method(method).in_flight() as f64);
            }
        });
        metrics
    }

    /// One method's figures.
    #[must_use]
    pub fn method(&self, method: Method) -> &MethodMetrics {
        &self.methods[method.index()]
    }

    /// Starts a request's clock.
    #[must_use]
    pub fn begin(self: &Arc<Self>, method: Method) -> Call {
        self.method(method).in_flight.fetch_add(1, Relaxed);
        Call {
            metrics: Arc::clone(self),
            method,
            began: self.clock.now(),
            outcome: Outcome::Abandoned,
            code: Code::Cancelled,
            span: Span::none(),
        }
    }
}

impl MethodMetrics {
    fn new(method: Method, meter: &Meter) -> Self {
        let bound = |code: &&'static str| method.may_end_with(code).then(|| durations(meter, method, code));
        Self {
            in_flight: AtomicI64::default(),
            outcomes: Default::default(),
            durations: CODES.iter().map(bound).collect(),
        }
    }

    /// Requests being answered now.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(Relaxed)
    }

    /// Requests that ended so.
    #[must_use]
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }
}

fn durations(meter: &Meter, method: Method, code: &'static str) -> DurationHistogram {
    meter.durations(&names::CALL_DURATION, &["grpc", method.name(), code])
}

/// A request on its way: abandoned, unless it is said to have ended otherwise.
#[derive(Debug)]
pub struct Call {
    metrics: Arc<Metrics>,
    method: Method,
    began: Moment,
    outcome: Outcome,
    code: Code,
    span: Span,
}

impl Call {
    /// Has its end told to this span too.
    pub fn is_traced_by(&mut self, span: Span) {
        self.span = span;
    }

    /// Says how it ends; counted when this is dropped.
    pub fn ends(&mut self, outcome: Outcome, code: Code) {
        self.outcome = outcome;
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.metrics.clock.now().since(self.began);
        if !self.span.is_none() {
            self.span.record("rpc.response.status_code", CODES[self.code as usize]);
            if is_our_fault(self.code) {
                self.span.record("otel.status_code", "ERROR");
            }
        }
        let figures = self.metrics.method(self.method);
        figures.in_flight.fetch_sub(1, Relaxed);
        figures.outcomes[self.outcome as usize].fetch_add(1, Relaxed);
        match &figures.durations[self.code as usize] {
            Some(durations) => durations.record(took),
            None => durations(&self.metrics.meter, self.method, CODES[self.code as usize]).record(took),
        }
    }
}

/// Which codes make a server's span an error, says the semantic conventions' list for gRPC.
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
        let metrics = Metrics::new(clock.clone(), &telemetry.meter());
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

        let figures = metrics.method(Method::Get);
        assert_eq!(figures.in_flight(), 0);
        assert_eq!((figures.ended(Outcome::Answered), figures.ended(Outcome::Abandoned)), (2, 1));
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
