//! Tests of `source::redis`, against real servers.

mod append_only;
pub(crate) mod given;
pub(crate) mod old_layout;
mod rdb;
mod replicas;
mod snapshot;
mod trouble;
