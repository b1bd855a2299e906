//! Guards one source: limits how many runs there are at once and how long each may take, opens a circuit breaker after
//! failures, catches panics, and records the runs.
//!
//! A guard does not know whether its source is required: the caller says how long it waits, and may drop a run at any
//! time.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tracing::Instrument as _;

use super::SourceError;
use crate::{
    circuit_breaker::{CircuitBreaker, Pass, Probing},
    clock::{Clock, Moment},
    config,
    fault::{FaultPoint, Faults},
    proto::v1::SourceStats,
    sync::Mutex,
    telemetry::{DurationHistogram, Meter, Quantiles, names::SOURCE_DURATION},
};

#[derive(Debug)]
pub struct Guard {
    name: &'static str,
    clock: Clock,
    permits: Semaphore,
    breaker: CircuitBreaker,
    metrics: Mutex<RunMetrics>,
    latency: Quantiles,
    runs: Runs,
    faults: Faults,
}

/// Durations by outcome.
#[derive(Debug, Default)]
struct Runs {
    ok: DurationHistogram,
    error: DurationHistogram,
    timeout: DurationHistogram,
    abandoned: DurationHistogram,
}

/// The runs of a source since the start.
#[derive(Debug, Default)]
struct RunMetrics {
    runs: i64,
    failures: i64,
    in_flight: i32,
    last_error: &'static str,
}

/// How a run ended.
#[derive(Debug)]
pub struct Run<T> {
    pub result: Result<T, SourceError>,
    /// Includes the wait for a permit.
    pub took: Duration,
}

impl Guard {
    #[must_use]
    pub fn new(name: &'static str, limits: &config::SourcesSettings, clock: Clock) -> Self {
        let permits = Semaphore::new(limits.max_concurrent);
        let breaker =
            CircuitBreaker::new(name, Probing::NextCall, limits.breaker_failures, limits.breaker_pause, clock.clone());
        Self {
            name,
            clock,
            permits,
            breaker,
            metrics: Mutex::default(),
            latency: Quantiles::default(),
            runs: Runs::default(),
            faults: Faults::here(),
        }
    }

    /// Records each run.
    #[must_use]
    pub fn with_metrics(self, meter: &Meter) -> Self {
        let runs = |outcome| meter.durations(&SOURCE_DURATION, &[self.name, outcome]);
        let runs =
            Runs { ok: runs("ok"), error: runs("error"), timeout: runs("timeout"), abandoned: runs("abandoned") };
        Self { runs, ..self }
    }

    /// The source's name in statistics, logs and errors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs `work` for at most `limit`, which includes the wait for a permit.
    pub async fn run<T>(&self, limit: Duration, work: impl Future<Output = Result<T, SourceError>>) -> Run<T> {
        let asked = self.clock.now();
        let span = tracing::info_span!("source", otel.name = %format_args!("source {}", self.name), name = self.name);
        let result = self.permitted(Instant::now() + limit, work).instrument(span).await;
        Run { result, took: self.clock.now().since(asked) }
    }

    async fn permitted<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        // The semaphore is never closed. A wait without a permit says nothing about the source's health.
        let Ok(Ok(_permit)) = timeout_at(deadline, self.permits.acquire()).await else {
            return Err(SourceError::Timeout);
        };
        // After the wait, because the circuit may have opened meanwhile.
        let running = self.begin().ok_or(SourceError::BreakerOpen)?;
        let work = self.faults.through(FaultPoint::Source(self.name), work);
        // A source shares no state between runs, so nothing that a panic left half done is seen again.
        let result = match timeout_at(deadline, AssertUnwindSafe(work).catch_unwind()).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(SourceError::Panic),
            Err(_elapsed) => Err(SourceError::Timeout),
        };
        running.end(result.as_ref().err());
        result
    }

    fn begin(&self) -> Option<ActiveRun<'_>> {
        let now = self.clock.now();
        let pass = self.breaker.pass()?;
        let mut metrics = self.metrics.lock();
        metrics.runs += 1;
        metrics.in_flight += 1;
        Some(ActiveRun { guard: self, pass, begun: now, durations: &self.runs.abandoned })
    }

    /// The source's name, the number of its runs under way, and the state of its circuit breaker.
    #[must_use]
    pub fn levels(&self) -> (&'static str, i32, &'static str) {
        let metrics = self.metrics.lock();
        (self.name, metrics.in_flight, self.breaker.state())
    }

    #[must_use]
    pub fn stats(&self) -> SourceStats {
        let metrics = self.metrics.lock();
        let percentile = |share| self.latency.at(share).map(Into::into);
        SourceStats {
            source: self.name.to_owned(),
            runs: metrics.runs,
            failures: metrics.failures,
            latency_p50: percentile(0.5),
            latency_p99: percentile(0.99),
            in_flight: metrics.in_flight,
            breaker_state: self.breaker.state().to_owned(),
            last_error: metrics.last_error.to_owned(),
        }
    }
}

