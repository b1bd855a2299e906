//! The file of an embedded database.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sea_orm::{
    DbErr,
    sqlx::{
        self, ConnectOptions as _, Connection,
        sqlite::{SqliteConnectOptions, SqliteJournalMode},
    },
};

use super::{Access, Dialect, SQLITE_BUSY_TIMEOUT, connection_error, sqlite_code};

/// The switch to WAL mode needs an exclusive lock, for which SQLite does not wait. It takes milliseconds.
const WAL_ATTEMPTS: u32 = 100;
const WAL_PAUSE: Duration = Duration::from_millis(50);

/// The file of an embedded database. None for PostgreSQL and for a database in memory.
#[must_use]
pub fn file_of(url: &str) -> Option<PathBuf> {
    let on_disk = Dialect::of_url(url).is_sqlite() && !url.contains(":memory:") && !url.contains("mode=memory");
    let file = on_disk.then(|| SqliteConnectOptions::from_str(url).ok()).flatten()?;
    Some(file.get_filename().to_owned())
}

/// Creates the file of a URL that asks for it (`mode=rwc`), readable by its owner alone. SQLite gives the files that it
/// creates beside it the same mode. A file that is there keeps its mode.
pub fn create_for_owner_alone(url: &str) -> Result<(), DbErr> {
    let creates = url.split_once('?').is_some_and(|(_, query)| query.split('&').any(|part| part == "mode=rwc"));
    // One that is there is not opened: closing it would end the locks of this process's connections to it.
    let Some(file) = file_of(url).filter(|file| creates && !file.exists()) else { return Ok(()) };
    create_folder_of(&file)?;
    let created = OpenOptions::new().append(true).create(true).mode(0o600).open(&file);
    created.map(drop).map_err(|error| not_created(&file, &error))
}

fn create_folder_of(file: &Path) -> Result<(), DbErr> {
    let folder = file.parent().filter(|path| *path != Path::new(""));
    folder.map_or(Ok(()), |folder| fs::create_dir_all(folder).map_err(|error| not_created(folder, &error)))
}

fn not_created(path: &Path, error: &std::io::Error) -> DbErr {
    DbErr::Custom(format!("cannot create {}: {error}", path.display()))
}

/// Creates the cache's directory, and its file in WAL mode, in which readers and the writer do not wait for each other.
/// A file of the planning application's stays as it is.
pub(super) async fn prepare(url: &str, access: Access) -> Result<(), DbErr> {
    let file = SqliteConnectOptions::from_str(url).map_err(connection_error)?;
    if !matches!(access, Access::ReadWrite | Access::Log) || url.contains(":memory:") {
        return Ok(());
    }
    create_folder_of(file.get_filename())?;
    let file = file.busy_timeout(SQLITE_BUSY_TIMEOUT).journal_mode(SqliteJournalMode::Wal);
    let mut attempt = 1;
    loop {
        match file.connect().await {
            Ok(connection) => return connection.close().await.map_err(connection_error),
            Err(error) if is_locked(&error) && attempt < WAL_ATTEMPTS => attempt += 1,
            Err(error) => return Err(connection_error(error)),
        }
        tokio::time::sleep(WAL_PAUSE).await;
    }
}

/// SQLITE_BUSY (5), extended codes included: another process opens or writes the file.
fn is_locked(error: &sqlx::Error) -> bool {
    sqlite_code(error) == Some(5)
}
