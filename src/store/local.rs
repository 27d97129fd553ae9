//! A store in a local directory: one file per object. Writes a temporary file in the same file system,
//! syncs it, renames it without replacing, and syncs the directory, so that a put that returned
//! survives a power cut and a crashed one leaves nothing that a listing shows.

mod bodies;
mod durable;
mod listing;

use crate::store::{Backend, Doing, Key, Kind, Listing, Parts, Put, StoreError, is_part};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use rustix::{
    buffer::spare_capacity,
    fs::{AtFlags, CWD, RenameFlags},
    io::Errno,
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Once, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Where files are written before they get their names. No key starts with a dot.
const TMP: &str = ".tmp";
/// A temporary file this old belongs to a writer that crashed: no put takes a day.
const TMP_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// A directory as a store.
#[derive(Debug, Clone)]
pub struct Local(Arc<Directory>);

#[derive(Debug)]
struct Directory {
    root: PathBuf,
    location: String,
    cleaned: Once,
    durable: durable::Folders,
    /// The device of the root, once it was there.
    device: OnceLock<u64>,
}

impl Local {
    /// The store in the directory `root`, which need not exist yet: the first put makes it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self(Arc::new(Directory {
            location: root.display().to_string(),
            root,
            cleaned: Once::new(),
            durable: durable::Folders::default(),
            device: OnceLock::new(),
        }))
    }

    /// Runs `work` where blocking is allowed.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let directory = self.0.clone();
        Box::pin(async move {
            let work = move || directory.is_same().and_then(|()| work(&directory));
            match tokio::task::spawn_blocking(work).await {
                Ok(outcome) => outcome,
                Err(stopped) => std::panic::resume_unwind(stopped.into_panic()),
            }
        })
    }
}

impl Backend for Local {
    fn location(&self) -> String {
        self.0.location.clone()
    }

    fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        let key = key.clone();
        self.blocking(move |directory| directory.get(&key, range))
    }

    fn put(&self, key: &Key, body: Bytes, how: Put) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        self.blocking(move |directory| {
            directory.put(&key, how, |file| bodies::write_all(file, &body))
        })
    }

    fn put_parts(
        &self,
        key: &Key,
        parts: Parts,
        how: Put,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        self.blocking(move |directory| {
            directory.put(&key, how, |file| bodies::write_parts(file, parts))
        })
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        let prefix = prefix.to_owned();
        self.blocking(move |directory| {
            directory
                .list(&prefix)
                .map_err(|e| StoreError::from_io(Doing::List, &prefix, &directory.location, e))
        })
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        self.blocking(
            move |directory| match fs::remove_file(directory.path(&key)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::from_io(
                    Doing::Delete,
                    &key,
                    &directory.location,
                    e,
                )),
                _ => Ok(()),
            },
        )
    }
}

impl Directory {
    /// Fails when what is mounted at the root, or above it, is there no more: what is below is no store, neither an
    /// empty one nor one to write to. One that was unmounted and mounted again is the same; inodes are not compared,
    /// for not every file system keeps their numbers.
    fn is_same(&self) -> Result<(), StoreError> {
        // With its dot, so that what is mounted only when it is used is mounted now.
        let now = match fs::metadata(self.root.join(".")) {
            Ok(meta) => Some(meta.dev()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            // Who does the work meets it too, and says at what.
            Err(_) => return Ok(()),
        };
        let before = match now {
            Some(now) => Some(*self.device.get_or_init(|| now)),
            None => self.device.get().copied(),
        };
        // Every store that was written to has this folder.
        if before == now || now.is_some() && self.root.join(TMP).exists() {
            return Ok(());
        }
        let gone = StoreError::new(
            Doing::Probe,
            "the directory",
            &self.location,
            Kind::Unreachable,
        );
        Err(gone.caused_by(io::Error::other(
            "another directory is there than at first; was what is mounted there unmounted?",
        )))
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let failed = |e| StoreError::from_io(Doing::Get, key, &self.location, e);
        let file = File::open(self.path(key)).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(StoreError::new(
                Doing::Get,
                key,
                &self.location,
                Kind::NotFound,
            ));
        }
        let range = range.unwrap_or(0..meta.len());
        // Checked before anything is allocated: a hostile index must not choose how much.
        if range.end > meta.len() || range.start > range.end {
            return Err(StoreError::new(
                Doing::Get,
                key,
                &self.location,
                Kind::Corrupt,
            ));
        }
        let body = read_range(&file, range).map_err(failed)?;
        Ok(body.into())
    }

    /// Writes the object that `write` puts into a file.
    fn put(
        &self,
        key: &Key,
        how: Put,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let put = self.put_file(&self.path(key), how, write);
        put.map_err(|e| StoreError::from_io(Doing::Put, key, &self.location, e))
    }

