//! Lets one run at a time change a database, also if several processes start one.

use std::time::Duration;

use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseBackend, DbErr, IsolationLevel, RuntimeErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};

/// Any number that nothing else in the database locks: "userdata" in ASCII.
const ADVISORY_LOCK: i64 = 0x7573_6572_6461_7461;

/// Another run is done within milliseconds; a database that is locked for longer is in other hands.
const SQLITE_ATTEMPTS: u32 = 100;
const SQLITE_PAUSE: Duration = Duration::from_millis(100);

/// Begins the transaction of a run: of migrations, or of anything else that only one process at a
/// time should do to the tables. While it is open, every other run waits.
pub async fn begin_alone<C: ConnectionTrait + TransactionTrait>(db: &C) -> Result<C::Transaction, DbErr> {
    match db.get_database_backend() {
        DatabaseBackend::Sqlite => begin_immediate(db).await,
        _ => begin_locked(db).await,
    }
}

/// The lock ends with the transaction, also if this process dies.
async fn begin_locked<C: TransactionTrait>(db: &C) -> Result<C::Transaction, DbErr> {
    // Read committed: after the wait, the statements have to see what the other run did.
    let transaction = db.begin_with_config(Some(IsolationLevel::ReadCommitted), Some(AccessMode::ReadWrite)).await?;
    // The pool's statement timeout is made for look-ups.
    transaction.execute_unprepared("SET LOCAL statement_timeout = '60s'").await?;
    transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")).await?;
    Ok(transaction)
}

/// SQLite has one writer, and `IMMEDIATE` becomes it at once: a run that began as a reader could not.
async fn begin_immediate<C: TransactionTrait>(db: &C) -> Result<C::Transaction, DbErr> {
    let mut attempt = 1;
    loop {
        let immediate = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        match db.begin_with_options(immediate).await {
            Err(error) if is_busy(&error) && attempt < SQLITE_ATTEMPTS => attempt += 1,
            begun => return begun,
        }
        tokio::time::sleep(SQLITE_PAUSE).await;
    }
}

/// `SQLITE_BUSY`, extended codes included: another connection is writing.
fn is_busy(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return false;
    };
    let code = cause.as_database_error().and_then(|database| database.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}
