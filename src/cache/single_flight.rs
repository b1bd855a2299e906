//! Single single_flight: at most one load per key, which nobody's cancellation kills.
//!
//! A load runs in a task that the app owns; callers only wait for its result. Two rules decide who
//! may share one:
//!
//! * [`Flights`]: a caller joins a running load only if its tag is at least the scope's fence, so the
//!   load began to read after every invalidation acknowledged before the caller arrived.
//! * [`Refreshes`]: a caller joins nothing that began before it asked. Per key one load runs and one
//!   is pending, which all who ask meanwhile share.

use std::{collections::HashMap, future::Future, hash::Hash, sync::Arc};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::{
    mutant::{self, Mutant},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

/// A load's result, once it is there. None after a load that died: a defect.
#[derive(Debug)]
pub struct LoadHandle<T>(watch::Receiver<Option<T>>);

impl<T: Clone> LoadHandle<T> {
    /// Waits for the result. Dropping this leaves the load alone.
    pub async fn wait(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|result| result.clone())
    }
}

/// The running loads, one per key.
#[derive(Debug)]
pub struct SingleFlight<K, T> {
    running: Arc<Mutex<HashMap<K, RunningLoad<T>>>>,
    numbers: AtomicU64,
    waiters: Arc<AtomicI64>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct RunningLoad<T> {
    number: u64,
    read_position: i64,
    result: watch::Receiver<Option<T>>,
}

/// Whether a caller began a load or joined one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This caller began it.
    Leader,
    /// Somebody else had begun it.
    Follower,
}

impl<K, T> SingleFlight<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// No loads; `tasks` will own them.
    #[must_use]
    pub fn new(tasks: TaskTracker) -> Self {
        Self { running: Arc::default(), numbers: AtomicU64::new(0), waiters: Arc::default(), tasks }
    }

    /// Joins the load of `key` if its tag is at least `fence`, else begins one with `tag`.
    pub fn join_or_start<W, F>(
        &self,
        key: &K,
        last_invalidation: i64,
        read_position: i64,
        work: W,
    ) -> (LoadHandle<T>, Role)
    where
        W: FnOnce() -> F,
        F: Future<Output = T> + Send + 'static,
    {
        let mut running = lock(&self.running);
        let is_young = |flight: &&RunningLoad<T>| {
            flight.read_position >= last_invalidation || mutant::on(Mutant::JoinsAnOlderLoad)
        };
        if let Some(flight) = running.get(key).filter(is_young) {
            return (LoadHandle(flight.result.clone()), Role::Follower);
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, result) = watch::channel(None);
        // A flight older than the fence loses its place here but goes on for those who joined it.
        running.insert(key.clone(), RunningLoad { number, read_position, result: result.clone() });
        drop(running);

        let departure = Departure { running: Arc::clone(&self.running), key: key.clone(), number };
        let work = work();
        self.tasks.spawn(async move {
            let value = work.await;
            // Order: leave the map first, so that whoever arrives now looks into the tiers again.
            drop(departure);
            sender.send_replace(Some(value));
        });
        (LoadHandle(result), Role::Leader)
    }

    /// Loads running now.
    #[must_use]
    pub fn active(&self) -> usize {
        lock(&self.running).len()
    }

    /// Callers waiting now.
    #[must_use]
    pub fn waiting(&self) -> i64 {
        self.waiters.load(Ordering::Relaxed)
    }

    /// Counts a waiting caller for as long as the guard lives; none beyond `limit`.
    #[must_use]
    pub fn waiter(&self, limit: usize) -> Option<Waiter> {
        let before = self.waiters.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter(Arc::clone(&self.waiters));
        (usize::try_from(before).unwrap_or(usize::MAX) < limit).then_some(waiter)
    }
}

/// Takes a flight off the map when it ends, however it ends.
struct Departure<K: Eq + Hash, T> {
    running: Arc<Mutex<HashMap<K, RunningLoad<T>>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, T> Drop for Departure<K, T> {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        if running.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            running.remove(&self.key);
        }
    }
}

/// A caller that waits for a load.
#[derive(Debug)]
pub struct Waiter(Arc<AtomicI64>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Refreshes: per key one running and one pending.
#[derive(Debug)]
pub struct Refreshes<K, T> {
    keys: Arc<Mutex<HashMap<K, Option<Pending<T>>>>>,
    tasks: TaskTracker,
}

type Work<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// Waits for the running refresh of its key to end.
struct Pending<T> {
    work: Work<T>,
    sender: watch::Sender<Option<T>>,
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pending")
    }
}

