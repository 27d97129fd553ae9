//! What a restore of files or objects did, for programs.

use crate::render::listing::contents::Path;
use crate::render::output::Document;
use schemars::JsonSchema;
use serde::Serialize;

/// What a restore of files or objects did, or would do, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Restored {
    /// What was restored.
    pub component: String,
    /// Where to: a directory, or `s3://BUCKET/PREFIX`.
    pub target: String,
    /// Nothing was written: the counts are of what would be.
    pub dry_run: bool,
    /// Files or objects written.
    pub written: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was there already, the same.
    pub kept: u64,
    /// On a dry run, what would be done with each; else empty.
    pub entries: Vec<Intended>,
    /// What failed, in words; the first thousand.
    pub problems: Vec<String>,
    /// How many of those there were. Not zero: the restore is incomplete.
    pub problem_count: u64,
}

impl Document for Restored {
    const KIND: &'static str = "restored";
}

/// What would be done with one path or key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Intended {
    #[serde(flatten)]
    path: Path,
    /// `create`, `overwrite`, `keep`, or `refuse` where another is there.
    intent: &'static str,
}

impl Intended {
    /// Of a path below the target, or a key.
    pub fn new(path: &[u8], intent: &'static str) -> Self {
        Self {
            path: Path::new(path),
            intent,
        }
    }
}
