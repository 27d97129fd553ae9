//! Tests of `store`: one suite for every backend, and what only one of them can show.

mod conformance;
mod handle;
mod local;
mod s3;
mod sftp;

use ccb::store::{Key, Retries, StoreError};
use std::error::Error;
use std::time::Duration;

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

/// Three attempts without much of a pause.
fn quick() -> Retries {
    Retries {
        attempts: 3,
        first_pause: Duration::from_millis(1),
        pause_max: Duration::from_millis(5),
    }
}

/// An error and all its causes.
fn chain(error: &StoreError) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}