impl<K, T> Refreshes<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// No refreshes; `tasks` will own them.
    #[must_use]
    pub fn new(tasks: TaskTracker) -> Self {
        Self { keys: Arc::default(), tasks }
    }

    /// Begins a refresh of `key`, or shares the one that has yet to begin.
    ///
    /// `work` must do nothing before it is polled: a pending one is polled when its turn comes.
    pub fn join_or_start<F>(&self, key: &K, work: impl FnOnce() -> F) -> (LoadHandle<T>, Role)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut keys = lock(&self.keys);
        match keys.get_mut(key) {
            Some(Some(pending)) => (LoadHandle(pending.sender.subscribe()), Role::Follower),
            Some(pending) => {
                let (sender, result) = watch::channel(None);
                *pending = Some(Pending { work: Box::pin(work()), sender });
                (LoadHandle(result), Role::Leader)
            }
            None => {
                keys.insert(key.clone(), None);
                drop(keys);
                let (sender, result) = watch::channel(None);
                self.begin(key.clone(), Pending { work: Box::pin(work()), sender });
                (LoadHandle(result), Role::Leader)
            }
        }
    }

    fn begin(&self, key: K, first: Pending<T>) {
        let turn = Turn { keys: Arc::clone(&self.keys), tasks: self.tasks.clone(), key };
        self.tasks.spawn(async move {
            let value = first.work.await;
            drop(turn);
            first.sender.send_replace(Some(value));
        });
    }
}

/// A running refresh's place: when it ends, however it ends, the pending one takes over.
struct Turn<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    keys: Arc<Mutex<HashMap<K, Option<Pending<T>>>>>,
    tasks: TaskTracker,
    key: K,
}

impl<K, T> Drop for Turn<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        let mut keys = lock(&self.keys);
        match keys.get_mut(&self.key).and_then(Option::take) {
            None => {
                keys.remove(&self.key);
            }
            Some(pending) => {
                drop(keys);
                let next = Refreshes { keys: Arc::clone(&self.keys), tasks: self.tasks.clone() };
                next.begin(self.key.clone(), pending);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves the map whole at each step.
    mutex.lock()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Semaphore;

    use super::*;

    struct Source {
        runs: AtomicUsize,
        gate: Semaphore,
    }

    impl Source {
        fn held() -> Arc<Self> {
            Arc::new(Self { runs: AtomicUsize::new(0), gate: Semaphore::new(0) })
        }

        async fn read(self: Arc<Self>) -> usize {
            let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
            self.gate.acquire().await.unwrap().forget();
            run
        }
    }

    #[tokio::test]
    async fn a_thousand_callers_of_one_key_cost_one_load_also_when_most_leave() {
        let single_flight = SingleFlight::new(TaskTracker::new());
        let source = Source::held();
        let mut handles: Vec<_> =
            (0..1000).map(|_| single_flight.join_or_start(&1, 0, 0, || Arc::clone(&source).read()).0).collect();
        handles.truncate(100); // the leader is among those who stay; now even it leaves
        handles.remove(0);
        source.gate.add_permits(1);
        for handle in handles {
            assert_eq!(handle.wait().await, Some(1));
        }
        assert_eq!(source.runs.load(Ordering::SeqCst), 1);
        assert_eq!(single_flight.active(), 0);
    }

    #[tokio::test]
    async fn nobody_joins_a_load_older_than_the_fence() {
        let single_flight = SingleFlight::new(TaskTracker::new());
        let source = Source::held();
        let (old, _) = single_flight.join_or_start(&1, 0, 4, || Arc::clone(&source).read());
        let (_, role) = single_flight.join_or_start(&1, 4, 4, || Arc::clone(&source).read());
        assert_eq!(role, Role::Follower);
        let (new, role) = single_flight.join_or_start(&1, 5, 5, || Arc::clone(&source).read());
        assert_eq!(role, Role::Leader);
        source.gate.add_permits(2);
        let mut runs = [old.wait().await, new.wait().await];
        runs.sort_unstable();
        assert_eq!(runs, [Some(1), Some(2)]);
        assert_eq!(single_flight.active(), 0, "the older flight did not take the newer one off the map, nor stay");
    }

    #[tokio::test]
    async fn a_load_that_panics_leaves_no_trace_and_answers_none() {
        let single_flight: SingleFlight<i32, usize> = SingleFlight::new(TaskTracker::new());
        let (handle, _) = single_flight.join_or_start(&1, 0, 0, || async { panic!("a defect") });
        assert_eq!(handle.wait().await, None);
        assert_eq!(single_flight.active(), 0);
    }

    #[tokio::test]
    async fn refreshes_asked_for_at_once_cost_one_running_and_one_pending_load() {
        let refreshes = Refreshes::new(TaskTracker::new());
        let source = Source::held();
        let handles: Vec<_> = (0..50).map(|_| refreshes.join_or_start(&1, || Arc::clone(&source).read()).0).collect();
        source.gate.add_permits(2);
        let mut runs = Vec::new();
        for handle in handles {
            runs.push(handle.wait().await.unwrap());
        }
        assert_eq!(runs.iter().filter(|run| **run == 1).count(), 1, "only the first asked before the first run began");
        assert_eq!(source.runs.load(Ordering::SeqCst), 2);
        assert!(lock(&refreshes.keys).is_empty());
    }

    #[tokio::test]
    async fn a_refresh_that_panics_lets_the_pending_one_run() {
        let refreshes: Refreshes<i32, usize> = Refreshes::new(TaskTracker::new());
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let (first, _) = refreshes.join_or_start(&1, || async move {
            let _ = held.acquire().await;
            panic!("a defect")
        });
        let (second, _) = refreshes.join_or_start(&1, || async { 2 });
        gate.add_permits(1);
        assert_eq!((first.wait().await, second.wait().await), (None, Some(2)));
    }
}
