//! Stands in for `table.rs` in Shuttle's tests: the invalidation log's statements, in memory.

use std::{sync::Arc, time::Duration};

use sea_orm::DbErr;

use super::{
    consumption::Consumption,
    pools::LogPools,
    row::{LogHead, LogRow},
};
use crate::{
    cache::change_feed::{round::FeedHead, rounds::Rounds},
    database::in_memory::{Flaw, LogRecord, MemoryDatabase, Tables},
    fault::FaultPoint,
    model::{Invalidation, Token},
    sync::shuttled::{chance, time},
};

#[derive(Clone, Debug)]
pub(super) struct LogTable {
    database: MemoryDatabase,
    pub(super) faults: Direct,
}

/// Faults that are none: here the tables are what fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direct;

impl Direct {
    pub(super) fn through<F: Future>(self, _: FaultPoint, work: F) -> F {
        work
    }
}

/// How old a replica's data is.
const LAG: Duration = Duration::from_secs(1);

impl LogTable {
    /// Tables in memory.
    pub(super) fn of(database: MemoryDatabase) -> Self {
        Self { database, faults: Direct }
    }

    pub(super) fn new(_: LogPools) -> Self {
        panic!("a build for Shuttle's tests has no database")
    }

    pub(super) async fn append(&self, entries: &[Invalidation]) -> Result<Token, DbErr> {
        let plain = self.database.has(Flaw::PlainNonces);
        let entries = entries.to_vec();
        if self.database.has(Flaw::LostUpdates) {
            let position = self.database.execute(|tables| tables.head.position).await?;
            return self.database.commit(move |tables| token(tables, position, &entries, plain)).await;
        }
        self.database.commit(move |tables| token(tables, tables.head.position, &entries, plain)).await
    }

    pub(super) async fn head(&self, applied: i64) -> Result<LogHead, DbErr> {
        let lag = self.lag();
        self.database
            .execute(move |tables| {
                let (head, log) = tables.as_of(time::now() - lag);
                let nonce = log.get(&applied).map(|row| row.nonce);
                LogHead {
                    epoch: head.epoch,
                    position: head.position,
                    low_watermark: head.low_watermark,
                    lease_ms: head.lease_ms,
                    nonce,
                    feed: FeedHead::default(),
                }
            })
            .await
    }

    pub(super) async fn rows(&self, after: i64, head: i64) -> Result<Vec<LogRow>, DbErr> {
        let lag = self.lag();
        let row = |(position, record): (&i64, &LogRecord)| LogRow {
            position: *position,
            invalidation: record.invalidation.clone(),
            nonce: record.nonce,
        };
        let rows = move |tables: &mut Tables| {
            let (_, log) = tables.as_of(time::now() - lag);
            log.iter().filter(|(position, _)| (after + 1..=head).contains(*position)).map(row).collect()
        };
        self.database.execute(rows).await
    }

    pub(super) async fn replace_epoch(&self, old: &str) -> Result<Arc<str>, DbErr> {
        let old = old.to_owned();
        self.database
            .commit(move |tables| {
                if *tables.head.epoch == *old {
                    tables.head.epoch = format!("{:x}", chance::random::<i64>()).into();
                    tables.head.low_watermark = tables.head.position;
                    tables.log.split_off(&(tables.head.position + 1));
                }
                Arc::clone(&tables.head.epoch)
            })
            .await
    }

    pub(super) async fn trim(&self, seconds: i64) -> Result<u64, DbErr> {
        let age = Duration::from_secs(seconds.try_into().unwrap_or_default());
        self.database
            .commit(move |tables| {
                let old = tables.log.iter().filter(|(_, row)| row.at < time::now().saturating_sub(age));
                let low_watermark = old.map(|(position, _)| *position).fold(tables.head.low_watermark, i64::max);
                tables.head.low_watermark = low_watermark;
                let kept = tables.log.split_off(&(low_watermark + 1));
                std::mem::replace(&mut tables.log, kept).len() as u64
            })
            .await
    }

    pub(super) fn rounds(&self) -> Option<Rounds> {
        None
    }

    // The relay is not among what Shuttle's tests run.
    pub(super) async fn consumption(&self) -> Result<Consumption, DbErr> {
        Err(no_outbox())
    }

    pub(super) async fn append_consuming(
        &self,
        _: &[Invalidation],
        _: i64,
        _: &Consumption,
    ) -> Result<Option<Token>, DbErr> {
        Err(no_outbox())
    }

    pub(super) async fn begin_epoch_consuming(&self, _: i64, _: &Consumption) -> Result<bool, DbErr> {
        Err(no_outbox())
    }

    fn lag(&self) -> Duration {
        if self.database.has(Flaw::OldReads) { LAG } else { Duration::ZERO }
    }
}

fn no_outbox() -> DbErr {
    DbErr::Custom("the tables in memory have no outbox".to_owned())
}

fn token(tables: &mut Tables, after: i64, entries: &[Invalidation], plain_nonces: bool) -> Token {
    let position = tables.append(after, entries, plain_nonces);
    Token { epoch: Arc::clone(&tables.head.epoch), position }
}

pub(super) fn is_transient(error: &DbErr) -> bool {
    error.to_string().contains("40001")
}
