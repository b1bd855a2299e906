//! Group commit: one task commits the invalidations that were queued while the previous commit ran.
//!
//! An instance never runs two commits at once: eight connections that compete for the counter row take ten times as
//! long as one commit of eight invalidations.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{
    error::InvalidationLogError,
    table::{LogTable, is_transient},
};
use crate::{
    fault::FaultPoint,
    model::Scope,
    sync::{TaskTracker, time::timeout},
};

/// Queued invalidations; further callers wait until the queue has room.
const QUEUE: usize = 1024;
/// Invalidations in one commit. With five parameters each, this stays far below the limits of both databases.
const BATCH: usize = 256;
/// For one attempt, connecting included. After a timeout it is unknown whether the commit took place.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Attempts at a transaction that conflicts with another one.
const ATTEMPTS: u32 = 5;

type AppendRequest = (Scope, oneshot::Sender<Result<i64, InvalidationLogError>>);

/// Passes invalidations to the committing task.
#[derive(Debug)]
pub(super) struct Committer {
    queue: mpsc::Sender<AppendRequest>,
}

impl Committer {
    /// Starts the task; it ends when this is dropped.
    pub(super) fn start(table: LogTable, tasks: &TaskTracker) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        tasks.spawn(run(table, requests));
        Self { queue }
    }

    /// Returns the invalidation's position as soon as it is durable.
    pub(super) async fn append(&self, scope: Scope) -> Result<i64, InvalidationLogError> {
        let (reply, replied) = oneshot::channel();
        self.queue.send((scope, reply)).await.map_err(|_| InvalidationLogError::Closed)?;
        replied.await.map_err(|_| InvalidationLogError::Closed)?
    }
}

async fn run(table: LogTable, mut requests: mpsc::Receiver<AppendRequest>) {
    let mut batch = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let (scopes, replies): (Vec<Scope>, Vec<_>) = batch.drain(..).unzip();
        let head = append(&table, &scopes).await;
        let first = head.clone().map(|head| head + 1 - i64::try_from(scopes.len()).unwrap_or(i64::MAX));
        for (index, reply) in (0..).zip(replies) {
            // Fails if the caller has left; its invalidation is committed all the same.
            let _ = reply.send(first.clone().map(|first| first + index));
        }
    }
}

async fn append(table: &LogTable, scopes: &[Scope]) -> Result<i64, InvalidationLogError> {
    let mut attempt = 1;
    loop {
        match timeout(TIMEOUT, table.faults.through(FaultPoint::Append, table.append(scopes))).await {
            Err(_) => return Err(InvalidationLogError::Timeout),
            Ok(Err(error)) if is_transient(&error) && attempt < ATTEMPTS => attempt += 1,
            Ok(result) => return result.map_err(InvalidationLogError::from),
        }
    }
}
