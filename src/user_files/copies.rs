//! The open copies: a bounded number, the least recently used ones are closed first.
//!
//! A load holds its copy, so a copy that is no longer kept here lives until its last load ends. Room is a property of the
//! copy, so the bound holds for those too.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Look, UserFileError, copy::Copied, private_folder::CopyFolder};
use crate::{
    clock::{Clock, Moment},
    config::{Pooler, SourcesSettings},
    database::{Access, Options, Pool},
    model::UserId,
    sync::Mutex,
};

/// Two sources begin at once; the others follow.
const CONNECTIONS: u32 = 2;
/// To open a file in memory.
const OPEN_MAX: Duration = Duration::from_secs(2);
/// The unit in which bytes are counted, so that they fit into a semaphore.
const KIB: u64 = 1024;
/// How often to look for a copy to close while there is no room.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// An open copy of a user's file.
#[derive(Debug)]
pub struct FileCopy {
    /// What the file system said before the file was copied.
    pub look: Look,
    pub pool: Pool,
    used: AtomicU64,
    // Order: the room is free again after the files are removed.
    _folder: CopyFolder,
    _room: Room,
}

/// What a copy takes of the bounds.
#[derive(Debug)]
pub(super) struct Room {
    _slot: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl FileCopy {
    pub(super) async fn open(copied: Copied, room: Room, clock: &Clock) -> Result<Self, UserFileError> {
        let Copied { look, folder } = copied;
        let options = Options {
            access: Access::ReadOnly,
            application_name: "userdata".to_owned(),
            max_connections: CONNECTIONS,
            acquire_timeout: OPEN_MAX,
            statement_timeout: OPEN_MAX,
            pooler: Pooler::None,
        };
        // What a URL gives a meaning.
        let path = folder.file("").display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let pool = Pool::open(&format!("sqlite://{path}"), &options).await;
        let pool = pool.map_err(|error| UserFileError::Database(Arc::new(error)))?;
        let used = AtomicU64::new(clock.now().nanos());
        Ok(Self { look, pool, used, _folder: folder, _room: room })
    }
}

#[derive(Debug)]
pub(super) struct Copies {
    kept: Mutex<HashMap<UserId, Arc<FileCopy>>>,
    slots: Arc<Semaphore>,
    kibibytes: Arc<Semaphore>,
    kibibytes_max: u64,
    slots_max: usize,
    idle: Duration,
    clock: Clock,
}

impl Copies {
    pub(super) fn new(config: &SourcesSettings, clock: Clock) -> Self {
        let kibibytes_max = config.file_copies_bytes_max.div_ceil(KIB);
        let permits = usize::try_from(kibibytes_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            kept: Mutex::default(),
            slots: Arc::new(Semaphore::new(config.file_copies_max)),
            kibibytes: Arc::new(Semaphore::new(permits)),
            kibibytes_max,
            slots_max: config.file_copies_max,
            idle: config.file_copy_idle,
            clock,
        }
    }

    /// The user's copy, if the file is as it was when it was copied.
    pub(super) fn current(&self, user: &UserId, look: &Look) -> Option<Arc<FileCopy>> {
        let kept = self.kept.lock();
        let copy = kept.get(user).filter(|copy| copy.look.fingerprint == look.fingerprint)?;
        copy.used.store(self.clock.now().nanos(), Relaxed);
        Some(Arc::clone(copy))
    }

    /// Room for a copy of so many bytes. Closes unused copies for it, and waits for used ones.
    pub(super) async fn room(&self, bytes: u64) -> Result<Room, UserFileError> {
        let kibibytes = u32::try_from(bytes.div_ceil(KIB).min(self.kibibytes_max)).unwrap_or(u32::MAX);
        let room = async {
            // Neither semaphore is ever closed.
            let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_closed| UserFileError::Busy)?;
            let bytes = Arc::clone(&self.kibibytes).acquire_many_owned(kibibytes).await;
            Ok(Room { _slot: slot, _bytes: bytes.map_err(|_closed| UserFileError::Busy)? })
        };
        tokio::pin!(room);
        let mut wait = Duration::ZERO;
        loop {
            // Order: room that is free comes before closing a copy.
            if let Ok(room) = tokio::time::timeout(wait, &mut room).await {
                return room;
            }
            wait = if self.close_one() { Duration::ZERO } else { LOOK_EVERY };
        }
    }

    /// In place of the user's older copy, which ends with its last load.
    pub(super) fn keep(&self, user: &UserId, copy: FileCopy) -> Arc<FileCopy> {
        let copy = Arc::new(copy);
        let replaced = self.kept.lock().insert(user.clone(), Arc::clone(&copy));
        drop(replaced);
        copy
    }

    /// Closes the copy that has been unused for longest. False if all are in use.
    fn close_one(&self) -> bool {
        let mut kept = self.kept.lock();
        let unused = kept.iter().filter(|(_, copy)| Arc::strong_count(copy) == 1);
        let oldest = unused.min_by_key(|(_, copy)| copy.used.load(Relaxed)).map(|(user, _)| user.clone());
        let closed = oldest.and_then(|user| kept.remove(&user));
        drop(kept);
        closed.is_some()
    }

    /// Closes copies that were not used for a while.
    pub(super) fn close_idle(&self) {
        let now = self.clock.now();
        let is_used = |copy: &Arc<FileCopy>| {
            Arc::strong_count(copy) > 1 || now < Moment::from_nanos(copy.used.load(Relaxed)).after(self.idle)
        };
        let mut idle = Vec::new();
        let mut kept = self.kept.lock();
        kept.retain(|_, copy| {
            is_used(copy) || {
                idle.push(Arc::clone(copy));
                false
            }
        });
        drop(kept);
        // Removes their files, without the lock.
        drop(idle);
    }

    /// The number of copies, and their bytes.
    pub(super) fn levels(&self) -> (usize, u64) {
        let free = u64::try_from(self.kibibytes.available_permits()).unwrap_or(u64::MAX);
        let bytes = self.kibibytes_max.saturating_sub(free) * KIB;
        (self.slots_max - self.slots.available_permits(), bytes)
    }
}
