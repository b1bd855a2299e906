//! How many notes wait in an outbox: for people, and for metrics.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{
    consumed::{Consumed, PgSnapshot},
    outbox::Outbox,
    watched::OUTBOX,
};
use crate::database::{Dialect, SqlFile};

/// The notes that wait in an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub rows: i64,
    /// The age of the oldest, by the database's clock.
    pub age: Duration,
}

const WAITING: SqlFile =
    SqlFile { postgres: include_str!("sql/waiting.postgres.sql"), sqlite: include_str!("sql/waiting.sqlite.sql") };
const BACKLOG: SqlFile = SqlFile {
    postgres: include_str!("sql/backlog.postgres.sql"),
    sqlite: "SELECT count(*) AS rows FROM invalidation_outbox n WHERE n.id > $1",
};

/// The notes that a cluster has not read yet, as the clusters have reported last; none if there is no outbox. Changes
/// nothing.
pub async fn waiting(db: &impl ConnectionTrait) -> Result<Option<Waiting>, DbErr> {
    if userdata_migrations::columns_of(db, OUTBOX).await?.is_empty() {
        return Ok(None);
    }
    let row = db.query_one_raw(Dialect::of(db).file(WAITING, [])).await?;
    let Some(row) = row else { return Ok(None) };
    let age: Option<i64> = row.try_get("", "age")?;
    let age = age.and_then(|age| age.try_into().ok()).unwrap_or_default();
    Ok(Some(Waiting { rows: row.try_get("", "rows")?, age: Duration::from_micros(age) }))
}

impl Outbox {
    /// How many notes are not in `consumed`; without it, how many there are.
    pub async fn backlog(&self, consumed: Option<&Consumed>) -> Result<i64, DbErr> {
        let values: Vec<Value> = match Dialect::of(&self.pool) {
            Dialect::Postgres => {
                let snapshot = consumed.map_or_else(PgSnapshot::nothing, Consumed::snapshot);
                vec![snapshot.xmax.to_string().into(), snapshot.running_array().into(), String::from(snapshot).into()]
            }
            Dialect::Sqlite => vec![consumed.map_or(0, |consumed| consumed.highest().id).into()],
        };
        let row = self.pool.query_one_raw(Dialect::of(&self.pool).file(BACKLOG, values)).await?;
        row.map_or(Ok(0), |row| row.try_get("", "rows"))
    }
}
