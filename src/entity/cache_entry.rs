//! `comprehensive_user_data_cache`: one row per user, strategy and parameters (docs/data.md, section 3).

use sea_orm::entity::prelude::*;

/// Times are UTC by the database's clock, except `as_of`, which is the loading instance's.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "comprehensive_user_data_cache")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub user_id: String,
    /// As requested, not as resolved.
    pub strategy_id: Option<i64>,
    /// Of user, strategy and parameters.
    pub data_hash: String,
    /// The document as JSON.
    pub comprehensive_data: Json,
    pub created_at: DateTime,
    pub expires_at: DateTime,
    /// As of the last write of the access counts.
    pub last_accessed: DateTime,
    /// In all tiers, as of the last write of the access counts.
    pub access_count: i64,
    /// `strategy_id`, or 0 for none: NULLs would be distinct in the unique index.
    pub strategy_key: i64,
    /// The highest read position of a section.
    pub read_position: i64,
    /// The start of the load.
    pub as_of: DateTime,
    /// The epoch of the log that the read positions belong to; with a file per user, also the state of the file.
    pub log_epoch: String,
    /// What is known of each section beside its content.
    pub sections: Json,
    /// No section is STALE or FAILED.
    pub complete: bool,
    /// The version of this layout.
    pub format: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
