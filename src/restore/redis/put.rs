//! Writes the files of a restored server: into a folder of its own beside where they belong, for the owner
//! of the directory only, and on disk; only then do they take the place of what is there, which is moved
//! aside. What fails before that, such as a full disk, has changed nothing.

use crate::restore::ContentStream;
use crate::restore::redis::layout::Names;
use crate::restore::redis::{RedisRestoreError, Request};
use rustix::fs::{CWD, Gid, RenameFlags, Uid, fchown, renameat_with};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Holds what is not complete yet, in the target: a rename from there is one step.
pub(crate) const UNFINISHED: &str = "ccb-restoring";

/// Where a file's bytes come from.
pub(crate) enum Source {
    Backup(ContentStream),
    Text(String),
}

fn failed<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> RedisRestoreError + 'a {
    move |cause| RedisRestoreError::Write {
        doing,
        path: path.to_path_buf(),
        cause,
    }
}

/// What is in the way of a restore.
#[derive(Debug, Default)]
pub(crate) struct InTheWay {
    /// Names in the target that are moved aside,
    data: Vec<String>,
    /// and where they are then.
    pub(crate) aside: Option<PathBuf>,
}

/// Looks at the target: an error unless it is empty or Redis's files there may be moved aside.
pub(crate) fn in_the_way(
    request: &Request,
    names: &Names,
    id: &str,
) -> Result<InTheWay, RedisRestoreError> {
    let target = &request.target;
    let there = list(target)?;
    if there.is_empty() {
        return Ok(InTheWay::default());
    }
    if !request.replace {
        let target = target.clone();
        return Err(RedisRestoreError::NotEmpty { target, there });
    }
    let is_data = |name: &String| is_data(name, names);
    let data: Vec<String> = there.into_iter().filter(is_data).collect();
    let aside = (!data.is_empty()).then(|| unused(target, &format!("replaced-by-{id}")));
    Ok(InTheWay { data, aside })
}

/// A name that nothing has: what an earlier restore moved aside stays where it is.
fn unused(target: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let names = std::iter::once(name.to_owned()).chain(numbered);
    let mut paths = names.map(|name| target.join(name));
    // There are more numbers than files.
    paths
        .find(|path| !path.exists())
        .unwrap_or_else(|| target.join(name))
}

/// What is in the target, but for what a restore that was killed left unfinished.
fn list(target: &Path) -> Result<Vec<String>, RedisRestoreError> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        entries => entries.map_err(failed("list", target))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed("list", target))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name != UNFINISHED);
    names.sort();
    Ok(names)
}

/// Whether Redis would load it, or it stands where the restored files belong.
fn is_data(name: &str, names: &Names) -> bool {
    let Names {
        snapshot,
        append_file,
        append_directory,
    } = names;
    let is_named = [snapshot, append_file, append_directory].contains(&&name.to_owned());
    is_named || name == "appendonlydir" || name.ends_with(".rdb") || name.ends_with(".aof")
}

/// Files that are complete, and not yet where they belong. Removed when dropped.
pub(crate) struct Staged {
    target: PathBuf,
    /// Where the target itself is.
    parent: PathBuf,
    folder: PathBuf,
    /// Locked, so that a second restore keeps away.
    _held: File,
    /// What is in the folder: names in the target.
    names: Vec<String>,
    pub(crate) bytes: u64,
}

/// Makes the target, and writes everything into a folder in it.
pub(crate) fn stage(
    target: &Path,
    sources: Vec<(String, Source)>,
) -> Result<Staged, RedisRestoreError> {
    let above = target.parent().filter(|above| *above != Path::new(""));
    let parent = above.unwrap_or(Path::new(".")).to_path_buf();
    fs::create_dir_all(&parent).map_err(failed("make", target))?;
    match DirBuilder::new().mode(0o700).create(target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed("make", target))?,
    }
    let owner = fs::metadata(target).map_err(failed("look at", target))?;
    let folder = target.join(UNFINISHED);
    let held = take(&folder, target, &owner)?;
    let mut staged = Staged {
        target: target.to_path_buf(),
        parent,
        folder,
        _held: held,
        names: Vec::new(),
        bytes: 0,
    };
    for (to, source) in sources {
        staged.write(&to, source, &owner)?;
    }
    sync(&staged.folder).map_err(failed("write", &staged.folder))?;
    Ok(staged)
}

