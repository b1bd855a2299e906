//! The table of wrapped keys, one row per user, in a database of its own.
//!
//! A row is made once: of several instances that make one at the same time, the first one's stays. Only a purge deletes
//! it. Nothing else replaces a key: an instance with an old file of master keys would destroy those it cannot unwrap.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{Expr, ExprTrait, OnConflict},
};

use super::{key_holder::KeyHolder, user_key::KeyId};
use crate::{
    database::{self, Dialect, Pool},
    entity::user_key::{ActiveModel, Column, Entity},
};

/// Before SQLite's write-ahead log is tried to be emptied again: a reader needed it.
const JOURNAL_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub(super) struct KeyTable {
    pool: Pool,
}

/// The wrapped key of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyRow {
    pub(super) id: KeyId,
    /// The name of the master key that wraps it.
    pub(super) master: String,
    /// Base64.
    pub(super) wrapped: String,
}

impl KeyRow {
    fn read((id, master, wrapped): (String, String, String)) -> Result<Self, DbErr> {
        let id = KeyId::from_hex(&id).ok_or_else(|| DbErr::Type("user_key.key_id is no id of a key".to_owned()))?;
        Ok(Self { id, master, wrapped })
    }
}

impl KeyTable {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    pub(super) async fn find(&self, holder: &KeyHolder) -> Result<Option<KeyRow>, DbErr> {
        let row = Entity::find_by_id(holder.to_hex())
            .select_only()
            .columns([Column::KeyId, Column::MasterKey, Column::Wrapped])
            .into_tuple()
            .one(&self.pool)
            .await?;
        row.map(KeyRow::read).transpose()
    }

    /// Stores a user's key unless there is one.
    pub(super) async fn insert(&self, holder: &KeyHolder, row: &KeyRow) -> Result<bool, DbErr> {
        let row = ActiveModel {
            user_digest: Set(holder.to_hex()),
            key_id: Set(row.id.to_hex()),
            master_key: Set(row.master.clone()),
            wrapped: Set(row.wrapped.clone()),
            ..Default::default()
        };
        let first = OnConflict::column(Column::UserDigest).do_nothing().to_owned();
        let insert = Entity::insert(row).on_conflict(first).build(Dialect::of(&self.pool).backend());
        let inserted = database::repeat_while(database::is_busy, || self.pool.execute_raw(insert.clone())).await?;
        Ok(inserted.rows_affected() > 0)
    }

    /// Deletes a user's key, so that it is gone after a failover and from SQLite's files too.
    pub(super) async fn delete(&self, holder: &KeyHolder) -> Result<bool, DbErr> {
        let delete = || async {
            let transaction = self.pool.begin_durable().await?;
            let deleted = Entity::delete_by_id(holder.to_hex()).exec(&transaction).await?;
            transaction.commit().await?;
            Ok(deleted.rows_affected > 0)
        };
        let deleted = database::repeat_while(database::is_busy, delete).await?;
        while !database::empty_journal(&self.pool).await? {
            tokio::time::sleep(JOURNAL_PAUSE).await;
        }
        Ok(deleted)
    }

    /// One look, to see whether the database answers.
    pub(super) async fn ping(&self) -> Result<(), DbErr> {
        self.pool.query_one_raw(Dialect::of(&self.pool).statement("SELECT 1", [])).await.map(drop)
    }

    /// How many keys each master key wraps.
    pub(super) async fn count_by_master(&self) -> Result<Vec<(String, i64)>, DbErr> {
        let counts = Entity::find()
            .select_only()
            .column(Column::MasterKey)
            .column_as(Expr::col(Column::UserDigest).count(), "keys")
            .group_by(Column::MasterKey)
            .order_by_asc(Column::MasterKey);
        counts.into_tuple().all(&self.pool).await
    }

    /// Some keys that this master key wraps.
    pub(super) async fn wrapped_by(&self, master: &str, rows_max: u64) -> Result<Vec<(KeyHolder, KeyRow)>, DbErr> {
        self.rows(Column::MasterKey.eq(master), None, rows_max).await
    }

    /// Keys that other master keys than this one wrap, from the user after `after` on.
    pub(super) async fn wrapped_by_others(
        &self,
        master: &str,
        after: Option<KeyHolder>,
        rows_max: u64,
    ) -> Result<Vec<(KeyHolder, KeyRow)>, DbErr> {
        self.rows(Column::MasterKey.ne(master), after, rows_max).await
    }

    async fn rows(
        &self,
        of_master: Expr,
        after: Option<KeyHolder>,
        rows_max: u64,
    ) -> Result<Vec<(KeyHolder, KeyRow)>, DbErr> {
        let rows: Vec<(String, String, String, String)> = Entity::find()
            .select_only()
            .columns([Column::UserDigest, Column::KeyId, Column::MasterKey, Column::Wrapped])
            .filter(of_master)
            .apply_if(after, |rows, after| rows.filter(Column::UserDigest.gt(after.to_hex())))
            .order_by_asc(Column::UserDigest)
            .limit(rows_max)
            .into_tuple()
            .all(&self.pool)
            .await?;
        let read = |(holder, id, master, wrapped): (String, String, String, String)| {
            let holder = KeyHolder::from_hex(&holder)
                .ok_or_else(|| DbErr::Type("user_key.user_digest is no digest".to_owned()))?;
            Ok((holder, KeyRow::read((id, master, wrapped))?))
        };
        rows.into_iter().map(read).collect()
    }

    /// Replaces the wrapping of a key, if it is still as it was read.
    pub(super) async fn rewrap(&self, holder: &KeyHolder, was: &KeyRow, is: &KeyRow) -> Result<bool, DbErr> {
        let update = || {
            Entity::update_many()
                .col_expr(Column::MasterKey, Expr::value(is.master.clone()))
                .col_expr(Column::Wrapped, Expr::value(is.wrapped.clone()))
                .filter(Column::UserDigest.eq(holder.to_hex()))
                .filter(Column::KeyId.eq(was.id.to_hex()))
                .filter(Column::Wrapped.eq(was.wrapped.clone()))
                .exec(&self.pool)
        };
        Ok(database::repeat_while(database::is_busy, update).await?.rows_affected > 0)
    }
}
