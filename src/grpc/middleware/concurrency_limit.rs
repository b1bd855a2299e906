//! How many requests are answered at once, in the whole process, and whether any are at all.
//!
//! The limit is for requests that are *being worked on*. One that waits for a load gives its place
//! back (loads have limits of their own): a flood of misses must not keep hits out, which take
//! microseconds. Nor has one a place whose message is still on its way, or callers that never finish
//! theirs would keep everybody out. tonic's own limits are per connection and outside of what our metrics see.

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::poll;
use std::task::Poll;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    error::retry_after_overload,
    grpc::{
        method::Method,
        refusal::{Outcome, Refusal},
        status,
    },
};

/// Lets requests in. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit(Arc<Inside>);

/// Behind one pointer: every request clones the gate, and a token's clones are counted under a lock.
#[derive(Debug)]
struct Inside {
    places: Semaphore,
    closed: CancellationToken,
}

impl ConcurrencyLimit {
    /// An open gate with this many places.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let places = Semaphore::new(places.min(Semaphore::MAX_PERMITS));
        Self(Arc::new(Inside { places, closed: CancellationToken::new() }))
    }

    /// A place for a request, or why it has none.
    pub fn admit(&self, method: Method) -> Result<Option<Permit>, Refusal> {
        if !method.is_ours() {
            return Ok(None);
        }
        if self.is_closed() {
            return Err(Refusal { outcome: Outcome::Shed, status: status::draining() });
        }
        if !self.take() {
            return Err(Refusal { outcome: Outcome::Shed, status: overloaded() });
        }
        Ok(Some(Permit(Arc::new(HeldPermit {
            gate: self.clone(),
            held: AtomicBool::new(true),
            begun: AtomicBool::new(false),
        }))))
    }

    fn take(&self) -> bool {
        self.0.places.try_acquire().map(SemaphorePermit::forget).is_ok()
    }

    /// Refuses everything from now on, because the server is going away.
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    /// Whether it refuses everything.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    /// Done once the gate is closed.
    #[must_use]
    pub fn closed(&self) -> CancellationToken {
        self.0.closed.clone()
    }
}

/// A request's place among those being answered; free again when its last clone is dropped, or earlier.
#[derive(Clone, Debug)]
pub struct Permit(Arc<HeldPermit>);

#[derive(Debug)]
struct HeldPermit {
    gate: ConcurrencyLimit,
    held: AtomicBool,
    /// The request's message is there.
    begun: AtomicBool,
}

impl Permit {
    /// The request's message is there. Takes the place again if it was given back meanwhile, or says that there is none.
    pub fn begin(&self) -> Result<(), Status> {
        self.0.begun.store(true, Ordering::Relaxed);
        if !self.0.held.load(Ordering::Relaxed) {
            if !self.0.gate.take() {
                return Err(overloaded());
            }
            self.0.held.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Ends with a refusal if the message is not there in time. To be asked when the request first has to wait: unless
    /// it has begun, it waits for its message, and gives its place back for so long.
    pub async fn overdue(self, time: Duration) -> Refusal {
        let has_begun = || self.0.begun.load(Ordering::Relaxed);
        if !has_begun() {
            self.0.give_back();
            sleep(time).await;
            if !has_begun() {
                return Refusal { outcome: Outcome::Expired, status: status::deadline_exceeded() };
            }
        }
        pending().await
    }

    /// Awaits `work`, keeping the place only if the answer is there at once.
    pub async fn until_it_waits<F: Future>(self, work: F) -> F::Output {
        let mut work = pin!(work);
        if let Poll::Ready(output) = poll!(work.as_mut()) {
            return output;
        }
        self.0.give_back();
        work.await
    }
}

fn overloaded() -> Status {
    status::overloaded(retry_after_overload())
}

impl HeldPermit {
    fn give_back(&self) {
        if self.held.swap(false, Ordering::Relaxed) {
            self.gate.0.places.add_permits(1);
        }
    }
}

impl Drop for HeldPermit {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn beyond_the_limit_requests_are_refused_and_told_when_to_come_back() {
        let gate = ConcurrencyLimit::new(2);
        let first = gate.admit(Method::Get).unwrap();
        let _second = gate.admit(Method::Warm).unwrap();

        let Refusal { outcome, status } = gate.admit(Method::Get).unwrap_err();

        assert_eq!((outcome, status.code()), (Outcome::Shed, Code::ResourceExhausted));
        let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!((Duration::from_millis(500)..=Duration::from_millis(1500)).contains(&delay), "{delay:?}");
        let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
        assert_eq!(pushback, delay.as_millis().to_string());

        drop(first);
        assert!(gate.admit(Method::Get).is_ok());
    }

    #[test]
    fn health_and_reflection_are_answered_when_full_and_when_draining() {
        let gate = ConcurrencyLimit::new(0);
        gate.close();
        for method in [Method::Health, Method::Reflection] {
            assert!(gate.admit(method).unwrap().is_none());
        }
    }

    #[test]
    fn draining_requests_may_be_repeated_elsewhere_at_once() {
        let gate = ConcurrencyLimit::new(1);
        gate.close();
        let Refusal { outcome, status } = gate.admit(Method::Get).unwrap_err();
        assert_eq!((outcome, status.code()), (Outcome::Shed, Code::Unavailable));
        assert_eq!(status.get_details_error_info().unwrap().reason, "DRAINING");
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn a_request_that_waits_gives_its_place_back_once() {
        let gate = ConcurrencyLimit::new(1);
        let (answer, waiting) = tokio::sync::oneshot::channel();

        let place = gate.admit(Method::Get).unwrap().unwrap();
        let kept = place.clone();
        let mut waiter = pin!(place.until_it_waits(waiting));
        assert!(poll!(waiter.as_mut()).is_pending());

        let hit = gate.admit(Method::Get).unwrap().unwrap();
        assert_eq!(hit.until_it_waits(async { 1 }).await, 1);

        answer.send(2).unwrap();
        assert_eq!(waiter.await, Ok(2));
        drop(kept);
        assert_eq!(gate.0.places.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_no_place_while_its_message_is_on_its_way_and_none_to_wait_for_it_for_ever() {
        let gate = ConcurrencyLimit::new(1);
        let free = || gate.0.places.available_permits();
        let time = Duration::from_secs(10);

        let late = gate.admit(Method::Stats).unwrap().unwrap();
        let mut overdue = Box::pin(late.clone().overdue(time));
        assert!(poll!(overdue.as_mut()).is_pending());
        let other = gate.admit(Method::Stats).unwrap().unwrap();
        assert_eq!(late.begin().unwrap_err().code(), Code::ResourceExhausted);
        drop(other);
        late.begin().unwrap();
        assert_eq!(free(), 0);
        assert!(tokio::time::timeout(time * 2, overdue).await.is_err(), "it has begun");
        drop(late);

        let never = gate.admit(Method::Stats).unwrap().unwrap();
        let Refusal { outcome, status } = never.overdue(time).await;
        assert_eq!((outcome, status.code()), (Outcome::Expired, Code::DeadlineExceeded));
        assert_eq!(free(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_has_begun_keeps_its_place_while_it_works() {
        let gate = ConcurrencyLimit::new(1);
        let place = gate.admit(Method::Stats).unwrap().unwrap();
        place.begin().unwrap();
        let mut overdue = pin!(place.overdue(Duration::from_secs(10)));
        assert!(poll!(overdue.as_mut()).is_pending());
        assert!(gate.admit(Method::Stats).is_err());
    }
}
