//! The outbox, as the relay reads it: what is new since a stored position, and whom it concerns.
//!
//! One small statement when nothing is new. It is one snapshot: notes, the position after them, how far the outbox was
//! trimmed, which server it is, and a print of everything that the notes rest on. What does not fit into it (many notes, a
//! print that was not seen before) is read again in one transaction, so that it is one snapshot, too.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use sea_orm::{AccessMode, ConnectionTrait, DatabaseTransaction, DbErr, IsolationLevel, TransactionTrait};
use tokio::time::Instant;

use super::{
    consumed::{Consumed, Discontinuity, Prints, UpTo},
    install::{self, InstallError, has_current_outbox},
    look::{After, Extent, Look, Note, NoteIds},
    owners::{self, Concerned},
    status::{status_of, unwatched},
    watched::{OUTBOX, sections_of},
};
use crate::{
    database::{Dialect, Pool},
    model::{Invalidation, SectionSet},
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
/// Between two warnings about the same table.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The table, in the database of the sources.
#[derive(Clone, Debug)]
pub struct Outbox {
    pub(super) pool: Pool,
    backlog_max: u64,
    known: Arc<Mutex<Option<Arc<Known>>>>,
    warned: Arc<Mutex<HashMap<&'static str, Instant>>>,
}

/// One look into the outbox, in one snapshot.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Whom the new notes concern, each once. Owners are resolved; an owner that an error hides is everyone.
    pub changes: Vec<Invalidation>,
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
struct Known {
    prints: Prints,
    catalogue: Catalogue,
    unwatched: SectionSet,
}

impl Outbox {
    /// Works through `pool`, which has to be able to write.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self { pool, backlog_max: BACKLOG_MAX, known: Arc::default(), warned: Arc::default() }
    }

    /// The same, which does not read more notes than this at once.
    #[must_use]
    pub fn with_backlog_max(self, backlog_max: u64) -> Self {
        Self { backlog_max, ..self }
    }

    /// Whether the table is there, as this version needs it.
    pub async fn exists(&self) -> Result<bool, DbErr> {
        has_current_outbox(&self.pool).await
    }

    /// What is new since `before`; without it, where a cluster begins that has read nothing yet.
    pub async fn read(&self, before: Option<&Consumed>) -> Result<Reading, DbErr> {
        let after = before.map_or(After::Nothing, |before| After::Consumed(before.clone()));
        // A cluster that begins has nothing to read.
        let rows = if before.is_some() { ROWS_AT_ONCE + 1 } else { 0 };
        match Look::take(&self.pool, &after, Extent { rows, notes: rows }).await {
            Ok(look) => {
                let known = self.known.lock().clone().filter(|known| known.prints == look.consumed.prints);
                let restarted = before.is_some_and(|before| look.was_restarted(before));
                match known {
                    Some(known) if look.rows <= ROWS_AT_ONCE && !restarted => self.reading(before, look, &known).await,
                    _ => self.read_in_transaction(before).await,
                }
            }
            Err(error) => match has_current_outbox(&self.pool).await {
                Ok(false) => self.read_without_outbox(before).await,
                _ => Err(error),
            },
        }
    }

    /// Installs again what is missing, disabled or outdated.
    pub async fn repair(&self) -> Result<(), InstallError> {
        install::install_if_outdated(&self.pool).await
    }

    async fn reading(&self, before: Option<&Consumed>, look: Look, known: &Known) -> Result<Reading, DbErr> {
        let (rows, age, unwatched) = (look.rows, look.age, known.unwatched);
        let nothing_new = |consumed, discontinuity| Reading {
            changes: Vec::new(),
            rows: 0,
            age: Duration::ZERO,
            consumed,
            discontinuity,
            restarted: false,
            unwatched,
        };
        let Some(before) = before else {
            return Ok(nothing_new(look.consumed, Some(Discontinuity::NotRegistered)));
        };
        if let Some(discontinuity) = look.discontinuity(before) {
            return Ok(nothing_new(look.consumed, Some(discontinuity)));
        }
        if rows > self.backlog_max {
            return Ok(nothing_new(look.consumed, Some(Discontinuity::Backlog)));
        }
        let restarted = look.was_restarted(before);
        let changed = changed(&before.prints, &look.consumed.prints);
        if rows == 0 && changed.is_empty() && !restarted && !is_old(before, &look.consumed) {
            return Ok(nothing_new(before.clone(), None));
        }
        let mut concerned = Concerned::default();
        concerned.everyone(changed);
        // Not in the look's transaction, which a statement that fails would end: a later snapshot shows the notes, too.
        let failed = owners::resolve(&self.pool, &known.catalogue, &look.notes, &mut concerned).await;
        self.warn(failed);
        let changes = concerned.into_invalidations(SCOPES_MAX);
        Ok(Reading { changes, rows, age, consumed: look.consumed, discontinuity: None, restarted, unwatched })
    }

    async fn read_in_transaction(&self, before: Option<&Consumed>) -> Result<Reading, DbErr> {
        let transaction = snapshot(&self.pool).await?;
        let mut look = match before {
            None => Look::take(&transaction, &After::Nothing, Extent { rows: 0, notes: 0 }).await?,
            Some(before) => {
                let look =
                    Look::take(&transaction, &After::Consumed(before.clone()), Extent { rows: 0, notes: 0 }).await?;
                // Transaction ids of before may have been given again.
                let after = if look.was_restarted(before) { After::Nothing } else { After::Consumed(before.clone()) };
                let extent = Extent { rows: self.backlog_max.saturating_add(1), notes: SCOPES_MAX as u64 + 1 };
                Look::take(&transaction, &after, extent).await?
            }
        };
        let known = Known::read(&transaction, look.consumed.prints.clone()).await?;
        transaction.commit().await?;
        if look.notes.len() > SCOPES_MAX {
            Self::count_for_everyone(&mut look);
        }
        let known = Arc::new(known);
        *self.known.lock() = Some(Arc::clone(&known));
        self.reading(before, look, &known).await
    }

    /// The notes beyond these were not returned: everything that is watched counts.
    fn count_for_everyone(look: &mut Look) {
        let (source, ids) = (String::new(), NoteIds::default());
        look.notes = vec![Note { source, ids, sections: all_sections(), only_updated_at: false }];
    }

    /// Without an outbox no change is noted: every section is unwatched.
    async fn read_without_outbox(&self, before: Option<&Consumed>) -> Result<Reading, DbErr> {
        let look = Look::without_outbox(&self.pool).await?;
        let catalogue = Catalogue::read(&self.pool).await?;
        let known = Known { prints: Prints::new(), catalogue, unwatched: all_sections() };
        self.reading(before, look, &known).await
    }

    fn warn(&self, failed: Vec<(&'static str, DbErr)>) {
        for (table, error) in failed {
            let now = Instant::now();
            let last = self.warned.lock().insert(table, now);
            if last.is_none_or(|last| now.duration_since(last) >= WARN_EVERY) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    table,
                    error,
                    "owners of changed rows cannot be read; the table's sections are invalidated for everyone"
                );
            }
        }
    }
}

impl Known {
    async fn read(db: &impl ConnectionTrait, prints: Prints) -> Result<Self, DbErr> {
        let catalogue = Catalogue::read(db).await?;
        let states = status_of(db, &catalogue, &TABLES).await?;
        Ok(Self { prints, unwatched: unwatched(&states), catalogue })
    }
}

/// Of all tables that are watched.
fn all_sections() -> SectionSet {
    TABLES.iter().fold(SectionSet::NONE, |all, table| all.union(sections_of(table)))
}

/// A transaction whose statements see one snapshot.
async fn snapshot(pool: &Pool) -> Result<DatabaseTransaction, DbErr> {
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
