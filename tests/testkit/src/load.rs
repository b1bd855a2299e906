//! Callers that never stop asking, while the test breaks things.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::Status;

use crate::{
    call::{Answer, Caller, about},
    wait_for,
};

/// A caller in a closed loop does not leave the machine's two cores to anybody else.
const PAUSE: Duration = Duration::from_millis(2);

/// What was asked and what came, in the order of the answers.
#[derive(Debug)]
pub struct TimedCall {
    pub took: Duration,
    pub outcome: Result<Answer, Status>,
}

/// Running callers; dropping it stops them.
#[derive(Debug)]
pub struct Load {
    asked: Arc<Mutex<Vec<TimedCall>>>,
    count: Arc<AtomicUsize>,
    _callers: Vec<AbortOnDropHandle<()>>,
}

impl Load {
    /// `callers` ask for these users in turn.
    pub fn start(caller: &Caller, users: &[&str], callers: usize) -> Self {
        let asked: Arc<Mutex<Vec<TimedCall>>> = Arc::default();
        let count: Arc<AtomicUsize> = Arc::default();
        let tasks = TaskTracker::new();
        let run = |first: usize| {
            let (caller, asked, count) = (caller.clone(), Arc::clone(&asked), Arc::clone(&count));
            let users: Vec<String> = users.iter().map(|user| (*user).to_owned()).collect();
            AbortOnDropHandle::new(tasks.spawn(async move {
                for user in users.iter().cycle().skip(first) {
                    let began = Instant::now();
                    let outcome = caller.ask(about(user)).await;
                    asked.lock().unwrap().push(TimedCall { took: began.elapsed(), outcome });
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            }))
        };
        let callers = (0..callers).map(run).collect();
        Self { asked, count, _callers: callers }
    }

    /// Waits for so many more answers, and returns those that have come since the last time.
    pub async fn more(&self, answers: usize) -> Vec<TimedCall> {
        let until = self.count.load(Ordering::Relaxed) + answers;
        wait_for("answers under load", async || (self.count.load(Ordering::Relaxed) >= until).then_some(())).await;
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Waits for an answer that is as described, and returns all that have come since the last time.
    pub async fn until(&self, what: &str, mut described: impl FnMut(&TimedCall) -> bool) -> Vec<TimedCall> {
        let mut looked_at = 0;
        wait_for(what, async || {
            let asked = self.asked.lock().unwrap();
            let found = asked[looked_at..].iter().any(&mut described);
            looked_at = asked.len();
            found.then_some(())
        })
        .await;
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}
