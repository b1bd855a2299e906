//! The outbox in batches, for a relay that does not store what it has consumed: notes are deleted once they are relayed.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{
    consumed::{Consumed, PgSnapshot, UpTo},
    outbox::Outbox,
};
use crate::{
    database::{is_busy, repeat_while},
    model::Invalidation,
};

/// Notes that were read.
#[derive(Debug)]
pub struct Batch {
    /// How many.
    pub rows: usize,
    /// The age of the oldest.
    pub age: Duration,
    /// Whom they concern, each once.
    pub changes: Vec<Invalidation>,
    consumed: Consumed,
    outbox: Outbox,
}

impl Outbox {
    /// The notes that are there; none if there are none.
    pub async fn take(&self) -> Result<Option<Batch>, DbErr> {
        let mut before = self.read(None).await?.consumed;
        before.up_to = match before.up_to {
            UpTo::Snapshot(_) => UpTo::Snapshot(PgSnapshot::nothing()),
            UpTo::Highest(_) => UpTo::Highest(super::consumed::Highest::default()),
        };
        let reading = self.read(Some(&before)).await?;
        let rows = usize::try_from(reading.rows).unwrap_or(usize::MAX);
        Ok((rows > 0).then(|| Batch {
            rows,
            age: reading.age,
            changes: reading.changes,
            consumed: reading.consumed,
            outbox: self.clone(),
        }))
    }
}

impl Batch {
    /// Deletes the notes. Only after their invalidations are durable. Safe to repeat.
    pub async fn delete(&mut self) -> Result<(), DbErr> {
        let (sql, value): (&str, Value) = match &self.consumed.up_to {
            UpTo::Snapshot(snapshot) => (
                "DELETE FROM invalidation_outbox \
                 WHERE pg_visible_in_snapshot(xid, CAST(CAST($1 AS TEXT) AS PG_SNAPSHOT))",
                String::from(snapshot.clone()).into(),
            ),
            UpTo::Highest(highest) => ("DELETE FROM invalidation_outbox WHERE id <= $1", highest.id.into()),
        };
        let pool = &self.outbox.pool;
        let statement = crate::database::Dialect::of(pool).statement(sql, [value]);
        repeat_while(is_busy, || pool.execute_raw(statement.clone())).await.map(drop)
    }
}
