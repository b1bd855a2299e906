//! `user_key`, in a database of its own: the key of each user, wrapped by a master key.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "user_key")]
pub struct Model {
    /// SHA-256 of the user's id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_digest: String,
    /// Names the key in the values that it encrypts.
    pub key_id: String,
    /// The name of the master key that wraps it.
    pub master_key: String,
    /// Base64.
    pub wrapped: String,
    pub created_at: DateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
