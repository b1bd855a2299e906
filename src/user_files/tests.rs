//! Files that another process writes are read whole, and left as they are.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sea_orm::ConnectionTrait as _;
use servers::sqlite_writer::SqliteWriter;

use super::*;
use crate::{database::Dialect, model::FileFingerprint};

/// A root with the folder of user 7, and a reader of such files.
struct Fixture {
    directory: tempfile::TempDir,
    files: UserFiles,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SourcesSettings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("workspace_7/db")).unwrap();
        let copies = directory.path().join("copies");
        fs::create_dir(&copies).unwrap();
        let mut config = SourcesSettings { file_copies_in: Some(copies), ..SourcesSettings::default() };
        change(&mut config);
        let place = |name: &str| {
            FileTemplate::parse(&format!("sqlite://{}/workspace_{{user}}/db/{name}.db", root.display())).unwrap()
        };
        let places = vec![place("alwrity_{user}"), place("alwrity")];
        let files = UserFiles::open(&config, places, Clock::system()).unwrap();
        Self { directory, files }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("root/workspace_7/db").join(name)
    }

    async fn read(&self) -> Result<UserFile, UserFileError> {
        self.files.read(&user("7")).await
    }

    async fn copy(&self) -> Arc<FileCopy> {
        match self.read().await.unwrap() {
            UserFile::Copy(copy) => copy,
            UserFile::Absent(look) => panic!("absent: {look:?}"),
        }
    }

    async fn rows(&self) -> i64 {
        number(self.copy().await.as_ref(), "SELECT count(*) AS n FROM t").await
    }

    fn look(&self) -> FileFingerprint {
        self.files.look_blocking(&user("7")).unwrap().fingerprint
    }
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

async fn number(copy: &FileCopy, sql: &str) -> i64 {
    let row = copy.pool.query_one_raw(Dialect::of(&copy.pool).statement(sql, [])).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

/// What the application and its operator see of a folder: names, owners, modes, inodes and contents.
fn state_of(folder: &Path) -> Vec<(PathBuf, u32, u32, u64, Vec<u8>)> {
    let mut state: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let (path, of) = (entry.as_ref().unwrap().path(), entry.unwrap().metadata().unwrap());
            (path.clone(), of.uid(), of.permissions().mode(), of.ino(), fs::read(path).unwrap_or_default())
        })
        .collect();
    state.sort();
    state
}

#[tokio::test]
async fn a_copy_has_what_is_committed_in_every_journal_mode() {
    for mode in ["delete", "truncate", "persist", "wal"] {
        let fixture = Fixture::new();
        let mut writer = SqliteWriter::of(&fixture.file("alwrity_7.db"));
        writer.execute(&format!("PRAGMA journal_mode={mode}; CREATE TABLE t (a); INSERT INTO t VALUES (1)"));
        assert_eq!(fixture.rows().await, 1, "{mode}");
        writer.execute("INSERT INTO t VALUES (2)");
        assert_eq!(fixture.rows().await, 2, "{mode}");

        // A small cache: the transaction's pages are in the file before it is committed.
        writer.execute("PRAGMA cache_size=2; BEGIN IMMEDIATE");
        writer.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO t SELECT hex(randomblob(500)) FROM n");
        let before = state_of(fixture.file("").as_path());
        assert_eq!(fixture.rows().await, 2, "{mode}: uncommitted rows");
        assert_eq!(state_of(fixture.file("").as_path()), before, "{mode}: the folder was touched");
        writer.execute("COMMIT");
        assert_eq!(fixture.rows().await, 502, "{mode}");
        writer.execute("DELETE FROM t WHERE rowid > 10; VACUUM");
        assert_eq!(fixture.rows().await, 10, "{mode}");
        writer.end();
        assert_eq!(fixture.rows().await, 10, "{mode}: after the last connection closed");
    }
}

#[tokio::test]
async fn a_copy_recovers_what_a_killed_application_left() {
    for mode in ["delete", "wal"] {
        let fixture = Fixture::new();
        let mut writer = SqliteWriter::of(&fixture.file("alwrity_7.db"));
        writer.execute(&format!("PRAGMA journal_mode={mode}; CREATE TABLE t (a); INSERT INTO t VALUES (1)"));
        writer.execute("PRAGMA cache_size=2; BEGIN IMMEDIATE");
        writer.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO t SELECT hex(randomblob(500)) FROM n");
        writer.kill();
        let before = state_of(fixture.file("").as_path());
        assert!(before.len() > 1, "{mode}: a journal is left");
        assert_eq!(fixture.rows().await, 1, "{mode}");
        assert_eq!(state_of(fixture.file("").as_path()), before, "{mode}: the folder was touched");
    }
}

