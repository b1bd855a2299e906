//! The folder of the users' files, where each user has one.

use rustix::fs::{Access, access};

use super::Findings;
use crate::{
    config::{Config, FileTemplate},
    error::with_causes,
    user_files::{FileSystem, Survey, copies_parent, survey},
};

const CHECK: &str = "user files";
const COPIES: &str = "copies of files";
/// Enough for an impression, and quick.
const ENTRIES_MAX: usize = 10_000;

pub(super) async fn examine(places: Vec<FileTemplate>, config: &Config, found: &mut Findings) {
    let urls = places.iter().map(FileTemplate::url).collect::<Vec<_>>().join(", then ");
    let surveyed = tokio::task::spawn_blocking(move || survey(&places, ENTRIES_MAX)).await;
    match surveyed {
        Ok(Ok(survey)) => folder(&survey, &urls, config, found),
        Ok(Err(error)) => found.fail(
            CHECK,
            with_causes(&error),
            "mount it, let the user that runs `serve` read it, or correct sources.database_url",
        ),
        Err(error) => found.fail(CHECK, error.to_string(), "report this defect"),
    }
    copies(config, found);
}

fn folder(survey: &Survey, urls: &str, config: &Config, found: &mut Findings) {
    let Survey { files, unreadable, largest, is_part, file_system } = *survey;
    let at_least = if is_part { "at least " } else { "" };
    if files == 0 {
        let what = format!("{urls}: no user has a file there");
        found.warn(CHECK, what, "is this the planning application's workspace? correct sources.database_url");
    } else {
        found.ok(CHECK, format!("{urls}: {at_least}{files} users have a file, on {}", file_system.name()));
    }
    if unreadable > 0 {
        let what = format!("{unreadable} files may not be read");
        found.fail(CHECK, what, "let the user that runs `serve` read them, by their group for example");
    }
    if largest > config.sources.file_copy_max {
        let what = format!("the largest file has {largest} bytes and is not read");
        found.fail(CHECK, what, "raise sources.file_copy_max and sources.file_copies_bytes_max");
    }
    match file_system {
        FileSystem::Local => {}
        FileSystem::Unknown => found.warn(
            CHECK,
            "the times of files are trusted after two seconds only: a load waits as long after a write",
            "nothing, or move the folder to ext4, XFS or Btrfs",
        ),
        FileSystem::Network => found.warn(
            CHECK,
            "another machine may change the files unseen: no answer is verified",
            "run `userdata serve` on the machine that has the files",
        ),
    }
}

/// Whether copies can be made where `serve` makes them.
fn copies(config: &Config, found: &mut Findings) {
    let parent = copies_parent(config.sources.file_copies_in.as_deref());
    let place = parent.display();
    let free = rustix::fs::statvfs(&parent).map(|of| of.f_bavail.saturating_mul(of.f_frsize));
    match (access(&parent, Access::WRITE_OK | Access::EXEC_OK), free) {
        (Ok(()), Ok(free)) if free < config.sources.file_copies_bytes_max => found.warn(
            COPIES,
            format!("{place} has room for {} MiB, less than sources.file_copies_bytes_max", free / 1024 / 1024),
            "give it more room (a container's /dev/shm has 64 MiB unless it is told otherwise), or lower the setting",
        ),
        (Ok(()), Ok(_)) => found.ok(COPIES, format!("are made in {place}")),
        (Err(error), _) | (_, Err(error)) => found.fail(
            COPIES,
            format!("cannot be made in {place}: {}", std::io::Error::from(error)),
            "name a folder in sources.file_copies_in that the user that runs `serve` may write, best on tmpfs",
        ),
    }
}
