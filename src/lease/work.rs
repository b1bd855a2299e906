//! What a caller asks a lease for.

use sea_orm::sea_query::Expr;

/// A piece of work that one instance does for the whole cluster.
#[derive(Clone, Debug)]
pub struct SharedWork {
    /// The same on every instance.
    pub key: String,
    /// The position of the invalidation log at which the work would start to read.
    pub read_position: i64,
    /// The position of the last invalidation that concerns the work: a result read below it is outdated.
    pub last_invalidation: i64,
    /// A condition: the result is already stored. The database evaluates it while it grants a lease.
    pub done: Expr,
}
