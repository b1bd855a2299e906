//! One call, and what is thought of its outcome.
//!
//! An error is legal only if what the call cannot do without was disturbed:
//! - no reason of ours (a broken connection, nothing at all): the asked process was killed or stood still;
//! - `INVALIDATION_NOT_DURABLE`, and `FRESHNESS_UNVERIFIED` for STRICT, LINEARIZABLE or a token: that, because time
//!   passes for a process that stands still, or the instance's way to the cache's database was broken, or slow by itself;
//! - `CHANGE_FEED_UNREADABLE` for LINEARIZABLE: the same of any instance, as one of them reads the outbox for all, or its
//!   way to the outbox was broken, or the triggers were;
//! - `PURGE_INCOMPLETE`: the same, or its way to Redis was broken.
//!
//! Everything else is an error that a tier has caused, as the sources are always there: a tier that
//! fails is a miss.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::Instant;
use tonic::{Response, Status};
use userdata::proto::v1::{
    Freshness, GetComprehensiveUserDataRequest, InvalidateCacheRequest, InvalidateCacheResponse, Section, Wait,
};

use super::{
    figures::Totals,
    ground::{INSTANCES, strategy, user},
    oracle::{Ack, Oracle, Question, Reading, row},
    timeline::{Part, Timeline},
};
use testkit::{ask::reason, server::Client, sources::Sources};

/// For pools to replace their connections, after what they depend on is there again: the time after
/// which they give one up (ground.rs), and what a busy machine adds. Figures say what it took.
const RECOVERY: Duration = Duration::from_secs(4);
/// Longer than an instance may take, however the load's holder ends: no caller waits for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// Explained, because nothing that is broken here takes a read so long.
const SLOW_READ: Duration = Duration::from_secs(5);

/// What all clients of a run share.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) sources: Sources,
    pub(super) oracle: Oracle,
    pub(super) timeline: Timeline,
    pub(super) totals: Totals,
    pub(super) stop: AtomicBool,
}

/// How a document is asked for.
#[derive(Clone, Debug, Default)]
pub(super) enum Way {
    #[default]
    Default,
    Strict,
    Linearizable,
    /// With the token of an acknowledgement.
    Token(Ack),
    MaxAge(Duration),
    Refresh,
    /// Only the strategy.
    Section,
}

/// What is invalidated, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) user: usize,
    /// None: everything of the user.
    pub(super) strategy: Option<usize>,
    pub(super) wait_for_all: bool,
    pub(super) purge: bool,
}

