//! What an answer has to be, judged from outside: when its sources were read, against what had been acknowledged, and
//! where, when the request began.
//!
//! The sources count their changes, and each section that is checked carries the count that it was made from (`born`).
//! An acknowledged invalidation remembers the counts of the moment at which it was called: the callers it binds get
//! nothing born before. It binds requests to the same instance, those with its token or a later one, LINEARIZABLE ones,
//! all of them if it waited for every instance, and otherwise those that begin a lease after it. And an answer honours
//! whatever the token that it carries says.

use std::{collections::HashMap, time::Duration};

use prost::Message as _;
use userdata::{
    cache::{Freshness, ReadOptions},
    clock::{Clock, Moment},
    error::{Error, Unavailable},
    model::{CacheStatus, SectionSet, Served, Tier, Token},
    proto::v1::ComprehensiveUserData,
};

use crate::{
    instance::LEASE,
    script::{At, How, Key, Part},
};

/// What has been acknowledged, and what the sources say.
pub(crate) struct Oracle {
    clock: Clock,
    /// By user.
    counts: [i64; 3],
    acknowledged: Vec<Acknowledged>,
    /// Complete documents that memory was seen to hold since anything was invalidated, and how far the instance knew
    /// the log then. One that it learns to be outdated later may be followed by a partial one.
    held: HashMap<(At, Key), (chrono::DateTime<chrono::Utc>, Token)>,
    /// A source failed or hung in this case.
    pub(crate) sources_failed: bool,
    /// Where the log could not be read or written, since the instance started.
    pub(crate) log_failed: Vec<At>,
    lost_commits: bool,
}

struct Acknowledged {
    at: At,
    scope: Key,
    part: Option<Part>,
    called: i64,
    token: Token,
    wait_all: bool,
    when: Moment,
}

impl Acknowledged {
    fn concerns(&self, key: Key, part: Part) -> bool {
        key.is_in(self.scope) && self.part.is_none_or(|only| only == part)
    }

    /// Whether a token says that it is honoured.
    fn is_within(&self, token: &Token) -> bool {
        token.epoch == self.token.epoch && self.token.position <= token.position
    }
}

/// What a request's answer has to be.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) at: At,
    pub(crate) key: Key,
    pub(crate) wish: ReadOptions,
    /// Each part's count, at least; verified or not.
    always: [i64; 2],
    /// The same for verified answers.
    verified: [i64; 2],
}

/// An invalidation as it was called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Called {
    pub(crate) at: At,
    pub(crate) scope: Key,
    pub(crate) part: Option<Part>,
    pub(crate) wait_all: bool,
    count: i64,
}

