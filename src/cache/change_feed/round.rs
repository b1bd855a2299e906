//! A round of the change feed: one reading of the outbox by the instance that holds it.

use crate::model::SectionSet;

/// The newest row of `change_feed_round`, as a poll has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) number: i64,
    /// A random number for each takeover; [`Round::STOPPED`] if the holder has stopped.
    pub(crate) holder: i64,
    /// The last round that is complete: what was committed in the sources before it was inserted is in the log.
    pub(crate) completed: i64,
    /// When the table was empty last. Numbers of different births cannot be compared.
    pub(crate) birth: i64,
    /// Sections of tables without triggers.
    pub(crate) unwatched: SectionSet,
}

impl Round {
    /// The holder of a round after which the next instance need not wait.
    pub(crate) const STOPPED: i64 = 0;
}

/// The change feed, as the statement that reads the log's head finds it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FeedHead {
    /// Whether this cluster has ever read an outbox.
    pub(crate) is_registered: bool,
    /// None before the first round, after a crash of the database, and in SQLite, where there are no rounds.
    pub(crate) newest: Option<Round>,
}
