//! Reading the sources on a replica of PostgreSQL. It lags behind: an invalidation can be known before its change is
//! there.
//!
//! Order: a load takes its read position, asks the primary up to where its write-ahead log is written, and reads on a
//! replica that has replayed as much before its snapshot is taken. Every change that the read position covers was
//! committed before the question.
//!
//! A replica that does not get so far in time is not read, nor one that was promoted while its primary goes on: the
//! primary is.

use std::{sync::Arc, time::Duration};

use sea_orm::{AccessMode, DbErr, IsolationLevel, TransactionTrait};
use tokio::time::Instant;

use super::SourceError;
use crate::{
    database::{Pool, ReadServer, Transaction, Written, unless_refused},
    sync::{
        Mutex,
        time::{sleep, timeout},
    },
};

/// Between two looks at a replica that has not replayed enough.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// For so long after a replica was not there in time, loads hardly wait for it: all connections would wait.
const LATE_FOR: Duration = Duration::from_secs(2);
/// A look or two.
const WAIT_WHILE_LATE: Duration = Duration::from_millis(50);
/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Where the sources are read if `sources.database_url` names a replica.
#[derive(Clone, Debug)]
pub struct Replication {
    primary: Option<Pool>,
    wait_max: Duration,
    known: Arc<Mutex<KnownServers>>,
}

#[derive(Debug, Default)]
struct KnownServers {
    /// Cluster and start of a server that was found to be the primary itself: it is read without a question.
    primary: Option<(i64, i64)>,
    /// When a replica was not there in time.
    late_at: Option<Instant>,
    warned_at: Option<Instant>,
}

impl KnownServers {
    fn replica_is_late(&self) -> bool {
        self.late_at.is_some_and(|late_at| late_at.elapsed() < LATE_FOR)
    }
}

impl Replication {
    /// `primary`: of the database that the sources are read from, in case that is a replica. `wait_max`: how long a replica
    /// is waited for.
    #[must_use]
    pub fn new(primary: Option<Pool>, wait_max: Duration) -> Self {
        Self { primary, wait_max, known: Arc::default() }
    }

    /// Begins a transaction that sees everything that was committed on the primary before this call.
    pub(super) async fn begin(&self, pool: &Pool) -> Result<Transaction, SourceError> {
        let transaction = begin(pool).await?;
        let server = ReadServer::of(&transaction).await?;
        let Some(primary) = &self.primary else {
            return if server.is_replica { Err(SourceError::NoPrimary) } else { Ok(transaction) };
        };
        if !server.is_replica {
            return self.begin_unless_promoted(transaction, &server, primary).await;
        }
        let written = Written::of(primary).await?;
        if written.cluster != server.cluster {
            return Err(SourceError::NoPrimary);
        }
        let caught_up = async {
            loop {
                let server = ReadServer::of(&transaction).await?;
                // On the same server, where one address leads to several. The next statement takes a new snapshot.
                transaction.begin_again().await?;
                if server.has_replayed(&written) {
                    return Ok::<(), DbErr>(());
                }
                sleep(LOOK_EVERY).await;
            }
        };
        match timeout(self.wait_now(), caught_up).await {
            Ok(Ok(())) => return Ok(transaction),
            Ok(Err(error)) => self.is_late(Some(&error)),
            Err(_elapsed) => self.is_late(None),
        }
        drop(transaction);
        Ok(begin(primary).await?)
    }

    /// A replica that was promoted has its own changes from then on, while those of the primary are told.
    async fn begin_unless_promoted(
        &self,
        transaction: Transaction,
        server: &ReadServer,
        primary: &Pool,
    ) -> Result<Transaction, SourceError> {
        let name = (server.cluster, server.started);
        if self.known.lock().primary == Some(name) {
            return Ok(transaction);
        }
        match timeout(self.wait_max, Written::of(primary)).await {
            Ok(Ok(written)) if (written.cluster, written.started) == name => {
                self.known.lock().primary = Some(name);
                Ok(transaction)
            }
            Ok(Ok(written)) if written.cluster != server.cluster => Err(SourceError::NoPrimary),
            Ok(Ok(_)) => {
                self.warn("sources: sources.database_url leads to another primary; that of the outbox is read", None);
                drop(transaction);
                Ok(begin(primary).await?)
            }
            // No primary tells changes now.
            Ok(Err(_)) | Err(_) => Ok(transaction),
        }
    }

    fn wait_now(&self) -> Duration {
        if self.known.lock().replica_is_late() { WAIT_WHILE_LATE } else { self.wait_max }
    }

    fn is_late(&self, error: Option<&DbErr>) {
        let mut known = self.known.lock();
        if !known.replica_is_late() {
            known.late_at = Some(Instant::now());
        }
        drop(known);
        self.warn("sources: the replica does not have what its primary has; the primary is read", error);
    }

    fn warn(&self, what: &str, error: Option<&DbErr>) {
        let warned_at = &mut self.known.lock().warned_at;
        if warned_at.is_none_or(|warned_at| warned_at.elapsed() >= WARN_EVERY) {
            *warned_at = Some(Instant::now());
            tracing::warn!(error = error.map(tracing::field::display), "{what}");
        }
    }
}

/// Begins a read-only transaction in which all statements see the same rows.
pub(super) async fn begin(pool: &Pool) -> Result<Transaction, DbErr> {
    let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
    unless_refused(pool, pool.begin_with_config(Some(isolation), Some(access))).await
}
