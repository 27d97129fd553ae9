//! Redis servers: their snapshots (`rdb`) and append-only files (`aof`), captured from a server that goes
//! on working. Asks it to save or to stream, and changes nothing else about it: no setting, no key, no file.

pub mod aof;
mod error;
pub mod facts;
mod files;
mod link;
pub mod rdb;
mod replica;
mod save;
mod server;
mod snapshot;
mod stop;

pub use crate::source::redis::error::RedisError;
pub use crate::source::redis::server::{Info, Server, Target};
pub use crate::source::redis::snapshot::SNAPSHOT;

use crate::model::secret::Secret;
use crate::source::{Capture, SourceError};
use std::path::PathBuf;
use std::time::Duration;

/// How long a server may be busy with something else before a capture gives up.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Which server, and how it can be read.
#[derive(Clone)]
pub struct Request {
    /// Its URL, which may hold a password.
    pub url: Secret,
    /// Put before every client program, for a server that lives elsewhere.
    pub via: Vec<String>,
    /// Where its files lie: here, or on the far side of `via`.
    pub data_dir: Option<PathBuf>,
    /// Where temporary files are made.
    pub scratch: PathBuf,
    /// Now, in nanoseconds since the Unix epoch.
    pub at_ns: i128,
    /// How long to wait while it is busy; [`PATIENCE`] but in tests.
    pub patience: Duration,
}

impl Request {
    fn target(&self) -> Result<Target, RedisError> {
        Target::new(&self.url, &self.via)
    }
}

/// Captures a snapshot.
pub fn rdb(request: Request) -> Result<Capture, SourceError> {
    snapshot::rdb(request)
}

/// Captures the append-only files.
pub fn aof(request: Request) -> Result<Capture, SourceError> {
    aof::capture::aof(request)
}