#[tokio::test]
async fn every_kind_of_write_gives_another_fingerprint() {
    let fixture = Fixture::new();
    let file = fixture.file("alwrity_7.db");
    let mut writer = SqliteWriter::of(&file);
    let mut fingerprints = vec![fixture.look()];
    for statements in [
        "CREATE TABLE t (a)",
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 2",
        "VACUUM",
        "PRAGMA journal_mode=wal",
        "INSERT INTO t VALUES (3)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "INSERT INTO t VALUES (4)",
        "PRAGMA journal_mode=delete",
    ] {
        // As the copy does: two writes within a tick may leave the same times.
        std::thread::sleep(Duration::from_millis(25));
        writer.execute(statements);
        fingerprints.push(fixture.look());
    }
    // A restore keeps the size and the times of writing.
    let restored = fixture.file("restored");
    assert!(Command::new("cp").arg("-p").args([&file, &restored]).status().unwrap().success());
    fs::rename(&restored, &file).unwrap();
    fingerprints.push(fixture.look());
    let distinct: std::collections::HashSet<_> = fingerprints.iter().collect();
    assert_eq!(distinct.len(), fingerprints.len(), "{fingerprints:?}");
    writer.end();
}

#[tokio::test]
async fn a_reader_of_the_application_is_no_change() {
    let fixture = Fixture::new();
    let file = fixture.file("alwrity_7.db");
    let mut writer = SqliteWriter::of(&file);
    writer.execute("PRAGMA journal_mode=wal; CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    writer.end();
    let before = fixture.look();
    let mut reader = SqliteWriter::of(&file);
    reader.execute("SELECT * FROM t");
    assert!(fixture.file("alwrity_7.db-wal").exists(), "the reader made an empty WAL");
    assert_eq!(fixture.look(), before);
    reader.end();
    assert_eq!(fixture.look(), before);
}

/// The first and the last pages of the file are written in one transaction, so a torn copy would tell them apart. A copy of
/// the file takes longer than a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn no_copy_is_torn_and_no_fingerprint_means_two_contents() {
    const BURSTS: i64 = 12;
    const COMMITS: i64 = 15;
    for mode in ["delete", "wal"] {
        let fixture = Fixture::new();
        let mut writer = SqliteWriter::of(&fixture.file("alwrity_7.db"));
        writer.execute(&format!(
            "PRAGMA journal_mode={mode}; PRAGMA synchronous=off; CREATE TABLE t (a); INSERT INTO t VALUES (0); \
             CREATE TABLE filler (a); INSERT INTO filler VALUES (zeroblob(30000000)); \
             CREATE TABLE u (a); INSERT INTO u VALUES (0); PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint=1"
        ));
        // More of them and further apart, if the machine is so busy that few copies are made meanwhile.
        let enough = Arc::new(AtomicBool::new(false));
        let is_enough = Arc::clone(&enough);
        let writing = std::thread::spawn(move || {
            let mut bursts: i64 = 0;
            while bursts < BURSTS || !is_enough.load(Ordering::Relaxed) {
                bursts += 1;
                for _ in 0..COMMITS {
                    writer.execute("BEGIN; UPDATE t SET a = a + 1; UPDATE u SET a = a + 1; COMMIT");
                }
                std::thread::sleep(Duration::from_millis(150) * u32::try_from(1 + bursts / BURSTS).unwrap());
            }
            writer.end();
            bursts
        });
        let (mut contents, mut last) = (std::collections::HashMap::new(), 0);
        while !writing.is_finished() {
            let copy = match fixture.read().await {
                Ok(UserFile::Copy(copy)) => copy,
                Err(UserFileError::Busy) => continue,
                other => panic!("{mode}: {other:?}"),
            };
            let first = number(&copy, "SELECT a AS n FROM t").await;
            assert_eq!(first, number(&copy, "SELECT a AS n FROM u").await, "{mode}: torn");
            assert_eq!(*contents.entry(copy.look.fingerprint).or_insert(first), first, "{mode}: one fingerprint");
            assert!(first >= last, "{mode}: back in time");
            last = first;
            enough.store(contents.len() > 2, Ordering::Relaxed);
        }
        let bursts = writing.join().unwrap();
        let copy = fixture.copy().await;
        assert_eq!(number(&copy, "SELECT a AS n FROM t").await, bursts * COMMITS, "{mode}");
    }
}

#[tokio::test]
async fn places_are_tried_in_order_and_absence_needs_a_root() {
    let fixture = Fixture::new();
    assert!(matches!(fixture.read().await, Ok(UserFile::Absent(_))));
    let absent = fixture.look();
    SqliteWriter::of(&fixture.file("alwrity.db")).end();
    fs::write(fixture.file("alwrity.db"), "").unwrap();
    assert!(matches!(fixture.read().await, Ok(UserFile::Absent(_))), "an empty file has no tables");
    assert_ne!(fixture.look(), absent);
    let mut writer = SqliteWriter::of(&fixture.file("alwrity.db"));
    writer.execute("CREATE TABLE t (a)");
    assert_eq!(fixture.rows().await, 0);
    let mut first = SqliteWriter::of(&fixture.file("alwrity_7.db"));
    first.execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    assert_eq!(fixture.rows().await, 1);
    first.end();
    writer.end();

    let root = fixture.directory.path().join("root");
    fs::rename(root.join("workspace_7"), fixture.directory.path().join("elsewhere")).unwrap();
    assert!(matches!(fixture.read().await, Err(UserFileError::RootEmpty { .. })));
    fs::remove_dir(&root).unwrap();
    assert!(matches!(fixture.read().await, Err(UserFileError::Root { .. })));
}

