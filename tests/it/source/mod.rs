//! Sources: what is captured of real files.

mod bucket;
mod cluster;
mod files;
mod files_hostile;
pub(crate) mod postgres;
mod program;
pub(crate) mod redis;
mod wal;
