//! The table `load_lease`: one statement a function.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait,
    Select, Statement,
    sea_query::{Expr, ExprTrait, OnConflict, Query, ReturningClause},
};

use super::work::{AI_CALL, Claimant, Grant, LeaseRow, SharedWork};
use crate::{
    database::{Dialect, Pool},
    entity::load_lease::{self, Column},
    fault::{FaultPoint, Faults},
};

#[derive(Clone, Debug)]
pub(super) struct LeaseTable {
    pool: Pool,
    dialect: Dialect,
    faults: Faults,
}

impl LeaseTable {
    pub(super) fn new(pool: Pool) -> Self {
        Self { dialect: Dialect::of(&pool), pool, faults: Faults::here() }
    }

    /// Takes a lease that no instance holds, or whose work began before the newest invalidation of the caller's scope.
    pub(super) async fn take(&self, claimant: &Claimant, work: &SharedWork) -> Result<Option<Grant>, DbErr> {
        let outdated = Expr::col((load_lease::Entity, Column::ReadPosition)).lt(work.last_invalidation);
        let replaced = OnConflict::column(Column::Key)
            .update_columns([
                Column::Holder,
                Column::Instance,
                Column::ReadPosition,
                Column::Heartbeat,
                Column::Outcome,
            ])
            .action_and_where(outdated)
            .to_owned();
        let insert = Query::insert()
            .into_table(load_lease::Entity)
            .columns([Column::Key, Column::Holder, Column::Instance, Column::ReadPosition, Column::Heartbeat])
            .values_panic([
                claimant.key.as_str().into(),
                claimant.holder.as_str().into(),
                claimant.instance.as_str().into(),
                claimant.read_position.into(),
                0.into(),
            ])
            .on_conflict(replaced)
            .returning(self.taken(work))
            .to_owned();
        self.taking(self.dialect.build(&insert)).await
    }

    /// Takes a lease over from a holder whose heartbeat has not moved.
    pub(super) async fn take_over(
        &self,
        claimant: &Claimant,
        work: &SharedWork,
        holder: &str,
        heartbeat: i64,
    ) -> Result<Option<Grant>, DbErr> {
        let update = Query::update()
            .table(load_lease::Entity)
            .value(Column::Holder, claimant.holder.as_str())
            .value(Column::Instance, claimant.instance.as_str())
            .value(Column::ReadPosition, claimant.read_position)
            .value(Column::Heartbeat, 0)
            .value(Column::Outcome, None::<String>)
            .and_where(unmoved(&claimant.key, holder, heartbeat))
            .returning(self.taken(work))
            .to_owned();
        self.taking(self.dialect.build(&update)).await
    }

    /// Whether the work had been done before, and the database's time.
    fn taken(&self, work: &SharedWork) -> ReturningClause {
        Query::returning().exprs([work.done.clone(), self.dialect.now_ms()])
    }

    async fn taking(&self, statement: Statement) -> Result<Option<Grant>, DbErr> {
        let row = self.faults.through(FaultPoint::Lease, self.pool.query_one_raw(statement)).await?;
        let taken = |row: QueryResult| {
            let (done, now_ms) = row.try_get_many_by_index()?;
            Ok(Grant { done, now_ms })
        };
        row.map(taken).transpose()
    }

    /// The row of a key.
    pub(super) async fn find(&self, key: &str) -> Result<Option<LeaseRow>, DbErr> {
        let found = self.rows().filter(Column::Key.eq(key)).build(self.dialect.backend());
        let row = self.faults.through(FaultPoint::Lease, self.pool.query_one_raw(found)).await?;
        row.map(|row| read(&row)).transpose()
    }

    /// Rows with their keys.
    pub(super) async fn all(&self, rows_max: u64) -> Result<Vec<(String, LeaseRow)>, DbErr> {
        let all = self.rows().order_by_asc(Column::Key).limit(rows_max).build(self.dialect.backend());
        let rows = self.faults.through(FaultPoint::Lease, self.pool.query_all_raw(all)).await?;
        rows.iter().map(|row| Ok((row.try_get("", "key")?, read(row)?))).collect()
    }

    fn rows(&self) -> Select<load_lease::Entity> {
        load_lease::Entity::find().expr_as(self.dialect.now_ms(), "now_ms")
    }

    /// Moves the heartbeat; false if another instance holds the lease by now.
    pub(super) async fn heartbeat(&self, claimant: &Claimant) -> Result<bool, DbErr> {
        let moved = load_lease::Entity::update_many()
            .col_expr(Column::Heartbeat, Expr::col(Column::Heartbeat).add(1))
            .filter(held_by(claimant));
        Ok(self.change(moved.build(self.dialect.backend())).await? > 0)
    }

    /// Stores how the work ended without a result; false if another instance holds the lease by now.
    pub(super) async fn store_outcome(&self, claimant: &Claimant, outcome: String) -> Result<bool, DbErr> {
        let ended =
            load_lease::Entity::update_many().col_expr(Column::Outcome, outcome.into()).filter(held_by(claimant));
        Ok(self.change(ended.build(self.dialect.backend())).await? > 0)
    }

    /// Releases the lease.
    pub(super) async fn release(&self, claimant: &Claimant) -> Result<(), DbErr> {
        let released = load_lease::Entity::delete_many().filter(held_by(claimant));
        self.change(released.build(self.dialect.backend())).await.map(drop)
    }

    /// Deletes a row whose heartbeat has not moved; returns how many that were.
    pub(super) async fn delete(&self, key: &str, holder: &str, heartbeat: i64) -> Result<u64, DbErr> {
        let dead = load_lease::Entity::delete_many().filter(unmoved(key, holder, heartbeat));
        self.change(dead.build(self.dialect.backend())).await
    }

    /// Releases the leases of AI calls that an instance held which is gone. Returns how many.
    pub(super) async fn release_ai_calls_of(&self, instance: &str) -> Result<u64, DbErr> {
        let gone = load_lease::Entity::delete_many()
            .filter(Column::Instance.eq(instance))
            .filter(Column::Key.starts_with(AI_CALL));
        self.change(gone.build(self.dialect.backend())).await
    }

    /// Releases the leases of earlier processes at the place where `instance` runs. Returns how many.
    pub(super) async fn release_predecessors(&self, place: &str, instance: &str) -> Result<u64, DbErr> {
        let before = load_lease::Entity::delete_many()
            .filter(Column::Instance.starts_with(place))
            .filter(Column::Instance.ne(instance));
        self.change(before.build(self.dialect.backend())).await
    }

    async fn change(&self, statement: Statement) -> Result<u64, DbErr> {
        Ok(self.faults.through(FaultPoint::Lease, self.pool.execute_raw(statement)).await?.rows_affected())
    }
}

fn held_by(claimant: &Claimant) -> Expr {
    let of_holder = Column::Key.eq(claimant.key.as_str()).and(Column::Holder.eq(claimant.holder.as_str()));
    of_holder.and(Column::ReadPosition.eq(claimant.read_position))
}

fn unmoved(key: &str, holder: &str, heartbeat: i64) -> Expr {
    Column::Key.eq(key).and(Column::Holder.eq(holder)).and(Column::Heartbeat.eq(heartbeat))
}

fn read(row: &QueryResult) -> Result<LeaseRow, DbErr> {
    Ok(LeaseRow {
        holder: row.try_get("", "holder")?,
        instance: row.try_get("", "instance")?,
        read_position: row.try_get("", "read_position")?,
        heartbeat: row.try_get("", "heartbeat")?,
        outcome: row.try_get("", "outcome")?,
        now_ms: row.try_get("", "now_ms")?,
    })
}
