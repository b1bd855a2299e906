//! The key database and the master keys. A key of the doctor's own is made, used and deleted.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use sea_orm::DbErr;
use userdata_migrations::{MigrationError, Tables, status};

use super::{
    Findings, REACH_MAX,
    databases::{Which, failed},
};
use crate::{
    app::keys_options,
    clock::Clock,
    config::{Config, PrivacySettings, Secret},
    database::{self, Dialect, Pool},
    error::with_causes,
    model::{UserHash, UserId},
    privacy::{KeyError, MasterKeys, UserKeys, ValueContext, wrapped_keys, wrong_master_keys},
};

/// Readable or writable by others than its owner and group.
const OTHERS: u32 = 0o007;
const CHECK: &str = "key database";

pub(super) async fn examine(config: &Config, found: &mut Findings) {
    let privacy = &config.privacy;
    let (Some(database), Some(file)) = (config.key_database(), &privacy.master_key_file) else {
        return found.ok("encryption", "off (privacy.encrypt): what is stored about users is in clear");
    };
    match privacy.encrypt {
        true => found.ok("encryption", "stored documents and AI responses are encrypted by a key for each user"),
        false => found.warn(
            "encryption",
            "privacy.encrypt is off, and there is a key database: new values are stored in clear",
            "switch privacy.encrypt on, or remove privacy.keys_url once no backup holds encrypted values",
        ),
    }
    let Some(masters) = master_keys(file, found).await else { return };
    let url = database.url;
    beside(url, config, found);
    let which = Which { check: CHECK, database, written: true };
    let Some(db) = which.open(found).await else { return };
    found.ok(CHECK, format!("{} answers", url.place()));
    if let Some(file) = database::file_of(url.expose()) {
        of_its_owner(&file, found);
    }
    if !is_migrated(&db, found).await {
        return;
    }
    if let Err(error) = unwrapped(&db, &masters, file, found).await {
        return failed(CHECK, &error, found);
    }
    use_a_key(url, masters, privacy, found).await;
}

/// Reads the file, and looks who else can.
async fn master_keys(file: &Path, found: &mut Findings) -> Option<MasterKeys> {
    let name = file.display();
    let masters = match MasterKeys::read(file).await {
        Ok(masters) => masters,
        Err(error) => {
            found.fail("master keys", with_causes(&error), "correct the file; `userdata keys new NAME` writes a line");
            return None;
        }
    };
    match mode_for_others(file) {
        None => found.ok("master keys", format!("{name} is not open to all users of this machine")),
        Some(mode) => found.warn(
            "master keys",
            format!("{name} is open to all users of this machine ({mode:o})"),
            format!("chmod o-rwx {name}, and replace the master key: it may be known"),
        ),
    }
    Some(masters)
}

/// Whether others can read the file of keys.
fn of_its_owner(file: &Path, found: &mut Findings) {
    if let Some(mode) = mode_for_others(file) {
        let name = file.display();
        found.warn(
            CHECK,
            format!("{name} is open to all users of this machine ({mode:o})"),
            format!("chmod 600 {name}, and the files beside it (-wal, -shm)"),
        );
    }
}

/// The mode of a file that is open to others than its owner and group.
fn mode_for_others(file: &Path) -> Option<u32> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
    (mode & OTHERS != 0).then_some(mode)
}

