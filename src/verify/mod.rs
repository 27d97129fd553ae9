//! The checks of a backup. Each says what it counted and compared, and whether that proves it; none
//! changes a repository or a source. A check that could not be carried out has not passed.

pub mod contents;
pub mod encrypted;
pub mod integrity;
pub mod presence;
pub mod restore_test;
mod temporary;

pub use crate::verify::temporary::{TemporaryDirectory, remove_stale};

use crate::model::ids::DestinationName;
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
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Calls `each` with every entry of a tree, depth first by name, and with every directory that can not be
/// read. Holds the entries on the way down.
async fn each_entry(
    contents: &dyn Contents,
    root: &Node,
    mut each: impl AsyncFnMut(&[u8], Result<&Node, &RepositoryError>),
) {
    let mut waiting = vec![(Vec::new(), root.clone())];
    while let Some((path, node)) = waiting.pop() {
        if !path.is_empty() {
            each(&path, Ok(&node)).await;
        }
        let NodeKind::Directory { tree: Some(tree) } = &node.kind else {
            continue;
        };
        match contents.entries(tree).await {
            Ok(entries) => waiting.extend(entries.into_iter().rev().map(|entry| {
                let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
                ([path.as_slice(), separator, &entry.name].concat(), entry)
            })),
            Err(error) => each(&path, Err(&error)).await,
        }
    }
}
