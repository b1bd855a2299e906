//! The load: a closed loop, an open loop at a fixed rate, or all calls at once.
//!
//! Invariant: in the open loop a latency counts from the time at which the request was due, not from its sending. So a
//! stalled server makes the requests of that time slow, instead of fewer.

use std::{
    net::SocketAddr,
    sync::{
        Barrier, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use prost::Message as _;
use userdata::{
    clock::{Clock, Moment},
    proto::v1::{GetComprehensiveUserDataRequest, InvalidateCacheRequest},
};

use super::frames::{Method, Receiver, Sender, connect};

/// Connections and concurrent requests on each, as h2load has them in `wire`.
pub(super) const CONNECTIONS: usize = 8;
pub(super) const STREAMS: usize = 16;
/// Concurrent requests on a connection before a request has to wait; the server allows 256 streams.
const STREAMS_MAX: usize = 250;
/// Every document is larger; an error has no message.
const DOCUMENT_BYTES_MIN: u32 = 256;

/// A request of one method for one user.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(super) method: Method,
    pub(super) user: String,
}

impl Call {
    pub(crate) fn get(user: impl Into<String>) -> Self {
        Self { method: Method::Get, user: user.into() }
    }

    pub(super) fn invalidate(user: impl Into<String>) -> Self {
        Self { method: Method::Invalidate, user: user.into() }
    }

    /// Its message in gRPC's frame.
    fn body(self) -> Vec<u8> {
        let user_id = self.user;
        let message = match self.method {
            Method::Get => GetComprehensiveUserDataRequest { user_id, ..Default::default() }.encode_to_vec(),
            Method::Invalidate => InvalidateCacheRequest { user_id, ..Default::default() }.encode_to_vec(),
        };
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        [&[0], length.as_slice(), &message].concat()
    }
}

/// The result of a load.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Latencies of the gets, sorted.
    times: Vec<Duration>,
    /// Calls of both kinds.
    pub(crate) calls: u64,
    pub(super) took: Duration,
    /// Lateness of the generator, sorted; empty in a closed loop.
    late: Vec<Duration>,
}

impl Ran {
    pub(crate) fn per_second(&self) -> f64 {
        as_f64(self.calls) / self.took.as_secs_f64()
    }

    /// In milliseconds: the quantile of the latencies.
    pub(crate) fn ms(&self, share: f64) -> f64 {
        quantile(&self.times, share).as_secs_f64() * 1e3
    }

    /// In milliseconds: the quantile of the generator's lateness.
    pub(super) fn late_ms(&self, share: f64) -> f64 {
        quantile(&self.late, share).as_secs_f64() * 1e3
    }
}

/// The end of a closed loop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Calls(u64),
    After(Duration),
}

/// As many concurrent calls as connections times streams; the next call follows each answer.
pub(crate) fn closed(
    address: SocketAddr,
    (connections, streams): (usize, usize),
    until: Until,
    call: impl Fn(u64) -> Call + Sync,
) -> Ran {
    let (clock, next, all) = (Clock::system(), AtomicU64::new(0), Mutex::new(Vec::new()));
    // One after the other, before the time counts: many at once overflow the server's queue.
    let connected: Vec<_> = (0..connections).map(|_| connect(address)).collect();
    let began = clock.now();
    let another = || {
        let number = next.fetch_add(1, Relaxed);
        let goes_on = match until {
            Until::Calls(calls) => number < calls,
            Until::After(duration) => clock.now().since(began) < duration,
        };
        goes_on.then(|| call(number))
    };
    thread::scope(|scope| {
        for (mut sender, mut receiver) in connected {
            let (clock, another, all) = (&clock, &another, &all);
            scope.spawn(move || {
                let (mut begun, mut times) = (Vec::new(), Vec::new());
                let mut free = streams;
                loop {
                    for call in std::iter::from_fn(another).take(free) {
                        sender.call(call.method, &call.body());
                        begun.push(clock.now());
                    }
                    sender.send();
                    if times.len() == begun.len() {
                        break;
                    }
                    free = 0;
                    receiver.receive(|number, bytes| {
                        check(Method::Get, bytes);
                        times.push(clock.now().since(begun[number]));
                        free += 1;
                    });
                }
                all.lock().unwrap_or_else(PoisonError::into_inner).extend(times);
            });
        }
    });
    let times = sorted(all);
    Ran { calls: times.len() as u64, took: clock.now().since(began), times, late: vec![] }
}

