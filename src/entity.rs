//! SeaORM entities. Where the builder would hide the SQL, statements are written as SQL instead.

pub mod cache_entry;
