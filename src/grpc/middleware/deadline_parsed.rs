//! `grpc-timeout` becomes a point in time, once: it bounds the arrival of the message, the answer and its stream.
//!
//! The deadline of the server is a little earlier than the caller's, so that the reply arrives before the caller's own
//! timer ends the call.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::filter::CallFilter;
use crate::grpc::{call::Call, refusal::Refusal};

const HEADER: HeaderName = HeaderName::from_static("grpc-timeout");
/// The server answers a tenth earlier than asked, but never more than this.
const EARLIER_MAX: Duration = Duration::from_millis(10);

/// Sets the deadline of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadlineParsed {
    /// For callers that name none. Other services' streams may stay open without one.
    pub(crate) default: Duration,
}

impl CallFilter for DeadlineParsed {
    fn check<B>(&mut self, call: &mut Call<B>) -> Result<(), Refusal> {
        let timeout = timeout(call.headers())?.or(call.method.is_ours().then_some(self.default));
        call.deadline = timeout.map(|timeout| Instant::now() + a_little_early(timeout));
        Ok(())
    }
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let malformed = || Refusal::invalid("grpc-timeout", "must be one to eight digits and a unit of HMSmun");
    headers.get(&HEADER).map(|timeout| parse(timeout.as_bytes()).ok_or_else(malformed)).transpose()
}

fn a_little_early(timeout: Duration) -> Duration {
    timeout.saturating_sub((timeout / 10).min(EARLIER_MAX))
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
    use super::*;
    use crate::grpc::{method::Method, refusal::Violation, testing};

    const DEFAULT: Duration = Duration::from_secs(15);

    fn deadline(method: Method, timeout: Option<&str>) -> Result<Option<Instant>, Refusal> {
        let headers: Vec<_> = timeout.map(|timeout| ("grpc-timeout", timeout)).into_iter().collect();
        let mut call = testing::call(method, &headers);
        DeadlineParsed { default: DEFAULT }.check(&mut call)?;
        Ok(call.deadline)
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
        let at = deadline(Method::Get, None).unwrap().unwrap();
        assert!((a_little_early(DEFAULT)..=DEFAULT).contains(&(at - now)));
    }

    #[tokio::test]
    async fn health_and_reflection_may_stay_open() {
        for method in [Method::Health, Method::Reflection] {
            assert_eq!(deadline(method, None).unwrap(), None);
        }
    }

    #[test]
    fn a_malformed_timeout_is_an_invalid_argument() {
        for timeout in ["", "S", "1", "1s", "1 S", "-1S", "+1S", "123456789S", "1.5S", "1Sx", "m1"] {
            let Err(Refusal::Invalid(violations)) = deadline(Method::Get, Some(timeout)) else { panic!("{timeout}") };
            assert!(matches!(&violations[..], [Violation { field, .. }] if field == "grpc-timeout"));
        }
    }
}
