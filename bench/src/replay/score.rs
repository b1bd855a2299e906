//! The score of a way to answer reads.

use super::trace::is_in_half;

/// Counts of all users.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Score {
    all: Counts,
    half: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    reads: u32,
    fresh: u32,
    stale: u32,
    ai_calls: u32,
}

/// How a read was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With a cached document that has every earlier change.
    Fresh,
    /// With a document that lacks a change.
    Stale,
    /// With a document that had to be loaded.
    Loaded,
}

impl Score {
    pub(crate) fn read(&mut self, user: u32, answer: Answer) {
        for counts in self.of(user) {
            counts.reads += 1;
            counts.fresh += u32::from(answer == Answer::Fresh);
            counts.stale += u32::from(answer == Answer::Stale);
        }
    }

    pub(crate) fn ai_calls(&mut self, user: u32, calls: u32) {
        for counts in self.of(user) {
            counts.ai_calls += calls;
        }
    }

    fn of(&mut self, user: u32) -> impl Iterator<Item = &mut Counts> {
        std::iter::once(&mut self.all).chain(is_in_half(user).then_some(&mut self.half))
    }
}

type Share = fn(&Score) -> String;

/// The table's rows.
pub(crate) const ROWS: [(&str, Share); 6] = [
    ("fresh hits", |score| share(score.all.fresh, score.all)),
    ("stale reads", |score| share(score.all.stale, score.all)),
    ("AI calls", |score| share(score.all.ai_calls, score.all)),
    ("fresh hits, half of cases", |score| share(score.half.fresh, score.half)),
    ("stale reads, half of cases", |score| share(score.half.stale, score.half)),
    ("AI calls, half of cases", |score| share(score.half.ai_calls, score.half)),
];

fn share(part: u32, of: Counts) -> String {
    if part == 0 { "0".to_owned() } else { format!("{:.3}", f64::from(part) / f64::from(of.reads.max(1))) }
}