/// An empty folder that nobody else writes into.
fn take(folder: &Path, target: &Path, owner: &fs::Metadata) -> Result<File, RedisRestoreError> {
    make(folder, owner)?;
    let held = File::open(folder).map_err(failed("open", folder))?;
    match held.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let target = target.to_path_buf();
            return Err(RedisRestoreError::AtWork { target });
        }
        Err(fs::TryLockError::Error(cause)) => return Err(failed("lock", folder)(cause)),
    }
    // What is in there is from a restore that was killed.
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let path = entry.map_err(failed("list", folder))?.path();
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.map_err(failed("remove", &path))?;
    }
    Ok(held)
}

impl Staged {
    fn write(
        &mut self,
        to: &str,
        source: Source,
        owner: &fs::Metadata,
    ) -> Result<(), RedisRestoreError> {
        let path = self.folder.join(to);
        let first = to.split('/').next().unwrap_or(to).to_owned();
        let parent = self.folder.join(&first);
        if parent != path {
            make(&parent, owner)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("write", &path))?;
        give(&file, &path, owner)?;
        let written = match source {
            Source::Text(text) => file.write_all(text.as_bytes()).map(|()| text.len() as u64),
            Source::Backup(mut stream) => io::copy(&mut stream, &mut file),
        };
        self.bytes += written
            .and_then(|written| file.sync_all().map(|()| written))
            .map_err(failed("write", &path))?;
        if parent != path {
            sync(&parent).map_err(failed("write", &parent))?;
        }
        if !self.names.contains(&first) {
            self.names.push(first);
        }
        Ok(())
    }

    /// Moves aside what is in the way, and everything to where it belongs. What fails is undone.
    pub(crate) fn place(self, way: &InTheWay) -> Result<u64, RedisRestoreError> {
        let mut moves = Vec::new();
        if let Some(aside) = &way.aside {
            let owner = fs::metadata(&self.target).map_err(failed("look at", &self.target))?;
            make(aside, &owner)?;
            let data = way.data.iter();
            moves.extend(data.map(|name| (self.target.join(name), aside.join(name))));
        }
        let names = self.names.iter();
        moves.extend(names.map(|name| (self.folder.join(name), self.target.join(name))));
        for (done, (from, to)) in moves.iter().enumerate() {
            if let Err(cause) = rename(from, to) {
                for (from, to) in moves[..done].iter().rev() {
                    // The error tells of the first failure; what can not go back is still where it was put.
                    let _ = rename(to, from);
                }
                return Err(failed("move", from)(cause));
            }
        }
        for directory in way.aside.iter().chain([&self.target, &self.parent]) {
            sync(directory).map_err(failed("write", directory))?;
        }
        Ok(self.bytes)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What stays is removed by the next restore.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn make(path: &Path, owner: &fs::Metadata) -> Result<(), RedisRestoreError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(failed("make", path))?,
    }
    let folder = File::open(path).map_err(failed("open", path))?;
    give(&folder, path, owner)
}

/// Gives something to the owner of the data directory, who the server runs as. Only root can.
fn give(file: &File, path: &Path, owner: &fs::Metadata) -> Result<(), RedisRestoreError> {
    let own = file.metadata().map_err(failed("look at", path))?;
    if (own.uid(), own.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    let given = fchown(file, Some(user), Some(group));
    given.map_err(|errno| RedisRestoreError::Owner {
        path: path.to_path_buf(),
        user: owner.uid(),
        group: owner.gid(),
        cause: errno.into(),
    })
}

/// Never over something that has come there meanwhile.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system knows how.
        Err(Errno::INVAL | Errno::NOSYS) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
