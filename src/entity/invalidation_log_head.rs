//! `invalidation_log_head`: a single row, whose lock orders the commits of invalidations.

use sea_orm::entity::prelude::*;

/// The row's `id`.
pub const ID: i32 = 1;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "invalidation_log_head")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    pub epoch: String,
    /// Of the newest invalidation.
    pub position: i64,
    /// Documents read below it are refused.
    pub low_watermark: i64,
    /// The lease that all instances agree on.
    pub lease_ms: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
