//! What manifests say of base backups and of WAL, and what is seen of WAL that is in no backup yet.

use crate::model::records::Manifest;
use crate::model::wal::history::History;
use crate::model::wal::name::{Lsn, SegmentBytes, SegmentName, SystemId, WalName};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a base backup says of itself: `source.base` in its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaseFacts {
    /// The cluster.
    pub system_identifier: SystemId,
    /// The timeline that it was taken on.
    pub timeline: u32,
    /// Recovery begins here,
    pub start_lsn: Lsn,
    /// and is consistent once it has come here.
    pub stop_lsn: Lsn,
    /// How long segments are.
    pub segment_bytes: SegmentBytes,
    /// Whether the server checked the checksums of all pages while it sent them; `None`: it has none.
    pub checksums_verified: Option<bool>,
    /// The server's own description.
    pub server_version: String,
    /// Who owns everything in it: the name of the role that `initdb` made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superuser: Option<String>,
    /// What `backup_label` says, whole.
    pub backup_label: String,
}

impl BaseFacts {
    /// The name under which they stand in a manifest.
    pub const NAME: &'static str = "base";

    /// Those of a base backup.
    pub fn of(manifest: &Manifest) -> Option<Self> {
        serde_json::from_value(manifest.source.get(Self::NAME)?.clone()).ok()
    }
    /// The first segment that a recovery needs.
    pub fn first_segment(&self) -> Option<SegmentName> {
        SegmentName::holding(self.timeline, self.start_lsn, self.segment_bytes)
    }
    /// The last segment without which it is not consistent.
    pub fn last_segment(&self) -> Option<SegmentName> {
        // The byte at the end itself is not needed.
        let last = Lsn(self.stop_lsn.0.saturating_sub(1));
        SegmentName::holding(self.timeline, last, self.segment_bytes)
    }
}

/// Segments that follow one another on one timeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct WalRun {
    /// The first.
    pub first: SegmentName,
    /// The last.
    pub last: SegmentName,
    /// When the last of them to arrive was archived: no later moment is in them.
    pub archived: Timestamp,
}

/// The WAL of one cluster that is in one place: `source.wal` of a manifest is a list of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WalFacts {
    /// The cluster.
    pub system_identifier: SystemId,
    /// How long its segments are.
    pub segment_bytes: SegmentBytes,
    /// Its segments, by timeline, then place.
    pub runs: Vec<WalRun>,
    /// Where its timelines came from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histories: Vec<History>,
    /// Further files: labels of backups, segments that were left half full.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<WalName>,
}

impl WalFacts {
    /// The name under which they stand in a manifest.
    pub const NAME: &'static str = "wal";

    /// Nothing of that cluster.
    pub fn empty(system_identifier: SystemId, segment_bytes: SegmentBytes) -> Self {
        Self {
            system_identifier,
            segment_bytes,
            runs: Vec::new(),
            histories: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Those of a WAL backup; none of any other.
    pub fn all_of(manifest: &Manifest) -> Vec<Self> {
        let facts = manifest.source.get(Self::NAME).cloned();
        let read = facts.and_then(|facts| serde_json::from_value(facts).ok());
        read.unwrap_or_default()
    }

    /// Puts files together: `names` with when each was archived, in any order.
    pub fn with(mut self, names: impl IntoIterator<Item = (WalName, Timestamp)>) -> Self {
        let mut segments: BTreeMap<(u32, u64), (SegmentName, Timestamp)> = BTreeMap::new();
        for (name, archived) in names {
            match (
                name,
                name.segment().and_then(|s| s.number(self.segment_bytes)),
            ) {
                (WalName::Segment(segment), Some(number)) => {
                    segments.insert((segment.timeline, number), (segment, archived));
                }
                (WalName::History(_), _) => {}
                _ => self.others.push(name),
            }
        }
        let mut before = None;
        for ((timeline, number), (segment, archived)) in segments {
            match self.runs.last_mut() {
                Some(run) if before == Some((timeline, number.wrapping_sub(1))) => {
                    run.last = segment;
                    run.archived = run.archived.max(archived);
                }
                _ => self.runs.push(WalRun {
                    first: segment,
                    last: segment,
                    archived,
                }),
            }
            before = Some((timeline, number));
        }
        self.runs.sort();
        self.others.sort();
        self.others.dedup();
        self
    }

    /// Whether that file is among them.
    pub fn holds(&self, name: &WalName) -> bool {
        match name {
            WalName::Segment(segment) => {
                let number = |s: &SegmentName| s.number(self.segment_bytes);
                let is_in = |run: &WalRun| {
                    run.first.timeline == segment.timeline
                        && number(&run.first) <= number(segment)
                        && number(segment) <= number(&run.last)
                };
                number(segment).is_some() && self.runs.iter().any(is_in)
            }
            WalName::History(timeline) => self.histories.iter().any(|h| h.timeline == *timeline),
            other => self.others.contains(other),
        }
    }

    /// Whether the segment right after `name` is among them.
    pub fn follows(&self, name: &SegmentName) -> bool {
        let next = name
            .number(self.segment_bytes)
            .and_then(|n| SegmentName::new(name.timeline, n + 1, self.segment_bytes));
        next.is_some_and(|next| self.holds(&WalName::Segment(next)))
    }

    /// How many segments these are.
    pub fn segment_count(&self) -> u64 {
        let number = |s: &SegmentName| s.number(self.segment_bytes).unwrap_or(0);
        let of = |run: &WalRun| number(&run.last).saturating_sub(number(&run.first)) + 1;
        self.runs.iter().map(of).sum()
    }
}

/// What a server says of its own archiving: `source.archiver` of a WAL backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Archiver {
    /// The segment that it is writing.
    pub current: Option<SegmentName>,
    /// What it archived last.
    pub last_archived: Option<String>,
    /// When.
    pub last_archived_at: Option<Timestamp>,
    /// What it last failed to archive.
    pub last_failed: Option<String>,
    /// When.
    pub last_failed_at: Option<Timestamp>,
}

impl Archiver {
    /// The name under which it stands in a manifest.
    pub const NAME: &'static str = "archiver";

    /// Whether its last attempt failed.
    pub fn is_failing(&self) -> bool {
        self.last_failed_at > self.last_archived_at
    }
}
