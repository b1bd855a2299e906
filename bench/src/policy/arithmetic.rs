//! Two bounds: a tier should be above the first, and cannot be above the second.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::trace::{Step, Trace};

/// No further read before its next change.
const NEVER: usize = usize::MAX;

/// Hits of LRU: it evicts the least recently used document, and a changed one at once.
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

/// Hits of a tier that knows the future, and evicts the document whose next read is furthest (Belady, 1966). It may
/// decline to keep a document, and keeps none that changes before its next read.
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

/// For each step, the next read of its document without a change between.
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
