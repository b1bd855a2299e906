//! The configurations: each is small enough to be explored whole, and aimed at some of the promises.

/// How an invalidation comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// InvalidateCache at any of the instances.
    Plain,
    /// The same with WAIT_ALL.
    WaitAll,
    /// At an instance that is not modelled otherwise: a committed fence out of nowhere.
    Elsewhere,
    /// A change in the source tables, with its outbox row.
    Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalidation {
    pub(crate) kind: Kind,
    /// Bit 0: the first section; bit 1: the second, which is made from the first.
    pub(crate) sections: u8,
}

/// What a request asks for. It may arrive at any instance, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadOptions {
    pub(crate) sections: u8,
    /// It brings the token of this invalidation.
    pub(crate) token: Option<u8>,
    /// The log is read first.
    pub(crate) linearizable: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Configuration {
    pub(crate) instances: usize,
    pub(crate) sections: usize,
    pub(crate) invalidations: &'static [Invalidation],
    pub(crate) requests: &'static [ReadOptions],
    /// Instances begin with a valid lease; else they have yet to read the log.
    pub(crate) started: bool,
    /// A lease's length in ticks.
    pub(crate) lease: u8,
    /// The log is read also when there is nothing in it to be had.
    pub(crate) polls: bool,
    /// Ticks happen.
    pub(crate) time: bool,
    pub(crate) redis: bool,
    pub(crate) row: bool,
    /// Requests may stop waiting for the log, and are answered unverified.
    pub(crate) impatient: bool,
    /// Loads may fail to get the second section.
    pub(crate) partial: bool,
    pub(crate) crashes: u8,
    pub(crate) losses: u8,
    pub(crate) trims: u8,
    pub(crate) prunes: u8,
}

const fn fence(kind: Kind) -> Invalidation {
    Invalidation { kind, sections: 1 }
}

/// A fence of another user: it only takes a position.
const fn another(kind: Kind) -> Invalidation {
    Invalidation { kind, sections: 0 }
}

const fn on(sections: u8) -> Invalidation {
    Invalidation { kind: Kind::Plain, sections }
}

const fn asks(sections: u8) -> ReadOptions {
    ReadOptions { sections, token: None, linearizable: false }
}

const PLAIN: ReadOptions = asks(1);
const LINEARIZABLE: ReadOptions = ReadOptions { linearizable: true, ..PLAIN };
const WITH_TOKEN: ReadOptions = ReadOptions { token: Some(0), ..PLAIN };

const NOTHING: Configuration = Configuration {
    instances: 1,
    sections: 1,
    invalidations: &[],
    requests: &[],
    started: true,
    lease: 1,
    polls: false,
    time: false,
    redis: false,
    row: false,
    impatient: false,
    partial: false,
    crashes: 0,
    losses: 0,
    trims: 0,
    prunes: 0,
};

/// P1 and P6 in one instance: loads of any length, joined or not, whose documents stay in memory and
/// come back from Redis at any later time, while two invalidations are called.
pub(crate) const SLOW_LOADS: Configuration = Configuration {
    invalidations: &[fence(Kind::Plain), fence(Kind::Plain)],
    requests: &[PLAIN; 4],
    redis: true,
    ..NOTHING
};

/// P1 and P6 over two instances that share a Redis which loses, regresses and reorders; one of them
/// restarts.
pub(crate) const LYING_REDIS: Configuration = Configuration {
    instances: 2,
    invalidations: &[fence(Kind::Plain)],
    requests: &[PLAIN; 2],
    redis: true,
    impatient: true,
    crashes: 1,
    ..NOTHING
};

/// P2 and P4: two instances, leases that lapse, reads of the log that take any time, WAIT_ALL; answers
/// after a lapsed lease are renewed or flagged.
pub(crate) const LEASES: Configuration = Configuration {
    instances: 2,
    invalidations: &[fence(Kind::WaitAll)],
    requests: &[PLAIN; 2],
    polls: true,
    time: true,
    impatient: true,
    ..NOTHING
};

/// The order of the log: two fences, of two users, are committed at once by two instances; P1 and
/// linearizable requests.
pub(crate) const TWO_WRITERS: Configuration = Configuration {
    instances: 2,
    invalidations: &[fence(Kind::Plain), another(Kind::Plain)],
    requests: &[PLAIN, LINEARIZABLE],
    ..NOTHING
};

/// P3 and LINEARIZABLE: requests that bring a token, or have the log read, at an instance that lags behind.
pub(crate) const TOKENS: Configuration = Configuration {
    instances: 2,
    invalidations: &[fence(Kind::Plain)],
    requests: &[PLAIN, WITH_TOKEN, LINEARIZABLE],
    polls: true,
    ..NOTHING
};

/// The floor: the log is trimmed, an instance forgets the key's fences, one restarts.
pub(crate) const FLOOR: Configuration = Configuration {
    invalidations: &[fence(Kind::Plain), fence(Kind::Elsewhere)],
    requests: &[PLAIN; 2],
    redis: true,
    crashes: 1,
    trims: 1,
    prunes: 1,
    ..NOTHING
};

/// P1 over a loss of commits: the database forgets fences that an instance has acknowledged or applied,
/// and goes on. Positions of the old log and of the new one must not be taken for each other.
pub(crate) const LOST_COMMITS: Configuration = Configuration {
    invalidations: &[fence(Kind::Plain), fence(Kind::Elsewhere)],
    requests: &[PLAIN; 3],
    redis: true,
    losses: 1,
    ..NOTHING
};

/// P2 over a loss of commits: once an instance that had applied the lost fence has started a new
/// incarnation, it binds verified answers everywhere again, a lease later.
pub(crate) const RENEWAL: Configuration = Configuration {
    instances: 2,
    invalidations: &[fence(Kind::Plain)],
    requests: &[PLAIN; 2],
    time: true,
    losses: 1,
    ..NOTHING
};

/// The same, between the two halves of a catch-up: the head is read before the loss, the rows after it.
pub(crate) const LOSS_BETWEEN_READS: Configuration = Configuration {
    invalidations: &[
        another(Kind::Elsewhere),
        another(Kind::Elsewhere),
        another(Kind::Elsewhere),
        fence(Kind::Elsewhere),
    ],
    requests: &[PLAIN, LINEARIZABLE],
    losses: 1,
    ..NOTHING
};

/// Tags per section: fences on either section, requests for one of them or both, documents that are
/// put together from sections of different ages.
pub(crate) const SECTIONS: Configuration = Configuration {
    sections: 2,
    invalidations: &[on(1), on(2)],
    requests: &[asks(3), asks(1), asks(2)],
    redis: true,
    ..NOTHING
};

/// P9: loads that fail to get one section, in memory and in the table.
pub(crate) const PARTIAL: Configuration = Configuration {
    instances: 2,
    sections: 2,
    invalidations: &[on(1)],
    requests: &[asks(3); 3],
    row: true,
    partial: true,
    ..NOTHING
};

/// The outbox: changes in the sources, relayed by instances that may die in between.
pub(crate) const OUTBOX: Configuration = Configuration {
    invalidations: &[fence(Kind::Change)],
    requests: &[PLAIN; 2],
    polls: true,
    time: true,
    redis: true,
    crashes: 1,
    ..NOTHING
};
