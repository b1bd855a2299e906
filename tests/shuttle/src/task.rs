//! tokio-util's tracker, which counts tasks as ever, but spawns them for Shuttle.

use futures::FutureExt as _;
use std::{future::Future, panic::AssertUnwindSafe};

use crate::sync::CancellationToken;

/// Owns the tasks of one instance.
#[derive(Clone, Debug, Default)]
pub struct TaskTracker {
    tracker: real_tokio_util::task::TaskTracker,
    death: CancellationToken,
}

impl TaskTracker {
    /// Owns nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a task to its end, or until the instance dies. A panic ends the task and nothing else, as in
    /// tokio; one that is meant to happen comes from [`panic_as_planned`].
    pub fn spawn(&self, task: impl Future<Output = impl Send + 'static> + Send + 'static) {
        let (tracked, death) = (self.tracker.track_future(task), self.death.clone());
        // The future is dropped within its task, as tokio does it, and before anybody is told of its end.
        let task = async move { death.run_until_cancelled_owned(tracked).await.is_none() };
        drop(shuttle::future::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await
                && !panic.is::<Planned>()
            {
                std::panic::resume_unwind(panic);
            }
        }));
    }

    /// Waits until no task is left.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Kills the instance: its tasks stop where they wait.
    pub fn die(&self) {
        self.death.cancel();
    }

    /// Whether it is dead.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.death.is_cancelled()
    }
}

/// What a planned panic carries.
#[derive(Debug)]
struct Planned;

/// A defect in somebody's code that the test wants.
pub fn panic_as_planned() -> ! {
    // Not `panic!`, whose hook prints a schedule for every one.
    std::panic::resume_unwind(Box::new(Planned))
}
