//! Which processes of this machine use a directory, as far as this user may know: those of other users are
//! seen by root only.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A process that uses a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: i32,
    /// Its name, at most 15 bytes of it.
    pub name: String,
    /// Its user.
    pub uid: u32,
    /// What it has open there; `None` when it works in there.
    pub open: Option<PathBuf>,
}

/// Processes that work in `directory` or have something below it open.
pub fn using(directory: &Path) -> io::Result<Vec<Process>> {
    let directory = directory.canonicalize()?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // What has ended meanwhile, or is another user's, can not be looked into.
        if let Some(open) = used(&entry.path(), &directory)
            && let Ok(process) = describe(id, &entry.path(), open)
        {
            found.push(process);
        }
    }
    found.sort_by_key(|process| process.id);
    Ok(found)
}

/// What a process has open in `directory`: `Some(None)` when it works in there.
fn used(process: &Path, directory: &Path) -> Option<Option<PathBuf>> {
    let is_in = |link: &Path| {
        fs::read_link(link)
            .ok()
            .filter(|path| path.starts_with(directory))
    };
    let cwd = process.join("cwd");
    if is_in(&cwd).is_some() || is_same(&cwd, directory) {
        return Some(None);
    }
    let open = fs::read_dir(process.join("fd")).ok()?;
    open.filter_map(Result::ok)
        .find_map(|fd| is_in(&fd.path()))
        .map(Some)
}

/// A process in a container, or behind a bind mount, knows the directory by another path.
fn is_same(link: &Path, directory: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    matches!((id(link), id(directory)), (Ok(one), Ok(other)) if one == other)
}

fn describe(id: i32, process: &Path, open: Option<PathBuf>) -> io::Result<Process> {
    Ok(Process {
        id,
        name: fs::read_to_string(process.join("comm"))?
            .trim_end()
            .to_owned(),
        uid: fs::metadata(process)?.uid(),
        open,
    })
}

/// Ends a process at once and waits until it has, as long as it is still the one that works in
/// `directory`.
pub fn end(process: &Process, directory: &Path) -> io::Result<()> {
    let pid = Pid::from_raw(process.id).ok_or(io::ErrorKind::InvalidInput)?;
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        handle => handle?,
    };
    // The handle stands for one process, whatever becomes of its number: now it can be looked at again.
    let folder = PathBuf::from(format!("/proc/{}", process.id));
    if used(&folder, &directory.canonicalize()?) != Some(process.open.clone()) {
        return Ok(());
    }
    match pidfd_send_signal(&handle, Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        sent => sent?,
    }
    let mut ended = [rustix::event::PollFd::new(
        &handle,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut ended, None)?;
    Ok(())
}
