//! The directory that is restored into. Every path is opened beneath it, never through a link.

use crate::source::files::Stat;
use crate::source::files::beneath::{Links, open_beneath};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, mkdirat, openat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// An open target.
#[derive(Debug)]
pub(crate) struct Target {
    /// `None` on a dry run into a directory that is not there.
    root: Option<OwnedFd>,
    /// It was not there before.
    was_made: bool,
    /// Directories that were opened lately, newest last: files that lie together come together.
    recent: Mutex<VecDeque<(Vec<u8>, Arc<OwnedFd>)>>,
}

/// Some for each thread that writes files.
const RECENT_MAX: usize = 8;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl Target {
    pub(crate) fn open(path: &Path, dry_run: bool) -> io::Result<Self> {
        let was_made = !dry_run && make(path)?;
        let root = match openat(CWD, path, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) if dry_run => None,
            opened => Some(opened?),
        };
        let recent = Mutex::default();
        Ok(Self {
            root,
            was_made,
            recent,
        })
    }

    /// Whether it was made for this restore: then it gets the metadata that the root had, as every directory
    /// that a restore makes. One that was there keeps its own.
    pub(crate) fn was_made(&self) -> bool {
        self.was_made
    }

    /// Opens a directory of the target, or has it open from a moment ago.
    pub(crate) fn directory(&self, path: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, open)) = recent().iter().rev().find(|(known, _)| known == path) {
            return Ok(open.clone());
        }
        let opened = Arc::new(self.open_at(path, DIRECTORY)?);
        let mut recent = recent();
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back((path.to_vec(), opened.clone()));
        Ok(opened)
    }

    pub(crate) fn open_at(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let root = self.root.as_ref().ok_or(Errno::NOENT)?;
        open_beneath(root, path, flags, Links::Refuse)
    }

    /// Makes what was written survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), Errno> {
        self.root.as_ref().map_or(Ok(()), rustix::fs::syncfs)
    }
}

/// Makes the target if it is missing, and says whether it was. Only this user can look into it until it is
/// complete, and for good when the backup does not say who could: what it once held is not for everyone
/// because its new place is.
fn make(path: &Path) -> io::Result<bool> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|()| true),
    }
}

/// Status of an entry, `None` when there is none.
pub(crate) fn status(directory: impl AsFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match statat(
        directory,
        OsStr::from_bytes(name),
        AtFlags::SYMLINK_NOFOLLOW,
    ) {
        Ok(stat) => Ok(Some(stat.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a directory that only this user can look into until it is complete.
pub(crate) fn make_directory(directory: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    mkdirat(directory, OsStr::from_bytes(name), Mode::RWXU)
}

/// The name under which an entry is made. It depends on the path alone, so what a killed run left
/// there is found and replaced by the next.
pub(crate) fn temporary_name(path: &[u8]) -> Vec<u8> {
    let hash = blake3::hash(path).to_hex();
    format!(".ccb-restore-{}", &hash[..32]).into_bytes()
}

/// Makes something under its temporary name, in place of what an earlier run may have left there.
pub(crate) fn make_temporary<T>(
    directory: impl AsFd,
    name: &[u8],
    make: impl Fn(&OsStr) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let name = OsStr::from_bytes(name);
    match make(name) {
        Err(Errno::EXIST) => {
            unlinkat(directory, name, AtFlags::empty())?;
            make(name)
        }
        made => made,
    }
}

/// Gives a finished entry its own name. With `replace` off, nothing that appeared there meanwhile is lost.
pub(crate) fn publish(
    directory: impl AsFd,
    temporary: &[u8],
    name: &[u8],
    replace: bool,
) -> Result<(), Errno> {
    let (from, to) = (OsStr::from_bytes(temporary), OsStr::from_bytes(name));
    let flags = if replace {
        RenameFlags::empty()
    } else {
        RenameFlags::NOREPLACE
    };
    let renamed = match renameat_with(directory.as_fd(), from, directory.as_fd(), to, flags) {
        // File systems without that flag: look first.
        Err(Errno::INVAL | Errno::NOSYS) if !replace => match status(directory.as_fd(), name) {
            Ok(None) => rustix::fs::renameat(directory.as_fd(), from, directory.as_fd(), to),
            Ok(Some(_)) => Err(Errno::EXIST),
            Err(error) => Err(error),
        },
        renamed => renamed,
    };
    // A rename between two names of one file leaves both; it happens only where a name may be taken.
    let is_left = || status(directory.as_fd(), temporary).is_ok_and(|left| left.is_some());
    if renamed.is_err() || (replace && is_left()) {
        discard(directory, temporary);
    }
    renamed
}

/// Removes a temporary entry. That it may already be gone is all the same.
pub(crate) fn discard(directory: impl AsFd, temporary: &[u8]) {
    let _ = unlinkat(directory, OsStr::from_bytes(temporary), AtFlags::empty());
}

/// The directory and the name of a path.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}
