//! The protocol's state at one moment: the database, the tiers, the instances, the invalidations, the requests.
//!
//! Everything is a few bits in a `u8`, because the search visits millions of states. Time is relative: a lease counts the
//! ticks that are left, a commit the ticks that have passed, up to a lease's length. So a run may be of any length. One
//! user, one key, and two sections; the second is made from the first.

use std::fmt::Write as _;

use crate::explore::Fold;

pub(crate) const INSTANCES: usize = 2;
pub(crate) const SECTIONS: usize = 2;
pub(crate) const LOG: usize = 6;
pub(crate) const LOADS: usize = 2;
pub(crate) const INVALIDATIONS: usize = 4;
pub(crate) const REQUESTS: usize = 4;
pub(crate) const STORED: usize = 5;
pub(crate) const WRITES: usize = 3;

/// Stands for no instance.
pub(crate) const NOBODY: u8 = INSTANCES as u8;

/// A set of invalidations: one bit each.
pub(crate) type Set = u8;

/// A document in memory, in Redis or in the table. Absent if its epoch is 0.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) epoch: u8,
    pub(crate) read_position: [u8; SECTIONS],
    /// Per section, the invalidations that had been called when the reads of its source began. The tests against real
    /// servers call this `born`.
    pub(crate) knows: [Set; SECTIONS],
    /// The second section failed.
    pub(crate) partial: bool,
}

impl Snapshot {
    pub(crate) fn is_there(&self) -> bool {
        self.epoch != 0
    }

    fn word(&self) -> u64 {
        u64::from_le_bytes([
            self.epoch,
            self.read_position[0],
            self.read_position[1],
            self.knows[0],
            self.knows[1],
            u8::from(self.partial),
            0,
            0,
        ])
    }

    fn show(&self) -> String {
        if !self.is_there() {
            return "-".to_owned();
        }
        let partial = if self.partial { " partial" } else { "" };
        format!("{}:{:?} knows {:?}{partial}", self.epoch, self.read_position, self.knows.map(names))
    }
}

/// A row of the invalidation log. Trimmed or absent if its nonce is 0.
#[derive(Clone, Copy, Default)]
pub(crate) struct LogRow {
    pub(crate) nonce: u8,
    pub(crate) sections: u8,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Database {
    pub(crate) epoch: u8,
    pub(crate) position: u8,
    pub(crate) low_watermark: u8,
    /// Nonces handed out so far.
    pub(crate) nonces: u8,
    /// The row of position n is at n - 1.
    pub(crate) log: [LogRow; LOG],
    /// The cache table's row of the key.
    pub(crate) row: Snapshot,
}

impl Database {
    pub(crate) fn at(&self, position: u8) -> LogRow {
        match position {
            0 => LogRow::default(),
            _ => self.log[usize::from(position) - 1],
        }
    }
}

/// The progress of a catch-up.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    #[default]
    Idle,
    /// The read of the head was sent.
    Sent,
    /// The head has been read, the rows have not.
    Head,
    /// The database has lost rows; the next step replaces the epoch.
    Lost,
    /// The rows are applied.
    Applied,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    None,
    /// Has its read position, and has read nothing.
    Started,
    /// Found something to reuse in the tiers.
    Based,
    /// The reads of its sources have begun.
    Reading,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) stage: Stage,
    /// Requests can join it.
    pub(crate) listed: bool,
    pub(crate) epoch: u8,
    pub(crate) read_position: u8,
    /// Sections reused from `held`.
    pub(crate) reused: u8,
    /// The document that will be sealed.
    pub(crate) held: Snapshot,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Instance {
    pub(crate) caught_up: bool,
    pub(crate) epoch: u8,
    pub(crate) applied: u8,
    pub(crate) nonce: u8,
    pub(crate) low_watermark: u8,
    pub(crate) last_invalidations: [u8; SECTIONS],
    /// In ticks.
    pub(crate) lease_left: u8,
    pub(crate) reading: Reading,
    /// Ticks since the read was sent.
    pub(crate) read_age: u8,
    pub(crate) head_position: u8,
    pub(crate) head_low_watermark: u8,
    pub(crate) memory: Snapshot,
    pub(crate) loads: [Load; LOADS],
}

