//! PostgreSQL as a source, against real servers.

mod archive;
mod dump;
pub(crate) mod given;
mod trouble;