/// Whether the file has the master keys that wrap the users' keys.
async fn unwrapped(db: &Pool, masters: &MasterKeys, file: &Path, found: &mut Findings) -> Result<(), DbErr> {
    let (name, wrapped) = (file.display(), wrapped_keys(db).await?);
    for of in wrapped.iter().filter(|of| !masters.names().any(|name| name == of.master)) {
        found.fail(
            "master keys",
            format!("{} users' keys are wrapped by {}, which {name} does not have", of.keys, of.master),
            "add its line to the file again; what those keys encrypt cannot be read without it",
        );
    }
    let wrong = wrong_master_keys(db, masters).await?;
    for of in wrapped.iter().filter(|of| wrong.contains(&of.master)) {
        found.fail(
            "master keys",
            format!("{} of {name} is another key than the one that wraps {} users' keys", of.master, of.keys),
            "put the original line back: `serve` refuses to start, because nothing that is stored could be read; if it is \
             lost, see UserdataUserKeysUnavailable in docs/runbook.md",
        );
    }
    if wrong.is_empty() {
        let of_first: i64 = wrapped.iter().filter(|of| of.master == masters.first()).map(|of| of.keys).sum();
        let all: i64 = wrapped.iter().map(|of| of.keys).sum();
        found.ok("master keys", format!("{} wraps {of_first} of {all} users' keys", masters.first()));
    }
    Ok(())
}

/// One server for both is one backup of its files for both.
fn beside(url: &Secret, config: &Config, found: &mut Findings) {
    let host = |url: &Secret| url.place().rsplit_once('/').map(|(host, _)| host.to_owned());
    if !Dialect::of_url(url.expose()).is_sqlite() && host(url) == host(&config.database.url) {
        found.warn(
            CHECK,
            "keys are on the server of the cache's database: a backup of its files holds both",
            "use another server, or back databases up one by one (pg_dump), the key database for a short time only",
        );
    }
}

async fn is_migrated(db: &Pool, found: &mut Findings) -> bool {
    match status(db, Tables::Keys).await {
        Ok(states) if states.iter().all(|state| state.applied) => true,
        Ok(_) if Dialect::of(db).is_sqlite() => {
            found.warn(CHECK, "its table is missing", "nothing: `userdata serve` creates it");
            false
        }
        Ok(_) => {
            found.fail(CHECK, "its table is missing", "run `userdata migrate up` by a role that may create tables");
            false
        }
        Err(error @ MigrationError::Database(_)) => {
            found.fail(CHECK, with_causes(&error), super::databases::HANGS);
            false
        }
        Err(error) => {
            found.fail(CHECK, with_causes(&error), "name another database in privacy.keys_url");
            false
        }
    }
}

/// Does what an instance does with a key.
async fn use_a_key(url: &Secret, masters: MasterKeys, privacy: &PrivacySettings, found: &mut Findings) {
    let patient = PrivacySettings { timeout: REACH_MAX, ..privacy.clone() };
    let pool = match Pool::open(url.expose(), &keys_options(&patient)).await {
        Ok(pool) => pool,
        Err(error) => return failed(CHECK, &error, found),
    };
    let keys = Arc::new(UserKeys::new(pool.clone(), masters, &patient, Clock::system()));
    let user = UserId::parse(&format!("doctor {}", uuid::Uuid::new_v4())).expect("it is short and printable");
    let used = made_and_read(&keys, &user).await;
    // Also if it was not read.
    let deleted = keys.delete(&user).await;
    pool.close().await;
    match used.and(deleted.map(|()| true)) {
        Ok(true) => found.ok(CHECK, "a key was made, read and deleted"),
        Ok(false) => found.fail(CHECK, "what a new key encrypted was not read", "report it: this is a defect"),
        Err(error) => found.fail(
            CHECK,
            format!("a key could not be made, read and deleted: {}", error.line()),
            "GRANT SELECT, INSERT, UPDATE, DELETE on user_key to the role in privacy.keys_url",
        ),
    }
}

async fn made_and_read(keys: &UserKeys, user: &UserId) -> Result<bool, KeyError> {
    let context = ValueContext { place: "doctor", user, key: b"", clear: b"" };
    let mut encrypted = Vec::new();
    keys.of(user).await?.encrypt(&context, b"a value", &mut encrypted);
    // As another instance would.
    keys.forget(UserHash::of(user));
    Ok(keys.decrypt(&context, &encrypted).await?.as_deref() == Some(b"a value"))
}
