//! What stands in for the database: the invalidation log and the lease table in memory, each statement one step.
//!
//! A statement may reach it late, also after its asker has given up, and its answer may be late or lost:
//! [`Weather`]. It can be wrong in the ways of [`Flaw`], to see that the tests notice.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use sea_orm::DbErr;
use tokio::sync::oneshot;

use crate::{
    model::Invalidation,
    sync::{
        Mutex,
        shuttled::{chance, time},
    },
};

/// How statements travel. Each is a chance of one in so many, 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Statements that travel for some time, there and back.
    pub slow: u64,
    /// Answers that are lost.
    pub lost: u64,
    /// Transactions that have to be repeated.
    pub transient: u64,
    /// The longest way.
    pub way_max: Duration,
}

/// A way in which a database could be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The log's head and rows are read as they were a second ago, as from a replica.
    OldReads,
    /// Two appends at once get the same positions.
    LostUpdates,
    /// A log's row has the nonce that the row at its place always has.
    PlainNonces,
    /// A row that is there is taken all the same.
    TakesFromTheLiving,
    /// A takeover does not ask whether the heartbeat has moved.
    TakesOverBlindly,
    /// Any claimant moves the heartbeat and seems to hold the lease.
    HeartbeatsForAll,
    /// A release deletes the row, also another claimant's.
    ReleasesAll,
}

/// The tables in memory, and the way to them.
#[derive(Clone, Debug)]
pub struct MemoryDatabase {
    tables: Arc<Mutex<Tables>>,
    weather: Weather,
    flaw: Option<Flaw>,
}

/// All that is stored.
#[derive(Clone, Debug)]
pub struct Tables {
    /// `invalidation_log_head`.
    pub head: Head,
    /// `invalidation_log`.
    pub log: BTreeMap<i64, LogRecord>,
    /// `load_lease`.
    pub leases: BTreeMap<String, LeaseRecord>,
    /// Work of which there is a result.
    pub done: HashSet<String>,
    /// Every invalidation that ever became durable, in order, for the tests.
    pub history: Vec<Commit>,
    /// Leases that were taken over, as they were, and when: for the tests' eyes.
    pub taken_over: Vec<(LeaseRecord, Duration)>,
    /// Leases that were swept, likewise.
    pub swept: Vec<(LeaseRecord, Duration)>,
}

/// The row of `invalidation_log_head`.
#[derive(Clone, Debug)]
pub struct Head {
    /// The log's epoch.
    pub epoch: Arc<str>,
    /// The last position.
    pub position: i64,
    /// Everything read below this position counts as outdated.
    pub low_watermark: i64,
    /// What the cluster agreed on.
    pub lease_ms: i64,
}

/// A row of `invalidation_log`.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// Whom it concerns.
    pub invalidation: Invalidation,
    /// Tells it from another one at the same position.
    pub nonce: i64,
    /// When it was written.
    pub at: Duration,
}

/// An invalidation that became durable.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The log's epoch.
    pub epoch: Arc<str>,
    /// Its position.
    pub position: i64,
    /// Whom it concerns.
    pub invalidation: Invalidation,
    /// When.
    pub at: Duration,
}

/// A row of `load_lease`.
#[derive(Clone, Debug)]
pub struct LeaseRecord {
    /// Who holds it.
    pub holder: String,
    /// Where in the log the work began.
    pub read_position: i64,
    /// Moves while the holder lives.
    pub heartbeat: i64,
    /// How the work ended.
    pub outcome: Option<String>,
    /// When it was changed last: for the tests' eyes.
    pub moved_at: Duration,
}

impl MemoryDatabase {
    /// Empty tables; the cluster agrees on `lease`.
    #[must_use]
    pub fn new(lease: Duration, weather: Weather) -> Self {
        let lease_ms = lease.as_millis().try_into().unwrap_or(i64::MAX);
        let tables = Tables {
            head: Head { epoch: "first".into(), position: 0, low_watermark: 0, lease_ms },
            log: BTreeMap::new(),
            leases: BTreeMap::new(),
            done: HashSet::new(),
            history: Vec::new(),
            taken_over: Vec::new(),
            swept: Vec::new(),
        };
        Self { tables: Arc::new(Mutex::new(tables)), weather, flaw: None }
    }

    /// The same with a flaw.
    #[must_use]
    pub fn with(self, flaw: Option<Flaw>) -> Self {
        Self { flaw, ..self }
    }

    /// Whether it is wrong in this way.
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Does something to the tables at once, as the test itself or as a statement that has arrived.
    pub fn at_once<T>(&self, act: impl FnOnce(&mut Tables) -> T) -> T {
        act(&mut self.tables.lock())
    }

    /// A transaction, which may have to be repeated.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        statements: impl FnOnce(&mut Tables) -> T + Send + 'static,
    ) -> Result<T, DbErr> {
        if chance::once_in(self.weather.transient) {
            return Err(transient());
        }
        self.execute(statements).await
    }

    /// One statement.
    pub(crate) async fn execute<T: Send + 'static>(
        &self,
        statement: impl FnOnce(&mut Tables) -> T + Send + 'static,
    ) -> Result<T, DbErr> {
        let answer = if chance::once_in(self.weather.slow) {
            let (there, back) = (self.way(), self.way());
            let (sender, answer) = oneshot::channel();
            let database = self.clone();
            // A database goes on without its asker.
            drop(shuttle::future::spawn(async move {
                time::sleep(there).await;
                let done = database.at_once(statement);
                time::sleep(back).await;
                let _ = sender.send(done);
            }));
            answer.await.map_err(|_| lost())?
        } else {
            self.at_once(statement)
        };
        if chance::once_in(self.weather.lost) { Err(lost()) } else { Ok(answer) }
    }

    fn way(&self) -> Duration {
        Duration::from_millis(chance::below(1 + u64::try_from(self.weather.way_max.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Tables {
    /// Commits invalidations at the positions above `after`, which is the head except for a flaw. Returns the last one.
    pub fn append(&mut self, after: i64, entries: &[Invalidation], plain_nonces: bool) -> i64 {
        let at = time::now();
        for (position, invalidation) in (after + 1..).zip(entries.iter().cloned()) {
            let nonce = if plain_nonces { position } else { chance::random() };
            self.log.insert(position, LogRecord { invalidation: invalidation.clone(), nonce, at });
            self.history.push(Commit { epoch: Arc::clone(&self.head.epoch), position, invalidation, at });
            self.head.position = position;
        }
        self.head.position
    }

    /// The database loses its last commits, as after a failover to a server that lagged behind.
    pub fn lose_commits_after(&mut self, position: i64) {
        self.head.position = self.head.position.min(position);
        self.log.split_off(&(position + 1));
    }

    /// The head and the rows as they were then.
    pub(crate) fn as_of(&self, then: Duration) -> (Head, BTreeMap<i64, LogRecord>) {
        let log: BTreeMap<_, _> = self
            .log
            .range(..)
            .filter(|(_, row)| row.at <= then)
            .map(|(position, row)| (*position, row.clone()))
            .collect();
        let position = log.last_key_value().map_or(self.head.low_watermark, |(position, _)| *position);
        (Head { position, ..self.head.clone() }, log)
    }
}

/// It lost against another transaction and did nothing, as PostgreSQL says it.
fn transient() -> DbErr {
    DbErr::Custom("40001: serialisation failure".to_owned())
}

/// The statement may have been executed or not.
fn lost() -> DbErr {
    DbErr::Custom("the connection was lost".to_owned())
}
