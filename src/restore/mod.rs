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
