//! What can be captured and put back, by kind of source. Knows nothing of stores and repositories:
//! a source gives nodes and bytes, and somebody else keeps them.

pub mod bucket;
pub mod cluster;
pub mod files;
mod pipe;
pub mod postgres;
pub mod processes;
pub mod program;
pub mod redis;
pub mod wal;

use crate::model::records::ReadError;
use crate::model::tree::{Found, Problem};
use crate::source::bucket::BucketError;
use crate::source::files::FilesError;
use crate::source::postgres::PostgresError;
use crate::source::program::ProgramError;
use crate::source::redis::RedisError;
use crate::source::wal::WalFileError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;

/// A source being read: see [`Found`] for the order of the walk.
pub type Walk = Box<dyn Iterator<Item = Result<Found, Problem>> + Send>;

/// Called when all was read and before the backup is recorded: the last checks, and what the source says
/// of itself. An error means that there is no backup.
pub type Finish = Box<dyn FnOnce() -> Result<Facts, SourceError> + Send>;

/// One component being captured.
pub struct Capture {
    /// What is to be stored.
    pub walk: Walk,
    /// What is known afterwards.
    pub finish: Finish,
    /// Dropped when the backup was recorded or given up, on whatever thread: ends programs that still run, so
    /// that a read which waits for them ends too, and undoes what was set at the server meanwhile.
    pub guard: Box<dyn Send>,
}

/// What is known of a source when it was read.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// What the source said of itself, for the manifest: versions, positions, row counts.
    pub source: BTreeMap<String, Value>,
    /// Versions of the programs that took part.
    pub tools: BTreeMap<String, String>,
    /// What was asked for and is not in it: the backup is recorded as incomplete.
    pub lacking: Vec<ReadError>,
    /// What whoever watches should know of how it was read.
    pub notes: Vec<String>,
}

/// Why a source could not be read or put back.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SourceError {
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Wal(#[from] WalFileError),
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        cause: io::Error,
    },
    /// The source is there and not in a state that it can be captured in; the words say the way out.
    #[error("{0}")]
    Refused(String),
}
