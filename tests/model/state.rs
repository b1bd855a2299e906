//! What the fence protocol consists of at one moment: the database, the tiers, the instances, the
//! invalidations, the requests.
//!
//! Everything is a few bits in a `u8`, because millions of states are looked at. Time is relative: a
//! lease says how many ticks are left of it, a commit how many have passed, up to a lease's length; so
//! the clock never runs out of numbers. One user, one key, and two sections: the second is made from
//! the first.

use std::fmt::Write as _;

use crate::explore::Fold;

pub(crate) const INSTANCES: usize = 2;
pub(crate) const SECTIONS: usize = 2;
pub(crate) const LOG: usize = 6;
pub(crate) const FLIGHTS: usize = 2;
pub(crate) const INVALIDATIONS: usize = 4;
pub(crate) const REQUESTS: usize = 4;
pub(crate) const STORED: usize = 5;
pub(crate) const WRITES: usize = 3;

/// The instance of what concerns none.
pub(crate) const NOBODY: u8 = INSTANCES as u8;

/// A set of invalidations: one bit each.
pub(crate) type Set = u8;

/// A document in memory, in Redis or in the table. Not there if its incarnation is 0.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) incarnation: u8,
    pub(crate) tag: [u8; SECTIONS],
    /// Per section the invalidations that had been called when its source reads began: what `born`
    /// is in the tests against real servers.
    pub(crate) knows: [Set; SECTIONS],
    /// The second section failed.
    pub(crate) partial: bool,
}

impl Snapshot {
    pub(crate) fn is_there(&self) -> bool {
        self.incarnation != 0
    }

