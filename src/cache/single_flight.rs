//! Single flight: concurrent callers of one key share one load, which no caller's cancellation stops.
//!
//! A load runs in a task that the application owns; callers only wait for its result. Two types differ in the loads that
//! a caller may join:
//!
//! * [`SingleFlight`]: a load whose read position is not below the last invalidation. Such a load started to read after
//!   every invalidation that was acknowledged before the caller arrived.
//! * [`Refreshes`]: a load that has not started yet. One load per key runs, and one waits; all callers that arrive
//!   meanwhile share the waiting one.

use std::{collections::HashMap, future::Future, hash::Hash, sync::Arc};

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    mutant::{self, Mutant},
    sync::{
        Mutex, TaskTracker,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

/// The result of a load, when it ends. None if the load panicked.
#[derive(Debug)]
pub struct LoadHandle<T>(watch::Receiver<Option<T>>);

impl<T: Clone> LoadHandle<T> {
    /// Waits for the result. Dropping this future does not stop the load.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadRole {
    /// This caller started the load.
    Leader,
    /// This caller joined a load.
    Follower,
}

impl<K, T> SingleFlight<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// `tasks` owns the loads.
    #[must_use]
    pub fn new(tasks: TaskTracker) -> Self {
        Self { running: Arc::default(), numbers: AtomicU64::new(0), waiters: Arc::default(), tasks }
    }

    /// Joins the running load of `key` if its read position is at least `last_invalidation`. Otherwise starts a load
    /// with this `read_position`.
    pub fn join_or_start<W, F>(
        &self,
        key: &K,
        last_invalidation: i64,
        read_position: i64,
        work: W,
    ) -> (LoadHandle<T>, LoadRole)
    where
        W: FnOnce() -> F,
        F: Future<Output = T> + Send + 'static,
    {
        let mut running = self.running.lock();
        let is_valid =
            |load: &&RunningLoad<T>| load.read_position >= last_invalidation || mutant::on(Mutant::JoinsAnOlderLoad);
        if let Some(load) = running.get(key).filter(is_valid) {
            return (LoadHandle(load.result.clone()), LoadRole::Follower);
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, result) = watch::channel(None);
        // Replaces an outdated load in the map. That load goes on for the callers that joined it.
        running.insert(key.clone(), RunningLoad { number, read_position, result: result.clone() });
        drop(running);

        let entry = MapEntry { running: Arc::clone(&self.running), key: key.clone(), number };
        let work = work();
        self.tasks.spawn(async move {
            let value = work.await;
            // Order: leave the map first, so that a caller that arrives now looks into the tiers again.
            drop(entry);
            sender.send_replace(Some(value));
        });
        (LoadHandle(result), LoadRole::Leader)
    }

    /// How many loads run.
    #[must_use]
    pub fn active(&self) -> usize {
        self.running.lock().len()
    }

    /// How many callers wait.
    #[must_use]
    pub fn waiting(&self) -> i64 {
        self.waiters.load(Ordering::Relaxed)
    }

    /// Counts a waiting caller while the guard lives. None if `limit` callers wait already.
    #[must_use]
    pub fn waiter(&self, limit: usize) -> Option<Waiter> {
        let before = self.waiters.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter(Arc::clone(&self.waiters));
        (usize::try_from(before).unwrap_or(usize::MAX) < limit).then_some(waiter)
    }
}

/// Removes a load from the map when the load ends, also by a panic.
struct MapEntry<K: Eq + Hash, T> {
    running: Arc<Mutex<HashMap<K, RunningLoad<T>>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, T> Drop for MapEntry<K, T> {
    fn drop(&mut self) {
        let mut running = self.running.lock();
        if running.get(&self.key).is_some_and(|load| load.number == self.number) {
            running.remove(&self.key);
        }
    }
}

#[derive(Debug)]
pub struct Waiter(Arc<AtomicI64>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Loads that read everything anew: per key one runs and one waits.
#[derive(Clone, Debug)]
pub struct Refreshes<K, T> {
    keys: Arc<Mutex<HashMap<K, Option<PendingRefresh<T>>>>>,
    tasks: TaskTracker,
}

/// Starts when the running refresh of its key ends.
struct PendingRefresh<T> {
    work: BoxFuture<'static, T>,
    sender: watch::Sender<Option<T>>,
}

impl<T> std::fmt::Debug for PendingRefresh<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PendingRefresh")
    }
}

impl<K, T> Refreshes<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// `tasks` owns the refreshes.
    #[must_use]
    pub fn new(tasks: TaskTracker) -> Self {
        Self { keys: Arc::default(), tasks }
    }

    /// Joins the waiting refresh of `key`. Otherwise starts one, or lets it wait for the running one.
    ///
    /// `work` must do nothing before it is polled: a waiting refresh is first polled when it starts.
    pub fn join_or_start<F>(&self, key: &K, work: impl FnOnce() -> F) -> (LoadHandle<T>, LoadRole)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut keys = self.keys.lock();
        match keys.get_mut(key) {
            Some(Some(pending)) => (LoadHandle(pending.sender.subscribe()), LoadRole::Follower),
            Some(pending) => {
                let (sender, result) = watch::channel(None);
                *pending = Some(PendingRefresh { work: Box::pin(work()), sender });
                (LoadHandle(result), LoadRole::Leader)
            }
            None => {
                keys.insert(key.clone(), None);
                drop(keys);
                let (sender, result) = watch::channel(None);
                self.start(key.clone(), PendingRefresh { work: Box::pin(work()), sender });
                (LoadHandle(result), LoadRole::Leader)
            }
        }
    }

    fn start(&self, key: K, first: PendingRefresh<T>) {
        let running = RunningRefresh { refreshes: self.clone(), key };
        self.tasks.spawn(async move {
            let value = first.work.await;
            drop(running);
            first.sender.send_replace(Some(value));
        });
    }
}

/// Starts the waiting refresh of the key when the running one ends, also by a panic.
struct RunningRefresh<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    refreshes: Refreshes<K, T>,
    key: K,
}

impl<K, T> Drop for RunningRefresh<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        let mut keys = self.refreshes.keys.lock();
        match keys.get_mut(&self.key).and_then(Option::take) {
            None => {
                keys.remove(&self.key);
            }
            Some(pending) => {
                drop(keys);
                self.refreshes.start(self.key.clone(), pending);
            }
        }
    }
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
    async fn no_caller_joins_a_load_from_before_the_last_invalidation() {
        let single_flight = SingleFlight::new(TaskTracker::new());
        let source = Source::held();
        let (old, _) = single_flight.join_or_start(&1, 0, 4, || Arc::clone(&source).read());
        let (_, role) = single_flight.join_or_start(&1, 4, 4, || Arc::clone(&source).read());
        assert_eq!(role, LoadRole::Follower);
        let (new, role) = single_flight.join_or_start(&1, 5, 5, || Arc::clone(&source).read());
        assert_eq!(role, LoadRole::Leader);
        source.gate.add_permits(2);
        let mut runs = [old.wait().await, new.wait().await];
        runs.sort_unstable();
        assert_eq!(runs, [Some(1), Some(2)]);
        assert_eq!(single_flight.active(), 0, "the older load did not remove the newer one from the map, nor stay");
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
        assert!(refreshes.keys.lock().is_empty());
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