impl Instance {
    pub(crate) fn last_invalidation(&self) -> u8 {
        self.last_invalidations[0].max(self.last_invalidations[1]).max(self.low_watermark)
    }

    pub(crate) fn is_valid(&self, section: usize, read_position: u8) -> bool {
        read_position >= self.last_invalidations[section].max(self.low_watermark)
    }

    fn fold(&self, fold: &mut Fold) {
        fold.word(u64::from_le_bytes([
            u8::from(self.caught_up) | (self.reading as u8) << 1,
            self.epoch,
            self.applied,
            self.nonce,
            self.low_watermark,
            self.last_invalidations[0],
            self.last_invalidations[1],
            self.lease_left,
        ]));
        let read = u64::from(self.read_age << 4 | self.head_position) | u64::from(self.head_low_watermark) << 8;
        fold.word(self.memory.word() | read << 48);
        for load in &self.loads {
            if load.stage == Stage::None {
                fold.word(0);
                continue;
            }
            let way = load.stage as u8 | u8::from(load.listed) << 3 | load.reused << 4;
            let stamp = load.epoch | load.read_position << 3;
            fold.word(load.held.word() | u64::from(way) << 48 | u64::from(stamp) << 56);
        }
    }
}

/// The progress of an invalidation.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    #[default]
    Idle,
    Called,
    /// (A broken variant only) it has a position that is not visible yet.
    Between,
    Committed,
    /// A catch-up runs whose read was sent after the commit.
    CatchingUp,
    /// That catch-up succeeded.
    CaughtUp,
    /// Acknowledged.
    Done,
    /// Its caller's instance died; it may be committed all the same.
    Orphaned,
}

#[derive(Clone, Copy)]
pub(crate) struct Invalidation {
    pub(crate) progress: Progress,
    pub(crate) at: u8,
    /// 0 before the commit.
    pub(crate) position: u8,
    /// Ticks since the commit, at most a lease's length.
    pub(crate) since: u8,
    pub(crate) lost: Lost,
}

impl Default for Invalidation {
    fn default() -> Self {
        Self { progress: Progress::Idle, at: NOBODY, position: 0, since: 0, lost: Lost::No }
    }
}

/// What became of an invalidation whose commit the database has lost.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Lost {
    #[default]
    No,
    /// The instance that acknowledged it had applied it, and lives.
    KnownAtHome,
    /// It binds no instance: the one that acknowledged it died, or it was lost before it was applied.
    Forgotten,
    /// An instance that had applied it has started a new epoch.
    Renewed,
    /// `Renewed` and `KnownAtHome`.
    RenewedAndKnownAtHome,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Idle,
    /// Waits for a catch-up that has not been sent yet.
    Queued,
    /// Waits for a catch-up that was sent after the request arrived.
    CatchingUp,
    /// Knows whether the copy of the log is valid.
    Checked,
    /// Waits for a load.
    Waiting,
    Answered,
}

#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) phase: Phase,
    pub(crate) at: u8,
    pub(crate) load: u8,
    pub(crate) verified: bool,
    /// Invalidations that bind any answer (P1, P3).
    pub(crate) must: Set,
    /// Invalidations that bind a verified answer (P2, P4).
    pub(crate) must_if_verified: Set,
}

