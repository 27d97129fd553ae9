//! What can go wrong at a store: one error type that says what was done to which object where, and a
//! kind that callers match on.

use crate::store::Key;
use std::{error::Error, fmt, io, sync::Arc};

/// A call to a store that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing} `{what}` at {location}: {kind}")]
pub struct StoreError {
    /// What was being done.
    pub doing: Doing,
    /// The key or prefix it was done to.
    pub what: String,
    /// Which store, as the operator knows it.
    pub location: String,
    /// What callers match on.
    pub kind: Kind,
    /// What the operating system or the server said.
    #[source]
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// The verbs of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Doing {
    Get,
    Put,
    List,
    Delete,
    Probe,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// There is no such object.
    NotFound,
    /// Somebody created it first.
    AlreadyExists,
    /// The credentials or permissions do not allow it.
    Denied,
    /// The store did not answer; the same call may succeed later.
    Unreachable,
    /// No space, no inodes or no quota is left.
    Full,
    /// Nothing can be written there at all.
    ReadOnly,
    /// What is stored is shorter than, or different from, what was written.
    Corrupt,
    /// Anything else; the cause says what.
    Other,
}

impl StoreError {
    /// An error without a cause of its own.
    pub fn new(doing: Doing, what: impl fmt::Display, location: &str, kind: Kind) -> Self {
        Self {
            doing,
            what: what.to_string(),
            location: location.to_owned(),
            kind,
            cause: None,
        }
    }

    /// The error for an I/O failure, its kind read from the error number.
    pub fn from_io(
        doing: Doing,
        what: impl fmt::Display,
        location: &str,
        cause: io::Error,
    ) -> Self {
        Self::new(doing, what, location, kind_of_io(&cause)).caused_by(cause)
    }

    /// This error with its cause.
    pub fn caused_by(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    /// Whether it is about this key.
    pub fn is_about(&self, key: &Key) -> bool {
        self.what == key.as_str()
    }
}

impl Kind {
    /// Whether the store answers and takes nothing: what may be read can be read all the same.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Denied | Self::ReadOnly | Self::Full)
    }
}

/// The kind that an error of the operating system stands for.
fn kind_of_io(error: &io::Error) -> Kind {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR) => Kind::NotFound,
        Some(Errno::EXIST) => Kind::AlreadyExists,
        Some(Errno::ACCESS | Errno::PERM) => Kind::Denied,
        Some(Errno::NOSPC | Errno::DQUOT) => Kind::Full,
        Some(Errno::ROFS) => Kind::ReadOnly,
        Some(Errno::TIMEDOUT | Errno::STALE | Errno::NOTCONN | Errno::HOSTDOWN) => {
            Kind::Unreachable
        }
        _ => Kind::Other,
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Get => "read",
            Self::Put => "write",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Probe => "probe",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotFound => "it is not there",
            Self::AlreadyExists => "it already exists",
            Self::Denied => "access is denied; check the owner, the permissions or the credentials",
            Self::Unreachable => "the store does not answer; check that it is up and connected",
            Self::Full => {
                "no space is left; free some there, or give the destination more, and run again"
            }
            Self::ReadOnly => "the file system is read-only; mount it writable and run again",
            Self::Corrupt => "it is damaged: its length or content is not what was written",
            Self::Other => "it failed",
        })
    }
}
