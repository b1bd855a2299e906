//! What was disturbed when: by this an error is legal or not, and a delay is one of notifications or of polls.

use std::{
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What an instance depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Process,
    Redis,
    Database,
    Outbox,
}

/// A part of one instance.
pub(super) type Place = (Part, usize);

#[derive(Debug)]
struct Disturbance {
    place: Place,
    what: String,
    /// Nothing gets through, rather than slowly, in pieces or wrong.
    away: bool,
    from: Instant,
    to: Option<Instant>,
}

/// All disturbances of a run.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) began: Instant,
    disturbances: Mutex<Vec<Disturbance>>,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), disturbances: Mutex::default() }
    }

    /// Said before it is done.
    pub(super) fn begins(&self, what: &str, away: bool, places: &[Place]) {
        let from = Instant::now();
        let begun =
            places.iter().map(|place| Disturbance { place: *place, what: what.to_owned(), away, from, to: None });
        self.write(|all| all.extend(begun));
    }

    /// Said after it is undone.
    pub(super) fn ended(&self, what: &str, places: &[Place]) {
        let now = Instant::now();
        self.write(|all| {
            for one in all.iter_mut().rev().take_while(|one| one.to.is_none() || one.from.elapsed() < MINUTE) {
                if one.to.is_none() && one.what == what && places.contains(&one.place) {
                    one.to = Some(now);
                }
            }
        });
    }

    /// Whether this was disturbed at any time between these, or ended so little before that it may still
    /// recover; then how long after the end that was.
    pub(super) fn disturbs(&self, place: Place, from: Instant, to: Instant, recovery: Duration) -> Option<Duration> {
        self.write(|all| {
            let of_place = all.iter().filter(|one| one.place == place && one.from <= to);
            let after =
                of_place.map(|one| one.to.map_or(Duration::ZERO, |ended| from.saturating_duration_since(ended)));
            after.min().filter(|after| *after <= recovery)
        })
    }

    /// Whether nothing got through all the time between these.
    pub(super) fn is_away(&self, place: Place, from: Instant, to: Instant) -> bool {
        self.write(|all| {
            let mut away = all.iter().filter(|one| one.place == place && one.away);
            away.any(|one| one.from <= from && one.to.is_none_or(|ended| ended >= to))
        })
    }

    /// A moment, as it is printed.
    pub(super) fn at(&self, moment: Instant) -> String {
        format!("{:.3} s", moment.saturating_duration_since(self.began).as_secs_f64())
    }

    /// The last disturbances, to explain a violation.
    pub(super) fn tell(&self, last: Duration) -> String {
        self.write(|all| {
            let recent = all.iter().filter(|one| one.to.is_none_or(|ended| ended.elapsed() < last));
            recent.fold(String::new(), |mut told, one| {
                let to = one.to.map_or_else(|| "now".to_owned(), |to| self.at(to));
                writeln!(told, "  {} to {to}: {} ({:?})", self.at(one.from), one.what, one.place)
                    .expect("a String takes everything");
                told
            })
        })
    }

    fn write<T>(&self, act: impl FnOnce(&mut Vec<Disturbance>) -> T) -> T {
        act(&mut self.disturbances.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// No disturbance is nearly as long.
const MINUTE: Duration = Duration::from_secs(60);
