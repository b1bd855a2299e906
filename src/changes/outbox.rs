//! The outbox, as the relay reads it: what is new since a stored position, and whom it concerns.
//!
//! One small statement when nothing is new. It is one snapshot: notes, the position after them, how far the outbox was
//! trimmed, which server it is, and a print of everything that the notes rest on. What does not fit into it (many notes, a
//! print that was not seen before) is read again in one transaction, so that it is one snapshot, too.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::{AccessMode, DbErr, IsolationLevel, TransactionTrait};
use tokio::time::Instant;

use super::{
    consumed::{Consumed, Discontinuity, Prints, UpTo},
    install::{self, InstallError, has_current_outbox},
    look::{After, Extent, Note, OutboxLook, all_sections},
    owners::{Concerned, Questions},
    status::{status_of, unwatched},
    watched::{OUTBOX, sections_of},
};
use crate::{
    database::{Dialect, Pool, Transaction},
    model::{Invalidation, SectionSet, UserId},
    source_schema::{Catalogue, TABLES},
    sync::Mutex,
};

/// A reading with more is made in a transaction. What commits within 25 ms is mostly fewer.
const ROWS_AT_ONCE: u64 = 1000;
/// More become one invalidation of everyone.
const SCOPES_MAX: usize = 20_000;
/// More notes than this are not read: everything is outdated instead.
const BACKLOG_MAX: u64 = 200_000;
/// A reading that finds nothing new keeps the stored position. A snapshot that grows old would keep the outbox from being
/// trimmed, and its running transactions in every statement.
const RENEW_AFTER_MICROS: i64 = 60_000_000;
/// For a small statement. A database that is silent is asked over another connection then.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Between two warnings about the same table.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The table, in the database of the sources.
#[derive(Clone, Debug)]
pub struct Outbox {
    pub(super) pool: Pool,
    backlog_max: u64,
    known: Arc<Mutex<Option<Arc<KnownTables>>>>,
    answered: Arc<AtomicBool>,
    warned: Arc<Mutex<HashMap<&'static str, Instant>>>,
}

/// One look into the outbox, in one snapshot.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Whom the new notes concern, each once. Owners are resolved; an owner that an error hides is everyone.
    pub changes: Vec<Invalidation<UserId>>,
    /// How many notes are new.
    pub rows: u64,
    /// Of the oldest new note.
    pub age: Duration,
    /// What is consumed once `changes` are in the log. Equal to `before` if nothing is new.
    pub consumed: Consumed,
    /// Why this reading does not continue `before`: everything cached is outdated then, and `changes` is empty.
    pub discontinuity: Option<Discontinuity>,
    /// The server was started since `before`: it may have lost commits that were not flushed, and that were read.
    pub restarted: bool,
    /// Sections of tables whose triggers are missing, disabled or outdated: nothing is promised for them.
    pub unwatched: SectionSet,
}

/// What a print stands for.
#[derive(Debug)]
struct KnownTables {
    prints: Prints,
    catalogue: Catalogue,
    unwatched: SectionSet,
}

