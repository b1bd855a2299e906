//! Installs and removes the triggers.
//!
//! The planning application goes on meanwhile. On PostgreSQL each table has a transaction of its own, which waits at
//! most [`LOCK_TIMEOUT`] for the table's writers and then tries again later, so that no queue forms behind it. Replacing
//! a trigger locks writers out, never readers. The transaction also notes that everything of the table has changed:
//! changes before it may have been made without a trigger.

use std::time::Duration;

use sea_orm::{
    AccessMode, ConnectionTrait, DbErr, IsolationLevel, RuntimeErr, SqliteTransactionMode, TransactionOptions,
    TransactionSession, TransactionTrait,
};
use userdata_migrations::{columns_of, outbox};

use super::{
    postgres, sqlite,
    status::{TriggerState, needs_row_triggers, schema_of_outbox, status, status_of},
    watched::{CONSUMERS, OUTBOX, STATE, Watched},
};
use crate::{
    database::{Dialect, is_busy},
    model::SectionSet,
    source_schema::{Catalogue, Difference, SourceTable, TABLES},
};

/// Why the triggers could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(
        "there is none of the tables onboarding_sessions, enhanced_content_strategies and content_strategies: is this \
         the database of the sources?"
    )]
    NoTables,
    #[error("{table} was locked by other transactions for {seconds} s; the tables before it are done, run it again")]
    Locked { table: &'static str, seconds: u64 },
    /// The database refused, or could not be reached.
    #[error("the database refused")]
    Database(#[from] DbErr),
}

/// What an installation has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The table's triggers are new.
    Installed(&'static str),
    /// Other transactions hold the table: another try follows.
    Waiting(&'static str),
}

/// A writer that comes after us waits behind us, so long at most.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
/// Between two tries; doubled after each, up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// For one table.
const TRIES: u32 = 40;
/// Creating triggers is quick; the pool's limit is made for look-ups.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Creates the outbox if it is missing or older, and every trigger that is not as this version creates it, on the tables
/// and columns that are there. Returns what is not there. Safe to repeat.
pub async fn install<C>(db: &C) -> Result<Vec<Difference>, InstallError>
where
    C: ConnectionTrait + TransactionTrait,
{
    install_with(db, |_| ()).await
}

/// The same, which says how far it is.
pub async fn install_with<C>(db: &C, mut progress: impl FnMut(Progress)) -> Result<Vec<Difference>, InstallError>
where
    C: ConnectionTrait + TransactionTrait,
{
    let catalogue = Catalogue::read(db).await?;
    if !catalogue.knows_users() {
        return Err(InstallError::NoTables);
    }
    if Dialect::of(db).is_sqlite() {
        install_in_file(db, &mut progress).await?;
    } else {
        repeated(db, OUTBOX, &mut progress, Step::Outbox).await?;
        for table in TABLES.into_iter().filter(|table| catalogue.has_table(table)) {
            repeated(db, table.name, &mut progress, Step::Install(table)).await?;
        }
    }
    Ok(catalogue.differences())
}

/// The same, unless all triggers are current.
pub async fn install_if_outdated<C>(db: &C) -> Result<(), InstallError>
where
    C: ConnectionTrait + TransactionTrait,
{
    if !has_current_outbox(db).await? || status(db).await?.iter().any(|table| is_to_do(table.state)) {
        install(db).await?;
    }
    Ok(())
}

/// Drops every trigger. The outbox stays: its notes are still to be read.
pub async fn remove<C>(db: &C) -> Result<(), InstallError>
where
    C: ConnectionTrait + TransactionTrait,
{
    if Dialect::of(db).is_sqlite() {
        let alone = begin(db).await?;
        for statement in TABLES.iter().flat_map(|table| sqlite::removal(table.name)) {
            alone.execute_unprepared(&statement).await?;
        }
        return Ok(alone.commit().await?);
    }
    let catalogue = Catalogue::read(db).await?;
    for table in TABLES.into_iter().filter(|table| catalogue.has_table(table)) {
        repeated(db, table.name, &mut |_| (), Step::Remove(table)).await?;
    }
    Ok(())
}

/// Whether the outbox and its sisters are there, in this version's shape.
pub(super) async fn has_current_outbox(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let outbox = columns_of(db, OUTBOX).await?;
    let sisters = !columns_of(db, CONSUMERS).await?.is_empty() && !columns_of(db, STATE).await?.is_empty();
    Ok(sisters && outbox.iter().any(|column| column == "only_updated_at"))
}

/// What one transaction does.
#[derive(Clone, Copy)]
enum Step {
    Outbox,
    Install(&'static SourceTable),
    Remove(&'static SourceTable),
}

/// In SQLite a transaction has the file for itself anyway.
async fn install_in_file<C>(db: &C, progress: &mut impl FnMut(Progress)) -> Result<(), InstallError>
where
    C: ConnectionTrait + TransactionTrait,
{
    let alone = begin(db).await?;
    // What has happened before the lock was there counts.
    let catalogue = Catalogue::read(&alone).await?;
    create_outbox(&alone).await?;
    for table in TABLES {
        let Some(watched) = Watched { table }.there(&catalogue) else { continue };
        if is_done(&alone, &catalogue, table).await? {
            continue;
        }
        let statements = sqlite::removal(table.name).into_iter().chain(sqlite::triggers(watched, &catalogue));
        for statement in statements.chain([sqlite::everything(watched)]) {
            alone.execute_unprepared(&statement).await?;
        }
        progress(Progress::Installed(table.name));
    }
    Ok(alone.commit().await?)
}

/// Runs a step until it gets its locks.
async fn repeated<C>(
    db: &C,
    table: &'static str,
    progress: &mut impl FnMut(Progress),
    step: Step,
) -> Result<(), InstallError>
where
    C: ConnectionTrait + TransactionTrait,
{
    let (mut pause, mut waited) = (PAUSE, Duration::ZERO);
    for _ in 0..TRIES {
        match taken(db, step).await {
            Ok(true) => {
                progress(Progress::Installed(table));
                return Ok(());
            }
            Ok(false) => return Ok(()),
            Err(error) if is_lock_lost(&error) => progress(Progress::Waiting(table)),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(pause).await;
        waited += pause + LOCK_TIMEOUT;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Err(InstallError::Locked { table, seconds: waited.as_secs() })
}

/// Takes a step in a transaction of its own. Whether there was anything to do.
async fn taken<C>(db: &C, step: Step) -> Result<bool, DbErr>
where
    C: ConnectionTrait + TransactionTrait,
{
    let transaction = begin(db).await?;
    let limits = format!(
        "SET LOCAL lock_timeout = '{}ms'; SET LOCAL statement_timeout = '{}ms'",
        LOCK_TIMEOUT.as_millis(),
        STATEMENT_TIMEOUT.as_millis()
    );
    transaction.execute_unprepared(&limits).await?;
    let done = match step {
        Step::Outbox => create_outbox(&transaction).await?,
        Step::Install(table) => install_on(&transaction, table).await?,
        Step::Remove(table) => {
            let schema = schema_of_outbox(&transaction).await?;
            for statement in postgres::removal(table.name, &schema) {
                transaction.execute_unprepared(&statement).await?;
            }
            true
        }
    };
    transaction.commit().await?;
    Ok(done)
}

async fn install_on(transaction: &impl ConnectionTrait, table: &'static SourceTable) -> Result<bool, DbErr> {
    let catalogue = Catalogue::read(transaction).await?;
    if !catalogue.has_table(table) || is_done(transaction, &catalogue, table).await? {
        return Ok(false);
    }
    let schema = schema_of_outbox(transaction).await?;
    let rows = needs_row_triggers(transaction, table).await?;
    for statement in postgres::statements(Watched { table }, &schema, rows) {
        transaction.execute_unprepared(&statement).await?;
    }
    transaction.execute_unprepared(&postgres::everything(Watched { table }, &schema)).await?;
    Ok(true)
}

fn is_to_do(state: TriggerState) -> bool {
    matches!(state, TriggerState::Outdated | TriggerState::Absent)
}

async fn is_done(
    transaction: &impl ConnectionTrait,
    catalogue: &Catalogue,
    table: &'static SourceTable,
) -> Result<bool, DbErr> {
    let states = status_of(transaction, catalogue, &[table]).await?;
    Ok(!states.iter().any(|of| is_to_do(of.state)))
}

/// Creates the outbox, or replaces one of another shape, in one transaction with all functions that write into it. The
/// notes that are lost with it are replaced by a note of everything.
async fn create_outbox(transaction: &impl ConnectionTrait) -> Result<bool, DbErr> {
    if has_current_outbox(transaction).await? {
        return Ok(false);
    }
    let is_replaced = !columns_of(transaction, OUTBOX).await?.is_empty();
    let dialect = Dialect::of(transaction);
    if !dialect.is_sqlite() {
        // The outbox stays in the schema in which it was.
        let schema = schema_of_outbox(transaction).await?;
        replace_functions(transaction, &schema).await?;
        transaction.execute_unprepared(&format!("SET LOCAL search_path = {schema}")).await?;
    }
    for table in [STATE, CONSUMERS, OUTBOX] {
        transaction.execute_unprepared(&format!("DROP TABLE IF EXISTS {table}")).await?;
    }
    transaction.execute_unprepared(outbox(dialect.backend())).await?;
    if is_replaced {
        let all = SectionSet::ALL.bits();
        transaction.execute_unprepared(&format!("INSERT INTO {OUTBOX} (sections) VALUES ({all})")).await?;
    }
    Ok(true)
}

/// The triggers that are there go on with functions that know the new outbox.
async fn replace_functions(transaction: &impl ConnectionTrait, schema: &str) -> Result<(), DbErr> {
    for table in TABLES {
        let there = "SELECT to_regprocedure($1) IS NOT NULL AS there";
        let name = format!("{schema}.{}()", postgres::name(table.name));
        let row = transaction.query_one_raw(Dialect::Postgres.statement(there, [name.into()])).await?;
        if row.is_some_and(|row| row.try_get("", "there").unwrap_or(false)) {
            transaction.execute_unprepared(&postgres::function(Watched { table }, schema)).await?;
        }
    }
    Ok(())
}

/// Lock not available (55P03), deadlock (40P01), or another run that creates the same (a unique key of the catalogue).
fn is_lock_lost(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    // tuple concurrently updated (XX000): two runs replace the same function.
    code.is_some_and(|code| ["55P03", "40P01", "23505", "XX000"].contains(&code.as_ref()))
}

/// A transaction that writes. In SQLite it is the only one from its beginning.
async fn begin<C>(db: &C) -> Result<C::Transaction, DbErr>
where
    C: ConnectionTrait + TransactionTrait,
{
    if !Dialect::of(db).is_sqlite() {
        return db.begin_with_config(Some(IsolationLevel::ReadCommitted), Some(AccessMode::ReadWrite)).await;
    }
    let mut tries = 1;
    loop {
        let immediate = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        match db.begin_with_options(immediate).await {
            Err(error) if is_busy(&error) && tries < TRIES => tries += 1,
            begun => return begun,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