impl Oracle {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            counts: [0; 3],
            acknowledged: Vec::new(),
            held: HashMap::new(),
            sources_failed: false,
            log_failed: Vec::new(),
            lost_commits: false,
        }
    }

    /// The sources change; what they say then.
    pub(crate) fn writes(&mut self, key: Key) -> i64 {
        self.counts[key.user()] += 1;
        self.counts[key.user()]
    }

    /// A request begins.
    pub(crate) fn asks(&self, at: At, key: Key, how: How) -> Bound {
        let token = match how {
            How::Token(newest) => self.acknowledged.iter().rev().nth(newest).map(|told| told.token.clone()),
            _ => None,
        };
        let now = self.clock.now();
        let (mut always, mut verified) = ([0; 2], [0; 2]);
        for told in &self.acknowledged {
            let bound = told.at == at || token.as_ref().is_some_and(|token| told.is_within(token));
            let everywhere = told.wait_all || how == How::Linearizable || now.since(told.when) >= LEASE;
            for (index, part) in Part::ALL.into_iter().enumerate() {
                let concerned = told.concerns(key, part);
                if concerned && bound {
                    always[index] = told.called.max(always[index]);
                }
                if concerned && (bound || everywhere) {
                    verified[index] = told.called.max(verified[index]);
                }
            }
        }
        let sections = match how {
            How::Only(part) => SectionSet::NONE.with(part.section()),
            _ => SectionSet::ALL,
        };
        let freshness = match how {
            How::Strict => Freshness::Strict,
            How::Linearizable => Freshness::Linearizable,
            _ => Freshness::Default,
        };
        let max_age = (how == How::Recent).then_some(Duration::ZERO);
        Bound { at, key, wish: ReadOptions { sections, freshness, min_token: token, max_age }, always, verified }
    }

    /// An invalidation is called.
    pub(crate) fn calls(&mut self, at: At, scope: Key, part: Option<Part>, wait_all: bool) -> Called {
        self.held.clear();
        Called { at, scope, part, wait_all, count: self.counts[scope.user()] }
    }

    /// It was acknowledged.
    pub(crate) fn hears(&mut self, called: Called, token: Token) {
        let Called { at, scope, part, wait_all, count } = called;
        self.held.clear();
        let when = self.clock.now();
        self.acknowledged.push(Acknowledged { at, scope, part, called: count, token, wait_all, when });
    }

    /// It was not: whatever it concerns may have been dropped all the same.
    pub(crate) fn hears_nothing(&mut self) {
        self.held.clear();
    }

    /// The database has lost every invalidation. Only an instance that had applied one still knows it.
    pub(crate) fn loses_commits(&mut self) {
        self.lost_commits = true;
        self.held.clear();
        let now = self.clock.now();
        for told in &mut self.acknowledged {
            (told.wait_all, told.when) = (false, now.after(Duration::from_secs(1 << 30)));
            told.token.position = i64::MAX;
        }
    }

    /// An instance starts anew: what only it knew is forgotten, what it held is gone.
    pub(crate) fn restarts(&mut self, at: At) {
        self.log_failed.retain(|failed| *failed != at);
        self.held.retain(|(held_at, _), _| *held_at != at);
        self.acknowledged.retain(|told| told.at != at || told.token.position != i64::MAX);
    }

    /// Judges an answer; what is wrong with it.
    pub(crate) fn judge(&mut self, bound: &Bound, answer: &Result<Served, Error>) -> Result<String, String> {
        let served = match answer {
            Ok(served) => served,
            Err(error) => {
                let line = format!("{error}");
                return if self.excuses(bound, error) { Ok(line) } else { Err(format!("nothing excuses: {line}")) };
            }
        };
        let mut told = format!("{:?}, verified {}, born", served.status, served.verified);
        let at_least = if served.verified { bound.verified } else { bound.always };
        let mut wrong = None;
        for (part, at_least) in Part::ALL.into_iter().zip(at_least) {
            if !bound.wish.sections.contains(part.section()) {
                continue;
            }
            let born = born(served, part, bound.key)?;
            told.push_str(&format!(" {born}"));
            let at_least = at_least.max(self.honoured(&served.token, bound.key, part));
            if born < at_least {
                wrong = Some(format!("{part:?} was born at {born}, and has to be at {at_least}"));
            }
            if born > self.counts[bound.key.user()] {
                wrong = Some(format!("{part:?} was born at {born}, in the future"));
            }
        }
        if served.status == CacheStatus::Hit(Tier::Memory) {
            let place = (bound.at, bound.key);
            if served.snapshot.complete() {
                self.held.insert(place, (served.snapshot.as_of, served.token.clone()));
            } else if let Some((as_of, token)) = self.held.get(&place)
                && *token == served.token
            {
                wrong = Some(format!("a partial document is in the place of the complete one of {as_of}"));
            }
        }
        match wrong {
            Some(wrong) => Err(format!("{told}: {wrong}")),
            None => Ok(told),
        }
    }

    /// The count that a part has to be at, going by the token that came with it.
    fn honoured(&self, token: &Token, key: Key, part: Part) -> i64 {
        let concerning = self.acknowledged.iter().filter(|told| told.concerns(key, part));
        concerning.filter(|told| told.is_within(token)).map(|told| told.called).max().unwrap_or_default()
    }

    /// Whether a tier is not the only thing to blame.
    fn excuses(&self, bound: &Bound, error: &Error) -> bool {
        let Error::Unavailable { reason, .. } = error else { return false };
        match reason {
            Unavailable::SourceFailed { .. } => self.sources_failed,
            Unavailable::FreshnessUnverified => {
                let wants = bound.wish.freshness != Freshness::Default || bound.wish.min_token.is_some();
                // STRICT callers get nothing stale either.
                wants && (self.log_failed.contains(&bound.at) || self.sources_failed)
            }
            Unavailable::TokenAhead => self.lost_commits,
            _ => false,
        }
    }

    /// Whether an invalidation may fail.
    pub(crate) fn excuses_invalidation(&self, at: At) -> bool {
        self.log_failed.contains(&at) || self.lost_commits
    }
}

/// The count that a section was made from; whose it is, is checked on the way.
fn born(served: &Served, part: Part, key: Key) -> Result<i64, String> {
    let bytes = served.snapshot.part(part.section()).ok_or("a section is missing")?.bytes;
    let document = ComprehensiveUserData::decode(bytes).map_err(|error| format!("torn: {error}"))?;
    let count = match part {
        Part::Onboarding => {
            let data = document.onboarding_data.ok_or("no onboarding data")?;
            data.research_depth.ok_or("no research depth")?
        }
        Part::Strategy => {
            let data = document.strategy_data.ok_or("no strategy")?;
            if (data.user_id.as_str(), data.strategy_id) != (key.user().to_string().as_str(), i64::from(key.resolved()))
            {
                return Err(format!("asked for {key:?}, got user {} strategy {}", data.user_id, data.strategy_id));
            }
            data.strategy_name
        }
    };
    count.parse().map_err(|_| format!("no count: {count}"))
}
