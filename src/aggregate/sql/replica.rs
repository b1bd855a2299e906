//! Reading the sources on a replica of PostgreSQL. It lags behind: an invalidation can be known before its change is
//! there.
//!
//! Order: a load takes its read position, asks the primary up to where its write-ahead log is written, and begins to read
//! on a replica that has replayed as much. Every change that the read position covers was committed before the question.
//!
//! A replica that does not get so far in time is not read; the primary is.

use std::{sync::Arc, time::Duration};

use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr, FromQueryResult, IsolationLevel,
    Statement, TransactionTrait,
};
use tokio::time::Instant;

use super::SourceError;
use crate::{
    database::{Pool, unless_refused},
    sync::{
        Mutex,
        time::{sleep, timeout},
    },
};

const SERVER: &str = include_str!("server.postgres.sql");
const WRITTEN: &str = include_str!("written.postgres.sql");
/// Between two looks at a replica that has not replayed enough.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// A page of the log begins with a header of this many bytes.
const PAGE_HEADER: i64 = 24;
/// The first page of a file of the log begins with a longer one.
const FILE_HEADER: i64 = 40;

/// Where the sources are read if `sources.database_url` names a replica.
#[derive(Clone, Debug)]
pub struct Replication {
    primary: Option<Pool>,
    wait_max: Duration,
    warned: Arc<Mutex<Option<Instant>>>,
}

/// A server, as it was asked.
#[derive(Debug, FromQueryResult)]
struct AskedServer {
    is_replica: bool,
    /// The same for a primary and its replicas.
    cluster: i64,
    /// When it was started, in microseconds since 1970. Differs between servers.
    started: i64,
    /// Another one begins with each promotion. A replica may tell it late.
    timeline: i32,
    /// None on a primary.
    replayed: Option<i64>,
}

/// Up to where a primary has written its log.
#[derive(Debug, FromQueryResult)]
struct Written {
    cluster: i64,
    timeline: i32,
    /// Behind the header of a page if the last record ends before it.
    written: i64,
    block: i64,
    segment: i64,
}

impl Replication {
    /// `primary`: of the database that the sources are read from, in case that is a replica. `wait_max`: how long a replica
    /// is waited for.
    #[must_use]
    pub fn new(primary: Option<Pool>, wait_max: Duration) -> Self {
        Self { primary, wait_max, warned: Arc::default() }
    }

    /// Begins a transaction that sees everything that was committed on the primary before this call.
    pub(super) async fn begin(&self, pool: &Pool) -> Result<DatabaseTransaction, SourceError> {
        let transaction = begin(pool).await?;
        if !AskedServer::of(&transaction).await?.is_replica {
            return Ok(transaction);
        }
        transaction.rollback().await?;
        let primary = self.primary.as_ref().ok_or(SourceError::NoPrimary)?;
        let written = Written::of(primary).await?;
        match timeout(self.wait_max, begin_behind(pool, &written)).await {
            Ok(begun) => Ok(begun?),
            Err(_elapsed) => {
                self.warn();
                Ok(begin(primary).await?)
            }
        }
    }

    fn warn(&self) {
        let mut warned = self.warned.lock();
        if warned.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            let waited = self.wait_max;
            tracing::warn!(?waited, "sources: the replica lags behind; its primary is read instead");
        }
    }
}

impl AskedServer {
    async fn of(connection: &impl ConnectionTrait) -> Result<Self, DbErr> {
        one(connection, SERVER).await
    }

    /// Of another timeline the positions cannot be compared.
    fn has_replayed(&self, written: &Written) -> bool {
        (self.cluster, self.timeline) == (written.cluster, written.timeline)
            && self.replayed.is_some_and(|replayed| replayed >= written.last_record_ends())
    }
}

impl Written {
    async fn of(connection: &impl ConnectionTrait) -> Result<Self, DbErr> {
        one(connection, WRITTEN).await
    }

    /// Where the next record begins may lie behind a header that no replica has replayed yet.
    fn last_record_ends(&self) -> i64 {
        if self.written % self.segment == FILE_HEADER {
            self.written - FILE_HEADER
        } else if self.written % self.block == PAGE_HEADER {
            self.written - PAGE_HEADER
        } else {
            self.written
        }
    }
}

async fn one<T: FromQueryResult>(connection: &impl ConnectionTrait, sql: &str) -> Result<T, DbErr> {
    let statement = Statement::from_string(DatabaseBackend::Postgres, sql);
    let row = T::find_by_statement(statement).one(connection).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("of the server".to_owned()))
}

/// Begins to read on a replica as soon as it has replayed what was written.
async fn begin_behind(pool: &Pool, written: &Written) -> Result<DatabaseTransaction, DbErr> {
    loop {
        let asked = AskedServer::of(pool).await?;
        if asked.has_replayed(written) {
            let transaction = begin(pool).await?;
            // One address may lead to several replicas.
            let read = AskedServer::of(&transaction).await?;
            if !read.is_replica || (read.cluster, read.started) == (asked.cluster, asked.started) {
                return Ok(transaction);
            }
            transaction.rollback().await?;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Begins a read-only transaction in which all statements see the same rows.
pub(super) async fn begin(pool: &Pool) -> Result<DatabaseTransaction, DbErr> {
    let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
    unless_refused(pool, pool.begin_with_config(Some(isolation), Some(access))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_behind_the_last_record_is_not_waited_for() {
        let ends =
            |written| Written { cluster: 1, timeline: 1, written, block: 8192, segment: 1 << 24 }.last_record_ends();
        assert_eq!(ends(8192 + 24), 8192);
        assert_eq!(ends((1 << 24) + 40), 1 << 24);
        assert_eq!([8192, 8192 + 32, 8192 + 40, 20_000].map(ends), [8192, 8192 + 32, 8192 + 40, 20_000]);
    }
}
