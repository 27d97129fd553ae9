//! Puts objects into a bucket: those of a backup, with what was kept beside them, or earlier versions of the
//! bucket's own. Deletes nothing; what is there and differs is replaced only when that is asked for.

mod backup;
mod put;
mod tree;
mod upload;
mod versions;

pub use backup::{PutBackError, put_back};
pub use tree::VersionsTree;
pub use versions::{Limits, as_of, copy_back};

use crate::model::tree::printable;
use crate::source::bucket::{Bucket, BucketError, Listed};
use std::collections::HashMap;
use std::sync::Arc;

/// Problems beyond this many are counted only.
const LISTED_MAX: usize = 1000;

/// Where objects are put, and how.
#[derive(Debug, Clone)]
pub struct Target {
    /// The bucket.
    pub bucket: Arc<Bucket>,
    /// Before every key; empty, or as it is.
    pub prefix: String,
    /// Replace objects that differ.
    pub overwrite: bool,
    /// Decide and tell, and write nothing.
    pub dry_run: bool,
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// There is none with its key.
    Create,
    /// Another is replaced.
    Overwrite,
    /// It is there already, the same.
    Keep,
    /// Another is there and stays: a problem.
    Refuse,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Report {
    /// Objects written.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already, the same.
    pub kept: u64,
    /// What failed, in words; the first thousand.
    pub problems: Vec<String>,
    /// How many of those there were. Not zero: the restore is incomplete.
    pub problem_count: u64,
}

impl Report {
    fn problem(&mut self, key: &[u8], why: &str) {
        self.problem_count += 1;
        if self.problems.len() < LISTED_MAX {
            self.problems.push(format!("`{}`: {why}", printable(key)));
        }
    }
}

/// What is in a bucket already, by key.
struct There(HashMap<Vec<u8>, Listed>);

impl There {
    async fn of(into: &Target) -> Result<Self, BucketError> {
        let listed = into.bucket.objects(&into.prefix).await?;
        let by_key = listed
            .into_iter()
            .map(|object| (object.key.clone(), object));
        Ok(Self(by_key.collect()))
    }

    /// Whether the object that is there may be this one although its fingerprint is another: that of an object
    /// which came in parts depends on how it was cut.
    fn may_be(&self, key: &str, size: u64, etag: Option<&str>) -> bool {
        let is_of_parts = |etag: &str| etag.contains('-');
        self.0.get(key.as_bytes()).is_some_and(|there| {
            let is_unclear = is_of_parts(&there.etag) || etag.is_none_or(is_of_parts);
            there.size == size && is_unclear
        })
    }

    /// What happens to an object of this length and fingerprint.
    fn decide(&self, key: &str, size: u64, etag: Option<&str>, overwrite: bool) -> Intent {
        match self.0.get(key.as_bytes()) {
            None => Intent::Create,
            Some(there) if there.size == size && etag == Some(&*there.etag) => Intent::Keep,
            Some(_) if overwrite => Intent::Overwrite,
            Some(_) => Intent::Refuse,
        }
    }
}

const REFUSED: &str = "another object is there; add --overwrite to replace it";

/// An object that was stored without some of its headers is not as it was.
fn not_lost(unsent: &[String]) -> Result<(), String> {
    match unsent {
        [] => Ok(()),
        lost => Err(format!("stored without {}: no text", lost.join(", "))),
    }
}