    fn word(&self) -> u64 {
        u64::from_le_bytes([
            self.incarnation,
            self.tag[0],
            self.tag[1],
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
        format!("{}:{:?} knows {:?}{partial}", self.incarnation, self.tag, self.knows.map(names))
    }
}

/// A row of the invalidation log; trimmed or not there if its nonce is 0.
#[derive(Clone, Copy, Default)]
pub(crate) struct LogRow {
    pub(crate) nonce: u8,
    pub(crate) sections: u8,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Database {
    pub(crate) incarnation: u8,
    pub(crate) seq: u8,
    pub(crate) floor: u8,
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

/// Where a catch-up is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    #[default]
    Idle,
    /// The read of the head was sent.
    Sent,
    /// The head has been read, the rows have not.
    Head,
    /// The database has lost rows: the incarnation is to be replaced.
    Lost,
    /// Rows are applied.
    Applied,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    None,
    /// Has its tag; has read nothing.
    Boarded,
    /// Found something to reuse in the tiers.
    Based,
    /// Its source reads have begun.
    Reading,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Flight {
    pub(crate) stage: Stage,
    /// In the map, where requests can join it.
    pub(crate) listed: bool,
    pub(crate) incarnation: u8,
    pub(crate) tag: u8,
    /// Sections taken over from `held`.
    pub(crate) reused: u8,
    /// What will be sealed.
    pub(crate) held: Snapshot,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Instance {
    pub(crate) caught_up: bool,
    pub(crate) incarnation: u8,
    pub(crate) applied: u8,
    pub(crate) nonce: u8,
    pub(crate) floor: u8,
    pub(crate) fences: [u8; SECTIONS],
    /// Ticks.
    pub(crate) lease_left: u8,
    pub(crate) reading: Reading,
    /// Ticks since the read was sent.
    pub(crate) read_age: u8,
    pub(crate) read_seq: u8,
    pub(crate) read_floor: u8,
    pub(crate) memory: Snapshot,
    pub(crate) flights: [Flight; FLIGHTS],
}

impl Instance {
    pub(crate) fn fence(&self) -> u8 {
        self.fences[0].max(self.fences[1]).max(self.floor)
    }

    pub(crate) fn is_valid(&self, section: usize, tag: u8) -> bool {
        tag >= self.fences[section].max(self.floor)
    }

    fn fold(&self, fold: &mut Fold) {
        fold.word(u64::from_le_bytes([
            u8::from(self.caught_up) | (self.reading as u8) << 1,
            self.incarnation,
            self.applied,
            self.nonce,
            self.floor,
            self.fences[0],
            self.fences[1],
            self.lease_left,
        ]));
        let read = u64::from(self.read_age << 4 | self.read_seq) | u64::from(self.read_floor) << 8;
        fold.word(self.memory.word() | read << 48);
        for flight in &self.flights {
            if flight.stage == Stage::None {
                fold.word(0);
                continue;
            }
            let way = flight.stage as u8 | u8::from(flight.listed) << 3 | flight.reused << 4;
            let stamp = flight.incarnation | flight.tag << 3;
            fold.word(flight.held.word() | u64::from(way) << 48 | u64::from(stamp) << 56);
        }
    }
}

/// How far an invalidation, or a change in the sources, has come.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    #[default]
    Idle,
    Called,
    /// A relay holds its outbox row.
    Taken,
    /// (Broken variants only) its outbox row is deleted, its fence not committed; or it has a
    /// position that is not visible yet.
    Between,
    Committed,
    /// A catch-up whose read was sent after the commit is under way.
    Riding,
    /// That catch-up succeeded.
    CaughtUp,
    /// Acknowledged; of a change: its outbox row is gone.
    Done,
    /// Its caller's instance died; the fence may be committed all the same.
    Orphaned,
}

#[derive(Clone, Copy)]
pub(crate) struct Invalidation {
    pub(crate) progress: Progress,
    pub(crate) at: u8,
    /// 0 before the commit.
    pub(crate) position: u8,
    /// Ticks since the commit, at most a lease's length. Of a change: since its outbox row went.
    pub(crate) since: u8,
    pub(crate) lost: Lost,
}

impl Default for Invalidation {
    fn default() -> Self {
        Self { progress: Progress::Idle, at: NOBODY, position: 0, since: 0, lost: Lost::No }
    }
}

/// What became of a fence whose commit the database has lost.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Lost {
    #[default]
    No,
    /// The instance that acknowledged it had applied it, and lives.
    KnownAtHome,
    /// It binds no instance: the one that acknowledged it died, or it was lost before it was applied.
    Forgotten,
    /// An instance that had applied it has started a new incarnation.
    Renewed,
    /// Both.
    RenewedAndKnownAtHome,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Idle,
    /// Waits for a catch-up that has not been sent yet.
    Queued,
    /// Waits for one that was sent after it came.
    Riding,
    /// Knows how far the log may be trusted.
    Checked,
    /// Waits for a flight.
    Waiting,
    Answered,
}

#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) phase: Phase,
    pub(crate) at: u8,
    pub(crate) flight: u8,
    pub(crate) verified: bool,
    /// Invalidations that bind any answer (P1, P3).
    pub(crate) must: Set,
    /// Those that bind a verified answer (P2, P4).
    pub(crate) must_if_verified: Set,
}

impl Default for Request {
    fn default() -> Self {
        Self { phase: Phase::Idle, at: NOBODY, flight: 0, verified: false, must: 0, must_if_verified: 0 }
    }
}

#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    pub(crate) database: Database,
    /// Every value that was ever sent to Redis: a read gives any of them, or none. That covers loss,
    /// failover to old values, and writes that arrive late or in another order.
    pub(crate) redis: [Snapshot; STORED],
    /// Writes to the table under way, each with its writer's fence on all sections.
    pub(crate) writes: [(Snapshot, u8); WRITES],
    pub(crate) instances: [Instance; INSTANCES],
    pub(crate) invalidations: [Invalidation; INVALIDATIONS],
    pub(crate) requests: [Request; REQUESTS],
    /// Invalidations called so far.
    pub(crate) called: Set,
    /// Faults that happened: crashes, losses of commits, trims, prunes.
    pub(crate) crashes: u8,
    pub(crate) losses: u8,
    pub(crate) trims: u8,
    pub(crate) prunes: u8,
}

impl State {
    /// The fingerprint with the instances in the given order: who is called A does not matter.
    pub(crate) fn fingerprint(&self, order: [usize; INSTANCES + 1], used: Used) -> u64 {
        let mut fold = Fold(0);
        let database = &self.database;
        fold.word(u64::from_le_bytes([
            database.incarnation | database.seq << 4,
            database.floor,
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
            // A set: the order in which values came does not matter.
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
            for (snapshot, fence) in &self.writes {
                fold.word(snapshot.word() | u64::from(*fence) << 56);
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
            *word =
                u64::from_le_bytes([one.phase as u8, at, one.flight, verified, one.must, one.must_if_verified, 0, 0]);
        }
        if used.alike {
            requests[..used.requests].sort_unstable();
        }
        requests.iter().for_each(|word| fold.word(*word));
        fold.done()
    }

    pub(crate) fn show(&self, used: Used) -> String {
        let database = &self.database;
        let mut text = format!("log {}:{} floor {}", database.incarnation, database.seq, database.floor);
        for (index, one) in self.instances.iter().take(used.instances).enumerate() {
            let _ = write!(
                text,
                " | {} {}:{} fences {:?} floor {} lease {} memory {}",
                instance(index as u8),
                one.incarnation,
                one.applied,
                one.fences,
                one.floor,
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

/// The parts of a state that a configuration makes use of; the rest stays as it began.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) instances: usize,
    pub(crate) invalidations: usize,
    pub(crate) requests: usize,
    pub(crate) redis: bool,
    pub(crate) row: bool,
    /// All requests ask for the same.
    pub(crate) alike: bool,
}

pub(crate) fn instance(index: u8) -> char {
    char::from(b'A' + index)
}

/// A set of invalidations in words.
pub(crate) fn names(set: Set) -> String {
    let names: Vec<String> = (0..8).filter(|bit| set & 1 << bit != 0).map(|bit| format!("#{bit}")).collect();
    names.join("")
}
