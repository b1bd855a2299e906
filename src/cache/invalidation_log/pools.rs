//! Connections to the log's database.

use crate::database::Pool;

/// Two pools, because what one connection has committed has to be read over another: a connection that believes in its
/// commit, although the database has undone it, would also find it.
#[derive(Clone, Debug)]
pub struct LogPools {
    pub reads: Pool,
    pub commits: Pool,
}
