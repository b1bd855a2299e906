//! Who may answer what: the oracle.
//!
//! A strategy's row counts how often it was written. Its writer invalidates it afterwards; once
//! that is acknowledged with the row at n, an answer to a request sent later has at least n if the
//! acknowledgement binds it. It binds
//! - every answer of the same instance, also after its restart, and every answer that was asked for
//!   with its token, LINEARIZABLE, as a refresh or with `max_age` 0: verified or not;
//! - every verified answer anywhere, if it waited for all, or once L has passed since it.
//!
//! A writer who only commits is promised less: its count binds every verified answer once the change feed's lease has passed
//! since the commit, and at once every answer that was asked for LINEARIZABLE, as a refresh or with `max_age` 0.
//!
//! That a request arrives later than it is sent, at a process that stands still for instance, only
//! makes the oracle milder.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard},
    time::Instant,
};

use super::ground::{INSTANCES, STRATEGIES, USERS, strategy, user};

/// L: how long an instance trusts its copy of the log.
pub(super) const LEASE: Duration = Duration::from_millis(500);
/// How long after a commit a verified answer may lack it.
pub(super) const FEED_LEASE: Duration = Duration::from_secs(1);
/// Acknowledgements of a row that are kept to explain a violation.
const KEPT: usize = 64;

/// An acknowledged invalidation.
#[derive(Clone)]
pub(super) struct Ack {
    pub(super) instance: usize,
    pub(super) called: Instant,
    pub(super) acknowledged: Instant,
    pub(super) waited_for_all: bool,
    pub(super) token: String,
    /// The rows that it concerned, and what they counted when it was called.
    pub(super) rows: Vec<(usize, i64)>,
}

impl std::fmt::Debug for Ack {
    /// Without the times, which say something only beside others.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { instance, waited_for_all, token, rows, .. } = self;
        write!(formatter, "instance {instance}, rows {rows:?}, for all: {waited_for_all}, token {token}")
    }
}

/// A row of the sources.
#[derive(Debug, Default)]
struct Row {
    /// The highest count that may have been written.
    begun: AtomicI64,
    /// Held while it is written.
    writing: AsyncMutex<()>,
    bounds: Mutex<Bounds>,
}

/// What its acknowledgements demand.
#[derive(Debug, Default)]
struct Bounds {
    of_instance: [i64; INSTANCES],
    /// Of those that waited for all, and of those that were given L ago.
    everywhere: i64,
    /// Of all of them.
    any: i64,
    recent: VecDeque<Ack>,
    /// Counts that were committed and of which no instance was told, and when.
    commits: VecDeque<(Instant, i64)>,
}

/// What a request was sent with.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) user: usize,
    /// Of the user's; none: the active one.
    pub(super) strategy: Option<usize>,
    pub(super) instance: usize,
    /// Answered by what was read after it was sent: LINEARIZABLE, a refresh, `max_age` 0.
    pub(super) anew: bool,
    /// Never answered unverified: STRICT, LINEARIZABLE.
    pub(super) surely_verified: bool,
    pub(super) token: Option<Ack>,
    pub(super) sent: Instant,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// Empty if the section that has it was not asked for.
    pub(super) user: String,
    pub(super) strategy: i64,
    pub(super) count: i64,
    pub(super) verified: bool,
    pub(super) status: &'static str,
}

/// For each strategy of the asked user: what every answer, and what a verified one has to have.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    every: [i64; STRATEGIES],
    verified: [i64; STRATEGIES],
}

/// A count that is being written.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    pub(super) count: i64,
    _held: AsyncMutexGuard<'a, ()>,
}

/// The rows and their acknowledgements.
#[derive(Debug)]
pub(super) struct Oracle {
    rows: Vec<Row>,
}

