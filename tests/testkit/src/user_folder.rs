//! The planning application's folder with a SQLite file per user.
//!
//! A user has one strategy; its name is a count, as in [`sources`](crate::sources).

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use servers::sqlite_writer::SqliteWriter;
use tempfile::TempDir;

use crate::{
    database::Kind,
    server::Settings,
    sources::{Sources, sources},
};

/// The folder, and beside it a directory for the cache's database.
#[derive(Debug)]
pub struct UserFolder {
    directory: TempDir,
    /// A file with tables and no rows.
    empty: PathBuf,
    /// The application's user; 0: the test's own.
    uid: u32,
}

/// One file or folder as others see it: name, owner, group, mode, inode, and the content of a file.
pub type Entry = (PathBuf, u32, u32, u32, u64, Vec<u8>);

impl UserFolder {
    pub async fn new() -> Self {
        Self::owned_by(0).await
    }

    /// All files are the application's, which runs as another user.
    pub async fn owned_by(uid: u32) -> Self {
        let directory = tempfile::Builder::new().prefix("userdata-folder-").tempdir().unwrap();
        let Sources { database, .. } = sources(Kind::Sqlite).await;
        let empty = directory.path().join("empty.db");
        let mut writer = SqliteWriter::of(Path::new(database.file()));
        writer.execute(&format!("VACUUM INTO '{}'", empty.display()));
        writer.end();
        for name in ["root", "cache"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        // The application and the service run as other users than the test.
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let folder = Self { directory, empty, uid };
        folder.give_to(uid, &folder.root());
        folder
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Outside the root.
    pub fn outside(&self) -> &Path {
        self.directory.path()
    }

    pub fn file(&self, user: &str) -> PathBuf {
        self.root().join(format!("workspace_{user}/db/alwrity_{user}.db"))
    }

    /// A user whose strategy has this count.
    pub fn add(&self, user: &str, count: i64) {
        let file = self.file(user);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::copy(&self.empty, &file).unwrap();
        for path in [&file, file.parent().unwrap(), file.parent().unwrap().parent().unwrap()] {
            self.give_to(self.uid, path);
        }
        let mut writer = self.writer(user);
        writer.execute(&format!(
            "INSERT INTO onboarding_sessions (user_id) VALUES ('{user}'); \
             INSERT INTO enhanced_content_strategies (id, user_id, name, industry) VALUES (1, '{user}', '{count}', 'technology')"
        ));
        writer.end();
    }

    /// Users `0` to `users - 1`, each with their number as the count, from one process.
    pub fn add_many(&self, users: usize) {
        let one = self.directory.path().join("one.db");
        fs::copy(&self.empty, &one).unwrap();
        let mut writer = SqliteWriter::of(&one);
        writer.execute(
            "INSERT INTO onboarding_sessions (user_id) VALUES (''); \
             INSERT INTO enhanced_content_strategies (id, user_id, name, industry) VALUES (1, '', '', 'technology')",
        );
        for user in 0..users {
            let file = self.file(&user.to_string());
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            writer.execute(&format!(
                "UPDATE onboarding_sessions SET user_id = '{user}'; \
                 UPDATE enhanced_content_strategies SET user_id = '{user}', name = '{user}'; VACUUM INTO '{}'",
                file.display()
            ));
        }
        writer.end();
    }

    /// A process of the application with the user's file open.
    pub fn writer(&self, user: &str) -> SqliteWriter {
        SqliteWriter::of_user(&self.file(user), self.uid)
    }

    pub fn template(&self) -> String {
        format!("sqlite://{}/workspace_{{user}}/db/alwrity_{{user}}.db", self.root().display())
    }

    /// An instance over the folder.
    pub fn settings(&self) -> Settings {
        let database = format!("sqlite://{}/cache/userdata.db?mode=rwc", self.directory.path().display());
        Settings::on(&database).with("sources.database_url", self.template())
    }

    /// The same, as another user.
    pub fn settings_of(&self, uid: u32) -> Settings {
        self.give_to(uid, &self.directory.path().join("cache"));
        Settings { uid: Some(uid), ..self.settings() }
    }

    /// Everything in the folder.
    pub fn state(&self) -> Vec<Entry> {
        let (mut state, mut open) = (Vec::new(), vec![self.root()]);
        while let Some(path) = open.pop() {
            let of = fs::symlink_metadata(&path).unwrap();
            if of.is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            let content = if of.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            state.push((path, of.uid(), of.gid(), of.mode(), of.ino(), content));
        }
        state.sort();
        state
    }

    fn give_to(&self, uid: u32, path: &Path) {
        if uid != 0 {
            chown(path, Some(uid), Some(uid)).unwrap();
        }
    }
}

/// Sets the count of the file's strategy, in a transaction as the application's.
pub fn count(writer: &mut SqliteWriter, count: i64) {
    writer.execute(&format!("BEGIN; UPDATE enhanced_content_strategies SET name = '{count}'; COMMIT"));
}
