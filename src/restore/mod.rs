//! Puts backups back. Never writes outside the target it was given, and never over something that
//! differs unless asked. Problems are collected; what can be restored is restored.

pub mod bucket;
pub mod cluster;
mod contents;
pub mod files;
pub mod postgres;
pub mod redis;
mod stream;
pub mod wal;

pub use crate::restore::contents::{Contents, Sink, Unread};
pub use crate::restore::stream::ContentStream;

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}
