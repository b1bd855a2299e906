//! `load_lease`: one row per piece of work that an instance does for the whole cluster.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "load_lease")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// A new UUID for each claim.
    pub holder: String,
    /// The process that holds it: where it runs, and a random number.
    pub instance: String,
    pub read_position: i64,
    /// Moves while the holder is alive.
    pub heartbeat: i64,
    /// JSON as text: how the work ended without a result.
    pub outcome: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
