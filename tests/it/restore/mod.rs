//! Restores: what a backup of real files becomes in a directory.

mod bucket;
mod cluster;
mod files;
pub(crate) mod given;
mod hostile;
mod overwrite;
mod postgres;
mod redis;
mod redis_trouble;