/// A run under way. Dropped without [`Self::end`], it was abandoned by its caller.
struct ActiveRun<'a> {
    guard: &'a Guard,
    pass: Pass,
    begun: Moment,
    /// The histogram in which its duration is recorded when it is dropped.
    durations: &'a DurationHistogram,
}

impl ActiveRun<'_> {
    fn end(mut self, error: Option<&SourceError>) {
        self.durations = self.guard.runs.of(error);
        self.guard.latency.record(self.guard.clock.now().since(self.begun));
        let mut metrics = self.guard.metrics.lock();
        if let Some(error) = error {
            metrics.failures += 1;
            metrics.last_error = error.reason();
        }
        match health(error) {
            SourceHealth::Healthy => self.guard.breaker.succeeded(),
            SourceHealth::Unhealthy => self.guard.breaker.failed(&error.map_or("", SourceError::reason)),
            SourceHealth::Unknown => {}
        }
    }
}

impl Drop for ActiveRun<'_> {
    fn drop(&mut self) {
        let now = self.guard.clock.now();
        self.durations.record(now.since(self.begun));
        let mut metrics = self.guard.metrics.lock();
        metrics.in_flight -= 1;
        if self.pass == Pass::Probe {
            // Has an effect only if the run neither succeeded nor failed.
            self.guard.breaker.probe_lost();
        }
    }
}

impl Runs {
    fn of(&self, error: Option<&SourceError>) -> &DurationHistogram {
        match error {
            None => &self.ok,
            Some(SourceError::Timeout) => &self.timeout,
            Some(_) => &self.error,
        }
    }
}

/// The source's health after a run.
enum SourceHealth {
    Healthy,
    Unhealthy,
    Unknown,
}

/// Reasons that concern the endpoint itself, whatever it was asked.
const AI_UNHEALTHY: [&str; 5] =
    ["AI_TIMEOUT", "AI_UNREACHABLE", "AI_RATE_LIMITED", "AI_UNAUTHORIZED", "AI_SERVER_ERROR"];

