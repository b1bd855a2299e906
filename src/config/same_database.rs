//! Whether two URLs name one database, as far as it can be seen without connecting. Files are compared by what they are,
//! whatever path or link leads there. Servers are compared by what the URLs say; the start compares their tables.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use sea_orm::sqlx::sqlite::SqliteConnectOptions;

use super::Secret;

/// As many as Linux follows.
const LINKS_MAX: usize = 40;

/// A file that is there, or the nearest folder that is there and the path from it.
#[derive(Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    below: PathBuf,
}

pub(super) fn is_same_database(one: &Secret, other: &Secret) -> bool {
    match (file_of(one), file_of(other)) {
        (Some(one), Some(other)) => FileIdentity::of(&one) == FileIdentity::of(&other),
        (None, None) => one.place() == other.place(),
        _ => false,
    }
}

fn file_of(url: &Secret) -> Option<PathBuf> {
    let url = Some(url.expose()).filter(|url| url.starts_with("sqlite:"))?;
    Some(SqliteConnectOptions::from_str(url).ok()?.get_filename().to_owned())
}

impl FileIdentity {
    fn of(file: &Path) -> Option<Self> {
        let file = std::path::absolute(through_links(file)).ok()?;
        file.ancestors().find_map(|place| {
            let there = fs::metadata(place).ok()?;
            let below = file.strip_prefix(place).ok()?.to_owned();
            Some(Self { device: there.dev(), inode: there.ino(), below })
        })
    }
}

/// Where the file is created, if links lead to one that is not there yet.
fn through_links(file: &Path) -> PathBuf {
    let mut file = file.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&file) {
            Ok(target) if !file.exists() => file = file.parent().unwrap_or(Path::new("")).join(target),
            _ => break,
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn is_same(one: impl AsRef<str>, other: impl AsRef<str>) -> bool {
        is_same_database(&Secret::new(one.as_ref()), &Secret::new(other.as_ref()))
    }

    #[test]
    fn a_file_is_the_same_by_each_path_and_link_whether_or_not_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let url = |path: &str| format!("sqlite://{}?mode=rwc", at(path).display());
        fs::create_dir_all(at("data")).unwrap();
        symlink("data", at("linked")).unwrap();
        symlink("data/cache.db", at("link.db")).unwrap();
        for is_there in [false, true] {
            if is_there {
                fs::write(at("data/cache.db"), "").unwrap();
                fs::hard_link(at("data/cache.db"), at("hard.db")).unwrap();
                assert!(is_same(url("data/cache.db"), url("hard.db")));
            }
            for same in ["data/./cache.db", "data/../data/cache.db", "linked/cache.db", "link.db", "linked/../link.db"]
            {
                assert!(is_same(url("data/cache.db"), url(same)), "{same} {is_there}");
            }
            for other in ["data/keys.db", "cache.db", "missing/cache.db"] {
                assert!(!is_same(url("data/cache.db"), url(other)), "{other} {is_there}");
            }
        }
        assert!(is_same(url("missing/a.db"), url("data/../missing/a.db")));
        symlink("round.db", at("round.db")).unwrap();
        assert!(!is_same(url("round.db"), url("data/cache.db")));
    }

    #[test]
    fn urls_without_slashes_and_other_options_are_compared_too() {
        assert!(is_same("sqlite:keys.db", "sqlite://./keys.db?mode=rwc"));
        assert!(!is_same("sqlite:keys.db", "sqlite:cache.db"));
        assert!(is_same("postgres://one:secret@host/db", "postgres://two@host/db?sslmode=require"));
        assert!(!is_same("postgres://host/db", "postgres://host/keys"));
        assert!(!is_same("postgres://host/keys.db", "sqlite:keys.db"));
    }
}
