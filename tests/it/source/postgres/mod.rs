//! PostgreSQL as a source, against real servers.

mod archive;
mod dump;
mod given;
mod trouble;
