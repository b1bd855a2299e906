//! What a caller asks a lease for.

use sea_orm::Value;

/// A piece of work that one instance does for the whole cluster.
#[derive(Clone, Debug)]
pub struct SharedWork {
    /// The same on every instance.
    pub key: String,
    /// The position of the invalidation log at which the work would start to read.
    pub read_position: i64,
    /// The position of the last invalidation that concerns the work: a result read below it is outdated.
    pub last_invalidation: i64,
    /// Whether the result is already stored.
    pub done: DoneCheck,
}

/// A condition that the database evaluates while it grants a lease.
#[derive(Clone, Debug)]
pub struct DoneCheck {
    /// Its own parameters begin with `$7`; `$4` is [`SharedWork::last_invalidation`].
    pub sql: &'static str,
    /// Its own parameters.
    pub values: Vec<Value>,
}
