//! The faults of one instance, and how many calls are under way in all of them.
//!
//! Decision: a call that is held is not under way. So a test knows that nothing more happens by itself when the gauge
//! stands at none, and a case is the same each time it is run.

use std::{cell::RefCell, collections::HashMap, fmt, sync::Arc};

use sea_orm::DbErr;
use tokio::sync::{Notify, oneshot};

use super::Call;

use crate::sync::{Mutex, MutexGuard};

/// An error that a test wanted.
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

/// On which side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// What is asked has not been sent.
    Before,
    /// It has been done, and the answer has not come.
    After,
}

/// What happens to a kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each one fails.
    Fail,
    /// Each one hangs until it is let go, or whoever asked gives up.
    Hang,
    /// The next one hangs.
    HangOnce,
}

/// How many calls are under way, in all instances that share it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<(Mutex<Reading>, Notify)>);

#[derive(Clone, Copy, Debug, Default)]
struct Reading {
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

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.0.lock()
    }

    /// Waits until no call is under way. Returns how many have begun so far.
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
    plan: Arc<Mutex<Plan>>,
    gauge: Gauge,
}

#[derive(Default)]
struct Plan {
    modes: HashMap<(Call, Place), Mode>,
    /// For those that are not named: an instance that died.
    all: Option<Mode>,
    held: Vec<(Call, oneshot::Sender<()>)>,
    begun: HashMap<Call, u64>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Plan").field("modes", &self.modes).field("all", &self.all).finish_non_exhaustive()
    }
}

impl Plan {
    fn mode(&mut self, call: Call, place: Place) -> Option<Mode> {
        let mode = self.modes.get(&(call, place)).copied();
        if mode == Some(Mode::HangOnce) {
            self.modes.remove(&(call, place));
        }
        mode.or(self.all)
    }
}

impl Faults {
    /// None yet.
    #[must_use]
    pub fn new(gauge: &Gauge) -> Self {
        Self { plan: Arc::default(), gauge: gauge.clone() }
    }

    /// Makes an instance whose parts are reached by these.
    pub fn during<T>(&self, make: impl FnOnce() -> T) -> T {
        HERE.with(|here| here.replace(Some(self.clone())));
        let made = make();
        HERE.with(|here| here.replace(None));
        made
    }

    /// Those of the instance that is being made.
    #[must_use]
    pub fn here() -> Self {
        HERE.with(|here| here.borrow().clone()).unwrap_or_default()
    }

    /// From now on; none: the calls are left alone.
    pub fn set(&self, call: Call, place: Place, mode: Option<Mode>) {
        let mut plan = self.lock();
        match mode {
            Some(mode) => plan.modes.insert((call, place), mode),
            None => plan.modes.remove(&(call, place)),
        };
    }

    /// Leaves all calls alone and lets go of what is held.
    pub fn mend(&self) {
        self.lock().modes.clear();
        self.let_go(|_| true);
    }

    /// Lets go of what is held of a kind.
    pub fn release(&self, call: Call) {
        self.let_go(|held| held == call);
    }

    /// Nothing that this instance sends arrives any more, and no answer reaches it: to the others it is dead.
    pub fn kill(&self) {
        let mut plan = self.lock();
        plan.modes.clear();
        plan.all = Some(Mode::Hang);
    }

    /// Everything fails, also what is held: so that tasks end.
    pub fn end(&self) {
        let mut plan = self.lock();
        plan.modes.clear();
        plan.all = Some(Mode::Fail);
        plan.held.clear();
    }

    fn let_go(&self, meant: impl Fn(Call) -> bool) {
        let gone: Vec<_> = self.lock().held.extract_if(.., |(call, _)| meant(*call)).collect();
        for (_, go) in gone {
            // Whoever waited may have given up.
            let _ = go.send(());
        }
    }

    /// How many calls of a kind have begun.
    #[must_use]
    pub fn begun(&self, call: Call) -> u64 {
        self.lock().begun.get(&call).copied().unwrap_or_default()
    }

    /// The call, or what becomes of it.
    pub fn through<T, E: From<Injected>>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        // On the heap, or whatever it is kept in grows by twice its size.
        Box::pin(async move {
            let _under_way = UnderWay::new(&self.gauge);
            *self.lock().begun.entry(call).or_default() += 1;
            self.pass(call, Place::Before).await?;
            let result = work.await;
            self.pass(call, Place::After).await?;
            result
        })
    }

    /// Whether something is lost on its way.
    pub async fn lose(&self, call: Call) -> bool {
        let _under_way = UnderWay::new(&self.gauge);
        self.pass(call, Place::Before).await.is_err()
    }

    /// A place in the middle of a call.
    pub async fn linger(&self, call: Call) {
        let _ = self.pass(call, Place::Before).await;
    }

    async fn pass(&self, call: Call, place: Place) -> Result<(), Injected> {
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

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock()
    }
}

/// A call, from its beginning to its end or to when it is given up.
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

/// The reverse: a call under way that is held.
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
