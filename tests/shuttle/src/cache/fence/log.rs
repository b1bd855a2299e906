//! Stands in for the product's file of this name: the fence log's statements, in memory.

use std::sync::Arc;

use super::copy::LogRow;
use crate::{
    DbErr, chance,
    database::{Flaw, LogRecord, Pool, Tables},
    fault::Faults,
    model::Scope,
    time::{self, Duration},
};

#[derive(Debug)]
pub(super) struct Head {
    pub(super) incarnation: Arc<str>,
    pub(super) seq: i64,
    pub(super) floor: i64,
    pub(super) lease_ms: i64,
    pub(super) nonce: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct FenceLog {
    database: Pool,
    pub(super) faults: Faults,
}

/// How old a replica's data is.
const LAG: Duration = Duration::from_secs(1);

impl FenceLog {
    pub(super) fn new(database: Pool) -> Self {
        Self { database, faults: Faults::here() }
    }

    pub(super) async fn append(&self, scopes: &[Scope]) -> Result<i64, DbErr> {
        let plain = self.database.has(Flaw::PlainNonces);
        let scopes = scopes.to_vec();
        if self.database.has(Flaw::LostUpdates) {
            let seq = self.database.execute(|tables| tables.head.seq).await?;
            return self.database.commit(move |tables| tables.append(seq, &scopes, plain)).await;
        }
        self.database.commit(move |tables| tables.append(tables.head.seq, &scopes, plain)).await
    }

    pub(super) async fn head(&self, applied: i64) -> Result<Head, DbErr> {
        let lag = self.lag();
        self.database
            .execute(move |tables| {
                let (head, log) = tables.as_of(time::now() - lag);
                let nonce = log.get(&applied).map(|row| row.nonce);
                Head { incarnation: head.incarnation, seq: head.seq, floor: head.floor, lease_ms: head.lease_ms, nonce }
            })
            .await
    }

    pub(super) async fn rows(&self, after: i64, head: i64) -> Result<Vec<LogRow>, DbErr> {
        let lag = self.lag();
        let row = |(seq, record): (&i64, &LogRecord)| LogRow {
            seq: *seq,
            user: record.scope.user.clone(),
            strategy: record.scope.strategy,
            sections: record.scope.sections,
            nonce: record.nonce,
        };
        let rows = move |tables: &mut Tables| {
            let (_, log) = tables.as_of(time::now() - lag);
            log.iter().filter(|(seq, _)| (after + 1..=head).contains(*seq)).map(row).collect()
        };
        self.database.execute(rows).await
    }

    pub(super) async fn replace_incarnation(&self, old: &str) -> Result<(), DbErr> {
        let old = old.to_owned();
        self.database
            .commit(move |tables| {
                if *tables.head.incarnation == *old {
                    tables.head.incarnation = format!("{:x}", chance::random::<i64>()).into();
                    tables.head.floor = tables.head.seq;
                    tables.log.split_off(&(tables.head.seq + 1));
                }
            })
            .await
    }

    pub(super) async fn trim(&self, seconds: i64) -> Result<u64, DbErr> {
        let age = Duration::from_secs(seconds.try_into().unwrap_or_default());
        self.database
            .commit(move |tables| {
                let old = tables.log.iter().filter(|(_, row)| row.at < time::now().saturating_sub(age));
                let floor = old.map(|(seq, _)| *seq).fold(tables.head.floor, i64::max);
                tables.head.floor = floor;
                let kept = tables.log.split_off(&(floor + 1));
                std::mem::replace(&mut tables.log, kept).len() as u64
            })
            .await
    }

    fn lag(&self) -> Duration {
        if self.database.has(Flaw::OldReads) { LAG } else { Duration::ZERO }
    }
}

pub(super) fn is_transient(error: &DbErr) -> bool {
    *error == DbErr::Transient
}
