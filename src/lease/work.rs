//! The work that a lease is for, and what a claim and its row consist of.

use sea_orm::sea_query::Expr;

/// With this the key of a call to a model begins. A load waits for it, so a load that is taken over takes it along.
pub const AI_CALL: &str = "ai:";

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

/// One claim to one piece of work. Each claim is a holder of its own, so that not even the same instance mistakes a
/// later lease for this one.
#[derive(Clone, Debug)]
pub(super) struct Claimant {
    pub(super) key: String,
    pub(super) holder: String,
    #[cfg_attr(feature = "shuttle", expect(dead_code, reason = "Shuttle's instances do not restart"))]
    pub(super) instance: String,
    pub(super) read_position: i64,
}

impl Claimant {
    pub(super) fn new(work: &SharedWork, instance: &str) -> Self {
        Self {
            key: work.key.clone(),
            holder: uuid::Uuid::new_v4().to_string(),
            instance: instance.to_owned(),
            read_position: work.read_position,
        }
    }
}

/// What the database says about a lease that it granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    /// The result is already stored.
    pub(super) done: bool,
    pub(super) now_ms: i64,
}

#[derive(Clone, Debug)]
pub(super) struct LeaseRow {
    pub(super) holder: String,
    /// Empty: not known.
    pub(super) instance: String,
    pub(super) read_position: i64,
    pub(super) heartbeat: i64,
    pub(super) outcome: Option<String>,
    /// When the row was read, by the database's clock.
    pub(super) now_ms: i64,
}
