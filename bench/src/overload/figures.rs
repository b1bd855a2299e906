//! Outcomes of calls.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tonic::{Code, Status};

/// The window in which recovery is judged.
const WINDOW: Duration = Duration::from_millis(100);
const RECOVERED: f64 = 0.95;

/// One call.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) asked: Instant,
    pub(super) took: Duration,
    pub(super) outcome: Result<(), Status>,
}

/// Many calls.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<Called>);

impl Figures {
    pub(super) fn of(calls: Vec<Called>) -> Self {
        Self(calls)
    }

    pub(super) fn answered(&self) -> usize {
        self.0.iter().filter(|call| call.outcome.is_ok()).count()
    }

    /// Counts and durations by outcome.
    pub(super) fn line(&self) -> String {
        let mut by: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
        for call in &self.0 {
            let outcome = match &call.outcome {
                Ok(()) => "OK".to_owned(),
                Err(status) if status.code() == Code::ResourceExhausted => "refused".to_owned(),
                Err(status) => format!("{:?} ({})", status.code(), status.message()),
            };
            by.entry(outcome).or_default().push(call.took);
        }
        let told = by.into_iter().map(|(outcome, mut took)| {
            took.sort();
            let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
            format!("{} {outcome} (p50 {:.1}, p99 {:.1}, max {:.1} ms)", took.len(), at(50), at(99), at(100))
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// The end of the last window with too few answers, counted from `start`.
    pub(super) fn recovered_after(&self, start: Instant) -> Duration {
        let mut windows: BTreeMap<u128, (u32, u32)> = BTreeMap::new();
        for call in &self.0 {
            let window = windows.entry((call.asked - start).as_millis() / WINDOW.as_millis()).or_default();
            window.0 += 1;
            window.1 += u32::from(call.outcome.is_ok());
        }
        let bad = windows.iter().rfind(|(_, (asked, ok))| f64::from(*ok) < RECOVERED * f64::from(*asked));
        bad.map_or(Duration::ZERO, |(window, _)| WINDOW * u32::try_from(window + 1).unwrap_or(u32::MAX))
    }
}
