//! The key database and the master keys. A key of the doctor's own is made, used and deleted.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use userdata_migrations::{MigrationError, Tables, status};

use super::{
    Findings, REACH_MAX,
    databases::{Which, failed},
};
use crate::{
    app::keys_options,
    clock::Clock,
    config::{Config, PrivacySettings, Secret},
    database::{Dialect, Pool},
    error::with_causes,
    model::{UserHash, UserId},
    privacy::{KeyError, MasterKeys, UserKeys, ValueContext, wrapped_keys},
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
    if !is_migrated(&db, found).await {
        return;
    }
    let wrapped = wrapped_keys(&db).await;
    match wrapped {
        Err(error) => return failed(CHECK, &error, found),
        Ok(wrapped) => {
            for of in wrapped.iter().filter(|of| !masters.names().any(|name| name == of.master)) {
                found.fail(
                    "master keys",
                    format!(
                        "{} users' keys are wrapped by {}, which {} does not have",
                        of.keys,
                        of.master,
                        file.display()
                    ),
                    "add its line to the file again; what those keys encrypt cannot be read without it",
                );
            }
            let rest: i64 = wrapped.iter().filter(|of| of.master != masters.first()).map(|of| of.keys).sum();
            let all: i64 = wrapped.iter().map(|of| of.keys).sum();
            found.ok("master keys", format!("{} wraps {} of {all} users' keys", masters.first(), all - rest));
        }
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
    let mode = std::fs::metadata(file).map(|of| of.permissions().mode() & 0o777).unwrap_or_default();
    if mode & OTHERS == 0 {
        found.ok("master keys", format!("{name} is not open to all users of this machine"));
    } else {
        found.warn(
            "master keys",
            format!("{name} is open to all users of this machine ({mode:o})"),
            format!("chmod o-rwx {name}, and replace the master key: it may be known"),
        );
    }
    Some(masters)
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