#[tokio::test]
async fn nothing_outside_the_root_is_opened() {
    let fixture = Fixture::new();
    let outside = fixture.directory.path().join("outside");
    fs::create_dir_all(outside.join("db")).unwrap();
    let mut writer = SqliteWriter::of(&outside.join("db/alwrity_7.db"));
    writer.execute("CREATE TABLE t (a)");
    writer.end();
    std::thread::sleep(Duration::from_millis(25));
    let refused = async |what: &str| {
        assert!(matches!(fixture.read().await, Err(UserFileError::Refused)), "{what}");
    };
    let workspace = fixture.directory.path().join("root/workspace_7");
    symlink(outside.join("db/alwrity_7.db"), workspace.join("db/alwrity_7.db")).unwrap();
    refused("a linked file").await;
    fs::remove_dir_all(workspace.join("db")).unwrap();
    symlink(outside.join("db"), workspace.join("db")).unwrap();
    refused("a linked folder").await;
    fs::remove_dir_all(&workspace).unwrap();
    symlink(&outside, &workspace).unwrap();
    refused("a linked first folder").await;
    fs::remove_file(&workspace).unwrap();
    fs::create_dir_all(workspace.join("db/alwrity_7.db/x")).unwrap();
    refused("a folder").await;
    for id in ["../outside", "..", "workspace_7/../../outside", "/etc/passwd"] {
        assert!(matches!(fixture.files.read(&user(id)).await, Ok(UserFile::Absent(_))), "{id}");
    }
}

#[tokio::test]
async fn a_large_file_is_refused_and_so_is_a_transaction_over_several_files() {
    let fixture = Fixture::with(|config| config.file_copy_max = 64 * 1024);
    let mut writer = SqliteWriter::of(&fixture.file("alwrity_7.db"));
    writer.execute("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(100000))");
    writer.end();
    assert!(matches!(fixture.read().await, Err(UserFileError::TooLarge { max: 65_536, .. })));

    let fixture = Fixture::new();
    let mut writer = SqliteWriter::of(&fixture.file("alwrity_7.db"));
    writer.execute("CREATE TABLE t (a)");
    writer.end();
    let end = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    fs::write(fixture.file("alwrity_7.db-journal"), [&[0; 512][..], &end[..]].concat()).unwrap();
    assert!(matches!(fixture.read().await, Err(UserFileError::ManyFiles)));
}

#[tokio::test]
async fn a_bounded_number_of_copies_is_open_and_their_files_go_with_them() {
    let fixture = Fixture::with(|config| {
        config.file_copies_max = 2;
        config.file_copy_idle = Duration::from_secs(10);
    });
    for id in 0..5 {
        let folder = fixture.directory.path().join(format!("root/workspace_{id}/db"));
        fs::create_dir_all(&folder).unwrap();
        let mut writer = SqliteWriter::of(&folder.join(format!("alwrity_{id}.db")));
        writer.execute("CREATE TABLE t (a)");
        writer.end();
    }
    for id in 0..5 {
        let read = fixture.files.read(&user(&id.to_string())).await.unwrap();
        assert!(matches!(read, UserFile::Copy(_)));
        assert!(fixture.files.copies().0 <= 2);
    }
    let copies = |fixture: &Fixture| fs::read_dir(fixture.files.0.folder.path()).unwrap().count();
    assert_eq!(copies(&fixture), 2);
    // Two loads hold all room: a third waits for one of them.
    let (first, _second) = (fixture.files.read(&user("3")).await, fixture.files.read(&user("4")).await);
    let id = user("1");
    let mut third = Box::pin(fixture.files.read(&id));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut third).await.is_err());
    drop(first);
    third.await.unwrap();

    fixture.files.close_idle();
    assert_eq!(fixture.files.copies().0, 2);
    fixture.files.0.clock.advance(Duration::from_secs(11));
    drop(_second);
    fixture.files.close_idle();
    assert_eq!((fixture.files.copies(), copies(&fixture)), ((0, 0), 0));
}

#[test]
fn the_folder_of_a_killed_process_is_removed_and_that_of_a_running_one_stays() {
    let directory = tempfile::tempdir().unwrap();
    let running = PrivateFolder::create(Some(directory.path())).unwrap();
    assert_eq!(fs::metadata(running.path()).unwrap().permissions().mode() & 0o777, 0o700);
    let killed = directory.path().join("userdata-copies-killed");
    fs::create_dir(&killed).unwrap();
    fs::write(killed.join("copy.db"), "x").unwrap();
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();

    let new = PrivateFolder::create(Some(directory.path())).unwrap();
    assert!(running.path().exists() && new.path().exists() && other.exists() && !killed.exists());
    let path = running.path().to_owned();
    drop(running);
    assert!(!path.exists());
}
