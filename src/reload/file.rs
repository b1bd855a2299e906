//! Reads files without blocking a thread of the runtime.
//!
//! Invariant: at most one reading of the same files runs. One that hangs is waited for again by the next, so a file
//! system that does not answer costs one thread, not one more each time.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{Mode, OFlags};
use tokio::task::JoinHandle;

use super::error::ReloadError;

/// A disk takes milliseconds, a busy file server a second.
const READ_MAX: Duration = Duration::from_secs(5);
/// Some 40,000 callers, or the certificates of several thousand CAs.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

type Contents = Vec<Vec<u8>>;

/// Reads the same files again and again.
#[derive(Debug)]
pub(super) struct Reader {
    paths: Arc<[PathBuf]>,
    running: Option<JoinHandle<Result<Contents, ReloadError>>>,
}

impl Reader {
    pub(super) fn of(paths: Vec<PathBuf>) -> Self {
        Self { paths: paths.into(), running: None }
    }

    /// The contents of all files, in order.
    pub(super) async fn read(&mut self) -> Result<Contents, ReloadError> {
        let paths = Arc::clone(&self.paths);
        let running = self.running.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || paths.iter().map(|path| contents(path)).collect())
        });
        let Ok(read) = tokio::time::timeout(READ_MAX, running).await else {
            return Err(ReloadError::Hangs { paths: self.names(), within: READ_MAX });
        };
        self.running = None;
        read.expect("reading a file does not panic")
    }

    pub(super) fn names(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// The content of one file.
pub(crate) async fn read_once(path: &Path) -> Result<Vec<u8>, ReloadError> {
    let contents = Reader::of(vec![path.to_owned()]).read().await?;
    Ok(contents.into_iter().next().expect("one file was read"))
}

fn contents(path: &Path) -> Result<Vec<u8>, ReloadError> {
    read(path).map_err(|cause| ReloadError::Read { path: path.to_owned(), cause })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    // NONBLOCK: opening a FIFO would wait for a writer.
    let file = File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return refused("it is not a regular file");
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return refused("it is larger than 4 MiB");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[tokio::test]
    async fn only_regular_files_of_a_usual_size_are_read_and_none_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("good"), "content").unwrap();
        std::fs::write(place("large"), vec![b'x'; 5 * 1024 * 1024]).unwrap();
        std::os::unix::fs::symlink("good", place("link")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(place("fifo")).status().unwrap();
        assert!(made.success());
        for (name, expected) in [
            ("good", Ok("content")),
            ("link", Ok("content")),
            ("large", Err("it is larger than 4 MiB")),
            ("fifo", Err("it is not a regular file")),
            ("/dev/zero", Err("it is not a regular file")),
            (".", Err("it is not a regular file")),
            ("missing", Err("No such file")),
        ] {
            match (read_once(&place(name)).await, expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected.as_bytes(), "{name}"),
                (Err(error), Err(expected)) => {
                    let said = error.source().expect("a cause").to_string();
                    assert!(said.contains(expected), "{name}: {said}");
                }
                (read, expected) => panic!("{name}: {:?} instead of {expected:?}", read.map(|bytes| bytes.len())),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_hangs_is_an_error_and_stays_the_only_one() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let mut reader = Reader::of(vec!["/slow".into()]);
        reader.running = Some(tokio::task::spawn_blocking(move || {
            let _released = held.recv();
            Ok(vec![b"late".to_vec()])
        }));
        for _ in 0..2 {
            // A thread that blocks keeps paused time from going on by itself.
            let passes = async {
                tokio::task::yield_now().await;
                tokio::time::advance(READ_MAX).await;
            };
            let (read, ()) = tokio::join!(reader.read(), passes);
            let error = read.unwrap_err();
            assert!(matches!(error, ReloadError::Hangs { .. }), "{error}");
        }
        drop(release);
        assert_eq!(reader.read().await.unwrap(), [b"late"]);
    }
}
