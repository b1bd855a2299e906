//! What a run has counted, and the line that says it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Of a whole run.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) seed: u64,
    pub(super) reads: u64,
    pub(super) unverified: u64,
    /// Reads by where the document came from.
    pub(super) statuses: BTreeMap<&'static str, u64>,
    /// Acknowledged ones.
    pub(super) invalidations: u64,
    pub(super) faults: u64,
    pub(super) violations: Vec<String>,
    /// Errors that a broken tier must not cause.
    pub(super) errors: Vec<String>,
    /// Lines of the servers' logs.
    pub(super) panics: Vec<String>,
    /// Errors that are legal, by what they are.
    pub(super) legal: BTreeMap<String, u64>,
    pub(super) by_notification: Vec<Duration>,
    pub(super) by_poll: Vec<Duration>,
    /// Of changes that were only committed.
    pub(super) by_feed: Vec<Duration>,
    pub(super) commits: u64,
    /// Of reads at an instance whose process was not disturbed.
    pub(super) latencies: Vec<Duration>,
    pub(super) source_runs: u64,
    /// How long after the end of a disturbance an error came that it still excuses.
    pub(super) slowest_recovery: Duration,
}

/// Figures that many write.
#[derive(Debug, Default)]
pub(super) struct Totals(Mutex<Figures>);

impl Totals {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Figures) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A share of the samples is at most this.
pub(super) fn percentile(samples: &[Duration], share: f64) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among some thousands"
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

impl Figures {
    /// Whether every promise held.
    pub(super) fn hold(&self) -> bool {
        self.violations.is_empty() && self.errors.is_empty() && self.panics.is_empty()
    }

    /// Less would show little.
    pub(super) fn reach_the_marks(&self) -> bool {
        self.reads >= 5000 && self.invalidations >= 200 && self.commits >= 50 && self.faults >= 15
    }

    /// Whether a run may end: notifications and polls were measured, too.
    pub(super) fn suffice(&self) -> bool {
        self.reach_the_marks() && self.by_notification.len() >= 30 && !self.by_poll.is_empty()
    }

    /// One line.
    pub(super) fn line(&self) -> String {
        let mut line = format!(
            "seed {}: reads {} (unverified {}), invalidations {}, commits {}, faults {}, violations {}",
            self.seed,
            self.reads,
            self.unverified,
            self.invalidations,
            self.commits,
            self.faults,
            self.violations.len(),
        );
        let samples = [
            ("by notification", &self.by_notification),
            ("by poll", &self.by_poll),
            ("by change feed", &self.by_feed),
            ("read latency", &self.latencies),
        ];
        for (name, samples) in samples {
            let ms = |share| percentile(samples, share).as_secs_f64() * 1e3;
            write!(line, ", {name} p50/p99/max {:.1}/{:.1}/{:.1} ms ({})", ms(0.5), ms(0.99), ms(1.0), samples.len())
                .expect("a String takes everything");
        }
        let legal: Vec<_> = self.legal.iter().map(|(what, times)| format!("{what} {times}")).collect();
        let statuses: Vec<_> = self.statuses.iter().map(|(what, times)| format!("{what} {times}")).collect();
        write!(
            line,
            ", source runs {}, errors caused by a tier {}, legal errors [{}], slowest recovery {:.2} s, reads by [{}]",
            self.source_runs,
            self.errors.len(),
            legal.join(", "),
            self.slowest_recovery.as_secs_f64(),
            statuses.join(", "),
        )
        .expect("a String takes everything");
        line
    }
}

#[test]
fn a_percentile_is_the_smallest_sample_that_reaches_its_share() {
    let samples: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
    for (share, expected) in [(0.5, 100), (0.99, 198), (1.0, 200)] {
        assert_eq!(percentile(&samples, share), Duration::from_millis(expected));
    }
    assert_eq!(percentile(&[], 0.99), Duration::ZERO);
}
