//! The table of rounds: who reads the outbox for the cluster.
//!
//! The key is the compare-and-set: two instances that would continue the same round insert the same number, and one of
//! them inserts nothing. The row before it is the condition: an insert that arrives late, after the table was lost, finds
//! another newest row. If nothing is inserted, another instance has taken over.

use sea_orm::{ConnectionTrait, DbErr};

use super::round::Round;
use crate::{
    database::{Dialect, Pool},
    model::SectionSet,
};

/// Rows that are kept behind the newest one, and deleted at once beyond twice as many.
const KEPT: i64 = 1000;

const INSERT: &str = include_str!("insert_round.postgres.sql");
const INSERT_FIRST: &str = include_str!("insert_first_round.postgres.sql");
const DELETE_OLD: &str = "DELETE FROM change_feed_round WHERE round <= $1";

/// The table, in the log's database.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    pool: Pool,
}

impl Rounds {
    /// None if the log is in SQLite, where there are no rounds.
    #[cfg_attr(feature = "shuttle", expect(dead_code, reason = "the tables in memory have no rounds"))]
    pub(crate) fn of(log: &Pool) -> Option<Self> {
        (!Dialect::of(log).is_sqlite()).then(|| Self { pool: log.clone() })
    }

    /// Begins the first round of a table that is empty, as this holder's. `birth` has to differ from every earlier one.
    pub(crate) async fn begin(&self, holder: i64, birth: i64) -> Result<Option<Round>, DbErr> {
        let first = Round { number: 1, holder, completed: 0, birth, unwatched: SectionSet::NONE };
        let values = [first.number.into(), holder.into(), birth.into()];
        self.inserted(INSERT_FIRST, values, first).await
    }

    /// Takes over after `newest`, or goes on after one's own: that round is not complete.
    pub(crate) async fn begin_after(&self, newest: Round, holder: i64) -> Result<Option<Round>, DbErr> {
        self.insert_after(newest, Round { number: newest.number + 1, holder, ..newest }).await
    }

    /// Ends the round in which the outbox began to be read: everything is in the log. Begins the next one after `newest`.
    pub(crate) async fn complete(
        &self,
        began_in: Round,
        newest: Round,
        unwatched: SectionSet,
    ) -> Result<Option<Round>, DbErr> {
        let next = Round { number: newest.number + 1, completed: began_in.number, unwatched, ..newest };
        let inserted = self.insert_after(newest, next).await?;
        if inserted.is_some() && next.number % KEPT == 0 {
            let old = self.dialect().statement(DELETE_OLD, [(next.number - KEPT).into()]);
            self.pool.execute_raw(old).await?;
        }
        Ok(inserted)
    }

    /// Another instance may take over at once.
    pub(crate) async fn stop(&self, round: Round) -> Result<(), DbErr> {
        let stopped = Round { number: round.number + 1, holder: Round::STOPPED, ..round };
        self.insert_after(round, stopped).await.map(drop)
    }

    async fn insert_after(&self, before: Round, next: Round) -> Result<Option<Round>, DbErr> {
        let values = [
            next.number.into(),
            next.holder.into(),
            next.completed.into(),
            next.unwatched.bits().into(),
            before.number.into(),
            before.holder.into(),
            before.birth.into(),
        ];
        self.inserted(INSERT, values, next).await
    }

    async fn inserted<const N: usize>(
        &self,
        sql: &str,
        values: [sea_orm::Value; N],
        round: Round,
    ) -> Result<Option<Round>, DbErr> {
        let done = self.pool.execute_raw(self.dialect().statement(sql, values)).await?;
        Ok((done.rows_affected() == 1).then_some(round))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }
}
