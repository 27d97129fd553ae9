//! Tests of `store`: one suite for every backend, and what only one of them can show.

mod conformance;
mod handle;
mod local;
mod s3;
