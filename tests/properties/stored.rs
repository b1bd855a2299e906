//! What lies in the shared tiers, looked at from outside: a partial document is never in the place of a complete one
//! that nothing has outdated.

use crate::script::Step;

/// A document in Redis or in the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) tier: &'static str,
    pub(crate) key: String,
    /// Which log its tags are of.
    pub(crate) log: String,
    pub(crate) complete: bool,
    /// When it was assembled, as the tier writes it.
    pub(crate) as_of: String,
    /// Its highest tag.
    pub(crate) read_position: i64,
}

/// Everything stored at one moment, and the invalidation log's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stock {
    pub(crate) head: i64,
    pub(crate) documents: Vec<Stored>,
}

impl Stock {
    /// What a step has done to it that it must not; `quiet`: no invalidation was under way.
    pub(crate) fn judge(&self, step: Step, after: &Self, quiet: bool) -> Result<(), String> {
        // The tiers' own doing.
        if matches!(step, Step::Redis(_) | Step::Table(_) | Step::LoseCommits) || !quiet || self.head != after.head {
            return Ok(());
        }
        for before in self.documents.iter().filter(|before| before.complete) {
            // A row below some invalidation may be of no use to the writer that replaces it.
            if before.read_position < self.head {
                continue;
            }
            let place =
                |other: &&Stored| (other.tier, &other.key, &other.log) == (before.tier, &before.key, &before.log);
            if let Some(now) = after.documents.iter().find(place).filter(|now| !now.complete) {
                return Err(format!("{now:?} is in the place of {before:?}"));
            }
        }
        Ok(())
    }
}