impl Outbox {
    /// Works through `pool`, which has to be able to write.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self { pool, backlog_max: BACKLOG_MAX, known: Arc::default(), answered: Arc::default(), warned: Arc::default() }
    }

    /// The same, which does not read more notes than this at once.
    #[must_use]
    pub fn with_backlog_max(self, backlog_max: u64) -> Self {
        Self { backlog_max, ..self }
    }

    /// Whether the table is there, as this version needs it.
    pub async fn exists(&self) -> Result<bool, DbErr> {
        answered(has_current_outbox(&self.pool)).await
    }

    /// What is new since `before`; without it, where a cluster begins that has read nothing yet.
    pub async fn read(&self, before: Option<&Consumed>) -> Result<Reading, DbErr> {
        // A cluster that begins has nothing to read.
        let rows = if before.is_some() { ROWS_AT_ONCE + 1 } else { 0 };
        self.answered.store(false, Ordering::Relaxed);
        let after = After::of(before);
        let look = match answered(OutboxLook::take(&self.pool, &after, Extent { rows, notes: rows })).await {
            Ok(look) => look,
            Err(error) => match self.exists().await {
                Ok(false) => return self.read_without_outbox(before).await,
                _ => return Err(error),
            },
        };
        self.answered.store(true, Ordering::Relaxed);
        let known = self.known.lock().clone().filter(|known| known.prints == look.consumed.prints);
        let restarted = before.is_some_and(|before| look.was_restarted(before));
        if let Some(known) = known.filter(|_| look.rows <= ROWS_AT_ONCE && !restarted) {
            let mut concerned = Concerned::default();
            if Questions::of(&look.notes, &mut concerned).is_empty() {
                return Ok(self.reading(before, look, known.unwatched, concerned));
            }
        }
        self.read_in_transaction(before, restarted).await
    }

    /// Whether the reading that runs has had an answer of the database: it has much to read.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Installs again what is missing, disabled or outdated.
    pub async fn repair(&self) -> Result<(), InstallError> {
        install::install_if_outdated(&self.pool).await
    }

    /// All statements in one snapshot. `anew`: from the first note that is there, because transaction ids of `before` may
    /// have been given again.
    async fn read_in_transaction(&self, before: Option<&Consumed>, mut anew: bool) -> Result<Reading, DbErr> {
        let extent = Extent { rows: self.backlog_max.saturating_add(1), notes: SCOPES_MAX as u64 + 1 };
        let extent = if before.is_some() { extent } else { Extent { rows: 0, notes: 0 } };
        let (transaction, mut look) = loop {
            let transaction = answered(snapshot(&self.pool)).await?;
            let after = After::of(before.filter(|_| !anew));
            let look = OutboxLook::take(&transaction, &after, extent).await?;
            if anew || !before.is_some_and(|before| look.was_restarted(before)) {
                break (transaction, look);
            }
            anew = true;
        };
        let known = self.known_tables(&transaction, &look.consumed.prints).await?;
        if look.notes.len() > SCOPES_MAX {
            // More were not returned.
            look.notes = vec![Note::of_everyone()];
        }
        let mut concerned = Concerned::default();
        let questions = Questions::of(&look.notes, &mut concerned);
        if look.rows <= self.backlog_max {
            self.warn(questions.ask(&transaction, &known.catalogue, &mut concerned).await?);
        }
        transaction.commit().await?;
        Ok(self.reading(before, look, known.unwatched, concerned))
    }

    /// What a print stands for, read if it was not seen before.
    async fn known_tables(&self, snapshot: &Transaction, prints: &Prints) -> Result<Arc<KnownTables>, DbErr> {
        if let Some(known) = self.known.lock().clone().filter(|known| known.prints == *prints) {
            return Ok(known);
        }
        let catalogue = Catalogue::read(snapshot).await?;
        let states = status_of(snapshot, &catalogue, &TABLES).await?;
        let known = Arc::new(KnownTables { prints: prints.clone(), unwatched: unwatched(&states), catalogue });
        *self.known.lock() = Some(Arc::clone(&known));
        Ok(known)
    }

    fn reading(
        &self,
        before: Option<&Consumed>,
        look: OutboxLook,
        unwatched: SectionSet,
        mut concerned: Concerned,
    ) -> Reading {
        let discontinuity = match before {
            None => Some(Discontinuity::NotRegistered),
            Some(_) if look.rows > self.backlog_max => Some(Discontinuity::Backlog),
            Some(before) => look.discontinuity(before),
        };
        let restarted = before.is_some_and(|before| look.was_restarted(before)) && discontinuity.is_none();
        let (mut rows, mut age, mut consumed, mut changes) = (0, Duration::ZERO, look.consumed, Vec::new());
        if let Some(before) = before.filter(|_| discontinuity.is_none()) {
            let changed = changed(&before.prints, &consumed.prints);
            (rows, age) = (look.rows, look.age);
            if rows == 0 && changed.is_empty() && !restarted && !is_old(before, &consumed) {
                consumed = before.clone();
            } else {
                concerned.everyone(changed);
                changes = concerned.into_invalidations(SCOPES_MAX);
            }
        }
        Reading { changes, rows, age, consumed, discontinuity, restarted, unwatched }
    }

    /// Without an outbox no change is noted: every section is unwatched.
    async fn read_without_outbox(&self, before: Option<&Consumed>) -> Result<Reading, DbErr> {
        let look = answered(OutboxLook::without_outbox(&self.pool)).await?;
        Ok(self.reading(before, look, all_sections(), Concerned::default()))
    }

    fn warn(&self, failed: Vec<(&'static str, DbErr)>) {
        for (table, error) in failed {
            let now = Instant::now();
            let mut warned = self.warned.lock();
            if warned.get(table).is_some_and(|last| now.duration_since(*last) < WARN_EVERY) {
                continue;
            }
            warned.insert(table, now);
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                table,
                error,
                "owners of changed rows cannot be read; the table's sections are invalidated for everyone"
            );
        }
    }
}

/// What a small statement gives, if the database answers in time.
pub(super) async fn answered<T>(asked: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    let answer = tokio::time::timeout(ANSWER_MAX, asked).await;
    answer.unwrap_or_else(|_elapsed| Err(DbErr::Custom("the outbox does not answer".to_owned())))
}

/// A transaction whose statements see one snapshot.
async fn snapshot(pool: &Pool) -> Result<Transaction, DbErr> {
    match Dialect::of(pool) {
        Dialect::Postgres => {
            pool.begin_with_config(Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly)).await
        }
        Dialect::Sqlite => pool.begin().await,
    }
}

/// The sections of tables whose print is another one.
fn changed(before: &Prints, now: &Prints) -> SectionSet {
    let names: HashSet<&String> = before.keys().chain(now.keys()).collect();
    let names: Vec<&String> = names.into_iter().filter(|name| before.get(*name) != now.get(*name)).collect();
    // SQLite has one print for the file. Another outbox may lack notes of any table.
    let is_for_all = |name: &str| name.is_empty() || name == OUTBOX;
    let is_changed = |table: &str| names.iter().any(|name| is_for_all(name) || *name == table);
    let tables = TABLES.into_iter().filter(|table| is_changed(table.name));
    tables.fold(SectionSet::NONE, |sections, table| sections.union(sections_of(table)))
}

fn is_old(before: &Consumed, now: &Consumed) -> bool {
    let is_snapshot = matches!(now.up_to, UpTo::Snapshot(_));
    is_snapshot && before.up_to != now.up_to && now.read_at - before.read_at >= RENEW_AFTER_MICROS
}
