//! `change_feed`: a single row, which says what the cluster has consumed of the sources' outbox.

use sea_orm::entity::prelude::*;

/// The row's `id`.
pub const ID: i32 = 1;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "change_feed")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// The cluster's name in the outbox.
    pub cluster: String,
    /// What may stand there as this cluster's, separated by spaces.
    pub nonces: String,
    /// JSON. None: no outbox was ever read.
    pub consumed: Option<String>,
    /// Of what is consumed, for compare-and-set.
    pub version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
