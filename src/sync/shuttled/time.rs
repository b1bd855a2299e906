//! Time that passes when the scheduler lets it. One task, [`pass`], moves it from timer to timer; whenever
//! that task is chosen, time goes on, so a timer can fire early for those who wait and late for those who work,
//! but never before its time by the clock, and never out of order.
//!
//! It stands in for `tokio::time` and for the system's boot-time clock, which therefore agree.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    convert::Infallible,
    future::{Future, IntoFuture, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

pub use std::time::Duration;

/// Long after boot, as the product may expect.
const START: Duration = Duration::from_secs(1_000_000);

thread_local! {
    /// Of the execution that this thread runs. Not Shuttle's: reading the time is no step of its own.
    static TIME: RefCell<Time> = RefCell::default();
}

#[derive(Default)]
struct Time {
    now: Duration,
    /// By deadline, then by age.
    timers: BTreeMap<(Duration, u64), Waker>,
    numbers: u64,
    /// Of the task that moves time, while there is no timer.
    idle: Option<Waker>,
}

/// Starts anew, for an execution. Has to be the first task that an execution spawns: the scheduler knows it by
/// its number.
pub fn start() {
    TIME.replace(Time { now: START, ..Time::default() });
    drop(shuttle::future::spawn(pass()));
}

/// The time since boot.
#[must_use]
pub fn now() -> Duration {
    TIME.with_borrow(|time| time.now)
}

/// Lets time jump, as it does for those who were suspended: every timer on the way fires.
pub fn advance(duration: Duration) {
    go_to(now() + duration);
}

/// Moves time to the next timer, whenever it is this task's turn.
async fn pass() -> Infallible {
    poll_fn(|context| {
        let next = TIME.with_borrow_mut(|time| {
            let next = time.timers.first_key_value().map(|((deadline, _), _)| *deadline);
            time.idle = next.is_none().then(|| context.waker().clone());
            next
        });
        if let Some(deadline) = next {
            go_to(deadline);
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

fn go_to(then: Duration) {
    let due = TIME.with_borrow_mut(|time| {
        time.now = time.now.max(then);
        let later = time.timers.split_off(&(time.now, u64::MAX));
        std::mem::replace(&mut time.timers, later)
    });
    due.into_values().for_each(Waker::wake);
}

/// As `tokio::time::sleep`.
pub fn sleep(duration: Duration) -> Sleep {
    TIME.with_borrow_mut(|time| {
        time.numbers += 1;
        Sleep { timer: (time.now + duration, time.numbers) }
    })
}

/// A timer; dropping it stops it.
#[derive(Debug)]
#[must_use]
pub struct Sleep {
    timer: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let idle = TIME.with_borrow_mut(|time| {
            if time.now >= self.timer.0 {
                return Poll::Ready(None);
            }
            time.timers.insert(self.timer, context.waker().clone());
            time.idle.take().map_or(Poll::Pending, |idle| Poll::Ready(Some(idle)))
        });
        match idle {
            Poll::Ready(None) => Poll::Ready(()),
            Poll::Ready(Some(idle)) => {
                idle.wake();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        TIME.with_borrow_mut(|time| time.timers.remove(&self.timer));
    }
}

/// The time was over.
#[derive(Debug)]
pub struct Elapsed;

/// As `tokio::time::timeout`: what is ready is taken, however late it is.
pub fn timeout<F: IntoFuture>(limit: Duration, future: F) -> impl Future<Output = Result<F::Output, Elapsed>> {
    let sleep = sleep(limit);
    async move {
        let (mut future, mut sleep) = (pin!(future.into_future()), pin!(sleep));
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            sleep.as_mut().poll(context).map(|()| Err(Elapsed))
        })
        .await
    }
}
