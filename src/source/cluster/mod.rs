//! A whole PostgreSQL server, file by file, as it runs: base backups, from which WAL rolls forward.

pub mod base;
pub mod server;
mod stall;
mod tar;
