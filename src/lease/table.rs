//! The table `load_lease`: one statement per function, the same for both databases except for the time.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};

use super::work::SharedWork;
use crate::{
    database::Pool,
    fault::{Call, Faults},
};

#[derive(Clone, Debug)]
pub(super) struct LeaseTable {
    pool: Pool,
    /// Milliseconds by the database's clock.
    now_ms: &'static str,
    faults: Faults,
}

/// One claim to one piece of work. Each claim is a holder of its own, so that not even the same instance mistakes a
/// later lease for this one.
#[derive(Clone, Debug)]
pub(super) struct Claimant {
    pub(super) key: String,
    holder: String,
    read_position: i64,
}

impl Claimant {
    pub(super) fn new(work: &SharedWork) -> Self {
        Self { key: work.key.clone(), holder: uuid::Uuid::new_v4().to_string(), read_position: work.read_position }
    }

    fn values(&self) -> Vec<Value> {
        vec![self.key.as_str().into(), self.holder.as_str().into(), self.read_position.into()]
    }
}

/// What the database says about a lease that it granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    /// The result is already stored.
    pub(super) done: bool,
    pub(super) now_ms: i64,
}

#[derive(Clone, Debug)]
pub(super) struct LeaseRow {
    pub(super) holder: String,
    pub(super) read_position: i64,
    pub(super) heartbeat: i64,
    pub(super) outcome: Option<String>,
    /// When the row was read, by the database's clock.
    pub(super) now_ms: i64,
}

impl LeaseTable {
    pub(super) fn new(pool: Pool) -> Self {
        let now_ms = if pool.is_sqlite() {
            "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
        } else {
            "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
        };
        Self { pool, now_ms, faults: Faults::here() }
    }

    /// Takes a free lease, or one whose work started to read before the last invalidation.
    pub(super) async fn take(&self, claimant: &Claimant, work: &SharedWork) -> Result<Option<Grant>, DbErr> {
        let sql = format!(
            "INSERT INTO load_lease AS lease (key, holder, read_position, heartbeat, outcome) VALUES ($1, $2, $3, 0, NULL) \
             ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, read_position = excluded.read_position, heartbeat = 0, outcome = NULL \
             WHERE lease.read_position < $4 RETURNING {}",
            self.taken(work)
        );
        self.taking(&sql, claimant, work, "", 0).await
    }

    /// Takes a lease over from a holder, unless it has sent a heartbeat meanwhile.
    pub(super) async fn take_over(
        &self,
        claimant: &Claimant,
        work: &SharedWork,
        holder: &str,
        heartbeat: i64,
    ) -> Result<Option<Grant>, DbErr> {
        let sql = format!(
            "UPDATE load_lease SET holder = $2, read_position = $3, heartbeat = 0, outcome = NULL \
             WHERE key = $1 AND holder = $5 AND heartbeat = $6 RETURNING {}",
            self.taken(work)
        );
        self.taking(&sql, claimant, work, holder, heartbeat).await
    }

    fn taken(&self, work: &SharedWork) -> String {
        format!("CASE WHEN {} THEN 1 ELSE 0 END AS done, {} AS now_ms", work.done.sql, self.now_ms)
    }

    /// Both statements number their parameters alike, including those that only one of them uses.
    async fn taking(
        &self,
        sql: &str,
        claimant: &Claimant,
        work: &SharedWork,
        holder: &str,
        heartbeat: i64,
    ) -> Result<Option<Grant>, DbErr> {
        let mut values = claimant.values();
        values.extend([work.last_invalidation.into(), holder.into(), heartbeat.into()]);
        values.extend(work.done.values.iter().cloned());
        let asked = self.pool.query_one_raw(self.statement(sql, values));
        let row = self.faults.through(Call::Lease, asked).await?;
        let taken = |row: QueryResult| {
            Ok(Grant { done: row.try_get::<i32>("", "done")? != 0, now_ms: row.try_get("", "now_ms")? })
        };
        row.map(taken).transpose()
    }

    pub(super) async fn find(&self, key: &str) -> Result<Option<LeaseRow>, DbErr> {
        let sql = format!(
            "SELECT holder, read_position, heartbeat, outcome, {} AS now_ms FROM load_lease WHERE key = $1",
            self.now_ms
        );
        let asked = self.pool.query_one_raw(self.statement(&sql, vec![key.into()]));
        self.faults.through(Call::Lease, asked).await?.map(|row| read(&row)).transpose()
    }

    /// Rows with their keys, at most `rows_max`.
    pub(super) async fn all(&self, rows_max: u64) -> Result<Vec<(String, LeaseRow)>, DbErr> {
        let sql = format!(
            "SELECT key, holder, read_position, heartbeat, outcome, {} AS now_ms FROM load_lease ORDER BY key LIMIT $1",
            self.now_ms
        );
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let asked = self.pool.query_all_raw(self.statement(&sql, vec![limit.into()]));
        let rows = self.faults.through(Call::Lease, asked).await?;
        rows.iter().map(|row| Ok((row.try_get("", "key")?, read(row)?))).collect()
    }

    /// Increments the heartbeat. False: another holder has the lease.
    pub(super) async fn heartbeat(&self, claimant: &Claimant) -> Result<bool, DbErr> {
        const SQL: &str =
            "UPDATE load_lease SET heartbeat = heartbeat + 1 WHERE key = $1 AND holder = $2 AND read_position = $3";
        Ok(self.change(SQL, claimant.values()).await? > 0)
    }

    /// Stores how work without a result ended. False: another holder has the lease.
    pub(super) async fn store_outcome(&self, claimant: &Claimant, outcome: String) -> Result<bool, DbErr> {
        const SQL: &str = "UPDATE load_lease SET outcome = $4 WHERE key = $1 AND holder = $2 AND read_position = $3";
        let mut values = claimant.values();
        values.push(outcome.into());
        Ok(self.change(SQL, values).await? > 0)
    }

    pub(super) async fn release(&self, claimant: &Claimant) -> Result<(), DbErr> {
        const SQL: &str = "DELETE FROM load_lease WHERE key = $1 AND holder = $2 AND read_position = $3";
        self.change(SQL, claimant.values()).await.map(drop)
    }

    /// Deletes a row, unless its heartbeat has moved. Returns how many rows it deleted.
    pub(super) async fn delete(&self, key: &str, holder: &str, heartbeat: i64) -> Result<u64, DbErr> {
        const SQL: &str = "DELETE FROM load_lease WHERE key = $1 AND holder = $2 AND heartbeat = $3";
        self.change(SQL, vec![key.into(), holder.into(), heartbeat.into()]).await
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

fn read(row: &QueryResult) -> Result<LeaseRow, DbErr> {
    Ok(LeaseRow {
        holder: row.try_get("", "holder")?,
        read_position: row.try_get("", "read_position")?,
        heartbeat: row.try_get("", "heartbeat")?,
        outcome: row.try_get("", "outcome")?,
        now_ms: row.try_get("", "now_ms")?,
    })
}
