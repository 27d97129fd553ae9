//! Restores file trees: whole, some paths of them, or one file.
//!
//! Each path is opened beneath the target without following a link, so neither a hostile backup nor a
//! link that is planted meanwhile leads outside. A file gets its bytes under another name and takes
//! its own when it is complete; directories get their times and modes after all that is in them.

mod batch;
mod decide;
mod metadata;
mod report;
mod target;
mod tree;

pub use crate::restore::files::decide::{Intent, Overwrite, Sameness};
pub use crate::restore::files::metadata::OwnersBy;
pub use crate::restore::files::report::{Left, Report, RestoreNote};

use crate::model::tree::{Node, printable};
use crate::repository::RepositoryError;
use crate::restore::Contents;
use crate::restore::files::target::Target;
use crate::restore::files::tree::Restorer;
pub(crate) use crate::restore::files::tree::find;
use crate::source::files::beneath::is_relative_and_plain;
use std::io;
use std::path::PathBuf;

/// What to restore, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The directory that stands for the root of the backup. Made when it is missing, and then given the
    /// root's own mode, owner and time at the end; one that is there keeps its own.
    pub target: PathBuf,
    /// Paths in the backup, parts joined with `/`; empty restores everything.
    pub paths: Vec<Vec<u8>>,
    /// What happens to files that are in the target and differ.
    pub overwrite: Overwrite,
    /// When a file in the target counts as the same.
    pub sameness: Sameness,
    /// How owners are found.
    pub owners: OwnersBy,
    /// Decide and tell, and write nothing.
    pub dry_run: bool,
}

/// Why a restore could not begin. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RestoreError {
    #[error("open the target directory `{}`", .target.display())]
    Target {
        target: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the backup has no `{}`", printable(.path))]
    NotInBackup { path: Vec<u8> },
    #[error("read directory `{}` of the backup", printable(.path))]
    Read {
        path: Vec<u8>,
        #[source]
        cause: RepositoryError,
    },
}

/// Restores what `request` names from the tree under `root`. `on` hears of each entry before it is
/// written; on a dry run that is all that happens. File system calls are made on the calling task.
pub async fn restore(
    contents: &dyn Contents,
    root: &Node,
    request: &Request,
    on: &mut (dyn FnMut(&[u8], Intent) + Send + Sync),
) -> Result<Report, RestoreError> {
    for path in &request.paths {
        if !is_relative_and_plain(path) || find(contents, root, path).await?.is_none() {
            return Err(RestoreError::NotInBackup { path: path.clone() });
        }
    }
    let at_target = |cause| RestoreError::Target {
        target: request.target.clone(),
        cause,
    };
    let target = Target::open(&request.target, request.dry_run).map_err(at_target)?;
    Restorer::new(contents, target, request, on).run(root).await
}
