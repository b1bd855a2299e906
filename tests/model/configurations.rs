//! The configurations. Each is small enough to be explored completely, and aimed at some of the promises.

/// How an invalidation comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// InvalidateCache at any of the instances.
    Plain,
    /// As `Plain`, with WAIT_ALL.
    WaitAll,
    /// By an instance outside the model: the invalidation appears in the log, committed.
    Elsewhere,
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
    /// It carries the token of this invalidation.
    pub(crate) token: Option<u8>,
    /// The log is read before the answer.
    pub(crate) linearizable: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Configuration {
    pub(crate) instances: usize,
    pub(crate) sections: usize,
    pub(crate) invalidations: &'static [Invalidation],
    pub(crate) requests: &'static [ReadOptions],
    /// Instances start with a valid lease; otherwise they first have to read the log.
    pub(crate) started: bool,
    /// A lease's length in ticks.
    pub(crate) lease: u8,
    /// The log is also read when it contains nothing new.
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

const fn invalidation(kind: Kind) -> Invalidation {
    Invalidation { kind, sections: 1 }
}

/// An invalidation of another user: it only takes a position.
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

/// P1 and P6 in one instance, while two invalidations are called. Loads take any time and may be joined. Their documents
/// stay in memory and come back from Redis at any later time.
pub(crate) const SLOW_LOADS: Configuration = Configuration {
    invalidations: &[invalidation(Kind::Plain), invalidation(Kind::Plain)],
    requests: &[PLAIN; 4],
    redis: true,
    ..NOTHING
};

/// P1 and P6 over two instances that share a Redis which loses, restores and reorders values. One instance restarts.
pub(crate) const LYING_REDIS: Configuration = Configuration {
    instances: 2,
    invalidations: &[invalidation(Kind::Plain)],
    requests: &[PLAIN; 2],
    redis: true,
    impatient: true,
    crashes: 1,
    ..NOTHING
};

/// P2 and P4: two instances, leases that lapse, readings of the log that take any time, WAIT_ALL. After a lapsed lease
/// an answer is renewed or flagged.
pub(crate) const LEASES: Configuration = Configuration {
    instances: 2,
    invalidations: &[invalidation(Kind::WaitAll)],
    requests: &[PLAIN; 2],
    polls: true,
    time: true,
    impatient: true,
    ..NOTHING
};

/// The order of the log: two instances commit invalidations of two users at the same time. P1 and linearizable requests.
pub(crate) const TWO_WRITERS: Configuration = Configuration {
    instances: 2,
    invalidations: &[invalidation(Kind::Plain), another(Kind::Plain)],
    requests: &[PLAIN, LINEARIZABLE],
    ..NOTHING
};

/// P3 and LINEARIZABLE: requests that carry a token, or have the log read, at an instance that lags behind.
pub(crate) const TOKENS: Configuration = Configuration {
    instances: 2,
    invalidations: &[invalidation(Kind::Plain)],
    requests: &[PLAIN, WITH_TOKEN, LINEARIZABLE],
    polls: true,
    ..NOTHING
};

/// The low watermark: the log is trimmed, an instance drops the invalidations of the key, one instance restarts.
pub(crate) const LOW_WATERMARK: Configuration = Configuration {
    invalidations: &[invalidation(Kind::Plain), invalidation(Kind::Elsewhere)],
    requests: &[PLAIN; 2],
    redis: true,
    crashes: 1,
    trims: 1,
    prunes: 1,
    ..NOTHING
};

/// P1 over a loss of commits: the database loses invalidations that an instance has acknowledged or applied, and goes
/// on. Positions of the old epoch must not be compared with positions of the new one.
pub(crate) const LOST_COMMITS: Configuration = Configuration {
    invalidations: &[invalidation(Kind::Plain), invalidation(Kind::Elsewhere)],
    requests: &[PLAIN; 3],
    redis: true,
    losses: 1,
    ..NOTHING
};

/// P2 over a loss of commits: an instance that had applied the lost invalidation starts a new epoch. One lease later the
/// invalidation binds verified answers everywhere again.
pub(crate) const RENEWAL: Configuration = Configuration {
    instances: 2,
    invalidations: &[invalidation(Kind::Plain)],
    requests: &[PLAIN; 2],
    time: true,
    losses: 1,
    ..NOTHING
};

/// As `RENEWAL`, between the two reads of a catch-up: the head is read before the loss, the rows after it.
pub(crate) const LOSS_BETWEEN_READS: Configuration = Configuration {
    invalidations: &[
        another(Kind::Elsewhere),
        another(Kind::Elsewhere),
        another(Kind::Elsewhere),
        invalidation(Kind::Elsewhere),
    ],
    requests: &[PLAIN, LINEARIZABLE],
    losses: 1,
    ..NOTHING
};

/// Read positions per section: invalidations of either section, requests for one or both, documents of sections with
/// different ages.
pub(crate) const SECTIONS: Configuration = Configuration {
    sections: 2,
    invalidations: &[on(1), on(2)],
    requests: &[asks(3), asks(1), asks(2)],
    redis: true,
    ..NOTHING
};

/// P9: loads that fail to read one section, in memory and in the table.
pub(crate) const PARTIAL: Configuration = Configuration {
    instances: 2,
    sections: 2,
    invalidations: &[on(1)],
    requests: &[asks(3); 3],
    row: true,
    partial: true,
    ..NOTHING
};
