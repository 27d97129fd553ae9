//! What became of a plan: the result of a run as data. `apply` fills it in, `render` makes words of it, the
//! repository keeps a short form as a run record.

use crate::model::ids::{Address, BackupId, Digest, RunId};
use crate::plan::document::StepId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// Fingerprint of the plan file that was applied.
    pub config: Digest,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Whether it was ended by a signal.
    pub interrupted: bool,
    /// What became of each step, in the order of the plan.
    pub steps: Vec<StepReport>,
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step.
    pub id: StepId,
    /// What it was about.
    pub address: Address,
    /// `back up`, `copy`, …
    pub verb: String,
    /// What exactly, in a few words: `dump 2026-11-22T02:00Z`, `9c41d7e0 -> offsite`.
    pub what: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// As planned.
    Done(Done),
    /// It was tried, and did not.
    Failed(Failure),
    /// It was not tried, because this one failed or was skipped.
    Skipped {
        /// That one.
        because_of: StepId,
    },
    /// It was not tried: the run was interrupted before.
    NotReached,
}

/// A step that did what it says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Done {
    /// The backup that it made or was about.
    pub backup: Option<BackupId>,
    /// Bytes of the source that were looked at.
    pub read_bytes: u64,
    /// Bytes that were added to the store, or freed by a prune.
    pub stored_bytes: u64,
    /// Things that could not be read: the backup was made and is marked incomplete.
    pub left_out: Vec<String>,
    /// How many, when there are more than are listed.
    pub left_out_count: u64,
    /// What else there is to say: `42 files compared`.
    pub note: String,
}

/// A step that did not do what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed, and below it each cause: `back up db`, `open source directory`, `No such file`.
    pub chain: Vec<String>,
    /// What kind of failure it is: it decides the exit code.
    pub kind: FailureKind,
}

/// Kinds of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// A check found a backup damaged or wrong.
    Verification,
    /// A key is missing or wrong.
    Key,
    /// A destination is not there.
    Unreachable,
    /// Somebody else has the lock.
    Locked,
    /// Anything else.
    Other,
}

/// What a run came to, in numbers. A backup that goes from three destinations is one backup, as in the plan's
/// last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Counts {
    pub backed_up: u64,
    pub copied: u64,
    pub verified: u64,
    pub exported: u64,
    /// Repositories that were made, and settings of sources that were changed.
    pub changed: u64,
    pub forgotten: u64,
    pub pruned: u64,
    pub failed: u64,
    /// Steps that were not tried.
    pub not_run: u64,
    /// Things that could not be read: the backups without them are marked incomplete.
    pub left_out: u64,
    /// Bytes of sources that were looked at.
    pub read_bytes: u64,
    /// Bytes that were added to stores.
    pub stored_bytes: u64,
    /// Bytes that were removed from stores.
    pub freed_bytes: u64,
}

impl Counts {
    /// Of a run.
    pub fn of(report: &RunReport) -> Self {
        let mut counts = Self::default();
        let mut forgotten = BTreeSet::new();
        for step in &report.steps {
            match &step.outcome {
                Outcome::Done(done) => {
                    counts.add(&step.verb, done);
                    if step.verb == "forget" {
                        // Without an id it counts for itself.
                        forgotten.insert(done.backup.ok_or(step.id));
                    }
                }
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::Skipped { .. } | Outcome::NotReached => counts.not_run += 1,
            }
        }
        counts.forgotten = forgotten.len() as u64;
        counts
    }

    fn add(&mut self, verb: &str, done: &Done) {
        match verb {
            "back up" => self.backed_up += 1,
            "copy" => self.copied += 1,
            "verify" | "inspect" => self.verified += 1,
            "export" => self.exported += 1,
            "change" | "initialize" => self.changed += 1,
            "prune" => self.pruned += 1,
            _ => {}
        }
        let stored = match verb {
            "prune" => &mut self.freed_bytes,
            _ => &mut self.stored_bytes,
        };
        *stored = stored.saturating_add(done.stored_bytes);
        self.read_bytes = self.read_bytes.saturating_add(done.read_bytes);
        self.left_out = self.left_out.saturating_add(done.left_out_count);
    }
}

impl RunReport {
    /// How many steps failed.
    pub fn failed(&self) -> usize {
        let failed = |step: &&StepReport| matches!(step.outcome, Outcome::Failed(_));
        self.steps.iter().filter(failed).count()
    }
    /// Whether every step was done, with nothing left out.
    pub fn is_complete(&self) -> bool {
        !self.interrupted
            && self.steps.iter().all(
                |step| matches!(&step.outcome, Outcome::Done(done) if done.left_out_count == 0),
            )
    }
}
