//! The connections of a server: each has a place, and the list says which one yields when all places are taken.
//!
//! Any client can open connections. A connection therefore counts as a caller's only once a request of the contract has
//! been admitted on it. A new connection takes the place of the longest one without such a request. If those have less
//! than an eighth of the places, it takes that of the caller who has been idle for longest, so that new connections have
//! time for their first request. It waits only while every connection has a request in progress.
//!
//! Invariant: a place is free again when the task of its connection has ended, however it ends.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SetOnce},
    time::{sleep, timeout},
};
use tracing::warn;

use crate::{
    clock::{Clock, Moment},
    sync::Mutex,
    telemetry::{Meter, names},
};

/// Before it is looked again which connection can yield: a request may have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A warning that every client can cause.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Connections without an admitted request whose peer does not read what it is sent. Such a one holds up to 600 KiB: the
/// answers of 256 streams. An honest client reads.
const UNREAD_MAX: usize = 32;
/// Requests on a connection before one has to be admitted: a health check each second has 30, and a client with a wrong
/// token learns by one. After an admitted request, as many refusals in a row: the token has been revoked. Without a
/// limit, refusals take the CPU time of callers.
const REFUSED_MAX: u64 = 32;
/// One in so many places is left to connections without an admitted request.
const NEW_CONNECTIONS_SHARE: usize = 8;
/// From GOAWAY until the connection is cut off: its peer needs one round trip.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// The same, if its peer goes on with requests that are refused: the answers so far can be read.
const ANSWERED_MAX: Duration = Duration::from_millis(100);
/// The same, if requests may be in progress: as long as `server.default_deadline`.
const FINISH_MAX: Duration = Duration::from_secs(15);

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::grpc) enum End {
    /// All places are taken, and a new connection needs this one.
    Full,
    /// No request was admitted in time.
    NoRequest,
    /// No request for a long time.
    Idle,
    /// Its peer does not read, and has had no request admitted.
    Unread,
    /// Many requests in a row, and none was admitted.
    Refused,
    /// The client's certificate no longer counts.
    Credentials,
}

/// Limits of the connections of a server.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub connections: usize,
    /// Until a request has been admitted.
    pub first_request: Duration,
    /// Without a request.
    pub idle: Duration,
}

/// All connections of a server. Clones are the same.
#[derive(Clone, Debug)]
pub struct Connections(Arc<ConnectionsState>);

#[derive(Debug)]
struct ConnectionsState {
    limits: ConnectionLimits,
    clock: Clock,
    places: Arc<Semaphore>,
    list: Mutex<List>,
    /// By [`End`].
    ended: [AtomicU64; 6],
}

/// By number, so that the longest comes first.
#[derive(Debug, Default)]
struct List {
    number: u64,
    waiting: BTreeMap<u64, Arc<ConnectionEntry>>,
    admitted: BTreeMap<u64, Arc<ConnectionEntry>>,
    /// Those among `waiting` whose peer does not read.
    unread: BTreeMap<u64, Arc<ConnectionEntry>>,
    /// Told to yield, and not gone yet.
    yielding: usize,
    warned: Option<Moment>,
}

/// What is known of one connection.
#[derive(Debug)]
pub(in crate::grpc) struct ConnectionEntry {
    shared: Arc<ConnectionsState>,
    number: u64,
    began: Moment,
    is_admitted: AtomicBool,
    /// In a row: all requests until one is admitted, later those without valid credentials.
    refused: AtomicU64,
    in_progress: AtomicUsize,
    /// When the last request ended that was not refused, in nanoseconds since boot.
    last_request: AtomicU64,
    end: SetOnce<End>,
}

