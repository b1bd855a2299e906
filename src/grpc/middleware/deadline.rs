//! Until when a caller wants its answer, and the answer it gets after that.
//!
//! Ours is due a little earlier than the caller asked, so that the reply arrives before the caller's own timer goes off.
//! A deadline bounds the wait of one caller, never the load that it waits for.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::concurrency_limit::ConcurrencyLimit;
use crate::grpc::{
    method::Method,
    refusal::{Outcome, Refusal},
    status,
};

const HEADER: HeaderName = HeaderName::from_static("grpc-timeout");

/// How much earlier than asked we answer: a tenth, but never more than this.
const EARLIER_MAX: Duration = Duration::from_millis(10);

/// What ends a request that has not ended by itself.
#[derive(Clone, Debug)]
pub enum Bound {
    /// A point in time.
    Deadline(Instant),
    /// The server's shutdown. For streams that are meant to stay open, such as a watch on health.
    Drain(CancellationToken),
}

impl Bound {
    /// A request's bound; callers without a deadline get `default`.
    pub fn of(
        method: Method,
        headers: &HeaderMap,
        default: Duration,
        gate: &ConcurrencyLimit,
    ) -> Result<Self, Refusal> {
        let asked = asked(headers)?.or(method.is_ours().then_some(default));
        let Some(asked) = asked else {
            return Ok(Self::Drain(gate.closed()));
        };
        Ok(Self::Deadline(Instant::now() + a_little_early(asked)))
    }

    /// Waits for the bound and says what the caller is told.
    pub async fn passed(self) -> Refusal {
        match self {
            Self::Deadline(at) => {
                // A timer that is due still waits for the clock's next millisecond.
                if Instant::now() < at {
                    sleep_until(at).await;
                }
                Refusal { outcome: Outcome::Expired, status: status::deadline_exceeded() }
            }
            Self::Drain(closed) => {
                closed.cancelled().await;
                Refusal { outcome: Outcome::Shed, status: status::draining() }
            }
        }
    }
}

/// How long a caller wants to wait, if it says so.
pub fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    headers.get(&HEADER).map(|timeout| parse(timeout.as_bytes()).ok_or_else(malformed)).transpose()
}

fn a_little_early(asked: Duration) -> Duration {
    asked.saturating_sub((asked / 10).min(EARLIER_MAX))
}

fn malformed() -> Refusal {
    let violation =
        tonic_types::FieldViolation::new("grpc-timeout", "must be one to eight digits and a unit of HMSmun");
    Refusal { outcome: Outcome::Answered, status: status::invalid(vec![violation]) }
}

/// `TimeoutValue TimeoutUnit` of "gRPC over HTTP/2".
fn parse(timeout: &[u8]) -> Option<Duration> {
    let (unit, digits) = timeout.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(value * 3600),
        b'M' => Duration::from_secs(value * 60),
        b'S' => Duration::from_secs(value),
        b'm' => Duration::from_millis(value),
        b'u' => Duration::from_micros(value),
        b'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    const DEFAULT: Duration = Duration::from_secs(15);

    fn bound(method: Method, timeout: Option<&str>) -> Result<Bound, Refusal> {
        let headers = timeout.map(|timeout| (HEADER, timeout.parse().unwrap())).into_iter().collect();
        Bound::of(method, &headers, DEFAULT, &ConcurrencyLimit::new(1))
    }

    #[test]
    fn deadlines_are_the_callers_a_little_early() {
        for (timeout, after) in [
            ("2H", Duration::from_secs(7200) - EARLIER_MAX),
            ("3M", Duration::from_secs(180) - EARLIER_MAX),
            ("1S", Duration::from_millis(990)),
            ("50m", Duration::from_millis(45)),
            ("5m", Duration::from_micros(4500)),
            ("1000u", Duration::from_micros(900)),
            ("1000n", Duration::from_nanos(900)),
            ("0S", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600) - EARLIER_MAX),
        ] {
            assert_eq!(parse(timeout.as_bytes()).map(a_little_early), Some(after), "{timeout}");
        }
    }

    #[tokio::test]
    async fn callers_without_a_deadline_get_the_default() {
        let now = Instant::now();
        let Ok(Bound::Deadline(at)) = bound(Method::Get, None) else { panic!("a deadline") };
        assert!((a_little_early(DEFAULT)..=DEFAULT).contains(&(at - now)));
    }

    #[tokio::test]
    async fn a_passed_deadline_is_deadline_exceeded() {
        let began = Instant::now();
        let Refusal { outcome, status } = bound(Method::Get, Some("20m")).unwrap().passed().await;
        assert!(began.elapsed() >= Duration::from_millis(18));
        assert_eq!((outcome, status.code()), (Outcome::Expired, Code::DeadlineExceeded));
        assert_eq!(status.get_details_error_info().unwrap().reason, "DEADLINE_EXCEEDED");
    }

    #[test]
    fn a_malformed_timeout_is_an_invalid_argument() {
        for timeout in ["", "S", "1", "1s", "1 S", "-1S", "+1S", "123456789S", "1.5S", "1Sx", "m1"] {
            let Refusal { outcome, status } = bound(Method::Get, Some(timeout)).unwrap_err();
            assert_eq!((outcome, status.code()), (Outcome::Answered, Code::InvalidArgument), "{timeout}");
            assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "grpc-timeout");
        }
    }

    #[tokio::test]
    async fn streams_that_stay_open_end_when_the_server_drains() {
        let gate = ConcurrencyLimit::new(1);
        let bound = Bound::of(Method::Health, &HeaderMap::new(), DEFAULT, &gate).unwrap();
        gate.close();
        let Refusal { outcome, status } = bound.passed().await;
        assert_eq!((outcome, status.code()), (Outcome::Shed, Code::Unavailable));
    }
}
