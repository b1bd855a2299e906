//! The sources: writers, consumer rows, trimming, and what can happen to the databases.

use super::{
    CLUSTERS, Consumption, ConsumptionMutant, Progress, RESTART, RESTORED, Snapshot, Sources, Stage, State, Step, step,
};
use crate::explore::Next;

impl Sources {
    pub(super) fn snapshot(&self) -> Snapshot {
        let running = self.transactions.iter().filter(|one| one.progress == Progress::Running);
        let running = running.fold(0, |set, one| set | 1 << one.number);
        Snapshot { next: self.next, running, timeline: self.timeline, start: self.start }
    }

    /// Transactions lose their effects.
    fn lose(&mut self, is_lost: impl Fn(Progress, u8) -> bool) {
        for (index, one) in self.transactions.iter_mut().enumerate() {
            if one.progress == Progress::Running || is_lost(one.progress, one.number) {
                (one.progress, one.number) = (Progress::Gone, 0);
                self.notes &= !(1 << index);
                self.committed &= !(1 << index);
            }
        }
        self.start += 1;
        self.committed |= RESTART;
    }
}

impl Consumption {
    pub(super) fn writers(&self, state: &State, next: &mut Vec<Next<Self>>) {
        for index in 0..self.transactions {
            let one = state.sources.transactions[index];
            let mut after = *state;
            let sources = &mut after.sources;
            let own = &mut sources.transactions[index];
            match one.progress {
                // They do not differ, so the first one begins first.
                Progress::Idle if index == 0 || state.sources.transactions[index - 1].progress != Progress::Idle => {
                    (own.progress, own.number) = (Progress::Running, sources.next);
                    sources.next += 1;
                    next.push(step(Step::Begin(index as u8), after));
                }
                Progress::Running => {
                    let mut gone = *state;
                    gone.sources.transactions[index].progress = Progress::Gone;
                    gone.sources.transactions[index].number = 0;
                    next.push(step(Step::RollBack(index as u8), gone));
                    own.progress = Progress::Committed;
                    sources.notes |= 1 << index;
                    sources.committed |= 1 << index;
                    next.push(step(Step::Commit(index as u8), after));
                }
                Progress::Idle | Progress::Committed | Progress::Gone => {}
            }
        }
    }

    /// The consumer row of a cluster, and trimming.
    pub(super) fn consumer_row(&self, state: &State, cluster: u8, next: &mut Vec<Next<Self>>) {
        let index = usize::from(cluster);
        let ahead = self.is(ConsumptionMutant::ReportsBeforeItIsStored);
        let reading = self.relays.iter().position(|of| *of == cluster).map(|at| state.relays[at]);
        let reading = reading.filter(|one| ahead && one.stage == Stage::Read && !one.gap).map(|one| one.read);
        let consumed = reading.unwrap_or(state.clusters[index].stored);
        if consumed.next > 0 && consumed != state.sources.consumers[index] {
            let mut after = *state;
            after.sources.consumers[index] = consumed;
            after.clusters[index].excused &= consumed.all_below() < state.sources.trimmed_below;
            next.push(step(Step::Report(cluster), after));
        }
        if state.trims < self.trims && state.sources.trimming == 0 {
            self.trim(state, cluster, next);
        }
        if state.drops < self.drops && state.sources.consumers[index].next > 0 {
            let mut after = *state;
            after.drops += 1;
            after.sources.consumers[index] = Snapshot::default();
            next.push(step(Step::Drop(cluster), after));
        }
    }

    fn trim(&self, state: &State, cluster: u8, next: &mut Vec<Next<Self>>) {
        let itself = self.is(ConsumptionMutant::TrimsForItself);
        let consumers = (0..CLUSTERS).filter(|other| !itself || *other == usize::from(cluster));
        let consumers = consumers.map(|other| state.sources.consumers[other]).filter(|one| one.next > 0);
        // Numbers of another start of the server may be given again: such a row says nothing about the notes of now.
        let is_comparable =
            |one: Snapshot| one.start == state.sources.start || self.is(ConsumptionMutant::TrimsByRowsOfAnotherStart);
        let mut consumers = consumers.map(|one| (one.all_below(), is_comparable(one)));
        let Some((below, true)) = consumers.by_ref().reduce(|one, two| (one.0.min(two.0), one.1 && two.1)) else {
            return;
        };
        if below <= state.sources.trimmed_below {
            return;
        }
        let mut after = *state;
        after.trims += 1;
        for (one, consumer) in after.clusters.iter_mut().zip(&state.sources.consumers) {
            one.excused |= consumer.next == 0;
        }
        for (index, one) in state.sources.transactions.iter().enumerate() {
            if one.progress == Progress::Committed && one.number < below {
                after.sources.notes &= !(1 << index);
            }
        }
        if self.is(ConsumptionMutant::RaisedAfterTrimming) {
            after.sources.trimming = below;
        } else {
            after.sources.trimmed_below = below;
        }
        next.push(step(Step::Trim(cluster), after));
    }

    pub(super) fn faults(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let sources = &state.sources;
        if sources.trimming > 0 {
            let mut after = *state;
            after.sources.trimmed_below = sources.trimming;
            after.sources.trimming = 0;
            next.push(step(Step::Raise, after));
        }
        if state.crashes < self.crashes {
            // The last commits were not flushed, nor were the numbers of transactions that rolled back. What is trimmed was
            // consumed 10 minutes before.
            for back in 0..=(sources.next - sources.trimmed_below.max(1)).min(2) {
                let mut after = *state;
                after.crashes += 1;
                after.sources.next -= back;
                let first_lost = after.sources.next;
                after.sources.lose(|progress, number| progress == Progress::Committed && number >= first_lost);
                next.push(step(Step::Crash(back), after));
            }
        }
        if state.restores < self.restores {
            let mut after = *state;
            after.restores += 1;
            after.sources.lose(|progress, _| progress == Progress::Committed);
            after.sources.committed |= RESTORED;
            after.sources.next = 1;
            after.sources.timeline += 1;
            after.sources.trimmed_below = 0;
            after.sources.consumers = self.first(|first| first.sources.consumers);
            next.push(step(Step::Restore, after));
        }
        for cluster in 0..self.clusters() {
            if state.log_restores < self.log_restores {
                let mut after = *state;
                after.log_restores += 1;
                after.clusters[cluster] = self.first(|first| first.clusters[cluster]);
                after.clusters[cluster].excused = true;
                // The log has lost entries, and an instance begins a new epoch.
                after.clusters[cluster].known = sources.committed;
                next.push(step(Step::RestoreLog(cluster as u8), after));
            }
        }
    }

    fn first<T>(&self, of: impl Fn(&State) -> T) -> T {
        of(&crate::explore::Model::start(self))
    }
}