/// The place of a connection.
#[derive(Debug)]
pub struct ConnectionPlace {
    entry: Arc<ConnectionEntry>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(limits: ConnectionLimits, clock: Clock, meter: &Meter) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        let (list, ended) = (Mutex::default(), <[AtomicU64; 6]>::default());
        let shared = Arc::new(ConnectionsState { limits, clock, places, list, ended });
        observe(&shared, meter);
        Self(shared)
    }

    /// A place for a new connection. If all are taken, another one ends.
    pub async fn enter(&self) -> ConnectionPlace {
        let take = || Arc::clone(&self.0.places).acquire_owned();
        let permit = match Arc::clone(&self.0.places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => loop {
                self.warn_if_due();
                self.make_room();
                if let Ok(permit) = timeout(LOOK_AGAIN, take()).await {
                    break permit.expect("the semaphore is never closed");
                }
            },
        };
        let began = self.0.clock.now();
        let mut list = self.0.list.lock();
        list.number += 1;
        let entry = Arc::new(ConnectionEntry {
            shared: Arc::clone(&self.0),
            number: list.number,
            began,
            is_admitted: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            in_progress: AtomicUsize::new(0),
            last_request: AtomicU64::new(began.nanos()),
            end: SetOnce::new(),
        });
        list.waiting.insert(entry.number, Arc::clone(&entry));
        drop(list);
        ConnectionPlace { entry, _permit: permit }
    }

    /// Tells one connection to yield, unless another is about to.
    pub fn make_room(&self) {
        let mut list = self.0.list.lock();
        let yields = |entry: &Arc<ConnectionEntry>| entry.end.set(End::Full).is_ok();
        if list.yielding == 0 && list.longest(self.0.limits.connections).is_some_and(yields) {
            list.yielding = 1;
        }
    }

    fn warn_if_due(&self) {
        let now = self.0.clock.now();
        let mut list = self.0.list.lock();
        let (waiting, admitted) = (list.waiting.len(), list.admitted.len());
        let is_due = list.warned.is_none_or(|warned| now.since(warned) >= WARN_EVERY);
        if is_due {
            list.warned = Some(now);
        }
        drop(list);
        if is_due {
            warn!(
                connections_max = self.0.limits.connections,
                without_request = waiting,
                admitted,
                "all connections are in use; each new one ends the longest without an admitted request, or the longest idle one"
            );
        }
    }
}

impl List {
    /// The connection whose end costs least, of so many places.
    fn longest(&self, places: usize) -> Option<&Arc<ConnectionEntry>> {
        let remains = |entry: &&Arc<ConnectionEntry>| !entry.end.initialized();
        let is_idle = |entry: &&Arc<ConnectionEntry>| !entry.is_busy();
        let idle = || {
            let callers = self.admitted.values().filter(remains).filter(is_idle);
            callers.min_by_key(|entry| entry.last_request.load(Relaxed))
        };
        let waiting = || self.waiting.values().find(remains);
        if self.waiting.len() < places / NEW_CONNECTIONS_SHARE {
            idle().or_else(waiting)
        } else {
            waiting().or_else(idle)
        }
    }
}

impl ConnectionEntry {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn end(&self) -> Option<End> {
        self.end.get().copied()
    }

    pub(super) fn is_admitted(&self) -> bool {
        self.is_admitted.load(Relaxed)
    }

    /// Whether a caller waits for something. A caller whose credentials no longer count does not.
    fn is_busy(&self) -> bool {
        self.in_progress.load(SeqCst) > 0 && !self.was_refused()
    }

    fn was_refused(&self) -> bool {
        self.refused.load(Relaxed) > 0
    }

    /// A request has no valid credentials.
    pub(super) fn refuse(&self) {
        if self.is_admitted() {
            self.count_refused();
        }
    }

    fn count_refused(&self) {
        if self.refused.fetch_add(1, Relaxed) >= REFUSED_MAX {
            self.cut_off();
        }
    }

    pub(super) fn admit(&self) {
        if self.was_refused() {
            self.refused.store(0, Relaxed);
        }
        if self.is_admitted() || self.is_admitted.swap(true, SeqCst) {
            return;
        }
        let mut list = self.shared.list.lock();
        list.unread.remove(&self.number);
        if let Some(entry) = list.waiting.remove(&self.number) {
            list.admitted.insert(self.number, entry);
        }
    }

    pub(super) fn cut_off(&self) {
        let _ = self.end.set(End::Refused);
    }

    pub(super) fn request_begins(&self) {
        self.in_progress.fetch_add(1, SeqCst);
        if !self.is_admitted() {
            self.count_refused();
        }
    }

    pub(super) fn request_ended(&self, now: Moment) {
        if !self.was_refused() {
            self.last_request.store(now.nanos(), Relaxed);
        }
        self.in_progress.fetch_sub(1, SeqCst);
    }

