//! The table `load_lease`: one statement a function, the same for both databases but for the time.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};

use super::Work;
use crate::{
    database::Pool,
    fault::{Call, Faults},
};

/// The rows.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pool: Pool,
    /// Milliseconds by the database's clock.
    now_ms: &'static str,
    faults: Faults,
}

/// One asking for one piece of work. The holder is new each time, so that nobody, not even the same
/// instance, mistakes another's lease for its own.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) key: String,
    holder: String,
    s: i64,
}

impl Claim {
    pub(super) fn new(work: &Work) -> Self {
        Self { key: work.key.clone(), holder: uuid::Uuid::new_v4().to_string(), s: work.s }
    }

    fn values(&self) -> Vec<Value> {
        vec![self.key.as_str().into(), self.holder.as_str().into(), self.s.into()]
    }
}

/// A lease that was taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// The work had been done before.
    pub(super) done: bool,
    pub(super) now_ms: i64,
}

/// A row as it was found.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) holder: String,
    pub(super) s: i64,
    pub(super) beat: i64,
    pub(super) outcome: Option<String>,
    /// When it was found, by the database's clock.
    pub(super) now_ms: i64,
}

impl Table {
    pub(super) fn new(pool: Pool) -> Self {
        let now_ms = if pool.is_sqlite() {
            "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
        } else {
            "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
        };
        Self { pool, now_ms, faults: Faults::here() }
    }

    /// Takes a lease that nobody holds, or whose work began below the asker's fence.
    pub(super) async fn take(&self, claim: &Claim, work: &Work) -> Result<Option<Taken>, DbErr> {
        let sql = format!(
            "INSERT INTO load_lease AS lease (key, holder, read_position, heartbeat, outcome) VALUES ($1, $2, $3, 0, NULL) \
             ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, read_position = excluded.read_position, heartbeat = 0, outcome = NULL \
             WHERE lease.read_position < $4 RETURNING {}",
            self.taken(work)
        );
        self.taking(&sql, claim, work, "", 0).await
    }

    /// Takes a lease over from a holder, if its beat has not moved.
    pub(super) async fn take_over(
        &self,
        claim: &Claim,
        work: &Work,
        holder: &str,
        beat: i64,
    ) -> Result<Option<Taken>, DbErr> {
        let sql = format!(
            "UPDATE load_lease SET holder = $2, read_position = $3, heartbeat = 0, outcome = NULL \
             WHERE key = $1 AND holder = $5 AND heartbeat = $6 RETURNING {}",
            self.taken(work)
        );
        self.taking(&sql, claim, work, holder, beat).await
    }

    fn taken(&self, work: &Work) -> String {
        format!("CASE WHEN {} THEN 1 ELSE 0 END AS done, {} AS now_ms", work.done.sql, self.now_ms)
    }

    /// Both statements number their parameters alike, also those that only one of them uses.
    async fn taking(
        &self,
        sql: &str,
        claim: &Claim,
        work: &Work,
        holder: &str,
        beat: i64,
    ) -> Result<Option<Taken>, DbErr> {
        let mut values = claim.values();
        values.extend([work.fence.into(), holder.into(), beat.into()]);
        values.extend(work.done.values.iter().cloned());
        let asked = self.pool.query_one_raw(self.statement(sql, values));
        let row = self.faults.through(Call::Lease, asked).await?;
        let taken = |row: QueryResult| {
            Ok(Taken { done: row.try_get::<i32>("", "done")? != 0, now_ms: row.try_get("", "now_ms")? })
        };
        row.map(taken).transpose()
    }

    /// The row of a key.
    pub(super) async fn look(&self, key: &str) -> Result<Option<Row>, DbErr> {
        let sql = format!(
            "SELECT holder, read_position, heartbeat, outcome, {} AS now_ms FROM load_lease WHERE key = $1",
            self.now_ms
        );
        let asked = self.pool.query_one_raw(self.statement(&sql, vec![key.into()]));
        self.faults.through(Call::Lease, asked).await?.map(|row| read(&row)).transpose()
    }

    /// Rows with their keys.
    pub(super) async fn all(&self, rows_max: u64) -> Result<Vec<(String, Row)>, DbErr> {
        let sql = format!(
            "SELECT key, holder, read_position, heartbeat, outcome, {} AS now_ms FROM load_lease ORDER BY key LIMIT $1",
            self.now_ms
        );
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let asked = self.pool.query_all_raw(self.statement(&sql, vec![limit.into()]));
        let rows = self.faults.through(Call::Lease, asked).await?;
        rows.iter().map(|row| Ok((row.try_get("", "key")?, read(row)?))).collect()
    }

    /// Shows that the holder is alive; false if the lease is somebody else's by now.
    pub(super) async fn beat(&self, claim: &Claim) -> Result<bool, DbErr> {
        const SQL: &str =
            "UPDATE load_lease SET heartbeat = heartbeat + 1 WHERE key = $1 AND holder = $2 AND read_position = $3";
        Ok(self.change(SQL, claim.values()).await? > 0)
    }

    /// Says how the work ended without a result; false if the lease is somebody else's by now.
    pub(super) async fn leave(&self, claim: &Claim, outcome: String) -> Result<bool, DbErr> {
        const SQL: &str = "UPDATE load_lease SET outcome = $4 WHERE key = $1 AND holder = $2 AND read_position = $3";
        let mut values = claim.values();
        values.push(outcome.into());
        Ok(self.change(SQL, values).await? > 0)
    }

    /// Gives the lease back.
    pub(super) async fn release(&self, claim: &Claim) -> Result<(), DbErr> {
        const SQL: &str = "DELETE FROM load_lease WHERE key = $1 AND holder = $2 AND read_position = $3";
        self.change(SQL, claim.values()).await.map(drop)
    }

    /// Deletes a row that has not moved; how many that were.
    pub(super) async fn delete(&self, key: &str, holder: &str, beat: i64) -> Result<u64, DbErr> {
        const SQL: &str = "DELETE FROM load_lease WHERE key = $1 AND holder = $2 AND heartbeat = $3";
        self.change(SQL, vec![key.into(), holder.into(), beat.into()]).await
    }

    async fn change(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        let changed = self.pool.execute_raw(self.statement(sql, values));
        Ok(self.faults.through(Call::Lease, changed).await?.rows_affected())
    }

    fn statement(&self, sql: &str, values: Vec<Value>) -> Statement {
        // SQLite takes numbered placeholders too, as `$1`.
        Statement::from_sql_and_values(self.pool.get_database_backend(), sql, values)
    }
}

fn read(row: &QueryResult) -> Result<Row, DbErr> {
    Ok(Row {
        holder: row.try_get("", "holder")?,
        s: row.try_get("", "read_position")?,
        beat: row.try_get("", "heartbeat")?,
        outcome: row.try_get("", "outcome")?,
        now_ms: row.try_get("", "now_ms")?,
    })
}
