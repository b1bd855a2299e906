//! Group commit: one task commits the fences of all callers that came while the last commit ran.
//!
//! Eight connections that fight for the counter row take ten times as long as one that appends eight
//! fences, so an instance never has more than one commit under way.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::{
    InvalidationLogError,
    table::{LogTable, is_transient},
};
use crate::{fault::Call, model::Scope};

/// Callers that may wait for a commit; beyond it they wait for a place.
const QUEUE: usize = 1024;
/// Fences in one commit: five parameters each stay far below both databases' limits.
const BATCH: usize = 256;
/// For one attempt, connection included: then the caller is told that nothing is certain.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Attempts at a transaction that lost against another one.
const ATTEMPTS: u32 = 5;

type Ask = (Scope, oneshot::Sender<Result<i64, InvalidationLogError>>);

/// Hands fences to the committing task.
#[derive(Debug)]
pub(super) struct Committer {
    queue: mpsc::Sender<Ask>,
}

impl Committer {
    /// Starts the task; it ends when this is dropped.
    pub(super) fn start(log: LogTable, tasks: &TaskTracker) -> Self {
        let (queue, asked) = mpsc::channel(QUEUE);
        tasks.spawn(run(log, asked));
        Self { queue }
    }

    /// The position of the scope's fence, once it is durable.
    pub(super) async fn append(&self, scope: Scope) -> Result<i64, InvalidationLogError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send((scope, answer)).await.map_err(|_| InvalidationLogError::Closed)?;
        answered.await.map_err(|_| InvalidationLogError::Closed)?
    }
}

async fn run(log: LogTable, mut asked: mpsc::Receiver<Ask>) {
    let mut asks = Vec::with_capacity(BATCH);
    while asked.recv_many(&mut asks, BATCH).await > 0 {
        let (scopes, answers): (Vec<Scope>, Vec<_>) = asks.drain(..).unzip();
        let head = append(&log, &scopes).await;
        let first = head.clone().map(|head| head + 1 - i64::try_from(scopes.len()).unwrap_or(i64::MAX));
        for (index, answer) in (0..).zip(answers) {
            // A caller that left is no failure: its fence is committed all the same.
            let _ = answer.send(first.clone().map(|first| first + index));
        }
    }
}

async fn append(log: &LogTable, scopes: &[Scope]) -> Result<i64, InvalidationLogError> {
    let mut attempt = 1;
    loop {
        match tokio::time::timeout(TIMEOUT, log.faults.through(Call::Append, log.append(scopes))).await {
            Err(_) => return Err(InvalidationLogError::Timeout),
            Ok(Err(error)) if is_transient(&error) && attempt < ATTEMPTS => attempt += 1,
            Ok(result) => return result.map_err(InvalidationLogError::from),
        }
    }
}
