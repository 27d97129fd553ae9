//! Restores: what a backup of real files becomes in a directory.

mod files;
mod given;
mod hostile;
mod overwrite;
