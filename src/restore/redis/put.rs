//! Writes the files of a restored server: each under another name until it is complete, for the owner of
//! the directory only, and on disk before this ends.

use crate::restore::ContentStream;
use crate::restore::redis::{RedisRestoreError, Request};
use rustix::fs::{Gid, Uid, fchown};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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

/// Makes the target, and moves aside what Redis would find there. Gives back where that is now.
pub(crate) fn prepare(request: &Request, id: &str) -> Result<Option<PathBuf>, RedisRestoreError> {
    let target = &request.target;
    let there = names(target)?;
    if there.is_empty() {
        return Ok(None);
    }
    if !request.replace {
        let target = target.clone();
        return Err(RedisRestoreError::NotEmpty { target, there });
    }
    let data: Vec<&String> = there.iter().filter(|name| is_data(name, request)).collect();
    if data.is_empty() {
        return Ok(None);
    }
    let aside = unused(target, &format!("replaced-by-{id}"));
    if request.dry_run {
        return Ok(Some(aside));
    }
    let owner = fs::metadata(target).map_err(failed("look at", target))?;
    make(&aside, &owner).map_err(failed("make", &aside))?;
    for name in data {
        let (from, to) = (target.join(name), aside.join(name));
        fs::rename(&from, &to).map_err(failed("move aside", &from))?;
    }
    Ok(Some(aside))
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

fn names(target: &Path) -> Result<Vec<String>, RedisRestoreError> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        entries => entries.map_err(failed("list", target))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed("list", target))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Whether Redis would load it.
fn is_data(name: &str, request: &Request) -> bool {
    let conf = &request.conf;
    let named = [&conf.dbfilename, &conf.appendfilename, &conf.appenddirname];
    let is_named = named.iter().any(|said| said.as_deref() == Some(name));
    is_named || name == "appendonlydir" || name.ends_with(".rdb") || name.ends_with(".aof")
}

fn make(path: &Path, owner: &fs::Metadata) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    give(&File::open(path)?, owner)
}

/// Gives something to the owner of the data directory, who the server runs as. Only root can.
fn give(file: &File, owner: &fs::Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    fchown(
        file,
        Some(Uid::from_raw(owner.uid())),
        Some(Gid::from_raw(owner.gid())),
    )?;
    Ok(())
}

/// Writes everything, in this order. Gives back how many bytes.
pub(crate) fn put_all(
    target: &Path,
    sources: Vec<(String, Source)>,
) -> Result<u64, RedisRestoreError> {
    fs::create_dir_all(target.parent().unwrap_or(target)).map_err(failed("make", target))?;
    match DirBuilder::new().mode(0o700).create(target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed("make", target))?,
    }
    let owner = fs::metadata(target).map_err(failed("look at", target))?;
    let mut bytes = 0;
    for (to, source) in sources {
        let path = target.join(&to);
        if let Some(parent) = path.parent().filter(|parent| *parent != target) {
            make(parent, &owner).map_err(failed("make", parent))?;
        }
        let unfinished = path.with_extension("restoring");
        let written = put(&unfinished, source, &owner).and_then(|written| {
            fs::rename(&unfinished, &path)?;
            sync(path.parent())?;
            Ok(written)
        });
        // What is half written, on a disk that is full, would only be in the way.
        let written = written.inspect_err(|_| drop(fs::remove_file(&unfinished)));
        bytes += written.map_err(failed("write", &path))?;
    }
    sync(Some(target)).map_err(failed("write", target))?;
    Ok(bytes)
}

fn put(path: &Path, source: Source, owner: &fs::Metadata) -> io::Result<u64> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let written = match source {
        Source::Text(text) => file.write_all(text.as_bytes()).map(|()| text.len() as u64),
        Source::Backup(mut stream) => io::copy(&mut stream, &mut file),
    }?;
    give(&file, owner)?;
    file.sync_all()?;
    Ok(written)
}

fn sync(directory: Option<&Path>) -> io::Result<()> {
    match directory {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
