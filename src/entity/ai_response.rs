//! `ai_response_cache`: validated AI responses by a hash of the request.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "ai_response_cache")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_hash: String,
    /// The user whose load made the call.
    pub user_id: String,
    pub model: String,
    pub prompt_version: String,
    pub response: Json,
    pub prompt_tokens: Option<i32>,
    pub completion_tokens: Option<i32>,
    pub created_at: DateTime,
    /// Written at most once a day.
    pub last_used_at: DateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
