//! What a cell cost: a line of the table, and the two differences that are judged.

use std::{fmt, time::Duration};

/// How long the calls of a wave took.
#[derive(Clone, Debug)]
pub(crate) struct Wave {
    /// Found in memory.
    pub(crate) memory: Vec<Duration>,
    /// Found below.
    pub(crate) tier: Vec<Duration>,
    /// Found nowhere.
    pub(crate) cold: Vec<Duration>,
}

/// A cell's figures.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) cell: String,
    /// The mark, without its 20 ms.
    pub(crate) timeout: Duration,
    /// Before the fault.
    pub(crate) whole: Wave,
    /// From its beginning.
    pub(crate) at_first: Wave,
    /// When the circuit of the broken part opens, if it does.
    pub(crate) later: Wave,
    pub(crate) recovery: Duration,
}

impl Figures {
    pub(crate) const HEAD: &str = "ms: ordinary median > worst at first > median later (marks: ordinary + timeout + 20, \
        ordinary + 5, 3000)\ncell                       timeout          memory               below                cold    recovery";

    /// What a call loses while the fault is new.
    pub(crate) fn lost_at_first(&self) -> Duration {
        self.lost(&self.at_first)
    }

    /// What a call loses once the fault is known.
    pub(crate) fn lost_later(&self) -> Duration {
        self.lost(&self.later)
    }

    /// Medians: one call alone may be late for any reason.
    fn lost(&self, broken: &Wave) -> Duration {
        let lost = self.waves(broken).map(|(ordinary, broken)| median(broken).saturating_sub(median(ordinary)));
        lost.into_iter().max().unwrap_or_default()
    }

    fn waves<'a>(&'a self, broken: &'a Wave) -> [(&'a [Duration], &'a [Duration]); 3] {
        let whole = &self.whole;
        [(&whole.memory, &broken.memory), (&whole.tier, &broken.tier), (&whole.cold, &broken.cold)]
            .map(|(ordinary, broken)| (&ordinary[..], &broken[..]))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<26} {:>7}", self.cell, self.timeout.as_millis())?;
        let columns = self.waves(&self.at_first).into_iter().zip(self.waves(&self.later));
        for ((whole, at_first), (_, later)) in columns {
            let [whole, at_first, later] = [median(whole), max(at_first), median(later)].map(ms);
            write!(f, "  {whole:>5.1} > {at_first:>6.1} > {later:>5.1}")?;
        }
        write!(f, "  {:>7.0}", ms(self.recovery))
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn max(calls: &[Duration]) -> Duration {
    calls.iter().copied().max().unwrap_or_default()
}

fn median(calls: &[Duration]) -> Duration {
    let mut sorted = calls.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
