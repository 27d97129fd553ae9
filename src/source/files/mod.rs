//! Captures a file tree: one [`walk`] gives every node, in an order that depends on names alone.
//! It never writes to the source, never follows a link out of it unless asked, and never takes a
//! missing or empty source for an empty success.

mod attributes;
mod before;
pub mod beneath;
mod body;
mod exclude;
mod owners;
mod parents;
mod scan;
mod stat;
mod status;
mod walk;

pub use crate::source::files::attributes::{data_ranges, in_proc, read_xattrs};
pub use crate::source::files::exclude::Glob;
pub use crate::source::files::owners::Owners;
pub use crate::source::files::scan::{Note, Noted};
pub use crate::source::files::stat::Stat;
pub use crate::source::files::walk::{Tally, Walk};

use crate::model::strategy::{FilesSource, Symlinks};
use crate::model::tree::Previous;
use crate::source::files::beneath::{Links, open_beneath};
use crate::source::files::exclude::Excludes;
use crate::source::files::scan::{Scan, read_names};
use crate::source::{Capture, Facts};
use rustix::fs::{CWD, Mode, OFlags};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// What to walk.
pub struct Request {
    /// What the plan file asks for.
    pub spec: FilesSource,
    /// Root of the tree, resolved by the caller.
    pub root: PathBuf,
    /// The parent backup: its unchanged files are not read. `None` reads everything, which is `full`.
    pub previous: Option<Box<dyn Previous>>,
    /// Directories that are left out wherever they are met, such as a repository inside the tree.
    pub leave_out: Vec<PathBuf>,
}

/// Why a walk could not begin. Nothing was read and nothing was written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum FilesError {
    #[error("open source directory `{}`", .root.display())]
    Root {
        root: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("source directory `{}` is empty: is what should be mounted there missing?", .root.display())]
    Empty { root: PathBuf },
    #[error("source directory `{}` lacks {}", .root.display(), quoted(.missing))]
    Subdirectories { root: PathBuf, missing: Vec<String> },
    #[error("subdirectory `{name}` must be in the backup, and `exclude` leaves it out")]
    ExcludedSubdirectory { name: String },
    #[error("read the exclude glob `{glob}`")]
    Exclude {
        glob: String,
        #[source]
        cause: Box<globset::Error>,
    },
}

/// Starts a walk. Checks first that the source is there: its root, something in it, and every
/// directory in `subdirectories`.
pub fn walk(request: Request) -> Result<Walk, FilesError> {
    let Request {
        spec,
        root,
        previous,
        leave_out,
    } = request;
    let excludes = Excludes::new(&spec.exclude)?;
    let at_root = |cause: rustix::io::Errno| FilesError::Root {
        root: root.clone(),
        cause: cause.into(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, &root, flags, Mode::empty()).map_err(at_root)?;
    let stat = Stat::from(rustix::fs::fstat(&fd).map_err(at_root)?);
    let names = read_names(fd.as_fd()).map_err(at_root)?;
    if names.is_empty() {
        return Err(FilesError::Empty { root });
    }
    check_subdirectories(&spec, &root, fd.as_fd(), &excludes)?;
    let scan = Scan::new(fd, stat, names, excludes, spec.symlinks, &leave_out);
    Ok(Walk::start(scan, spec.symlinks, previous))
}

/// Starts a walk, as a capture.
pub fn capture(request: Request) -> Result<Capture, FilesError> {
    let walk = walk(request)?;
    let tally = walk.tally();
    let finish = move || {
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Facts {
            notes: tally.vanished().into_iter().collect(),
            ..Facts::default()
        })
    };
    Ok(Capture {
        walk: Box::new(walk),
        finish: Box::new(finish),
        guard: Box::new(()),
    })
}

fn check_subdirectories(
    spec: &FilesSource,
    root: &Path,
    fd: impl AsFd,
    excludes: &Excludes,
) -> Result<(), FilesError> {
    let links = Links::of(spec.symlinks);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut missing = Vec::new();
    for name in &spec.subdirectories {
        let path = name.trim_start_matches("./").trim_end_matches('/');
        if excludes.excludes_or_parent(path.as_bytes()) {
            return Err(FilesError::ExcludedSubdirectory { name: name.clone() });
        }
        if path.is_empty() || open_beneath(fd.as_fd(), path.as_bytes(), flags, links).is_err() {
            missing.push(name.clone());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(FilesError::Subdirectories {
        root: root.to_path_buf(),
        missing,
    })
}

impl Links {
    fn of(symlinks: Symlinks) -> Self {
        match symlinks {
            Symlinks::Follow => Self::Follow,
            Symlinks::Keep | Symlinks::Skip => Self::Refuse,
        }
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
