//! Why an export was not made, or not removed.

use crate::repository::RepositoryError;
use crate::store::{KeyError, StoreError};
use std::io;
use std::path::PathBuf;

/// Why an export was not made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExportError {
    #[error("read the backup")]
    Read(#[source] RepositoryError),
    #[error("write the export in `{}`", folder.display())]
    Spool {
        folder: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("export \"{0}\" has no key; add `key env=\"...\"` to it")]
    NoKey(&'static str),
    #[error("name the export")]
    Name(#[source] KeyError),
    #[error("`{0}` is where ccb keeps its repository; begin the layout of the export differently")]
    Reserved(String),
    #[error(
        "`{key}` at {location} is taken by other bytes, and is left as it is; move it away, or change the layout of the export"
    )]
    Taken { key: String, location: String },
    #[error(
        "`{key}` at {location} does not read back as it was written, and was removed again; apply again"
    )]
    Differs { key: String, location: String },
    #[error("`{}` is there already, and is left as it is; choose another name", .0.display())]
    Exists(PathBuf),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the export ended in the middle: {0}")]
    Crashed(String),
}

impl ExportError {
    /// Of something that failed while a backup was read and its export written to `folder`.
    pub(crate) fn of(cause: io::Error, folder: &std::path::Path) -> Self {
        let inner = cause
            .get_ref()
            .and_then(|e| e.downcast_ref::<RepositoryError>());
        match inner {
            Some(error) => Self::Read(error.clone()),
            None => Self::Spool {
                folder: folder.to_owned(),
                cause,
            },
        }
    }
}
