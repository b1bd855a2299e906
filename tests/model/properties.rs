//! The promises, as an outside observer checks them: what was called, acknowledged and asked for, when, and which
//! invalidations the answer knew. Except for P9, nothing here uses read positions, the log or leases.
//!
//! | promise | an answer must know an invalidation if, when its request arrived, |
//! |---|---|
//! | P1, P6 | the invalidation was acknowledged by the same instance (restarted since or not) |
//! | P3 | the request brought the invalidation's token |
//! | P2 | (verified answers) it had been committed for a lease's length, at any instance |
//! | P4 | (verified answers) it was acknowledged with WAIT_ALL, at any instance |
//! | linearizable | (always verified) it was acknowledged in any way, at any instance |
//!
//! P9 is about stored documents: a partial document never replaces a complete one that no invalidation has outdated.
//!
//! An invalidation that the database has lost binds the instance that acknowledged it while that instance lives. It
//! binds every instance again one lease after an instance that had applied it has started a new epoch.
//!
//! *To know* an invalidation: the reads of the sections that it concerns began after it was called.

use crate::{
    configurations::{Kind, ReadOptions},
    state::{INVALIDATIONS, Lost, Phase, Progress, Request, Set, Snapshot, State, names},
    step::Protocol,
};

impl Protocol {
    /// The invalidations that bind any answer, and those that bind a verified one.
    pub(crate) fn bound(&self, state: &State, at: u8, wish: ReadOptions) -> (Set, Set) {
        let (mut must, mut must_if_verified) = (0, 0);
        for (index, invalidation) in self.configuration.invalidations.iter().enumerate() {
            let one = &state.invalidations[index];
            let bit = 1 << index;
            let waited = one.since >= self.configuration.lease && self.configuration.time;
            let acknowledged = match invalidation.kind {
                Kind::Plain | Kind::WaitAll => one.progress == Progress::Done,
                Kind::Elsewhere => one.progress == Progress::Committed,
            };
            let known_at_home = matches!(one.lost, Lost::No | Lost::KnownAtHome | Lost::RenewedAndKnownAtHome);
            if acknowledged && one.at == at && known_at_home {
                must |= bit;
            }
            if wish.token == Some(index as u8) {
                must |= bit;
            }
            let committed = one.progress >= Progress::Committed && one.position > 0;
            let everywhere = match one.lost {
                Lost::No => {
                    committed && waited || acknowledged && (invalidation.kind == Kind::WaitAll || wish.linearizable)
                }
                // Lost by the database. An instance that had applied it has started a new epoch.
                Lost::Renewed | Lost::RenewedAndKnownAtHome => committed && waited,
                Lost::KnownAtHome | Lost::Forgotten => false,
            };
            if everywhere {
                must_if_verified |= bit;
            }
        }
        (must, must_if_verified)
    }

    /// Answers a request. Returns the promise that this breaks.
    pub(crate) fn answer(&self, state: &mut State, index: usize, snapshot: &Snapshot) -> Option<String> {
        let request = state.requests[index];
        let wish = self.configuration.requests[index];
        state.requests[index] = Request { phase: Phase::Answered, ..Request::default() };
        let needed = request.must | if request.verified { request.must_if_verified } else { 0 };
        for section in 0..self.configuration.sections {
            if wish.sections & 1 << section == 0 || (section == 1 && snapshot.partial) {
                continue;
            }
            let missing = needed & !snapshot.knows[section] & self.concerning(section);
            if missing != 0 {
                let promise = match (missing & request.must != 0, wish.token.is_some()) {
                    (true, true) => "P3",
                    (true, false) => "P1/P6",
                    (false, _) if wish.linearizable => "LINEARIZABLE",
                    (false, _) => "P2/P4",
                };
                let verified = if request.verified { "verified" } else { "unverified" };
                let text = format!(
                    "{promise}: request {index} got a {verified} answer whose section {section} was read before {} was called",
                    names(missing)
                );
                return Some(text);
            }
        }
        None
    }

    /// P9: a partial document never replaces a complete one that no invalidation has outdated.
    pub(crate) fn replaces_a_better_one(
        &self,
        state: &State,
        old: &Snapshot,
        new: &Snapshot,
        place: &str,
    ) -> Option<String> {
        let useful = old.is_there()
            && !old.partial
            && old.epoch == state.database.epoch
            && (0..self.configuration.sections).all(|section| {
                let concerning = self.concerning(section);
                let newest = (0..INVALIDATIONS).filter(|index| concerning & 1 << index != 0);
                newest
                    .map(|index| state.invalidations[index].position)
                    .all(|last_invalidation| old.read_position[section] >= last_invalidation)
            });
        (useful && new.partial)
            .then(|| format!("P9: in {place} a partial document replaced a complete one that is of use"))
    }

    fn concerning(&self, section: usize) -> Set {
        let all = self.configuration.invalidations.iter().enumerate();
        let set =
            all.filter(|(_, one)| self.concerns(one.sections, section)).fold(0, |set, (index, _)| set | 1 << index);
        set & self.all()
    }
}