impl Default for Request {
    fn default() -> Self {
        Self { phase: Phase::Idle, at: NOBODY, load: 0, verified: false, must: 0, must_if_verified: 0 }
    }
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    pub(crate) database: Database,
    /// Every value ever sent to Redis: a read returns any of them, or none. That covers loss, failover to old values, and
    /// writes that arrive late or in another order.
    pub(crate) redis: [Snapshot; STORED],
    /// Writes to the table that are under way, each with its writer's last invalidation of any section.
    pub(crate) writes: [(Snapshot, u8); WRITES],
    pub(crate) instances: [Instance; INSTANCES],
    pub(crate) invalidations: [Invalidation; INVALIDATIONS],
    pub(crate) requests: [Request; REQUESTS],
    /// Invalidations called so far.
    pub(crate) called: Set,
    /// Faults so far: crashes, losses of commits, trims, prunes.
    pub(crate) crashes: u8,
    pub(crate) losses: u8,
    pub(crate) trims: u8,
    pub(crate) prunes: u8,
}

impl State {
    /// The fingerprint with the instances in the given order: which instance is called A does not matter.
    pub(crate) fn fingerprint(&self, order: [usize; INSTANCES + 1], used: Used) -> u64 {
        let mut fold = Fold(0);
        let database = &self.database;
        fold.word(u64::from_le_bytes([
            database.epoch | database.position << 4,
            database.low_watermark,
            database.nonces,
            self.called,
            self.crashes,
            self.losses,
            self.trims,
            self.prunes,
        ]));
        let mut rows = 0;
        for row in &database.log {
            rows = rows << 8 | u64::from(row.nonce | row.sections << 4);
        }
        fold.word(rows);
        if used.redis {
            // A set: the order of the values does not matter.
            let mut set = 0_u64;
            for stored in &self.redis {
                if stored.is_there() {
                    let mut one = Fold(1);
                    one.word(stored.word());
                    set = set.wrapping_add(one.done());
                }
            }
            fold.word(set);
        }
        if used.row {
            fold.word(database.row.word());
            for (snapshot, last_invalidation) in &self.writes {
                fold.word(snapshot.word() | u64::from(*last_invalidation) << 56);
            }
        }
        for index in order.iter().take(used.instances) {
            self.instances[*index].fold(&mut fold);
        }
        for one in &self.invalidations[..used.invalidations] {
            let at = order[usize::from(one.at)] as u8;
            fold.word(u64::from_le_bytes([one.progress as u8, at, one.position, one.since, one.lost as u8, 0, 0, 0]));
        }
        let mut requests = [0; REQUESTS];
        for (word, one) in requests.iter_mut().zip(&self.requests) {
            let at = order[usize::from(one.at)] as u8;
            let verified = u8::from(one.verified);
            *word = u64::from_le_bytes([one.phase as u8, at, one.load, verified, one.must, one.must_if_verified, 0, 0]);
        }
        if used.alike {
            requests[..used.requests].sort_unstable();
        }
        requests.iter().for_each(|word| fold.word(*word));
        fold.done()
    }

    pub(crate) fn show(&self, used: Used) -> String {
        let database = &self.database;
        let mut text = format!("log {}:{} low {}", database.epoch, database.position, database.low_watermark);
        for (index, one) in self.instances.iter().take(used.instances).enumerate() {
            let _ = write!(
                text,
                " | {} {}:{} invalidated {:?} low {} lease {} memory {}",
                instance(index as u8),
                one.epoch,
                one.applied,
                one.last_invalidations,
                one.low_watermark,
                one.lease_left,
                one.memory.show()
            );
        }
        if used.row {
            let _ = write!(text, " | row {}", database.row.show());
        }
        text
    }
}

/// The parts of a state that a configuration uses; the others never change.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) instances: usize,
    pub(crate) invalidations: usize,
    pub(crate) requests: usize,
    pub(crate) redis: bool,
    pub(crate) row: bool,
    /// All requests ask for the same thing.
    pub(crate) alike: bool,
}

pub(crate) fn instance(index: u8) -> char {
    char::from(b'A' + index)
}

/// The names of the invalidations in a set.
pub(crate) fn names(set: Set) -> String {
    let names: Vec<String> = (0..8).filter(|bit| set & 1 << bit != 0).map(|bit| format!("#{bit}")).collect();
    names.join("")
}
