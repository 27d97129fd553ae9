//! The checks of a backup. Each says what it counted and compared, and whether that proves it; none
//! changes a repository or a source. A check that could not be carried out has not passed.

pub mod bucket;
pub mod cluster;
pub mod contents;
pub mod encrypted;
pub mod integrity;
mod keeper;
pub mod postgres;
pub mod presence;
pub mod redis;
pub mod restore_test;
mod temporary;

pub use crate::verify::temporary::{TemporaryDirectory, remove_stale};

use crate::model::ids::{BlobId, DestinationName};
use crate::model::records::{Check, Evidence};
use crate::model::tree::{Node, NodeKind};
use crate::repository::RepositoryError;
use crate::restore::Contents;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Failures that a finding lists; the rest are counted only.
const LISTED_MAX: usize = 20;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// Whether it proves what it is for.
    pub passed: bool,
    /// What was counted and compared.
    pub facts: BTreeMap<String, Value>,
    /// The outcome in words.
    pub message: String,
}

impl Finding {
    /// As it is stored with the backup.
    pub fn evidence(self, at: Timestamp, destination: DestinationName) -> Evidence {
        let Self {
            check,
            passed,
            facts,
            message,
        } = self;
        Evidence {
            check,
            at,
            destination,
            passed,
            facts,
            message,
        }
    }

    /// Passed when nothing is against it; `good` are the words for that.
    fn new<const N: usize>(
        check: Check,
        facts: [(&str, Value); N],
        against: &Against,
        good: String,
    ) -> Self {
        let mut facts: BTreeMap<_, _> = facts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let passed = against.count == 0;
        if !passed {
            facts.insert("failures".to_owned(), against.listed.clone().into());
            facts.insert("failure_count".to_owned(), against.count.into());
        }
        Self {
            check,
            passed,
            facts,
            message: if passed { good } else { against.words() },
        }
    }
}

/// What speaks against a backup.
#[derive(Debug, Default)]
struct Against {
    listed: Vec<String>,
    count: u64,
}

impl Against {
    fn push(&mut self, what: String) {
        self.count += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(what);
        }
    }
    fn join(&mut self, other: Against) {
        self.count += other.count;
        let room = LISTED_MAX.saturating_sub(self.listed.len());
        self.listed.extend(other.listed.into_iter().take(room));
    }
    fn words(&self) -> String {
        let first = self.listed.first().map_or("", String::as_str);
        match self.count {
            0 | 1 => first.to_owned(),
            count => format!("{first}, and {} more", count - 1),
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // A transparent wrapper says the same as what it wraps.
        if parts.last() != Some(&words) {
            parts.push(words);
        }
        cause = error.source();
    }
    parts.join(": ")
}

/// Runs what waits for programs, not on a runtime thread.
async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(format!("the test ended in the middle: {error}")))
}

/// Every entry of a tree, depth first by name. Holds the entries on the way down.
struct Entries<'a> {
    contents: &'a dyn Contents,
    waiting: Vec<(Vec<u8>, Node)>,
    /// The directory that was given last: its entries come next.
    enter: Option<(Vec<u8>, BlobId)>,
}

impl<'a> Entries<'a> {
    fn new(contents: &'a dyn Contents, root: &Node) -> Self {
        let tree = match &root.kind {
            NodeKind::Directory { tree } => *tree,
            _ => None,
        };
        Self {
            contents,
            waiting: Vec::new(),
            enter: tree.map(|tree| (Vec::new(), tree)),
        }
    }

    /// The next entry, or a directory that can not be read.
    async fn next(&mut self) -> Option<(Vec<u8>, Result<Node, RepositoryError>)> {
        if let Some((path, tree)) = self.enter.take() {
            match self.contents.entries(&tree).await {
                Ok(entries) => {
                    let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
                    let below = |name: &[u8]| [path.as_slice(), separator, name].concat();
                    let entries = entries.into_iter().rev();
                    self.waiting
                        .extend(entries.map(|entry| (below(&entry.name), entry)));
                }
                Err(error) => return Some((path, Err(error))),
            }
        }
        let (path, node) = self.waiting.pop()?;
        if let NodeKind::Directory { tree: Some(tree) } = &node.kind {
            self.enter = Some((path.clone(), *tree));
        }
        Some((path, Ok(node)))
    }
}
