//! File status in the units that nodes use, one shape for every architecture.

use crate::model::tree::Special;
use rustix::fs::FileType;

/// What `fstatat` says, in the units of [`crate::model::tree::Node`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stat {
    pub kind: FileType,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub allocated: u64,
    pub links: u64,
    pub device: u64,
    pub inode: u64,
    pub rdev: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
}

impl Stat {
    /// Which special file it is, if it is one.
    pub fn special(&self) -> Option<Special> {
        match self.kind {
            FileType::BlockDevice => Some(Special::Block),
            FileType::CharacterDevice => Some(Special::Character),
            FileType::Fifo => Some(Special::Fifo),
            FileType::Socket => Some(Special::Socket),
            _ => None,
        }
    }
    /// Device and inode: the same pair is the same file.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

// The widths of the fields differ between architectures.
#[allow(clippy::unnecessary_cast)]
impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Self {
        let nanoseconds = |seconds: i128, rest: i128| seconds * 1_000_000_000 + rest;
        Self {
            kind: FileType::from_raw_mode(stat.st_mode as _),
            mode: stat.st_mode as u32 & 0o7777,
            uid: stat.st_uid as u32,
            gid: stat.st_gid as u32,
            size: stat.st_size as u64,
            allocated: stat.st_blocks as u64 * 512,
            links: stat.st_nlink as u64,
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            rdev: stat.st_rdev as u64,
            mtime_ns: nanoseconds(stat.st_mtime as i128, stat.st_mtime_nsec as i128),
            ctime_ns: nanoseconds(stat.st_ctime as i128, stat.st_ctime_nsec as i128),
        }
    }
}
