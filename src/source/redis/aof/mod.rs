//! Redis's append-only files: their shape, without a server.

mod body;
pub(crate) mod capture;
mod manifest;
mod resp;

pub use crate::source::redis::aof::body::{AofBody, AofError, AofFacts, End, count_aof};
pub use crate::source::redis::aof::manifest::{AofFile, AofManifest, ManifestError};
pub use crate::source::redis::aof::resp::Malformed;
