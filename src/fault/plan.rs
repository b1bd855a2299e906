//! The faults of one instance, and how many calls are in progress in all instances.
//!
//! Decision: a call that hangs does not count as in progress. So when the gauge is at zero, nothing happens until the
//! test goes on, and each run of a case is the same.

use std::{cell::RefCell, collections::HashMap, fmt, sync::Arc};

use sea_orm::DbErr;
use tokio::sync::{Notify, oneshot};

use super::FaultPoint;

use crate::sync::{Mutex, MutexGuard};

/// An injected error.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("broken by a test")]
pub struct Injected;

impl From<Injected> for DbErr {
    fn from(error: Injected) -> Self {
        Self::Custom(error.to_string())
    }
}

impl From<Injected> for fred::error::Error {
    fn from(error: Injected) -> Self {
        Self::new(fred::error::ErrorKind::IO, error.to_string())
    }
}

/// Where in a call a fault occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Before the request is sent.
    Before,
    /// After it took effect, before the answer arrives.
    After,
}

/// What happens to a kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each one fails.
    Fail,
    /// Each one hangs until it is released or its caller times out.
    Hang,
    /// The next one hangs.
    HangOnce,
}

/// How many calls are in progress, in all instances that share it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<(Mutex<GaugeReading>, Notify)>);

#[derive(Clone, Copy, Debug, Default)]
struct GaugeReading {
    under_way: usize,
    /// Calls begun so far.
    begun: u64,
}

impl Gauge {
    fn add(&self) {
        let mut reading = self.reading();
        reading.under_way += 1;
        reading.begun += 1;
    }

    fn take(&self) {
        let mut reading = self.reading();
        reading.under_way -= 1;
        if reading.under_way == 0 {
            self.0.1.notify_one();
        }
    }

    fn reading(&self) -> MutexGuard<'_, GaugeReading> {
        self.0.0.lock()
    }

    /// Waits until no call is in progress. Returns how many have started so far.
    pub async fn is_at_none(&self) -> u64 {
        loop {
            let reading = *self.reading();
            if reading.under_way == 0 {
                return reading.begun;
            }
            self.0.1.notified().await;
        }
    }
}

thread_local! {
    static HERE: RefCell<Option<Faults>> = const { RefCell::new(None) };
}

/// The faults of one instance. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    plan: Arc<Mutex<FaultPlan>>,
    gauge: Gauge,
}

#[derive(Default)]
struct FaultPlan {
    modes: HashMap<(FaultPoint, Place), Mode>,
    /// For all other calls: an instance that died.
    all: Option<Mode>,
    held: Vec<(FaultPoint, oneshot::Sender<()>)>,
    begun: HashMap<FaultPoint, u64>,
}

impl fmt::Debug for FaultPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FaultPlan").field("modes", &self.modes).field("all", &self.all).finish_non_exhaustive()
    }
}

impl FaultPlan {
    fn mode(&mut self, call: FaultPoint, place: Place) -> Option<Mode> {
        let mode = self.modes.get(&(call, place)).copied();
        if mode == Some(Mode::HangOnce) {
            self.modes.remove(&(call, place));
        }
        mode.or(self.all)
    }
}

impl Faults {
    #[must_use]
    pub fn new(gauge: &Gauge) -> Self {
        Self { plan: Arc::default(), gauge: gauge.clone() }
    }

    /// Creates an instance with these faults.
    pub fn during<T>(&self, make: impl FnOnce() -> T) -> T {
        HERE.with(|here| here.replace(Some(self.clone())));
        let made = make();
        HERE.with(|here| here.replace(None));
        made
    }

    /// The faults of the instance that is being created.
    #[must_use]
    pub fn here() -> Self {
        HERE.with(|here| here.borrow().clone()).unwrap_or_default()
    }

    /// Sets or removes the fault of a call.
    pub fn set(&self, call: FaultPoint, place: Place, mode: Option<Mode>) {
        let mut plan = self.lock();
        match mode {
            Some(mode) => plan.modes.insert((call, place), mode),
            None => plan.modes.remove(&(call, place)),
        };
    }

    /// Removes all faults and releases calls that hang.
    pub fn mend(&self) {
        self.lock().modes.clear();
        self.let_go(|_| true);
    }

    /// Releases calls that hang.
    pub fn release(&self, call: FaultPoint) {
        self.let_go(|held| held == call);
    }

    /// No call of this instance arrives and no answer reaches it: for the others it is dead.
    pub fn kill(&self) {
        let mut plan = self.lock();
        plan.modes.clear();
        plan.all = Some(Mode::Hang);
    }

    /// All calls fail, also those that hang, so that tasks end.
    pub fn end(&self) {
        let mut plan = self.lock();
        plan.modes.clear();
        plan.all = Some(Mode::Fail);
        plan.held.clear();
    }

    fn let_go(&self, meant: impl Fn(FaultPoint) -> bool) {
        let gone: Vec<_> = self.lock().held.extract_if(.., |(call, _)| meant(*call)).collect();
        for (_, go) in gone {
            // The caller may have timed out.
            let _ = go.send(());
        }
    }

    /// How many of these calls have started.
    #[must_use]
    pub fn begun(&self, call: FaultPoint) -> u64 {
        self.lock().begun.get(&call).copied().unwrap_or_default()
    }

    pub fn through<T, E: From<Injected>>(
        &self,
        call: FaultPoint,
        work: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        // On the heap, or the caller's future grows by twice its size.
        Box::pin(async move {
            let _under_way = UnderWay::new(&self.gauge);
            *self.lock().begun.entry(call).or_default() += 1;
            self.pass(call, Place::Before).await?;
            let result = work.await;
            self.pass(call, Place::After).await?;
            result
        })
    }

    pub async fn lose(&self, call: FaultPoint) -> bool {
        let _under_way = UnderWay::new(&self.gauge);
        self.pass(call, Place::Before).await.is_err()
    }

    pub async fn linger(&self, call: FaultPoint) {
        let _ = self.pass(call, Place::Before).await;
    }

    async fn pass(&self, call: FaultPoint, place: Place) -> Result<(), Injected> {
        let let_go = {
            let mut plan = self.lock();
            match plan.mode(call, place) {
                None => return Ok(()),
                Some(Mode::Fail) => return Err(Injected),
                Some(Mode::Hang | Mode::HangOnce) => {
                    let (go, let_go) = oneshot::channel();
                    plan.held.push((call, go));
                    let_go
                }
            }
        };
        let _standing = Standing::new(&self.gauge);
        let_go.await.map_err(|_| Injected)
    }

    fn lock(&self) -> MutexGuard<'_, FaultPlan> {
        self.plan.lock()
    }
}

/// A call in progress, until it ends or is dropped.
struct UnderWay<'a>(&'a Gauge);

impl<'a> UnderWay<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.add();
        Self(gauge)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// The reverse: a call in progress that hangs.
struct Standing<'a>(&'a Gauge);

impl<'a> Standing<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.take();
        Self(gauge)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.add();
    }
}
