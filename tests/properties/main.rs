//! The cache's real core, three instances of it in one process, in long random runs and in short directed ones, against
//! a real Redis and a real database; and the same with one of its rules broken, which has to be noticed.
//!
//! `script` says what can happen, `machine` makes it happen, `oracle` judges the answers.

#![expect(clippy::disallowed_types, reason = "Shuttle does not exchange the locks of tests")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "what happened, for whoever looks at a failure")]

mod changes;
mod found;
mod instance;
mod machine;
mod mutants;
mod oracle;
mod prefetch;
mod script;
mod search;
mod stored;
mod world;

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    mpsc::{self, Sender},
};

use tokio::runtime::Runtime;
use userdata::mutant::{Mutant, switch};

use machine::{Violation, play};
use script::Step;
use world::World;

/// A mutant is on in the whole process, so one test runs at a time.
struct Alone(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Alone {
    fn with(mutant: Option<Mutant>) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = Self(ALONE.lock().unwrap_or_else(PoisonError::into_inner));
        switch(mutant);
        alone
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        switch(None);
    }
}

/// A runtime whose clock stands still.
struct StoppedTime {
    /// tokio moves a paused clock by itself when there is nothing to do, unless a blocking task runs: one that ends
    /// when this is dropped. Order: before the runtime, which waits for its tasks.
    _blocking: Sender<()>,
    runtime: Runtime,
}

impl StoppedTime {
    fn new() -> Self {
        // Needs a time that passes to start.
        world::redis_port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (blocking, ended) = mpsc::channel::<()>();
        runtime.block_on(async { tokio::time::pause() });
        runtime.spawn_blocking(move || ended.recv());
        Self { _blocking: blocking, runtime }
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// Plays one list of steps.
fn played(steps: &[Step]) -> Result<Vec<String>, Violation> {
    let time = StoppedTime::new();
    time.run(async { play(&mut World::open().await, steps).await })
}
