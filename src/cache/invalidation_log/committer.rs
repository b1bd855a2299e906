//! Group commit: one task commits the invalidations that were queued while the previous commit ran.
//!
//! An instance never runs two commits at once: eight connections that compete for the counter row take ten times as
//! long as one commit of eight invalidations.

use std::time::Duration;

use sea_orm::DbErr;
use tokio::sync::{mpsc, oneshot};

use super::{
    error::InvalidationLogError,
    table::{LogTable, is_transient},
};
use crate::{
    fault::FaultPoint,
    model::{Invalidation, Token},
    sync::{
        TaskTracker,
        time::{now, timeout},
    },
};

/// Queued calls; further callers wait until the queue has room.
const QUEUE: usize = 1024;
/// Calls in one commit.
const BATCH: usize = 256;
/// For one attempt, connecting included. After a timeout it is unknown whether the commit took place.
const TIMEOUT: Duration = Duration::from_secs(2);
/// More for each entry, so that a call with very many of them can succeed at all: some ten times what one takes.
const TIMEOUT_OF_ENTRY: Duration = Duration::from_micros(200);
/// Waits for a connection, each of `database.timeout`. A database that is down costs a caller all of them.
const WAITS_MAX: u32 = 4;
/// How long a transaction is repeated that conflicts with others.
const REPEATED_FOR: Duration = Duration::from_secs(5);

/// Entries that are committed together, and where to say the last one's position.
type AppendRequest = (Vec<Invalidation>, oneshot::Sender<Result<Token, InvalidationLogError>>);

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

    /// Returns the last entry's position as soon as all are durable. They stand at consecutive positions.
    pub(super) async fn append(&self, entries: Vec<Invalidation>) -> Result<Token, InvalidationLogError> {
        let (reply, replied) = oneshot::channel();
        self.queue.send((entries, reply)).await.map_err(|_| InvalidationLogError::Closed)?;
        replied.await.map_err(|_| InvalidationLogError::Closed)?
    }
}

async fn run(table: LogTable, mut requests: mpsc::Receiver<AppendRequest>) {
    let mut batch = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let mut entries = Vec::with_capacity(batch.len());
        let mut replies = Vec::with_capacity(batch.len());
        for (mut more, reply) in batch.drain(..) {
            entries.append(&mut more);
            replies.push((entries.len(), reply));
        }
        let head = append(&table, &entries).await;
        for (end, reply) in replies {
            let after = i64::try_from(entries.len() - end).unwrap_or(i64::MAX);
            // Fails if the caller has left; its invalidation is committed all the same.
            let _ = reply.send(head.clone().map(|head| Token { position: head.position - after, ..head }));
        }
    }
}

async fn append(table: &LogTable, entries: &[Invalidation]) -> Result<Token, InvalidationLogError> {
    let limit = TIMEOUT + TIMEOUT_OF_ENTRY * u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let until = now() + REPEATED_FOR;
    let mut waits = 0;
    loop {
        match timeout(limit, table.faults.through(FaultPoint::Append, table.append(entries))).await {
            Err(_) => return Err(InvalidationLogError::Timeout),
            // Nothing was committed. In a storm of invalidations the lock of the head is waited for.
            Ok(Err(error)) if is_transient(&error) && now() < until => {}
            Ok(Err(DbErr::ConnectionAcquire(_))) if waits < WAITS_MAX => waits += 1,
            Ok(result) => return result.map_err(InvalidationLogError::from),
        }
    }
}