impl Run {
    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks, and has the answer judged. None if there was none.
    pub(super) async fn read(
        &self,
        clients: &[Client],
        instance: usize,
        of: (usize, Option<usize>),
        way: &Way,
    ) -> Option<(Question, Reading)> {
        let (of_user, of_strategy) = of;
        let request = request(of_user, of_strategy, way);
        let asked = Question {
            user: of_user,
            strategy: of_strategy,
            instance,
            anew: matches!(way, Way::Linearizable | Way::Refresh | Way::MaxAge(Duration::ZERO)),
            surely_verified: matches!(way, Way::Linearizable | Way::Strict),
            token: if let Way::Token(ack) = way { Some(ack.clone()) } else { None },
            sent: Instant::now(),
        };
        let expected = self.oracle.expects(&asked);
        let mut client = clients[instance].clone();
        let answer = within_patience(client.get_comprehensive_user_data(request)).await;
        let received = Instant::now();
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) => {
                let reads_log = matches!(way, Way::Strict | Way::Linearizable | Way::Token(_));
                let excuses: &[Part] = match reason(&status).as_str() {
                    "" => &[Part::Process],
                    "FRESHNESS_UNVERIFIED" if reads_log => &[Part::Process, Part::Database],
                    "CHANGE_FEED_UNREADABLE" if matches!(way, Way::Linearizable) => {
                        &[Part::Process, Part::Database, Part::Outbox]
                    }
                    _ => &[],
                };
                self.failed(&format!("{way:?}"), instance, asked.sent, &status, excuses);
                return None;
            }
        };
        let info = answer.cache_info.unwrap_or_default();
        let data = answer.data.unwrap_or_default();
        let Some(strategy) = data.strategy_data.filter(|_| info.complete) else {
            let states = answer.sections.iter().map(|section| format!("{:?} {}", section.state(), section.reason));
            let incomplete = Status::data_loss(states.collect::<Vec<_>>().join(", "));
            self.failed(&format!("{way:?}"), instance, asked.sent, &incomplete, &[]);
            return None;
        };
        let seen = Reading {
            user: data.user_id,
            strategy: strategy.strategy_id,
            count: strategy.strategy_name.parse().unwrap_or(i64::MAX),
            verified: info.verified,
            status: info.status().as_str_name(),
        };
        let undisturbed =
            self.timeline.disturbs((Part::Process, instance), asked.sent, received, Duration::from_secs(1)).is_none();
        if undisturbed && received - asked.sent > SLOW_READ {
            eprintln!(
                "slow read: {way:?} of user {of_user}, strategy {of_strategy:?} at instance {instance}, sent at {}, \
                 answered after {:?}: {info:?}\n{}",
                self.timeline.at(asked.sent),
                received - asked.sent,
                self.timeline.tell(Duration::from_secs(20)),
            );
        }
        self.totals.with(|figures| {
            figures.reads += 1;
            figures.unverified += u64::from(!seen.verified);
            *figures.statuses.entry(seen.status).or_default() += 1;
            if undisturbed {
                figures.latencies.push(received - asked.sent);
            }
        });
        if let Err(wrong) = self.oracle.judge(&asked, &expected, &seen) {
            self.violated(&format!(
                "{wrong}\n  asked at {} instance {instance}, user {of_user}, strategy {of_strategy:?}, {way:?}\n  \
                 answered at {} {seen:?}\n  {expected:?}\n  acknowledged:\n{}\n  disturbed:\n{}",
                self.timeline.at(asked.sent),
                self.timeline.at(received),
                self.tell_acks(&asked),
                self.timeline.tell(Duration::from_secs(15)),
            ));
        }
        Some((asked, seen))
    }

    /// Writes a row and tells no instance. Returns its count.
    pub(super) async fn commit(&self, of_user: usize, which: usize) -> i64 {
        let number = row(of_user, which);
        let writing = self.oracle.next(number).await;
        self.sources.write(strategy(of_user, which), writing.count).await;
        self.oracle.committed(number, writing.count);
        self.totals.with(|figures| figures.commits += 1);
        writing.count
    }

    /// Writes the rows, then says so to an instance. None if that was not acknowledged.
    pub(super) async fn change(&self, clients: &[Client], instance: usize, change: Change) -> Option<Ack> {
        let mut rows = Vec::new();
        for which in 0..super::ground::STRATEGIES {
            if change.strategy.is_none_or(|only| only == which) {
                let number = row(change.user, which);
                let writing = self.oracle.next(number).await;
                self.sources.write(strategy(change.user, which), writing.count).await;
                rows.push((number, writing.count));
            }
        }
        let request = InvalidateCacheRequest {
            user_id: user(change.user),
            strategy_id: change.strategy.map(|which| strategy(change.user, which).into()),
            wait: if change.wait_for_all { Wait::All } else { Wait::Local }.into(),
            purge: change.purge,
            ..Default::default()
        };
        let called = Instant::now();
        let mut client = clients[instance].clone();
        let outcome = within_patience(client.invalidate_cache(request)).await;
        let acknowledged = Instant::now();
        match outcome {
            Ok(InvalidateCacheResponse { token, .. }) => {
                let waited_for_all = change.wait_for_all;
                let ack = Ack { instance, called, acknowledged, waited_for_all, token, rows };
                self.oracle.acknowledged(&ack);
                self.totals.with(|figures| figures.invalidations += 1);
                Some(ack)
            }
            Err(status) => {
                let excuses: &[Part] = match reason(&status).as_str() {
                    "" => &[Part::Process],
                    "INVALIDATION_NOT_DURABLE" => &[Part::Process, Part::Database],
                    "PURGE_INCOMPLETE" => &[Part::Process, Part::Redis, Part::Database],
                    _ => &[],
                };
                self.failed(&format!("{change:?}"), instance, called, &status, excuses);
                None
            }
        }
    }

    /// An error, which is legal if one of these parts was disturbed: of the instance, or of any for the change feed.
    fn failed(&self, what: &str, instance: usize, sent: Instant, status: &Status, excuses: &[Part]) {
        let now = Instant::now();
        let name = match reason(status) {
            reason if reason.is_empty() => format!("{:?}", status.code()),
            reason => reason,
        };
        let whose = if name == "CHANGE_FEED_UNREADABLE" { 0..INSTANCES } else { instance..instance + 1 };
        let places = whose.flat_map(|of| excuses.iter().map(move |part| (*part, of)));
        let excused = places.filter_map(|place| self.timeline.disturbs(place, sent, now, RECOVERY)).min();
        if let Some(after) = excused {
            return self.totals.with(|figures| {
                figures.slowest_recovery = figures.slowest_recovery.max(after);
                *figures.legal.entry(name).or_default() += 1;
            });
        }
        let error = format!(
            "{what} at instance {instance}, sent at {}, ended after {:?}: {name}: {} {:?}\n{}",
            self.timeline.at(sent),
            now - sent,
            status.message(),
            std::error::Error::source(status).map(ToString::to_string),
            self.timeline.tell(Duration::from_secs(10)),
        );
        eprintln!("error caused by a tier: {error}");
        self.totals.with(|figures| figures.errors.push(error));
    }

    pub(super) fn violated(&self, violation: &str) {
        eprintln!("violation: {violation}");
        self.totals.with(|figures| figures.violations.push(violation.to_owned()));
        // The logs end with what has led to it.
        self.stop.store(true, Ordering::Relaxed);
    }

    fn tell_acks(&self, asked: &Question) -> String {
        let told = self.oracle.recent(asked).into_iter().map(|ack| {
            let (called, acknowledged) = (self.timeline.at(ack.called), self.timeline.at(ack.acknowledged));
            format!("    called {called}, acknowledged {acknowledged}: {ack:?}")
        });
        told.collect::<Vec<_>>().join("\n")
    }
}

