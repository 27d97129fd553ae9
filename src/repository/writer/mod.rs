//! How bytes become packs: read, cut, name, look up, compress, seal, hand to the uploads. Packs are
//! uploaded before the index says where their blobs are, and that before a manifest names a root.

mod against;
pub(crate) mod blobs;
mod cut;
pub(crate) mod effort;
mod files;
pub(crate) mod group;
mod join;
mod previous;
mod tree;
pub(crate) mod uploads;
pub(crate) mod versions;

pub(crate) use cut::fill;
pub(crate) use tree::{Order, Walk, write_tree};

use crate::model::ids::{BlobId, Digest};
use crate::model::tree::{Problem, printable};
use crate::repository::RepositoryError;
use crate::repository::format::manifest::{ERRORS_MAX, ReadError, Stats, Subtotal};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Hears of progress, from several threads.
pub trait Progress: Send + Sync {
    /// So many more files and bytes were read, or found to be unchanged.
    fn advance(&self, files: u64, bytes: u64);
    /// Something could not be read, and the backup goes on without it.
    fn problem(&self, problem: &Problem) {
        let _ = problem;
    }
}

/// For callers that do not watch.
impl Progress for () {
    fn advance(&self, _files: u64, _bytes: u64) {}
}

/// What became of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeStats {
    /// The blob of its root directory.
    pub root: BlobId,
    /// What was read and stored.
    pub stats: Stats,
    /// What lies below each directory directly below the root.
    pub directories: BTreeMap<String, Subtotal>,
    /// What could not be read, sorted by path, at most [`ERRORS_MAX`].
    pub errors: Vec<ReadError>,
    /// How many things could not be read.
    pub error_count: u64,
    /// BLAKE3 of all bytes of all streams, in the order of the walk; none when there was no stream.
    pub content: Option<Digest>,
}

/// The first thing that went wrong in a session: the others stop when they see it.
#[derive(Default)]
pub(crate) struct Failure {
    happened: AtomicBool,
    first: Mutex<Option<RepositoryError>>,
}

impl Failure {
    /// Records `error` unless another came first.
    pub(crate) fn set(&self, error: RepositoryError) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        self.happened.store(true, Relaxed);
    }

    /// The first error, if there was one.
    pub(crate) fn check(&self) -> Result<(), RepositoryError> {
        if !self.happened.load(Relaxed) {
            return Ok(());
        }
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        Err(first.clone().unwrap_or(RepositoryError::Interrupted))
    }
}

/// What could not be read so far.
#[derive(Default)]
pub(crate) struct Problems(Mutex<(Vec<ReadError>, u64)>);

impl Problems {
    pub(crate) fn add(&self, problem: &Problem) {
        let mut message = format!("{}: {}", problem.doing, problem.cause);
        if let Some(deeper) = problem.cause.get_ref().and_then(|cause| cause.source()) {
            message.push_str(&format!(": {deeper}"));
        }
        let path = printable(&problem.path);
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1 += 1;
        if inner.0.len() < ERRORS_MAX {
            inner.0.push(ReadError { path, message });
        }
    }

    /// The list, sorted by path, and how many there were.
    pub(crate) fn take(&self) -> (Vec<ReadError>, u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut errors, count) = std::mem::take(&mut *inner);
        errors.sort_by(|a, b| (&a.path, &a.message).cmp(&(&b.path, &b.message)));
        (errors, count)
    }
}
