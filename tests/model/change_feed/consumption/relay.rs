//! A relay: reads the notes, the snapshot and `trimmed_below` in one statement, and commits to the log in one transaction.

use super::{Consumption, ConsumptionMutant, Progress, RESTART, Relay, Set, Snapshot, Stage, State, Step, step};
use crate::explore::Next;

impl Consumption {
    pub(super) fn relay(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let one = &state.relays[usize::from(at)];
        let mut after = *state;
        let own = &mut after.relays[usize::from(at)];
        match one.stage {
            Stage::Idle => {
                *own = Relay { must: state.sources.committed, before: self.stored(state, at), ..Relay::default() };
                if self.is(ConsumptionMutant::TrimmedBelowReadApart) {
                    own.stage = Stage::Half;
                    own.trimmed_below = state.sources.trimmed_below;
                    next.push(step(Step::Half(at), after));
                } else if self.is(ConsumptionMutant::SnapshotAfterTheNotes) {
                    own.stage = Stage::Half;
                    own.rows = self.rows(state, own.before);
                    next.push(step(Step::Half(at), after));
                } else {
                    own.trimmed_below = state.sources.trimmed_below;
                    own.rows = self.rows(state, own.before);
                    self.read(state, own);
                    next.push(step(Step::Read(at), after));
                }
            }
            Stage::Half => {
                if self.is(ConsumptionMutant::TrimmedBelowReadApart) {
                    own.rows = self.rows(state, own.before);
                }
                self.read(state, own);
                next.push(step(Step::Read(at), after));
            }
            Stage::Read | Stage::HalfDone => self.store(state, at, next),
        }
        if one.stage != Stage::Idle && state.deaths < self.deaths {
            let mut dead = *state;
            dead.deaths += 1;
            dead.relays[usize::from(at)] = Relay::default();
            next.push(step(Step::Die(at), dead));
        }
    }

    fn cluster_of(&self, at: u8) -> usize {
        usize::from(self.relays[usize::from(at)])
    }

    fn stored(&self, state: &State, at: u8) -> Snapshot {
        state.clusters[self.cluster_of(at)].stored
    }

    /// The notes that the statement returns. After a new start of the server, all that are there.
    fn rows(&self, state: &State, before: Snapshot) -> Set {
        let sources = &state.sources;
        let restarted = before.start != sources.start && !self.is(ConsumptionMutant::IgnoresAStart);
        let mut rows = if restarted { RESTART } else { 0 };
        let all = restarted && !self.is(ConsumptionMutant::TrustsNumbersAfterAStart);
        for (index, one) in sources.transactions.iter().enumerate() {
            let is_there = one.progress == Progress::Committed && sources.notes & 1 << index != 0;
            let is_new = match self.is(ConsumptionMutant::OnlyTheHighestNumber) {
                true => one.number >= before.next,
                false => !before.sees(one.number),
            };
            if is_there && (is_new || all) {
                rows |= 1 << index;
            }
        }
        rows
    }

    fn read(&self, state: &State, own: &mut Relay) {
        own.stage = Stage::Read;
        own.read = state.sources.snapshot();
        let trimmed = own.before.all_below() < own.trimmed_below && !self.is(ConsumptionMutant::IgnoresTrimming);
        let restored = own.before.timeline != own.read.timeline && !self.is(ConsumptionMutant::IgnoresTheTimeline);
        own.gap = own.before.next == 0 || trimmed || restored;
    }

    fn store(&self, state: &State, at: u8, next: &mut Vec<Next<Self>>) {
        let one = state.relays[usize::from(at)];
        let index = self.cluster_of(at);
        let mut after = *state;
        after.relays[usize::from(at)] = Relay::default();
        let same = state.clusters[index].stored == one.before || self.is(ConsumptionMutant::NoCompareAndSet);
        if one.stage == Stage::HalfDone {
            let broken = self.store_rest(state, &mut after, at);
            next.push(Next { step: Step::StoreRest(at), state: after, broken });
            return;
        }
        if !same {
            next.push(step(Step::Store(at), after));
            return;
        }
        let own = &mut after.clusters[index];
        let mut broken = None;
        if one.gap {
            let registered = one.before.next > 0 && state.restores == 0;
            broken = (registered && !own.excused).then(|| "a registered consumer has to begin a new epoch".to_owned());
            own.known = state.sources.committed;
            own.appended = 0;
            own.excused |= after.sources.consumers[index].next == 0;
        }
        let apart = match self.mutant {
            Some(ConsumptionMutant::StoredBeforeAppended | ConsumptionMutant::StoredAfterAppended) => true,
            Some(ConsumptionMutant::EpochBeforeSnapshot) => one.gap,
            _ => false,
        };
        if apart {
            after.relays[usize::from(at)] = Relay { stage: Stage::HalfDone, ..one };
        }
        if !one.gap && !self.is(ConsumptionMutant::StoredBeforeAppended) {
            broken = broken.or(append(&mut after, index, &one));
        }
        if !apart || self.is(ConsumptionMutant::StoredBeforeAppended) {
            after.clusters[index].stored = one.read;
        }
        if !apart {
            broken = broken.or(counts(&after, index, one.must));
        }
        next.push(Next { step: Step::Store(at), state: after, broken });
    }

    /// (Broken variants only) the second of two commits.
    fn store_rest(&self, state: &State, after: &mut State, at: u8) -> Option<String> {
        let one = &state.relays[usize::from(at)];
        let index = self.cluster_of(at);
        match self.mutant {
            Some(ConsumptionMutant::StoredBeforeAppended) => {
                append(after, index, one).or_else(|| counts(after, index, one.must))
            }
            Some(ConsumptionMutant::EpochBeforeSnapshot) => {
                after.clusters[index].stored = state.sources.snapshot();
                None
            }
            _ => {
                after.clusters[index].stored = one.read;
                counts(after, index, one.must)
            }
        }
    }
}

/// Appends the invalidations of the notes. Returns the promise that this breaks.
fn append(state: &mut State, cluster: usize, relay: &Relay) -> Option<String> {
    let own = &mut state.clusters[cluster];
    let repeated = own.appended & relay.rows;
    own.known |= relay.rows;
    own.appended |= relay.rows;
    let excused = relay.rows & RESTART != 0;
    (repeated != 0 && !excused).then(|| format!("changes {repeated:b} are invalidated twice"))
}

/// The round counts: what was committed when it began has to bind every document. Returns the promise that this breaks.
fn counts(state: &State, cluster: usize, must: Set) -> Option<String> {
    let missed = must & !state.clusters[cluster].known;
    // What the sources have lost since the round began concerns no document that is read from now on.
    let missed = missed & (state.sources.committed | RESTART);
    (missed != 0).then(|| format!("a round of cluster {cluster} counts without changes {missed:b}"))
}
