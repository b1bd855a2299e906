//! Two bounds, of which a tier should be above the one and cannot be above the other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::trace::{Step, Trace};

/// Not read again before it changes.
const NEVER: usize = usize::MAX;

/// Hits of a tier that gives up what was used least recently, and what has changed at once.
pub(super) fn lru(trace: &Trace, fit: usize) -> usize {
    let (mut used, mut by_use) = (HashMap::new(), BTreeMap::new());
    let mut hits = 0;
    for (now, step) in trace.steps.iter().enumerate() {
        match *step {
            Step::Change(document) => {
                if let Some(when) = used.remove(&document) {
                    by_use.remove(&when);
                }
            }
            Step::Read(document) => {
                if let Some(when) = used.insert(document, now) {
                    by_use.remove(&when);
                    hits += 1;
                }
                by_use.insert(now, document);
                if by_use.len() > fit {
                    let (_, least) = by_use.pop_first().expect("it is not empty");
                    used.remove(&least);
                }
            }
        }
    }
    hits
}

/// Hits of a tier that knows the future, and gives up what will be read again last (Belady, 1966). It may also decline
/// to hold what it has just read, and holds nothing that changes before it is read again.
pub(super) fn clairvoyant(trace: &Trace, fit: usize) -> usize {
    let next = next_reads(trace);
    let (mut held, mut by_next) = (HashMap::new(), BTreeSet::new());
    let mut hits = 0;
    for (now, step) in trace.steps.iter().enumerate() {
        let Step::Read(document) = *step else { continue };
        if let Some(when) = held.remove(&document) {
            by_next.remove(&(when, document));
            hits += 1;
        }
        if next[now] == NEVER {
            continue;
        }
        by_next.insert((next[now], document));
        held.insert(document, next[now]);
        if held.len() > fit {
            let (_, last) = by_next.pop_last().expect("it is not empty");
            held.remove(&last);
        }
    }
    hits
}

/// For each step, when its document is read next with no change between.
fn next_reads(trace: &Trace) -> Vec<usize> {
    let mut next = vec![NEVER; trace.steps.len()];
    let mut coming = vec![NEVER; trace.keys];
    for (now, step) in trace.steps.iter().enumerate().rev() {
        match *step {
            Step::Change(document) => coming[document] = NEVER,
            Step::Read(document) => next[now] = std::mem::replace(&mut coming[document], now),
        }
    }
    next
}
