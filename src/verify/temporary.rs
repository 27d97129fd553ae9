//! Directories that a restore test uses and removes, also when the run is killed: each has a lock file
//! beside it, and what nobody holds locked is removed by the next run. A server that still works in such a
//! directory was the killed run's: it is ended first.

use crate::source::processes::{self, Process};
use crate::verify::postgres::user::unprivileged;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const PREFIX: &str = "ccb-restore-test-";
const LOCK: &str = ".lock";
/// Servers that restore tests start, and what makes them. Each works in its directory.
const SERVERS: [&str; 3] = ["redis-server", "postgres", "initdb"];
/// How often is looked for servers that start while others are ended.
const LOOKS_MAX: usize = 100;

/// A directory of one's own. Removed when dropped.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    lock: PathBuf,
    /// Locked as long as this lives.
    _held: File,
}

impl TemporaryDirectory {
    /// Makes one in `parent`, that only this user can look into. `random` comes from the caller.
    pub fn new(parent: &Path, random: u64) -> io::Result<Self> {
        let name = format!("{PREFIX}{}-{random:016x}", std::process::id());
        let (path, lock) = (parent.join(&name), parent.join(name + LOCK));
        // Locked before the directory is there, so that it is never seen without.
        let held = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&lock)?;
        let made = held.lock().and_then(|()| {
            fs::create_dir(&path)?;
            fs::set_permissions(&path, Permissions::from_mode(0o700))
        });
        match made {
            Ok(()) => Ok(Self {
                path,
                lock,
                _held: held,
            }),
            Err(error) => {
                let _ = fs::remove_file(&lock);
                Err(error)
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, and says when it could not.
    pub fn remove(self) -> io::Result<()> {
        self.clean()
    }

    fn clean(&self) -> io::Result<()> {
        remove_tree(&self.path)?;
        remove_if_there(&self.lock)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // What could not be removed now is removed by the next run.
        let _ = self.clean();
    }
}

/// Removes what killed runs left in `parent`. Gives back what was removed; what is in use stays.
pub fn remove_stale(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    let mut names = Vec::new();
    for entry in fs::read_dir(parent)? {
        names.push(entry?.file_name());
    }
    names.sort();
    for name in names.iter().filter_map(|name| name.to_str()) {
        let Some(directory) = name
            .strip_suffix(LOCK)
            .filter(|name| name.starts_with(PREFIX))
        else {
            continue;
        };
        let (lock, directory) = (parent.join(name), parent.join(directory));
        let Some(_held) = take(&lock)? else { continue };
        end_servers(&directory)?;
        remove_tree(&directory)?;
        remove_if_there(&lock)?;
        removed.push(directory);
    }
    Ok(removed)
}

/// Ends the servers that work in `directory` and run as a restore test's do: as this user, or for root as the
/// one that PostgreSQL is given. A person who looks around in there is none.
fn end_servers(directory: &Path) -> io::Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let own = rustix::process::geteuid().as_raw();
    let given = unprivileged().map(|user| user.uid);
    let is_ours = |process: &Process| {
        process.open.is_none()
            && SERVERS.contains(&process.name.as_str())
            && (process.uid == own || Some(process.uid) == given)
    };
    for _ in 0..LOOKS_MAX {
        let found = processes::using(directory)?;
        let servers: Vec<Process> = found.into_iter().filter(is_ours).collect();
        if servers.is_empty() {
            return Ok(());
        }
        for server in &servers {
            processes::end(server, directory)?;
        }
    }
    let words = format!("servers still start in `{}`", directory.display());
    Err(io::Error::other(words))
}

/// The lock, if nobody has it. Another user's is left alone.
fn take(lock: &Path) -> io::Result<Option<File>> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let file = match OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(lock)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.uid() != rustix::process::geteuid().as_raw() {
        return Ok(None);
    }
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes a tree, also one with directories that may not be written.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            for entry in walkdir::WalkDir::new(path).follow_links(false) {
                // Parents come first, so each is open before its entries are asked for.
                let Ok(entry) = entry else { continue };
                if entry.file_type().is_dir() {
                    fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
                }
            }
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
