//! `comprehensive_user_data_cache`: one row per user, strategy and parameters (data.md, section 3).

use sea_orm::entity::prelude::*;

/// A row. Times are UTC by the database's clock, but for `as_of`, which is the assembling instance's.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "comprehensive_user_data_cache")]
pub struct Model {
    /// Its number; nothing refers to it.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The user.
    pub user_id: String,
    /// The strategy as asked for.
    pub strategy_id: Option<i64>,
    /// Of user, strategy and parameters.
    pub data_hash: String,
    /// The document as JSON.
    pub comprehensive_data: Json,
    /// When it was stored.
    pub created_at: DateTime,
    /// When it stops being fresh.
    pub expires_at: DateTime,
    /// The latest access that the tally has written.
    pub last_accessed: DateTime,
    /// Accesses in any tier.
    pub access_count: i64,
    /// `strategy_id`, or 0: NULLs would be distinct in the unique index.
    pub strategy_key: i64,
    /// The highest read position of a section.
    pub read_position: i64,
    /// The start of the assembly.
    pub as_of: DateTime,
    /// The epoch of the log that the read positions belong to.
    pub log_epoch: String,
    /// How each section came about, and its read position.
    pub sections: Json,
    /// No section is STALE or FAILED.
    pub complete: bool,
    /// Version of this layout.
    pub format: i32,
}

/// Nothing refers to a row.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
