//! Restores: what a backup of real files becomes in a directory.

mod files;
pub(crate) mod given;
mod hostile;
mod overwrite;
mod postgres;
mod redis;
