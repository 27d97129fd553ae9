//! Finds the objects below a folder of a local store. Reads names, lengths and times, never contents.

use crate::store::local::{TMP, no_directory};
use crate::store::{Key, Meta, is_part};
use jiff::Timestamp;
use std::fs;
use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread::{self, ScopedJoinHandle};

/// From how many folders on they are shared out.
const MANY_FOLDERS: usize = 256;
/// How many threads then read. They mostly wait when nothing is in the page cache.
const READERS: usize = 4;

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
        let (root, prefix) = (self.root, self.prefix);
        let entries = match fs::read_dir(root.join(folder)) {
            Err(e) if folder.is_empty() && e.kind() == io::ErrorKind::NotADirectory => {
                return Err(no_directory(root));
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            entries => entries?,
        };
        let mut folders = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            // The root of an ext4 volume has a `lost+found` that is nobody's object.
            if folder.is_empty() && (name == TMP || name == "lost+found") {
                continue;
            }
            let Some(part) = name.to_str().filter(|part| is_part(part)) else {
                seen.strays += 1;
                continue;
            };
            let key = if folder.is_empty() {
                part.to_owned()
            } else {
                format!("{folder}/{part}")
            };
            if entry.file_type()?.is_dir() {
                if key.starts_with(prefix) || prefix.starts_with(&format!("{key}/")) {
                    folders.push(key);
                }
            } else if key.starts_with(prefix) {
                add_object(seen, &entry, key)?;
            }
        }
        self.all(seen, &folders)
    }

    /// Adds what lies in `folders`. Of many, several are read at the same time: there is a folder for each backup
    /// of which something was said.
    fn all(&self, seen: &mut Seen, folders: &[String]) -> io::Result<()> {
        if folders.len() < MANY_FOLDERS {
            return folders.iter().try_for_each(|folder| self.add(seen, folder));
        }
        let parts = folders.chunks(folders.len().div_ceil(READERS));
        let read = |part: &[String]| {
            let mut seen = Seen::default();
            let looked = part
                .iter()
                .try_for_each(|folder| self.add(&mut seen, folder));
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

fn add_object(seen: &mut Seen, entry: &fs::DirEntry, key: String) -> io::Result<()> {
    let meta = match entry.metadata() {
        // Deleted since the folder was read.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta?,
    };
    match Key::new(key) {
        Ok(key) if meta.is_file() => seen.objects.push(Meta {
            key,
            size: meta.len(),
            modified: Timestamp::try_from(meta.modified()?).map_err(io::Error::other)?,
        }),
        _ => seen.strays += 1,
    }
    Ok(())
}