    /// Waits until the connection has been open for too long.
    async fn times_out(&self) -> End {
        let ConnectionLimits { first_request, idle, .. } = self.shared.limits;
        loop {
            let (since, limit, end) = match self.is_admitted() {
                false => (self.began, first_request, End::NoRequest),
                true => (Moment::from_nanos(self.last_request.load(Relaxed)), idle, End::Idle),
            };
            let is_busy = self.is_admitted() && self.is_busy();
            let so_far = if is_busy { Duration::ZERO } else { self.shared.clock.now().since(since) };
            match limit.checked_sub(so_far).filter(|left| !left.is_zero()) {
                Some(left) => sleep(left).await,
                None => return end,
            }
        }
    }
}

impl ConnectionPlace {
    pub(super) fn entry(&self) -> Arc<ConnectionEntry> {
        Arc::clone(&self.entry)
    }

    /// Waits until the connection has to end: because of a limit, or because its credentials have ended.
    pub(super) async fn ends(&self, credentials: impl Future<Output = ()>) -> End {
        let end = tokio::select! {
            biased;
            end = self.entry.end.wait() => *end,
            () = credentials => End::Credentials,
            end = self.entry.times_out() => end,
        };
        // Another reason may have come first.
        let _ = self.entry.end.set(end);
        let end = self.entry.end().unwrap_or(end);
        self.entry.shared.ended[end as usize].fetch_add(1, Relaxed);
        end
    }

    pub(super) fn is_admitted(&self) -> bool {
        self.entry.is_admitted()
    }

    /// Whether nothing more that its peer sends is of interest.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.entry.end(), Some(End::Unread | End::Refused))
    }

    /// How long the connection may take to end. None: it is cut off.
    pub(super) fn grace(&self, end: End) -> Option<Duration> {
        match end {
            End::Full | End::Refused if self.entry.is_admitted() => Some(LEAVE_MAX),
            End::Full | End::Unread => None,
            End::NoRequest => Some(LEAVE_MAX),
            End::Refused => Some(ANSWERED_MAX),
            End::Idle | End::Credentials => Some(FINISH_MAX),
        }
    }

    /// Its peer does not take what it is sent.
    pub(super) fn is_unread(&self) {
        let mut list = self.entry.shared.list.lock();
        if !list.waiting.contains_key(&self.entry.number) {
            return;
        }
        list.unread.insert(self.entry.number, Arc::clone(&self.entry));
        if list.unread.len() > UNREAD_MAX
            && let Some((_, longest)) = list.unread.pop_first()
        {
            let _ = longest.end.set(End::Unread);
        }
    }

    /// Its peer has taken all.
    pub(super) fn is_read(&self) {
        self.entry.shared.list.lock().unread.remove(&self.entry.number);
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut list = self.entry.shared.list.lock();
        list.waiting.remove(&self.entry.number);
        list.admitted.remove(&self.entry.number);
        list.unread.remove(&self.entry.number);
        if self.entry.end() == Some(End::Full) {
            list.yielding -= 1;
        }
    }
}

fn observe(shared: &Arc<ConnectionsState>, meter: &Meter) {
    #[expect(clippy::cast_precision_loss, reason = "connections are far fewer than 2^53")]
    let number = |count: u64| count as f64;
    let read = Arc::downgrade(shared);
    meter.observe(&names::CONNECTIONS, move |observe| {
        let Some(shared) = read.upgrade() else { return };
        let list = shared.list.lock();
        let (waiting, admitted) = (list.waiting.len() as u64, list.admitted.len() as u64);
        drop(list);
        observe(&["no_request_yet"], number(waiting));
        observe(&["admitted"], number(admitted));
    });
    let max = shared.limits.connections as u64;
    meter.observe(&names::CONNECTIONS_MAX, move |observe| observe(&[], number(max)));
    let read = Arc::downgrade(shared);
    meter.observe(&names::CONNECTIONS_ENDED, move |observe| {
        let Some(shared) = read.upgrade() else { return };
        for (reason, count) in names::CONNECTIONS_ENDED.attributes[0].values.iter().zip(&shared.ended) {
            observe(&[reason], number(count.load(Relaxed)));
        }
    });
}

#[cfg(test)]
mod tests;
