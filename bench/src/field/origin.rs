//! The libraries' origin: a slow function that counts its runs. It returns the number that was set when the run began,
//! like a database's snapshot.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

/// Clones are the same origin.
#[derive(Clone, Debug)]
pub(crate) struct Origin(Arc<State>);

#[derive(Debug)]
struct State {
    takes: Duration,
    version: AtomicI64,
    fails: AtomicBool,
    loads: AtomicI64,
}

/// A load that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the source failed")]
pub(crate) struct Failed;

impl Origin {
    pub(crate) fn new(takes: Duration) -> Self {
        Self(Arc::new(State { takes, version: 0.into(), fails: false.into(), loads: 0.into() }))
    }

    pub(crate) async fn load(self) -> Result<i64, Failed> {
        let state = self.0;
        state.loads.fetch_add(1, SeqCst);
        let version = state.version.load(SeqCst);
        tokio::time::sleep(state.takes).await;
        if state.fails.load(SeqCst) { Err(Failed) } else { Ok(version) }
    }

    pub(crate) fn write(&self, version: i64) {
        self.0.version.store(version, SeqCst);
    }

    pub(crate) fn fail(&self) {
        self.0.fails.store(true, SeqCst);
    }

    pub(crate) fn loads(&self) -> i64 {
        self.0.loads.load(SeqCst)
    }
}
