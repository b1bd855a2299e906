//! Our own tables as SeaORM entities: statements name tables and columns through them. The migrations create the tables.

pub mod ai_response;
pub mod cache_entry;
pub mod change_feed;
pub mod invalidation;
pub mod invalidation_log_head;
pub mod load_lease;
pub mod user_key;
