//! Tests of `source::redis`, against real servers.

mod append_only;
pub(crate) mod given;
mod rdb;
mod snapshot;
mod trouble;
