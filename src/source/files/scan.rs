//! Reads directories, and the status of all but regular files, on a thread of its own, ahead of who asks. Depth first, names in
//! byte order. Holds the names of the directories on the way down and a few batches of entries.

use crate::model::strategy::Symlinks;
use crate::model::tree::Problem;
use crate::source::files::beneath::{Links, open_beneath};
use crate::source::files::exclude::Excludes;
use crate::source::files::stat::Stat;
use crate::source::files::status::failed;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

/// Entries per message.
const BATCH_LEN: usize = 256;
/// Directories per message: each is a descriptor that stays open until the message was read.
const BATCH_DIRECTORIES: usize = 32;
/// Directories on the way down that stay open; those above are opened again when they are come back to.
const OPEN_DEPTH: usize = 64;

/// Something a walk did on purpose that its reader should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Path below the root.
    pub path: Vec<u8>,
    /// What.
    pub what: Noted,
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It was deleted while the walk went on.
    Vanished,
    /// A directory that was asked to be left out, such as a repository.
    LeftOut,
    /// A link that was to be followed and leads nowhere; kept as a link.
    Dangling,
    /// A link that was to be followed and leads to a directory it lies in; kept as a link.
    Loop,
}

/// What the scan sends.
pub(crate) enum Message {
    Batch(Vec<Item>),
    /// The walk is complete. A channel that closes without it means that the thread died.
    End,
}

/// One thing on the way.
pub(crate) enum Item {
    Entry(Entry),
    /// A regular file, as its directory says. Its status was not read.
    Unseen(Entry),
    Problem(Problem),
    Note(Note),
    Excluded,
}

/// An entry with its status.
pub(crate) struct Entry {
    /// The directory it lies in; for the root, the root itself.
    pub(crate) parent: Arc<OwnedFd>,
    pub(crate) path: Vec<u8>,
    /// Where its name starts in `path`.
    pub(crate) name_at: usize,
    pub(crate) stat: Stat,
    /// Target, when it is recorded as a link.
    pub(crate) target: Vec<u8>,
    /// A link was followed to get here.
    pub(crate) followed: bool,
}

impl Entry {
    /// Its name within its directory.
    pub(crate) fn name(&self) -> &[u8] {
        &self.path[self.name_at..]
    }

    /// Path of the directory it lies in; of the root, the root's own.
    pub(crate) fn directory(&self) -> &[u8] {
        &self.path[..self.name_at.saturating_sub(1)]
    }
}

/// A directory on the way down.
struct Level {
    /// `None` while it is far above.
    fd: Option<Arc<OwnedFd>>,
    identity: (u64, u64),
    path: Vec<u8>,
    names: Names,
    next: usize,
}

/// A walk before it has started.
pub(crate) struct Scan {
    pub(crate) root: Arc<OwnedFd>,
    pub(crate) stat: Stat,
    levels: Vec<Level>,
    excludes: Excludes,
    symlinks: Symlinks,
    leave_out: BTreeSet<(u64, u64)>,
}

impl Scan {
    pub(crate) fn new(
        root: OwnedFd,
        stat: Stat,
        names: Names,
        excludes: Excludes,
        symlinks: Symlinks,
        leave_out: &[PathBuf],
    ) -> Self {
        let root = Arc::new(root);
        let fd = Some(root.clone());
        let identity = stat.identity();
        let level = Level {
            fd,
            identity,
            path: Vec::new(),
            names,
            next: 0,
        };
        // What does not exist can not be met.
        let leave_out = leave_out
            .iter()
            .filter_map(|path| statat(CWD, path, AtFlags::empty()).ok())
            .map(|stat| Stat::from(stat).identity())
            .collect();
        Self {
            root,
            stat,
            levels: vec![level],
            excludes,
            symlinks,
            leave_out,
        }
    }