/// The number of a row.
pub(super) fn row(user: usize, strategy: usize) -> usize {
    user * STRATEGIES + strategy
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self { rows: (0..USERS * STRATEGIES).map(|_| Row::default()).collect() }
    }

    /// A row's next count, to be written while this is held: counts are written in order.
    pub(super) async fn next(&self, row: usize) -> Writing<'_> {
        let row = &self.rows[row];
        let held = row.writing.lock().await;
        Writing { count: row.begun.fetch_add(1, Ordering::SeqCst) + 1, _held: held }
    }

    /// An acknowledgement has come.
    pub(super) fn acknowledged(&self, ack: &Ack) {
        for (row, count) in &ack.rows {
            let mut bounds = self.rows[*row].bounds();
            let of_instance = &mut bounds.of_instance[ack.instance];
            *of_instance = (*of_instance).max(*count);
            bounds.any = bounds.any.max(*count);
            if ack.waited_for_all {
                bounds.everywhere = bounds.everywhere.max(*count);
            }
            bounds.recent.push_back(ack.clone());
            if bounds.recent.len() > KEPT {
                bounds.recent.pop_front();
            }
        }
    }

    /// A count was committed by now, and no instance told.
    pub(super) fn committed(&self, row: usize, count: i64) {
        let mut bounds = self.rows[row].bounds();
        bounds.any = bounds.any.max(count);
        bounds.commits.push_back((Instant::now(), count));
    }

    /// What an answer to this request has to be, said before it is sent.
    pub(super) fn expects(&self, asked: &Question) -> Expected {
        let mut expected = Expected { every: [0; STRATEGIES], verified: [0; STRATEGIES] };
        for which in 0..STRATEGIES {
            let number = row(asked.user, which);
            let mut bounds = self.rows[number].bounds();
            bounds.settle(number, asked.sent);
            let of_token = asked.token.iter().flat_map(|ack| &ack.rows).find(|(row, _)| *row == number);
            let of_token = of_token.map_or(0, |(_, count)| *count);
            let of_all = if asked.anew { bounds.any } else { 0 };
            expected.every[which] = bounds.of_instance[asked.instance].max(of_token).max(of_all);
            expected.verified[which] = expected.every[which].max(bounds.everywhere);
        }
        expected
    }

    /// What is wrong with an answer.
    pub(super) fn judge(&self, asked: &Question, expected: &Expected, seen: &Reading) -> Result<(), String> {
        let Some(which) = (0..STRATEGIES).find(|which| i64::from(strategy(asked.user, *which)) == seen.strategy) else {
            return Err("it is about another user's strategy".to_owned());
        };
        if !seen.user.is_empty() && seen.user != user(asked.user) {
            return Err("it is another user's".to_owned());
        }
        if asked.strategy.unwrap_or(0) != which {
            return Err("it is about another strategy".to_owned());
        }
        let begun = self.rows[row(asked.user, which)].begun.load(Ordering::SeqCst);
        if seen.count > begun {
            return Err(format!("it is from the future: only {begun} has been written"));
        }
        if asked.surely_verified && !seen.verified {
            return Err("it is unverified, and that was excluded".to_owned());
        }
        let at_least = if seen.verified { expected.verified[which] } else { expected.every[which] };
        if seen.count < at_least {
            return Err(format!("it is outdated: at least {at_least} was due"));
        }
        Ok(())
    }

    /// What a row counts at most.
    pub(super) fn begun(&self, row: usize) -> i64 {
        self.rows[row].begun.load(Ordering::SeqCst)
    }

    /// The latest acknowledgements of the asked row.
    pub(super) fn recent(&self, asked: &Question) -> Vec<Ack> {
        let row = &self.rows[row(asked.user, asked.strategy.unwrap_or(0))];
        row.bounds().recent.iter().cloned().collect()
    }
}

impl Row {
    fn bounds(&self) -> std::sync::MutexGuard<'_, Bounds> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bounds {
    /// Acknowledgements that bind all instances by now.
    fn settle(&mut self, row: usize, now: Instant) {
        let settled = self.recent.iter().filter(|ack| ack.acknowledged + LEASE <= now);
        let counts = settled.flat_map(|ack| &ack.rows).filter(|(of, _)| *of == row).map(|(_, count)| *count);
        self.everywhere = counts.max().unwrap_or(0).max(self.everywhere);
        while let Some((_, count)) = self.commits.front().copied().filter(|(at, _)| *at + FEED_LEASE <= now) {
            self.everywhere = self.everywhere.max(count);
            self.commits.pop_front();
        }
    }
}

#[test]
fn the_oracle_demands_what_is_promised_and_nothing_else() {
    let oracle = Oracle::new();
    let now = Instant::now();
    oracle.rows[0].begun.store(9, Ordering::SeqCst);
    let ack = |instance, waited_for_all, ago: u64, count| Ack {
        instance,
        called: now,
        acknowledged: now - Duration::from_millis(ago),
        waited_for_all,
        token: String::new(),
        rows: vec![(0, count)],
    };
    let default =
        Question { user: 0, strategy: None, instance: 1, anew: false, surely_verified: false, token: None, sent: now };
    let seen = |count, verified| Reading { user: user(0), strategy: 1, count, verified, status: "HIT" };
    let due = |asked: &Question, verified| {
        let expected = oracle.expects(asked);
        (0..=9).find(|count| oracle.judge(asked, &expected, &seen(*count, verified)).is_ok()).unwrap()
    };
    for (given, elsewhere, here) in [
        (ack(0, false, 500, 1), (0, 1), (1, 1)),
        (ack(0, false, 499, 2), (0, 1), (2, 2)),
        (ack(0, true, 499, 3), (0, 3), (3, 3)),
        (ack(0, false, 0, 4), (0, 3), (4, 4)),
    ] {
        oracle.acknowledged(&given);
        assert_eq!((due(&default, false), due(&default, true)), elsewhere, "{given:?}");
        let there = Question { instance: 0, ..default.clone() };
        assert_eq!((due(&there, false), due(&there, true)), here, "{given:?}");
        let with_token = Question { token: Some(given.clone()), ..default.clone() };
        let count = given.rows[0].1;
        assert_eq!((due(&with_token, false), due(&with_token, true)), (count, count.max(elsewhere.1)));
        assert_eq!(due(&Question { anew: true, ..default.clone() }, false), count);
    }
    oracle.committed(0, 5);
    assert_eq!((due(&default, true), due(&Question { anew: true, ..default.clone() }, true)), (3, 5));
    let later = Question { sent: now + FEED_LEASE + Duration::from_secs(1), ..default.clone() };
    assert_eq!((due(&later, false), due(&later, true)), (0, 5), "a commit binds verified answers alone");
    let wrong = |asked: &Question, seen: &Reading| oracle.judge(asked, &oracle.expects(asked), seen).unwrap_err();
    assert!(wrong(&default, &seen(10, true)).contains("future"));
    assert!(wrong(&default, &Reading { user: user(1), ..seen(9, true) }).contains("another user"));
    assert!(wrong(&default, &Reading { strategy: 2, ..seen(9, true) }).contains("another strategy"));
    assert!(wrong(&default, &Reading { strategy: 3, ..seen(9, true) }).contains("another user"));
    let strict = Question { surely_verified: true, ..default };
    assert!(wrong(&strict, &seen(9, false)).contains("unverified"));
}
