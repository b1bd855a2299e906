//! The clusters that read an outbox: each says in the sources' database how far it has come, so that notes which all
//! have read are deleted.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, TransactionTrait, Value};
use uuid::Uuid;

use super::{
    consumed::{Consumed, UpTo},
    look::{After, Extent, OutboxLook},
    outbox::{Outbox, answered},
};
use crate::{
    database::{Dialect, SqlFile, is_busy, repeat_while},
    model::Token,
};

/// A consumer that is not seen for so long is dropped: its notes would be kept for ever.
const GONE_AFTER: Duration = Duration::from_secs(3600);
/// Notes are kept so long after all consumers have read them: a cluster whose database is restored reads them again.
const KEEP: Duration = Duration::from_secs(600);
/// One transaction deletes so many: it is short, and a writer never waits for it.
const TRIM_ROWS: i64 = 10_000;

/// A cluster, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    pub cluster: Uuid,
    /// The next report has to know it.
    pub nonce: Uuid,
    /// The nonces that the row may have now: those of this cluster's latest reports.
    pub known: Vec<Uuid>,
    pub consumed: Consumed,
    /// The end of the cluster's log.
    pub token: Token,
}

/// What a report has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    Ours,
    /// Another cluster has this id: nothing was written.
    AnotherHolder,
}

impl Outbox {
    /// Writes this cluster's consumer row, and drops consumers that were not seen for an hour.
    pub async fn report(&self, consumer: &Consumer) -> Result<Reported, DbErr> {
        let dialect = Dialect::of(&self.pool);
        let position: Value = match &consumer.consumed.up_to {
            UpTo::Snapshot(snapshot) => String::from(snapshot.clone()).into(),
            UpTo::Highest(highest) => highest.id.into(),
        };
        let known: Vec<String> = consumer.known.iter().map(Uuid::to_string).collect();
        let known = match dialect {
            Dialect::Postgres => format!("{{{}}}", known.join(",")),
            Dialect::Sqlite => serde_json::to_string(&known).map_err(|error| DbErr::Type(error.to_string()))?,
        };
        let values: [Value; 6] = [
            consumer.cluster.to_string().into(),
            consumer.nonce.to_string().into(),
            position,
            consumer.token.epoch.to_string().into(),
            consumer.token.position.into(),
            known.into(),
        ];
        let report = || answered(self.pool.execute_raw(dialect.file(REPORT, values.clone())));
        let written = repeat_while(is_busy, report).await?;
        let gone: Value = i64::try_from(GONE_AFTER.as_secs()).unwrap_or(i64::MAX).into();
        repeat_while(is_busy, || answered(self.pool.execute_raw(dialect.file(DROP, [gone.clone()])))).await?;
        Ok(if written.rows_affected() == 0 { Reported::AnotherHolder } else { Reported::Ours })
    }

    /// What this cluster has reported last; none if there is no row, or one that cannot be read: it is not this cluster's.
    /// A witness: read it before the log's head.
    pub async fn reported(&self, cluster: Uuid) -> Result<Option<(Uuid, Token)>, DbErr> {
        let sql = "SELECT CAST(nonce AS TEXT) AS nonce, epoch, position FROM invalidation_outbox_consumer \
                   WHERE CAST(cluster AS TEXT) = $1";
        let statement = Dialect::of(&self.pool).statement(sql, [cluster.to_string().into()]);
        let Some(row) = answered(self.pool.query_one_raw(statement)).await? else { return Ok(None) };
        let reported = || {
            let nonce: String = row.try_get("", "nonce").ok()?;
            let epoch: String = row.try_get("", "epoch").ok()?;
            let token = Token { epoch: epoch.into(), position: row.try_get("", "position").ok()? };
            Some((nonce.parse().ok()?, token))
        };
        Ok(reported())
    }

    /// Deletes notes that all consumers had consumed 10 minutes ago, in batches, and raises `trimmed_below` with them.
    pub async fn trim(&self) -> Result<u64, DbErr> {
        let dialect = Dialect::of(&self.pool);
        let keep: Value = i64::try_from(KEEP.as_secs()).unwrap_or(i64::MAX).into();
        let mut trimmed = 0;
        loop {
            let deleted = repeat_while(is_busy, || async {
                let transaction = self.pool.begin().await?;
                // Order: raised before the notes are gone, in one transaction; it locks out another trimmer.
                transaction.execute_raw(dialect.file(RAISE, [keep.clone()])).await?;
                let deleted = transaction.execute_raw(dialect.file(TRIM, [TRIM_ROWS.into()])).await?.rows_affected();
                transaction.commit().await?;
                Ok::<_, DbErr>(deleted)
            });
            let deleted = deleted.await?;
            trimmed += deleted;
            if deleted < TRIM_ROWS.unsigned_abs() {
                return Ok(trimmed);
            }
        }
    }

    /// Whether every committed note is in `consumed`.
    pub async fn is_consumed(&self, consumed: &Consumed) -> Result<bool, DbErr> {
        let after = After::Consumed(consumed.clone());
        let look = answered(OutboxLook::take(&self.pool, &after, Extent { rows: 1, notes: 1 })).await?;
        let continues = look.discontinuity(consumed).is_none() && !look.was_restarted(consumed);
        Ok(continues && look.rows == 0 && look.consumed.prints == consumed.prints)
    }
}

const REPORT: SqlFile =
    SqlFile { postgres: include_str!("sql/report.postgres.sql"), sqlite: include_str!("sql/report.sqlite.sql") };
const DROP: SqlFile = SqlFile {
    postgres: include_str!("sql/drop_consumers.postgres.sql"),
    sqlite: include_str!("sql/drop_consumers.sqlite.sql"),
};
const RAISE: SqlFile =
    SqlFile { postgres: include_str!("sql/raise.postgres.sql"), sqlite: include_str!("sql/raise.sqlite.sql") };
const TRIM: SqlFile =
    SqlFile { postgres: include_str!("sql/trim.postgres.sql"), sqlite: include_str!("sql/trim.sqlite.sql") };
