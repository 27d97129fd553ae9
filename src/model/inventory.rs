//! What the destinations hold: facts only, read by `observe`, never a decision. Where coverage is not
//! complete, a missing backup proves nothing.

use crate::model::bucket::BucketSeen;
use crate::model::ids::{BackupId, ComponentName, DestinationName, RepositoryId};
use crate::model::records::{
    Annotation, Check, Evidence, ExportRecord, Manifest, Note, RunRecord, Tomb,
};
use crate::model::strategy::Cipher;
use crate::model::wal::WalFacts;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that was seen, by destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// One for each destination of the strategy that was looked at.
    pub destinations: BTreeMap<DestinationName, Holding>,
    /// Buckets that are protected, as they were found, by component; only those that were looked at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<ComponentName, BucketSeen>,
    /// Buckets that backups lie in, as they were found; only those that were looked at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub destination_buckets: BTreeMap<DestinationName, BucketSeen>,
}

/// What one destination holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holding {
    /// How much of it was seen.
    pub coverage: Coverage,
    /// Its repository; `None` when there is none yet, or it was not reached.
    pub repository: Option<RepositoryFacts>,
    /// Its live backups, sorted by start, then id.
    pub backups: Vec<Held>,
    /// Forgotten backups whose manifests are still there, sorted likewise.
    pub trashed: Vec<Trashed>,
    /// Keys of manifests that could not be read, with why.
    pub damaged: BTreeMap<String, String>,
    /// Records of the newest runs, newest first.
    pub runs: Vec<RunRecord>,
    /// WAL that servers handed over, whether or not a backup has it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wal: Vec<WaitingWal>,
    /// Copies that restore without ccb and are recorded here, sorted by when their backup was taken, then by
    /// key. They may lie at another destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<ExportRecord>,
}

/// WAL of one component and cluster that `ccb wal push` left at a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingWal {
    /// Whose.
    pub component: ComponentName,
    /// What.
    pub facts: WalFacts,
    /// How many files these are.
    pub files: u64,
    /// What they take there.
    pub bytes: u64,
}

impl Holding {
    /// A destination without a repository, seen completely.
    pub fn empty() -> Self {
        Self::with_coverage(Coverage::Complete)
    }
    /// A destination of which nothing was seen, and why.
    pub fn unreachable(why: String) -> Self {
        Self::with_coverage(Coverage::Unreachable { why })
    }
    fn with_coverage(coverage: Coverage) -> Self {
        Self {
            coverage,
            repository: None,
            backups: Vec::new(),
            trashed: Vec::new(),
            damaged: BTreeMap::new(),
            runs: Vec::new(),
            wal: Vec::new(),
            exports: Vec::new(),
        }
    }
    /// The backup with that id.
    pub fn backup(&self, id: &BackupId) -> Option<&Held> {
        self.backups.iter().find(|held| held.manifest.id == *id)
    }
    /// The live backups of one component, oldest first.
    pub fn of<'a>(&'a self, component: &'a ComponentName) -> impl Iterator<Item = &'a Held> {
        self.backups
            .iter()
            .filter(move |held| held.manifest.component == *component)
    }
}

/// How much of a destination was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "seen", rename_all = "lowercase")]
pub enum Coverage {
    /// All of it.
    Complete,
    /// Some of it could not be read.
    Partial {
        /// What is missing.
        why: String,
    },
    /// None of it.
    Unreachable {
        /// The error.
        why: String,
    },
}

impl Coverage {
    /// Whether absence is proof of absence.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }
}

/// What is known of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryFacts {
    /// Its id.
    pub id: RepositoryId,
    /// When it was created.
    pub created: Timestamp,
    /// Its cipher; `None`: not encrypted.
    pub cipher: Option<Cipher>,
    /// When its newest key epoch was made.
    pub key_since: Option<Timestamp>,
    /// The store can not create an object only if it is absent: one writer at a time is safe.
    pub single_writer: bool,
    /// The store's clock when it was read.
    pub server_time: Timestamp,
    /// Bytes of all packs.
    pub stored_bytes: u64,
    /// When a prune last left a record, by the store's clock.
    pub last_prune: Option<Timestamp>,
    /// Bytes of packs that are condemned and still there.
    pub condemned_bytes: u64,
}

/// A live backup at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// What it is.
    pub manifest: Manifest,
    /// What was said of it here, oldest first.
    pub annotations: Vec<Annotation>,
}

impl Held {
    /// Who holds it and why, unless a later release ended that.
    pub fn hold(&self) -> Option<(&str, &str)> {
        hold(&self.annotations)
    }
    /// Whether someone ran `ccb release` on it, and nobody held it again since.
    pub fn is_released(&self) -> bool {
        self.annotations
            .iter()
            .fold(false, |released, a| match &a.note {
                Note::Release { .. } => true,
                Note::Hold { .. } => false,
                _ => released,
            })
    }
    /// Every result of a check, oldest first.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.annotations.iter().filter_map(|a| match &a.note {
            Note::Verified(evidence) => Some(evidence),
            _ => None,
        })
    }
    /// The newest result of `check`.
    pub fn newest(&self, check: Check) -> Option<&Evidence> {
        self.evidence()
            .filter(|e| e.check == check)
            .max_by_key(|e| e.at)
    }
}

/// A forgotten backup that can still be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trashed {
    /// What it was.
    pub manifest: Manifest,
    /// When by the clock of who forgot it, and why.
    pub tomb: Tomb,
    /// Since when it is forgotten, by the store's clock.
    pub since: Timestamp,
}

/// Who holds a backup and why, by what was said of it, oldest first.
pub fn hold(annotations: &[Annotation]) -> Option<(&str, &str)> {
    annotations.iter().fold(None, |held, a| match &a.note {
        Note::Hold { by, reason } => Some((by.as_str(), reason.as_str())),
        Note::Release { .. } => None,
        _ => held,
    })
}
