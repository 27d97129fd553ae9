//! Opens and reads one file of the walk: exactly what is there, and whether it stayed the same.

use crate::model::tree::{OpenBody, ReadBody};
use crate::source::files::attributes::data_ranges;
use crate::source::files::beneath::{Links, open_beneath};
use crate::source::files::parents::Parent;
use crate::source::files::scan::Noted;
use crate::source::files::stat::Stat;
use crate::source::files::walk::Tally;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};

/// A file that the walk saw. It holds no descriptor of its own, so that many can wait.
pub(crate) struct FileToRead {
    pub(crate) root: Arc<OwnedFd>,
    pub(crate) path: Vec<u8>,
    /// The directory that it was seen in, which may have another name by now. `None` where too many are held, and
    /// where links are followed: then its path is followed again.
    pub(crate) parent: Option<Arc<Parent>>,
    pub(crate) seen: Stat,
    pub(crate) links: Links,
    pub(crate) tally: Arc<Mutex<Tally>>,
}

impl FileToRead {
    fn opened(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let Some(parent) = &self.parent else {
            return open_beneath(&*self.root, &self.path, flags, self.links);
        };
        let name = self.path.rsplit(|byte| *byte == b'/').next();
        let name = OsStr::from_bytes(name.unwrap_or(&self.path));
        match openat(parent.fd(), name, flags | OFlags::NOFOLLOW, Mode::empty()) {
            // A directory that another client of a network file system removed: its path tells.
            Err(Errno::STALE) => open_beneath(&*self.root, &self.path, flags, self.links),
            opened => opened,
        }
    }
}

impl OpenBody for FileToRead {
    fn open(self: Box<Self>) -> io::Result<Box<dyn ReadBody>> {
        // NONBLOCK: a FIFO that has taken the file's place must not hang the run.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let quiet = flags | OFlags::NOATIME;
        let fd = match self.opened(quiet) {
            // Only the owner may leave the access time alone.
            Err(Errno::PERM) => self.opened(flags),
            fd => fd,
        };
        if let Err(Errno::NOENT) = fd {
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.note(&self.path, Noted::Vanished);
        }
        let fd = fd?;
        let opened = Stat::from(rustix::fs::fstat(&fd)?);
        if !opened.kind.is_file() {
            return Err(io::Error::other(
                "it was replaced by something that is not a regular file",
            ));
        }
        let left = opened.size;
        Ok(Box::new(OpenFile {
            file: fd.into(),
            seen: self.seen,
            left,
            read: 0,
        }))
    }
}

struct OpenFile {
    file: File,
    seen: Stat,
    /// A file that grows while it is read ends where it ended when it was opened.
    left: u64,
    read: u64,
}

impl Read for OpenFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(0);
        }
        let len = self.file.read(&mut buf[..len])?;
        self.left -= len as u64;
        self.read += len as u64;
        Ok(len)
    }
}

impl ReadBody for OpenFile {
    fn data_now(&self) -> Option<Vec<(u64, u64)>> {
        data_ranges(&self.file, self.seen.size).ok().flatten()
    }

    fn changed_while_reading(&self) -> io::Result<bool> {
        let now = Stat::from(rustix::fs::fstat(&self.file)?);
        let same = now.identity() == self.seen.identity()
            && now.size == self.seen.size
            && now.mtime_ns == self.seen.mtime_ns
            && self.read == self.seen.size;
        Ok(!same)
    }
}
