//! tokio-util's tracker, which counts tasks as ever, but spawns them for Shuttle.

use std::{ops::Deref, panic::AssertUnwindSafe};

use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Owns the tasks of one instance.
#[derive(Clone, Debug, Default)]
pub struct TaskTracker {
    tracker: tokio_util::task::TaskTracker,
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
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> oneshot::Receiver<T> {
        let (sender, result) = oneshot::channel();
        let (tracked, death) = (self.tracker.track_future(task), self.death.clone());
        // The future is dropped within its task, as tokio does it, and before its end is reported.
        let task = async move {
            if let Some(output) = death.run_until_cancelled_owned(tracked).await {
                let _ = sender.send(output);
            }
        };
        drop(shuttle::future::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await
                && !panic.is::<Planned>()
            {
                std::panic::resume_unwind(panic);
            }
        }));
        result
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

impl Deref for TaskTracker {
    type Target = tokio_util::task::TaskTracker;

    fn deref(&self) -> &Self::Target {
        &self.tracker
    }
}

/// What a planned panic carries.
#[derive(Debug)]
struct Planned;

/// A panic that the test provokes.
pub fn panic_as_planned() -> ! {
    // Not `panic!`, whose hook prints a schedule for every one.
    std::panic::resume_unwind(Box::new(Planned))
}