    /// Walks to the end, or until nobody listens any more.
    pub(crate) fn run(mut self, to: &SyncSender<Message>) {
        let mut out = Out {
            to,
            batch: Vec::with_capacity(BATCH_LEN),
            directories: 0,
            listening: true,
        };
        let parent = self.root.clone();
        let (stat, path) = (self.stat, Vec::new());
        let root = Entry {
            parent,
            path,
            name_at: 0,
            stat,
            target: Vec::new(),
            followed: false,
        };
        out.push(Item::Entry(root));
        while out.listening && self.step(&mut out) {}
        out.finish();
    }

    /// Takes the next name, or leaves a directory that has none left. `false`: that was the root.
    fn step(&mut self, out: &mut Out<'_>) -> bool {
        let Some(level) = self.levels.last_mut() else {
            return false;
        };
        let Some((name, is_file)) = level.names.get(level.next) else {
            self.leave(out);
            return true;
        };
        let mut path = Vec::with_capacity(level.path.len() + 1 + name.len());
        if !level.path.is_empty() {
            path.extend_from_slice(&level.path);
            path.push(b'/');
        }
        let name_at = path.len();
        path.extend_from_slice(name);
        level.next += 1;
        let Some(parent) = level.fd.clone() else {
            // It could not be opened again; that was reported once, and its other entries are with it.
            level.next = level.names.len();
            return true;
        };
        let entry = Entry {
            parent,
            path,
            name_at,
            stat: self.stat,
            target: Vec::new(),
            followed: false,
        };
        // What a link leads to is found out here.
        match is_file && self.symlinks != Symlinks::Follow {
            true if self.excludes.excludes(&entry.path, false) => out.push(Item::Excluded),
            true => out.push(Item::Unseen(entry)),
            false => self.visit(entry, out),
        }
        true
    }

    fn visit(&mut self, mut entry: Entry, out: &mut Out<'_>) {
        let name = OsStr::from_bytes(entry.name());
        entry.stat = match statat(&entry.parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat.into(),
            Err(error) => return out.failed(entry.path, "read the status of", error),
        };
        if self
            .excludes
            .excludes(&entry.path, entry.stat.kind.is_dir())
        {
            return out.push(Item::Excluded);
        }
        if entry.stat.kind.is_symlink() {
            match self.resolve(&mut entry, out) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return out.failed(entry.path, "read link", error),
            }
        }
        if entry.stat.kind.is_dir() {
            self.enter(entry, out);
        } else {
            out.push(Item::Entry(entry));
        }
    }

    /// Decides what a link is recorded as. `false`: as nothing.
    fn resolve(&self, entry: &mut Entry, out: &mut Out<'_>) -> Result<bool, Errno> {
        let name = OsStr::from_bytes(entry.name());
        if self.symlinks == Symlinks::Skip {
            out.push(Item::Excluded);
            return Ok(false);
        }
        if self.symlinks == Symlinks::Follow {
            match statat(&entry.parent, name, AtFlags::empty()).map(Stat::from) {
                Ok(stat) if stat.kind.is_dir() && self.is_above(&stat) => {
                    out.note(&entry.path, Noted::Loop);
                }
                Ok(stat) => {
                    entry.stat = stat;
                    entry.followed = true;
                    return Ok(true);
                }
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {
                    out.note(&entry.path, Noted::Dangling);
                }
                Err(error) => return Err(error),
            }
        }
        entry.target = readlinkat(&entry.parent, name, Vec::new())?.into_bytes();
        Ok(true)
    }

    fn is_above(&self, stat: &Stat) -> bool {
        self.levels
            .iter()
            .any(|level| level.identity == stat.identity())
    }

    fn enter(&mut self, entry: Entry, out: &mut Out<'_>) {
        if self.leave_out.contains(&entry.stat.identity()) {
            return out.note(&entry.path, Noted::LeftOut);
        }
        let name = OsStr::from_bytes(entry.name());
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if !entry.followed {
            flags |= OFlags::NOFOLLOW;
        }
        let opened = openat(&entry.parent, name, flags, Mode::empty());
        let read = opened.and_then(|fd| Ok((Stat::from(fstat(&fd)?), read_names(fd.as_fd())?, fd)));
        let path = entry.path.clone();
        match read {
            Err(Errno::NOENT) => out.failed(path, "read directory", Errno::NOENT),
            Err(error) => {
                out.push(Item::Entry(entry));
                out.failed(path, "read directory", error);
            }
            Ok((stat, names, fd)) => {
                out.push(Item::Entry(Entry { stat, ..entry }));
                let (fd, identity) = (Some(Arc::new(fd)), stat.identity());
                self.levels.push(Level {
                    fd,
                    identity,
                    path,
                    names,
                    next: 0,
                });
                self.close_far_above();
            }
        }
    }

    fn close_far_above(&mut self) {
        let Some(far) = self.levels.len().checked_sub(OPEN_DEPTH + 1) else {
            return;
        };
        self.levels[far].fd = None;
    }

    fn leave(&mut self, out: &mut Out<'_>) {
        self.levels.pop();
        let Some(above) = self.levels.last_mut() else {
            return;
        };
        if above.fd.is_some() {
            return;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let links = Links::of(self.symlinks);
        let back = open_beneath(&*self.root, &above.path, flags, links);
        let cause = match back.and_then(|fd| Ok((Stat::from(fstat(&fd)?), fd))) {
            Ok((stat, fd)) if stat.identity() == above.identity => {
                above.fd = Some(Arc::new(fd));
                out.directories += 1;
                return;
            }
            Ok(_) => io::Error::other("it was replaced while it was read"),
            Err(error) => error.into(),
        };
        // Also when it was deleted: entries that were listed are lost from the walk.
        let (path, doing) = (above.path.clone(), "go back to directory");
        out.push(Item::Problem(Problem { path, doing, cause }));
    }
}

