//! Values of files that are read again when the files change: certificates and callers, without a restart.
//!
//! A file that can no longer be read changes nothing: its previous value stays in use, and the log says so.

use std::{fmt::Debug, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A value cannot be made of its files.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// One cannot be read.
    #[error("{path} cannot be read", path = path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// They can be read, but their contents are wrong.
    #[error("{paths}: {cause}")]
    Content {
        /// Which ones.
        paths: String,
        /// Why, without quoting them.
        cause: String,
    },
}

/// The current value of some files. Clones are told of new values, too.
#[derive(Debug)]
pub struct Reloaded<T> {
    updates: watch::Receiver<Arc<T>>,
    current: Arc<T>,
}

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Self { updates: self.updates.clone(), current: Arc::clone(&self.current) }
    }
}

impl<T> Reloaded<T> {
    /// One that does not change.
    #[must_use]
    pub fn fixed(value: T) -> Self {
        Self::first(value).1
    }

    fn first(value: T) -> (watch::Sender<Arc<T>>, Self) {
        let current = Arc::new(value);
        let (sender, updates) = watch::channel(Arc::clone(&current));
        (sender, Self { updates, current })
    }

    /// The value. Takes no lock unless there is a new one.
    pub fn current(&mut self) -> &Arc<T> {
        if self.updates.has_changed().unwrap_or(false) {
            self.current = Arc::clone(&self.updates.borrow_and_update());
        }
        &self.current
    }
}

/// Files, and how their contents make a value.
pub struct Files<T> {
    paths: Vec<PathBuf>,
    make: Box<Make<T>>,
}

/// Makes a value of the files' contents, or an error for the log.
type Make<T> = dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync;

impl<T> Debug for Files<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Files").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Files<T> {
    /// `make` gets the contents in the order of `paths`; its error must not quote them.
    pub fn new(
        paths: impl IntoIterator<Item = PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { paths: paths.into_iter().collect(), make: Box::new(make) }
    }

    /// Reads them now. The future looks for changes `every` so often until `stop`.
    pub fn watch(
        self,
        every: Duration,
        stop: CancellationToken,
    ) -> Result<(Reloaded<T>, impl Future<Output = ()> + Send + 'static), ReloadError> {
        let mut seen = self.read()?;
        let (updates, reloaded) = Reloaded::first(self.made_of(&seen)?);
        let watching = async move {
            while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
                let contents = match self.read() {
                    Ok(contents) if contents == seen => continue,
                    Ok(contents) => contents,
                    Err(error) => {
                        warn!(
                            error = &error as &dyn std::error::Error,
                            "reload failed; the previous contents stay in use"
                        );
                        continue;
                    }
                };
                match self.made_of(&contents) {
                    Ok(value) => {
                        updates.send_replace(Arc::new(value));
                        info!(files = self.names(), "files reloaded");
                    }
                    Err(error) => warn!(%error, "reload failed; the previous contents stay in use"),
                }
                seen = contents;
            }
        };
        Ok((reloaded, watching))
    }

    fn read(&self) -> Result<Vec<Vec<u8>>, ReloadError> {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|cause| ReloadError::Read { path: path.clone(), cause });
        self.paths.iter().map(read).collect()
    }

    fn made_of(&self, contents: &[Vec<u8>]) -> Result<T, ReloadError> {
        (self.make)(contents).map_err(|cause| ReloadError::Content { paths: self.names(), cause })
    }

    fn names(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}
