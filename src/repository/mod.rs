//! The repository: where backups live, as objects in a store.

pub mod format;
