//! What a file holds, read again when the file changes: certificates and callers are exchanged without a restart.
//!
//! A file that has become unreadable changes nothing: what it held counts on, and the log says so.

use std::{
    fmt::Debug,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The files that one thing is made of cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WatchedError {
    /// One cannot be read.
    #[error("{path} cannot be read", path = path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// They were read, but do not make it.
    #[error("{paths}: {cause}")]
    Content {
        /// Which ones.
        paths: String,
        /// Why, without what stands in them.
        cause: String,
    },
}

/// The value that files make, as they are now. Cloning shares it.
#[derive(Debug)]
pub struct Watched<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Watched<T> {
    /// One that does not change.
    #[must_use]
    pub fn fixed(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// The value.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Files, and how their contents make a value.
pub struct Files<T> {
    paths: Vec<PathBuf>,
    make: Box<Make<T>>,
}

/// Makes a value of the files' contents, or says what is wrong with them.
type Make<T> = dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync;

impl<T> Debug for Files<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Files").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Files<T> {
    /// `make` gets their contents in the order of `paths`, and says what is wrong with them without quoting.
    pub fn new(
        paths: impl IntoIterator<Item = PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self { paths: paths.into_iter().collect(), make: Box::new(make) }
    }

    /// Reads them, and goes on looking `every` so often until `stop`.
    pub fn watch(
        self,
        every: Duration,
        stop: CancellationToken,
    ) -> Result<(Watched<T>, impl Future<Output = ()> + Send + 'static), WatchedError> {
        let mut seen = self.read()?;
        let watched = Watched::fixed(self.made_of(&seen)?);
        let kept = watched.clone();
        let watching = async move {
            while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
                let contents = match self.read() {
                    Ok(contents) if contents == seen => continue,
                    Ok(contents) => contents,
                    Err(error) => {
                        warn!(error = &error as &dyn std::error::Error, "what was read before counts on");
                        continue;
                    }
                };
                match self.made_of(&contents) {
                    Ok(value) => {
                        *kept.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                        info!(files = self.names(), "read again");
                    }
                    Err(error) => warn!(%error, "what was read before counts on"),
                }
                seen = contents;
            }
        };
        Ok((watched, watching))
    }

    fn read(&self) -> Result<Vec<Vec<u8>>, WatchedError> {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|cause| WatchedError::Read { path: path.clone(), cause });
        self.paths.iter().map(read).collect()
    }

    fn made_of(&self, contents: &[Vec<u8>]) -> Result<T, WatchedError> {
        (self.make)(contents).map_err(|cause| WatchedError::Content { paths: self.names(), cause })
    }

    fn names(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}