/// An AI endpoint that refuses one input, or answers it badly, is healthy: it may answer other inputs. A call that was
/// never sent says nothing about it.
fn health(error: Option<&SourceError>) -> SourceHealth {
    match error {
        None => SourceHealth::Healthy,
        Some(SourceError::Ai { reason, .. }) if *reason == "AI_BUDGET" => SourceHealth::Unknown,
        Some(SourceError::Ai { reason, .. }) if !AI_UNHEALTHY.contains(reason) => SourceHealth::Healthy,
        Some(_) => SourceHealth::Unhealthy,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Long enough never to be reached, and short enough to be waited for.
    const LIMIT: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(10);

    fn guard(clock: &Clock) -> Guard {
        let limits = config::SourcesSettings {
            max_concurrent: 2,
            breaker_failures: 3,
            breaker_pause: Duration::from_secs(2),
            ..config::SourcesSettings::default()
        };
        Guard::new("tested", &limits, clock.clone())
    }

    async fn reason(guard: &Guard, work: impl Future<Output = Result<(), SourceError>>) -> &'static str {
        guard.run(LIMIT, work).await.result.map_or_else(|error| error.reason(), |()| "")
    }

    async fn fails() -> Result<(), SourceError> {
        Err(SourceError::Sql(std::sync::Arc::new(sea_orm::DbErr::Custom("broken".to_owned()))))
    }

    async fn panics() -> Result<(), SourceError> {
        panic!("on purpose")
    }

    async fn ai(reason: &'static str) -> Result<(), SourceError> {
        Err(SourceError::Ai { reason, detail: String::new() })
    }

    #[tokio::test]
    async fn a_run_beyond_its_limit_is_a_timeout() {
        let guard = guard(&Clock::system());
        let run: Run<()> = guard.run(SHORT, pending()).await;
        assert_eq!(run.result.map_err(|error| error.reason()), Err("TIMEOUT"));
        assert!(run.took >= SHORT);
        let stats = guard.stats();
        assert_eq!((stats.runs, stats.failures, stats.in_flight, &stats.last_error[..]), (1, 1, 0, "TIMEOUT"));
    }

    #[tokio::test]
    async fn a_panic_fails_that_run_only() {
        let guard = guard(&Clock::system());
        assert_eq!(reason(&guard, panics()).await, "PANIC");
        assert_eq!(reason(&guard, async { Ok(()) }).await, "");
        let stats = guard.stats();
        assert_eq!((stats.runs, stats.failures, stats.in_flight), (2, 1, 0));
    }

    #[tokio::test]
    async fn failures_in_a_row_open_the_breaker_and_one_success_closes_it() {
        let clock = Clock::system();
        let guard = guard(&clock);
        for _ in 0..3 {
            assert_eq!(reason(&guard, fails()).await, "SQL_ERROR");
        }
        assert_eq!(guard.stats().breaker_state, "open");
        assert_eq!(reason(&guard, async { panic!("must not run") }).await, "BREAKER_OPEN");
        // Refusing is no run, and the reason that matters stays.
        let stats = guard.stats();
        assert_eq!((stats.runs, stats.failures, &stats.last_error[..]), (3, 3, "SQL_ERROR"));

        clock.advance(Duration::from_secs(2));
        assert_eq!(guard.stats().breaker_state, "half_open");
        assert_eq!(reason(&guard, fails()).await, "SQL_ERROR");
        assert_eq!(reason(&guard, async { Ok(()) }).await, "BREAKER_OPEN");

        clock.advance(Duration::from_secs(2));
        // While the probe runs nobody else goes through.
        let probe = guard.run(LIMIT, async {
            assert_eq!(reason(&guard, async { Ok(()) }).await, "BREAKER_OPEN");
            Ok(())
        });
        assert!(probe.await.result.is_ok());
        assert_eq!(guard.stats().breaker_state, "closed");
        assert_eq!(reason(&guard, async { Ok(()) }).await, "");
    }

    #[tokio::test]
    async fn a_probe_that_its_caller_drops_makes_room_for_the_next() {
        let clock = Clock::system();
        let guard = guard(&clock);
        for _ in 0..3 {
            reason(&guard, fails()).await;
        }
        clock.advance(Duration::from_secs(2));
        let mut probe = Box::pin(guard.run(LIMIT, pending::<Result<(), SourceError>>()));
        assert!(probe.as_mut().now_or_never().is_none());
        assert_eq!(guard.stats().in_flight, 1);
        drop(probe);
        assert_eq!(guard.stats().in_flight, 0);
        assert_eq!(reason(&guard, async { Ok(()) }).await, "");
    }

    #[tokio::test]
    async fn permits_bound_what_runs_at_once_and_waiting_for_one_blames_nobody() {
        let guard = guard(&Clock::system());
        let mut first = Box::pin(guard.run(LIMIT, pending::<Result<(), SourceError>>()));
        let mut second = Box::pin(guard.run(LIMIT, pending::<Result<(), SourceError>>()));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        let short: Run<()> = guard.run(SHORT, async { panic!("must not run") }).await;
        assert_eq!(short.result.map_err(|error| error.reason()), Err("TIMEOUT"));
        let stats = guard.stats();
        assert_eq!((stats.runs, stats.failures, stats.in_flight), (2, 0, 2));

        drop(first);
        assert_eq!(reason(&guard, async { Ok(()) }).await, "");
    }

    #[tokio::test]
    async fn an_endpoint_that_refuses_an_input_is_not_left_alone() {
        for (reasons, state) in [
            (["AI_INVALID"; 3], "closed"),
            (["AI_BUDGET"; 3], "closed"),
            (["AI_UNREACHABLE"; 3], "open"),
            (["AI_SERVER_ERROR", "AI_REFUSED", "AI_SERVER_ERROR"], "closed"),
        ] {
            let guard = guard(&Clock::system());
            for expected in reasons {
                assert_eq!(reason(&guard, ai(expected)).await, expected);
            }
            assert_eq!(guard.stats().breaker_state, state, "{reasons:?}");
            assert_eq!(guard.stats().failures, 3);
        }
    }

    #[tokio::test]
    async fn durations_are_known_by_percentile() {
        let clock = Clock::system();
        let guard = guard(&clock);
        assert_eq!(guard.stats().latency_p50, None);
        for ms in [10, 10, 500] {
            let slow = async {
                clock.advance(Duration::from_millis(ms));
                Ok(())
            };
            assert!(guard.run(LIMIT, slow).await.took >= Duration::from_millis(ms));
        }
        let ms = |duration: Option<crate::proto::Duration>| duration.unwrap().nanos / 1_000_000;
        let stats = guard.stats();
        assert!((9..=30).contains(&ms(stats.latency_p50)) && (490..=600).contains(&ms(stats.latency_p99)));
    }
}
