//! `invalidation_log`: one row per invalidation, without gaps.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "invalidation_log")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    /// None: every user.
    pub user_hash: Option<i64>,
    /// None: all of the user's documents.
    pub strategy_id: Option<i64>,
    /// A set of sections as bits.
    pub sections: i64,
    /// Tells a log that was restored and appended to from the one that an instance has read.
    pub nonce: i64,
    pub created_at: DateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
