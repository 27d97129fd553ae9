//! Sources: what is captured of real files.

mod files;
mod files_hostile;
mod postgres;
mod program;
pub(crate) mod redis;