async fn within_patience<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    // Boxed: tonic's futures are large, and these are held several times over.
    let outcome = tokio::time::timeout(PATIENCE, Box::pin(call)).await;
    outcome.unwrap_or_else(|_| Err(Status::deadline_exceeded("nothing came in 20 s"))).map(Response::into_inner)
}

fn request(of_user: usize, of_strategy: Option<usize>, way: &Way) -> GetComprehensiveUserDataRequest {
    let plain = GetComprehensiveUserDataRequest {
        user_id: user(of_user),
        strategy_id: of_strategy.map(|which| strategy(of_user, which).into()),
        ..Default::default()
    };
    match way {
        Way::Default => plain,
        Way::Strict => GetComprehensiveUserDataRequest { freshness: Freshness::Strict.into(), ..plain },
        Way::Linearizable => GetComprehensiveUserDataRequest { freshness: Freshness::Linearizable.into(), ..plain },
        Way::Token(ack) => GetComprehensiveUserDataRequest { min_token: ack.token.clone(), ..plain },
        Way::MaxAge(age) => {
            let max_age = Some((*age).into());
            GetComprehensiveUserDataRequest { max_age, ..plain }
        }
        Way::Refresh => GetComprehensiveUserDataRequest { force_refresh: true, ..plain },
        Way::Section => GetComprehensiveUserDataRequest { sections: vec![Section::Strategy.into()], ..plain },
    }
}