    fn put_file(
        &self,
        path: &Path,
        how: Put,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        self.make_folder(folder)?;
        if how == Put::New && path.symlink_metadata().is_ok() {
            return Err(self.is_there(folder));
        }
        let mut temporary = self.temporary()?;
        let named = write(&mut temporary.file)
            .and_then(|()| temporary.file.sync_all())
            .and_then(|()| give_name(&temporary.path, path, how));
        if let Err(e) = named {
            let _ = fs::remove_file(&temporary.path);
            return Err(match e.kind() {
                io::ErrorKind::AlreadyExists => self.is_there(folder),
                _ => e,
            });
        }
        self.sync_names_in(folder)
    }

    /// Says that a name in `folder` is taken; or that it could not be made durable, for whoever took it may have
    /// been killed before it had done that, and who hears this may rely on the object.
    fn is_there(&self, folder: &Path) -> io::Error {
        let synced = self.sync_names_in(folder);
        synced.err().unwrap_or_else(|| Errno::EXIST.into())
    }

    /// Last in a put: where there is a journal, the folders' names were written with the object by now.
    fn sync_names_in(&self, folder: &Path) -> io::Result<()> {
        sync_directory(folder)?;
        self.durable.make(&self.root, folder)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        make_directories(&self.root)?;
        let mut made = fs::DirBuilder::new();
        made.recursive(true).mode(0o700).create(folder)
    }

    fn temporary(&self) -> io::Result<Temporary> {
        let folder = self.root.join(TMP);
        self.make_folder(&folder)?;
        let temporary = Temporary::new(&folder)?;
        self.cleaned
            .call_once(|| remove_old(&folder, &temporary.file));
        Ok(temporary)
    }

    fn list(&self, prefix: &str) -> io::Result<Listing> {
        let server_time = self.server_time();
        let mut seen = listing::Seen::default();
        // Only the folder that the prefix names is read, not the whole store.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if folder.split('/').all(is_part) || folder.is_empty() {
            let root = &self.root;
            listing::Look { root, prefix }.add(&mut seen, folder)?;
        }
        seen.objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Listing {
            objects: seen.objects,
            server_time,
            strays: seen.strays,
        })
    }

    /// The file system's clock: the time of a file made just now, which on a network file system is
    /// the server's. A store that cannot be written to is judged by this machine's clock.
    fn server_time(&self) -> Timestamp {
        let unnamed = OpenOptions::new()
            .write(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::TMPFILE.bits() as i32)
            .open(&self.root);
        let stamp = |file: File| file.metadata()?.modified();
        let time = unnamed.and_then(stamp).or_else(|_| {
            let made = Temporary::new(&self.root.join(TMP))?;
            let time = stamp(made.file);
            let _ = fs::remove_file(&made.path);
            time
        });
        time.ok()
            .and_then(|time| time.try_into().ok())
            .unwrap_or_else(Timestamp::now)
    }
}

struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    /// A new file whose name no other writer has: another host may have this process number, so a
    /// name that is taken is passed over.
    fn new(folder: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Relaxed);
            let path = folder.join(format!("{}-{number}", std::process::id()));
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match made {
                Ok(file) => return Ok(Self { path, file }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Names the finished file. `NOREPLACE` makes the kernel decide which of several creators wins;
/// where a file system lacks it, link(2) does the same.
fn give_name(from: &Path, to: &Path, how: Put) -> io::Result<()> {
    if how == Put::Replace {
        return fs::rename(from, to);
    }
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link(from, to),
        renamed => Ok(renamed?),
    }
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    let linked = rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty());
    // NFS can lose the answer to a link that was made; two names tell that it was.
    if linked.is_err() && rustix::fs::stat(from)?.st_nlink != 2 {
        return Ok(linked?);
    }
    fs::remove_file(from)
}

/// Makes `path` and what is missing above it, and makes each new name durable.
fn make_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_directories(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        // Never "already exists": that is what a creator hears who was second.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(no_directory(path)),
        Err(e) => Err(e),
        Ok(()) => sync_directory(parent.unwrap_or(Path::new("."))),
    }
}

/// Reads a range that the file has. What it is read into is not cleared first: that would be a thirtieth of all that a
/// restore does.
fn read_range(file: &File, range: Range<u64>) -> io::Result<Vec<u8>> {
    let len = (range.end - range.start) as usize;
    let mut body = Vec::with_capacity(len);
    while body.len() < len {
        let at = range.start + body.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut body), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // More than was asked for, where the room is.
    body.truncate(len);
    Ok(body)
}

fn no_directory(path: &Path) -> io::Error {
    let words = format!("`{}` is there, and is no directory", path.display());
    io::Error::other(words)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some network file systems cannot sync a directory; they write it through.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Removes what crashed writers left. Age is measured against `now_file`, which was just made.
fn remove_old(folder: &Path, now_file: &File) {
    let Ok(now) = now_file.metadata().and_then(|m| m.modified()) else {
        return;
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let age = entry
            .metadata()
            .and_then(|m| m.modified())
            .ok()
            .and_then(|modified| now.duration_since(modified).ok());
        if age.is_some_and(|age| age > TMP_AGE_MAX.unsigned_abs()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
