//! Finds the objects below a folder of a local store. Reads names, lengths and times, never contents.

use crate::store::local::{TMP, no_directory};
use crate::store::{Key, Meta, is_part};
use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, open, openat, statat};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread::{self, ScopedJoinHandle};

/// From how many folders on they are shared out.
const MANY_FOLDERS: usize = 256;
/// How many threads then read. They mostly wait when nothing is in the page cache.
const READERS: usize = 4;
/// Names of a folder that are read at once.
const BUFFER_LEN_BYTES: usize = 8 << 10;
/// How folders are opened.
const OPENED: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// What was seen below a folder.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) objects: Vec<Meta>,
    /// How many things have names that are no keys.
    pub(super) strays: u64,
}

/// Looks for the objects below `root` whose keys start with `prefix`.
pub(super) struct Look<'a> {
    pub(super) root: &'a Path,
    pub(super) prefix: &'a str,
}

impl Look<'_> {
    /// Adds every object of `folder` and below.
    pub(super) fn add(&self, seen: &mut Seen, folder: &str) -> io::Result<()> {
        match open(self.root.join(folder), OPENED, Mode::empty()) {
            Err(Errno::NOTDIR) if folder.is_empty() => Err(no_directory(self.root)),
            opened => self.opened(seen, opened, folder),
        }
    }

    fn opened(
        &self,
        seen: &mut Seen,
        opened: Result<OwnedFd, Errno>,
        folder: &str,
    ) -> io::Result<()> {
        let opened = match opened {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            opened => opened?,
        };
        let folders = self.add_only(seen, &opened, folder)?;
        self.all(seen, &opened, &folders)
    }

    /// Adds the objects of `folder` itself. Gives the folders in it.
    fn add_only(&self, seen: &mut Seen, opened: &OwnedFd, folder: &str) -> io::Result<Vec<String>> {
        let prefix = self.prefix;
        let mut folders = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); BUFFER_LEN_BYTES];
        let mut entries = RawDir::new(opened, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                // The folder was removed since it was opened.
                Err(Errno::NOENT) => break,
                entry => entry?,
            };
            let name = entry.file_name();
            // The root of an ext4 volume has a `lost+found` that is nobody's object.
            let is_nobodys = |name: &[u8]| name == TMP.as_bytes() || name == b"lost+found";
            if matches!(name.to_bytes(), b"." | b"..")
                || folder.is_empty() && is_nobodys(name.to_bytes())
            {
                continue;
            }
            let Some(part) = name.to_str().ok().filter(|part| is_part(part)) else {
                seen.strays += 1;
                continue;
            };
            let key = if folder.is_empty() {
                part.to_owned()
            } else {
                format!("{folder}/{part}")
            };
            let (kind, mut stat) = (entry.file_type(), None);
            if kind == FileType::Unknown || kind == FileType::RegularFile && key.starts_with(prefix)
            {
                stat = match statat(opened, name, AtFlags::SYMLINK_NOFOLLOW) {
                    // Deleted since the folder was read.
                    Err(Errno::NOENT) => continue,
                    stat => Some(stat?),
                };
            }
            match stat.as_ref().map_or(kind, kind_of) {
                FileType::Directory => {
                    if key.starts_with(prefix) || prefix.starts_with(&format!("{key}/")) {
                        folders.push(key);
                    }
                }
                _ if !key.starts_with(prefix) => {}
                _ => add_object(seen, key, stat)?,
            }
        }
        Ok(folders)
    }

    /// Adds what lies in `folders`, which are in the one that is open: so nobody has to go through all of the path for
    /// each. Of many, several are read at the same time: there is a folder for each backup of which something was said.
    fn all(&self, seen: &mut Seen, above: &OwnedFd, folders: &[String]) -> io::Result<()> {
        let add = |seen: &mut Seen, folder: &String| {
            let name = folder.rsplit('/').next().unwrap_or(folder);
            self.opened(seen, openat(above, name, OPENED, Mode::empty()), folder)
        };
        if folders.len() < MANY_FOLDERS {
            return folders.iter().try_for_each(|folder| add(seen, folder));
        }
        let parts = folders.chunks(folders.len().div_ceil(READERS));
        let read = |part: &[String]| {
            let mut seen = Seen::default();
            let looked = part.iter().try_for_each(|folder| add(&mut seen, folder));
            looked.map(|()| seen)
        };
        let parts: Vec<io::Result<Seen>> = thread::scope(|scope| {
            let readers: Vec<_> = parts.map(|part| scope.spawn(move || read(part))).collect();
            let joined = readers.into_iter().map(ScopedJoinHandle::join);
            joined
                .map(|part| part.unwrap_or_else(|panicked| resume_unwind(panicked)))
                .collect()
        });
        for part in parts {
            let part = part?;
            seen.objects.extend(part.objects);
            seen.strays += part.strays;
        }
        Ok(())
    }
}

fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Adds a file; `stat` is nothing where it is something else.
// The widths of the fields differ between architectures.
#[allow(clippy::unnecessary_cast)]
fn add_object(seen: &mut Seen, key: String, stat: Option<Stat>) -> io::Result<()> {
    match (Key::new(key), stat) {
        (Ok(key), Some(stat)) if kind_of(&stat).is_file() => {
            let modified = Timestamp::new(stat.st_mtime as i64, stat.st_mtime_nsec as i32);
            seen.objects.push(Meta {
                key,
                size: stat.st_size as u64,
                modified: modified.map_err(io::Error::other)?,
            });
        }
        _ => seen.strays += 1,
    }
    Ok(())
}