/// Calls at this rate, evenly spread over the connections, and those over the addresses.
pub(super) fn open(addresses: &[SocketAddr], rate: f64, duration: Duration, call: impl Fn(u64) -> Call + Sync) -> Ran {
    let (clock, all) = (Clock::system(), Mutex::new(Vec::new()));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundred thousand")]
    let calls = (rate * duration.as_secs_f64()) as u64;
    let mut senders: Vec<(Sender, AtomicUsize)> = Vec::new();
    let mut receivers: Vec<Receiver> = Vec::new();
    for address in addresses.iter().cycle().take(CONNECTIONS) {
        let (sender, receiver) = connect(*address);
        senders.push((sender, AtomicUsize::new(0)));
        receivers.push(receiver);
    }
    // A little later, so that the first one is not late.
    let began = clock.now().after(Duration::from_millis(20));
    let due = |number: u64| began.after(Duration::from_secs_f64(as_f64(number) / rate));
    let connections = CONNECTIONS as u64;
    let mut late = Vec::new();
    let (mut senders, under_way): (Vec<Sender>, Vec<AtomicUsize>) = senders.into_iter().unzip();
    thread::scope(|scope| {
        for (first, mut receiver) in receivers.into_iter().enumerate() {
            let (first, under_way) = (first as u64, &under_way[first]);
            let (all, call, clock, due) = (&all, &call, &clock, &due);
            scope.spawn(move || {
                let mut left = (first..calls).step_by(CONNECTIONS).count();
                let mut times = Vec::with_capacity(left);
                while left > 0 {
                    receiver.receive(|number, bytes| {
                        let number = first + connections * number as u64;
                        let method = call(number).method;
                        check(method, bytes);
                        if method == Method::Get {
                            times.push(clock.now().since(due(number)));
                        }
                        under_way.fetch_sub(1, Relaxed);
                        left -= 1;
                    });
                }
                all.lock().unwrap_or_else(PoisonError::into_inner).extend(times);
            });
        }
        for number in 0..calls {
            let connection = usize::try_from(number % connections).expect("a few");
            sleep_until(&clock, due(number));
            // A request that waits here is late, and its lateness counts.
            while under_way[connection].load(Relaxed) >= STREAMS_MAX {
                thread::sleep(Duration::from_micros(100));
            }
            under_way[connection].fetch_add(1, Relaxed);
            let call = call(number);
            senders[connection].call(call.method, &call.body());
            late.push(clock.now().since(due(number)));
            senders[connection].send();
        }
    });
    late.sort_unstable();
    Ran { times: sorted(all), calls, took: clock.now().since(began), late }
}

/// Concurrent callers of one user; returns the times of their answers.
pub(super) fn at_once(address: SocketAddr, callers: usize, user: &str) -> Ran {
    let connections = callers.div_ceil(STREAMS_MAX);
    let (clock, all, ready) = (Clock::system(), Mutex::new(Vec::new()), Barrier::new(connections + 1));
    let began = Mutex::new(Moment::default());
    thread::scope(|scope| {
        for connection in 0..connections {
            let callers = (connection..callers).step_by(connections).count();
            let (clock, all, ready, began) = (&clock, &all, &ready, &began);
            scope.spawn(move || {
                let (mut sender, mut receiver) = connect(address);
                for _ in 0..callers {
                    let call = Call::get(user);
                    sender.call(call.method, &call.body());
                }
                let mut times = Vec::new();
                ready.wait();
                ready.wait();
                let began = *began.lock().unwrap_or_else(PoisonError::into_inner);
                sender.send();
                while times.len() < callers {
                    receiver.receive(|_, bytes| {
                        check(Method::Get, bytes);
                        times.push(clock.now().since(began));
                    });
                }
                all.lock().unwrap_or_else(PoisonError::into_inner).extend(times);
            });
        }
        ready.wait();
        *began.lock().unwrap_or_else(PoisonError::into_inner) = clock.now();
        ready.wait();
    });
    let times = sorted(all);
    let took = times.last().copied().unwrap_or_default();
    Ran { calls: times.len() as u64, took, times, late: vec![] }
}

/// A figure as a float.
pub(super) fn as_f64(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let number = number as f64;
    number
}

/// The quantile of sorted times.
pub(super) fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let place = (as_f64(last as u64) * share).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

fn check(method: Method, bytes: u32) {
    let least = if method == Method::Get { DOCUMENT_BYTES_MIN } else { 1 };
    assert!(bytes >= least, "{method:?} was answered with {bytes} bytes: an error");
}

fn sorted(times: Mutex<Vec<Duration>>) -> Vec<Duration> {
    let mut times = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable();
    times
}

/// The kernel wakes up some 60 us late; that is part of every server's figures.
fn sleep_until(clock: &Clock, due: Moment) {
    let left = due.since(clock.now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}