/// The way out, in batches.
struct Out<'a> {
    to: &'a SyncSender<Message>,
    batch: Vec<Item>,
    /// Directories that were opened for it.
    directories: usize,
    listening: bool,
}

impl Out<'_> {
    fn push(&mut self, item: Item) {
        if let Item::Entry(entry) = &item {
            self.directories += usize::from(entry.stat.kind.is_dir());
        }
        self.batch.push(item);
        if self.batch.len() == BATCH_LEN || self.directories >= BATCH_DIRECTORIES {
            self.directories = 0;
            let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_LEN));
            self.listening &= self.to.send(Message::Batch(batch)).is_ok();
        }
    }
    fn note(&mut self, path: &[u8], what: Noted) {
        self.push(Item::Note(Note {
            path: path.to_vec(),
            what,
        }));
    }
    fn failed(&mut self, path: Vec<u8>, doing: &'static str, cause: Errno) {
        self.push(failed(path, doing, cause));
    }
    fn finish(self) {
        // Nobody listens when the walk was dropped; then there is nobody to tell.
        let _ = self.to.send(Message::Batch(self.batch));
        let _ = self.to.send(Message::End);
    }
}

/// The names in one directory, sorted by bytes, in one allocation for all.
#[derive(Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    all: Vec<Name>,
}

#[derive(Clone, Copy)]
struct Name {
    start: usize,
    len: u16,
    /// The directory says that it is a regular file; else it is something else, or not known yet.
    is_file: bool,
}

impl Names {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
    fn len(&self) -> usize {
        self.all.len()
    }
    fn get(&self, at: usize) -> Option<(&[u8], bool)> {
        let name = self.all.get(at)?;
        Some((name.of(&self.bytes), name.is_file))
    }
}

impl Name {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..self.start + usize::from(self.len)]
    }
}

/// Reads the names in an open directory.
pub(crate) fn read_names(fd: impl AsFd) -> Result<Names, Errno> {
    let mut names = Names::default();
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let start = names.bytes.len();
            names.bytes.extend_from_slice(name);
            names.all.push(Name {
                start,
                // No file system has names of more than 64 KiB.
                len: u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?,
                is_file: entry.file_type() == FileType::RegularFile,
            });
        }
    }
    let Names { bytes, all } = &mut names;
    all.sort_unstable_by(|a, b| a.of(bytes).cmp(b.of(bytes)));
    Ok(names)
}
