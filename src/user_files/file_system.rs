//! What a file system's times are worth.

use std::{collections::HashMap, path::Path, time::Duration};

use rustix::fs::statfs;

use crate::{
    clock::{Clock, Moment},
    sync::Mutex,
};

/// A local file system's times move at least every 10 ms (a kernel's tick), so a file whose last write is this old has
/// other times after the next one.
const TICKS: Duration = Duration::from_millis(20);
/// FAT has the coarsest times of all, two seconds.
const SECONDS: Duration = Duration::from_secs(2);
/// A number can be given to another file system after this one is unmounted.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// Mounted file systems that are remembered.
const KNOWN_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// A file's times are exact to a tick of the kernel.
    Local,
    /// A file system whose times are not known to be exact.
    Unknown,
    /// Another machine may write the file without this one's knowledge: nothing read from it is verified.
    Network,
}

impl FileSystem {
    /// The file system of a path.
    pub fn of(path: &Path) -> rustix::io::Result<Self> {
        Ok(Self::of_type(u64::try_from(statfs(path)?.f_type).unwrap_or_default() & 0xffff_ffff))
    }

    /// By the numbers of `statfs(2)`.
    fn of_type(number: u64) -> Self {
        match number {
            // ext2 to ext4, XFS, Btrfs, tmpfs, ramfs, ZFS, F2FS, bcachefs, overlayfs.
            0xef53 | 0x5846_5342 | 0x9123_683e | 0x0102_1994 | 0x8584_58f6 | 0x2fc1_2fc1 | 0xf2f5_2010
            | 0xca45_1a4e | 0x794c_7630 => Self::Local,
            // NFS, SMB (three), 9p, FUSE, Ceph, AFS (two), Lustre, GPFS, OCFS2, GFS2, Coda, NCP, OrangeFS, VMware, VirtualBox.
            0x6969 | 0x517b | 0xff53_4d42 | 0xfe53_4d42 | 0x0102_1997 | 0x6573_5546 | 0x00c3_6400 | 0x5346_414f
            | 0x6b41_4653 | 0x0bd0_0bd0 | 0x4750_4653 | 0x7461_636f | 0x0116_1970 | 0x7375_7245 | 0x564c
            | 0x2003_0528 | 0xbacb_acbc | 0x786f_4256 => Self::Network,
            _ => Self::Unknown,
        }
    }

    /// For doctor.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "a local file system",
            Self::Unknown => "a file system whose times are not known to be exact",
            Self::Network => "a network file system",
        }
    }

    /// How old a file's last change has to be, so that the next one leaves other times.
    pub(super) fn exact_after(self) -> Duration {
        if self == Self::Local { TICKS } else { SECONDS }
    }
}

/// The file systems by their device numbers, which a look gets for nothing.
#[derive(Debug)]
pub(super) struct FileSystems {
    known: Mutex<HashMap<u64, (FileSystem, Moment)>>,
    clock: Clock,
}

impl FileSystems {
    pub(super) fn new(clock: Clock) -> Self {
        Self { known: Mutex::default(), clock }
    }

    /// The file system of `path`, which is on `device`.
    pub(super) fn of(&self, device: u64, path: &Path) -> rustix::io::Result<FileSystem> {
        let now = self.clock.now();
        if let Some((known, until)) = self.known.lock().get(&device).filter(|(_, until)| now < *until) {
            let _ = until;
            return Ok(*known);
        }
        let of = FileSystem::of(path)?;
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(device, (of, now.after(KNOWN_FOR)));
        Ok(of)
    }
}
