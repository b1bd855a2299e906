//! What the trace comes to without a cache, with one that knows only time, and with one that knows the future.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    score::{Answer, Score},
    trace::{Event, Kind},
};

/// Every read assembles, and asks the AI.
pub(crate) fn no_cache(events: &[Event]) -> Score {
    let mut score = Score::default();
    for event in reads(events) {
        score.read(event.user, Answer::Loaded);
        score.ai_calls(event.user, 1);
    }
    score
}

/// A document is served for so long after it was loaded, whatever has changed; each load asks the AI.
pub(crate) fn ttl(events: &[Event], ttl: Duration) -> Score {
    let mut score = Score::default();
    let (mut loaded, mut changed) = (HashMap::new(), HashSet::new());
    for event in events {
        if event.kind != Kind::Read {
            changed.insert(event.user);
            continue;
        }
        let answer = match loaded.get(&event.user) {
            Some(at) if event.at < *at + ttl && changed.contains(&event.user) => Answer::Stale,
            Some(at) if event.at < *at + ttl => Answer::Fresh,
            _ => Answer::Loaded,
        };
        if answer == Answer::Loaded {
            loaded.insert(event.user, event.at);
            changed.remove(&event.user);
            score.ai_calls(event.user, 1);
        }
        score.read(event.user, answer);
    }
    score
}

/// A user's document has been read before, and is assembled anew at once after a change exactly if it is read before
/// the next one. It never grows old, and the AI is asked when what it was asked about has changed.
pub(crate) fn oracle(events: &[Event]) -> Score {
    let mut score = Score::default();
    let (mut known, mut unanalysed) = (HashSet::new(), HashSet::new());
    for event in events {
        match event.kind {
            Kind::Read => {
                let first = known.insert(event.user);
                score.read(event.user, if first { Answer::Loaded } else { Answer::Fresh });
                // Whoever assembled for this read, then or before, asked the AI.
                score.ai_calls(event.user, u32::from(first || unanalysed.remove(&event.user)));
                unanalysed.remove(&event.user);
            }
            Kind::Strategy => {
                unanalysed.insert(event.user);
            }
            Kind::Recommendations => {}
        }
    }
    score
}

fn reads(events: &[Event]) -> impl Iterator<Item = &Event> {
    events.iter().filter(|event| event.kind == Kind::Read)
}
