//! A case: a list of steps, each of which is possible in any state, so that any of them can be left out. They print as
//! they are written in directed lists.

use userdata::{
    fault::FaultPoint,
    model::{Parameters, Scope, Section, SectionSet, StrategyId, UserDataQuery, UserId},
};

/// One of the three instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    A,
    B,
    C,
}

/// A question. User 1 has two strategies, of which 11 is the active one; user 2 has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    One,
    One11,
    One12,
    Two,
    Two21,
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Plain,
    Strict,
    Linearizable,
    /// With the token of the n-th newest acknowledgement.
    Token(usize),
    /// Nothing from before this moment.
    Recent,
    /// One section only.
    Only(Part),
}

/// A section whose content tells when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Onboarding,
    Strategy,
}

/// How far the clock is moved, in leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// A fifth: less than anything waits for but Redis.
    Short,
    /// Four fifths.
    Most,
    /// A little more than one.
    Lease,
    /// Three: a holder of a load lease that stands still for so long is taken for dead.
    Long,
}

/// What is done to a kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Each one fails.
    Fail,
    /// Each one hangs before it is sent, until it is let go or given up.
    Hang,
    /// The next one hangs before it is sent.
    Hold,
    /// The next one hangs when it is done: its answer is late.
    HoldAnswer,
}

/// What a shared tier does to what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing yet: it makes a copy of everything.
    Save,
    /// It has the copied values again: a failover, or writes that arrive late.
    PutBack,
    /// Each value is torn in the middle.
    Garble,
    /// It is empty.
    Forget,
    /// Values lie under each other's keys.
    Swap,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The user's sources change.
    Write(Key),
    Get(At, Key, How),
    Refresh(At, Key),
    /// The key's user and strategy; all sections or one; whether every instance is waited for.
    Invalidate(At, Key, Option<Part>, bool),
    /// Asks for every key.
    Warm(At),
    /// Sweeps, deletes expired rows, writes access counts.
    Clean(At),
    Tick(Span),
    /// Reads the log and probes the tiers, as happens periodically.
    Poll(At),
    /// The process is killed and started again.
    Crash(At),
    Disturb(At, FaultPoint, Fault),
    /// Lets go of the calls of a kind that are held.
    Release(At, FaultPoint),
    /// Disturbs nothing any longer and lets go of what is held.
    Mend(At),
    Redis(Lie),
    Table(Lie),
    /// The database goes back to an empty log, and every instance reads it before anything else happens: until one
    /// that had applied more has done so, positions of the two logs are taken for each other (docs/model.md). Nothing,
    /// if the log was disturbed for one of them.
    LoseCommits,
}

impl Key {
    pub(crate) const ALL: [Self; 5] = [Self::One, Self::One11, Self::One12, Self::Two, Self::Two21];

    pub(crate) fn user(self) -> usize {
        if matches!(self, Self::Two | Self::Two21) { 2 } else { 1 }
    }

    pub(crate) fn strategy(self) -> Option<i64> {
        match self {
            Self::One | Self::Two => None,
            Self::One11 => Some(11),
            Self::One12 => Some(12),
            Self::Two21 => Some(21),
        }
    }

    /// The strategy that the document is about.
    pub(crate) fn resolved(self) -> i32 {
        match self {
            Self::One | Self::One11 => 11,
            Self::One12 => 12,
            Self::Two | Self::Two21 => 21,
        }
    }

    pub(crate) fn query(self) -> UserDataQuery {
        UserDataQuery::new(self.user_id(), self.strategy().and_then(StrategyId::new), Parameters::none())
    }

    fn user_id(self) -> UserId {
        UserId::parse(&self.user().to_string()).unwrap()
    }

    pub(crate) fn scope(self, part: Option<Part>) -> Scope {
        let sections = part.map_or(SectionSet::ALL, |part| SectionSet::NONE.with(part.section()));
        Scope { user: self.user_id(), strategy: self.strategy().and_then(StrategyId::new), sections }
    }

    /// Whether an invalidation of `scope` concerns this key's document.
    pub(crate) fn is_in(self, scope: Self) -> bool {
        let any = scope.strategy().is_none() || self.strategy().is_none();
        self.user() == scope.user() && (any || self.strategy() == scope.strategy())
    }
}

impl Part {
    pub(crate) const ALL: [Self; 2] = [Self::Onboarding, Self::Strategy];

    pub(crate) fn section(self) -> Section {
        match self {
            Self::Onboarding => Section::Onboarding,
            Self::Strategy => Section::Strategy,
        }
    }
}
