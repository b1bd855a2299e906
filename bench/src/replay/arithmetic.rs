//! The score of a trace without a cache, with a TTL, and with knowledge of the future.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    score::{Answer, Score},
    trace::{Event, Kind},
};

/// Every read assembles and calls the AI.
pub(crate) fn no_cache(events: &[Event]) -> Score {
    let mut score = Score::default();
    for event in reads(events) {
        score.read(event.user, Answer::Loaded);
        score.ai_calls(event.user, 1);
    }
    score
}

/// A document is served for the TTL after its load, whatever changes; each load calls the AI.
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

/// A document that was read before is loaded again at once after a change, exactly if a read comes before the next
/// change. It never expires. The AI is called when its input has changed.
pub(crate) fn oracle(events: &[Event]) -> Score {
    let mut score = Score::default();
    let (mut known, mut unanalysed) = (HashSet::new(), HashSet::new());
    for event in events {
        match event.kind {
            Kind::Read => {
                let first = known.insert(event.user);
                score.read(event.user, if first { Answer::Loaded } else { Answer::Fresh });
                // The load for this read, now or earlier, called the AI.
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
