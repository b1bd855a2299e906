//! Values of files that are read again when the files change: certificates and callers, without a restart.
//!
//! A file that can no longer be read changes nothing: its previous value stays in use, and the log says so. Files are
//! read on threads that may block, with a time limit: a file on a network may never answer.

use std::{fmt::Debug, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use file::Reader;

mod error;
mod file;
pub(crate) mod pem;

pub use error::ReloadError;
pub(crate) use file::read_once;

/// The current value of some files. Clones get new values, too.
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

    /// A value, and what replaces it.
    pub(crate) fn first(value: T) -> (watch::Sender<Arc<T>>, Self) {
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

    /// Waits for a value that [`Reloaded::current`] has not returned yet.
    pub async fn changed(&mut self) {
        if self.updates.changed().await.is_err() {
            return std::future::pending().await;
        }
        self.current = Arc::clone(&self.updates.borrow_and_update());
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
    pub async fn watch(
        self,
        every: Duration,
        stop: CancellationToken,
    ) -> Result<(Reloaded<T>, impl Future<Output = ()> + Send + 'static), ReloadError> {
        let mut reader = Reader::of(self.paths);
        let make = self.make;
        let made_of = move |contents: &[Vec<u8>], paths: String| {
            make(contents).map_err(|cause| ReloadError::Content { paths, cause })
        };
        let mut seen = reader.read().await?;
        let (updates, reloaded) = Reloaded::first(made_of(&seen, reader.names())?);
        let watching = async move {
            while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
                let Some(read) = stop.run_until_cancelled(reader.read()).await else { return };
                let contents = match read {
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
                match made_of(&contents, reader.names()) {
                    Ok(value) => {
                        updates.send_replace(Arc::new(value));
                        info!(files = reader.names(), "files reloaded");
                    }
                    Err(error) => warn!(%error, "reload failed; the previous contents stay in use"),
                }
                seen = contents;
            }
        };
        Ok((reloaded, watching))
    }
}
