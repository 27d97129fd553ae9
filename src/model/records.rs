//! The records that a repository keeps about backups and runs: what makes a backup exist, what was said of
//! it later, what a run did. Plain facts, never decisions. `repository::format::manifest` gives their bytes.

use crate::model::ids::{
    Address, BackupId, BlobId, ComponentName, DestinationName, Digest, RunId, ScheduleName,
    SessionId, Tag,
};
use crate::model::strategy::{Method, Tier};
use crate::model::tree::{Node, RootFacts};
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Errors that a manifest lists; the rest are counted only.
pub const ERRORS_MAX: usize = 100;

/// What a backup is: written last, it makes the backup exist, and is never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Version of this payload.
    pub v: Version<1>,
    /// The same at every destination.
    pub id: BackupId,
    /// What was backed up.
    pub component: ComponentName,
    /// How.
    pub method: Method,
    /// How its root is read back.
    pub shape: Shape,
    /// The slots that it was made for; empty for one made on demand.
    pub slots: Vec<Slot>,
    /// Tags, sorted.
    pub tags: Vec<Tag>,
    /// The backup that it was made against.
    pub parent: Option<BackupId>,
    /// The backup that `undelete` made this one of.
    pub restored_from: Option<BackupId>,
    /// The run that made it.
    pub run: RunId,
    /// The plan file it was asked for in.
    pub plan: PlanRef,
    /// `production`, `staging`, …
    pub environment: String,
    /// Where it was made.
    pub host: String,
    /// When reading began, by that host's clock.
    pub started: Timestamp,
    /// When the last byte was read.
    pub finished: Timestamp,
    /// The store's clock when it was committed.
    pub server_time: Timestamp,
    /// The tree blob of its root.
    pub root: BlobId,
    /// The session that wrote it here.
    pub session: SessionId,
    /// The key epoch it was written in.
    pub epoch: u16,
    /// What was read and stored.
    pub stats: Stats,
    /// Facts about each directory with files directly below the root, for files. Empty where those are more than 128.
    pub directories: BTreeMap<String, Subtotal>,
    /// What the source said of itself: server version, position, row counts.
    pub source: BTreeMap<String, Value>,
    /// Versions of the programs that took part.
    pub tools: BTreeMap<String, String>,
    /// Unkeyed BLAKE3 of all bytes of all streams in the order of the tree, for [`Shape::Stream`].
    pub content: Option<Digest>,
    /// Whether everything that was asked for is in it.
    pub complete: bool,
    /// What could not be read, at most [`ERRORS_MAX`].
    pub errors: Vec<ReadError>,
    /// How many things could not be read.
    pub error_count: u64,
    /// The instant until which its objects are locked.
    pub retain_until: Option<Timestamp>,
}

impl Manifest {
    /// The root of its tree, with the metadata it had. Where none were recorded, it is for its owner only, and
    /// whose it was is left open.
    pub fn root_node(&self) -> Node {
        let recorded = self.source.get("root").cloned();
        let facts = recorded.and_then(|facts| serde_json::from_value::<RootFacts>(facts).ok());
        let plain = RootFacts {
            mode: 0o700,
            // What the kernel takes for "leave it".
            uid: u32::MAX,
            gid: u32::MAX,
            mtime_ns: i64::try_from(self.started.as_nanosecond()).unwrap_or(0),
        };
        facts.unwrap_or(plain).node(self.root)
    }
}

/// How a root is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// A tree of files.
    Tree,
    /// A tree whose files are streams that a server gave.
    Stream,
}

/// An instant that a schedule named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Slot {
    /// The schedule.
    pub schedule: ScheduleName,
    /// The instant.
    pub at: Timestamp,
}

/// The plan file that something was asked for in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanRef {
    /// Its name.
    pub name: String,
    /// Fingerprint of what it asks for.
    pub digest: Digest,
}

/// What was read and what it took.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices, FIFOs, sockets.
    pub specials: u64,
    /// Bytes of content, holes included.
    pub bytes: u64,
    /// Files that the parent did not have so.
    pub changed_files: u64,
    /// Bytes of blobs that the repository did not have.
    pub new_bytes: u64,
    /// Bytes that it added to the repository: packs and the index of them.
    pub stored_bytes: u64,
}

/// What lies below one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Subtotal {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadError {
    /// What, as far as it is text.
    pub path: String,
    /// Why.
    pub message: String,
}

/// Marks a backup as forgotten. Its manifest stays until the trash is emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tomb {
    /// Version of this payload.
    pub v: Version<1>,
    /// The backup.
    pub backup: BackupId,
    /// When, by the clock of the host that did it.
    pub at: Timestamp,
    /// The run that did it.
    pub run: Option<RunId>,
    /// Why, in words.
    pub reason: String,
}

/// Something said of a backup after it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Annotation {
    /// Version of this payload.
    pub v: Version<1>,
    /// The backup.
    pub backup: BackupId,
    /// When it was said.
    pub at: Timestamp,
    /// What.
    pub note: Note,
}

/// What can be said of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "note", rename_all = "lowercase")]
pub enum Note {
    /// It must not be forgotten.
    Hold {
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// No hold on it counts any longer.
    Release {
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// It was checked.
    Verified(Evidence),
}

/// Which note it is.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum NoteKind {
    Hold,
    Release,
    Verified,
}

impl NoteKind {
    fn read<'de, D: Deserializer<'de>>(self, rest: D) -> Result<Note, D::Error> {
        #[derive(Deserialize)]
        struct Said {
            by: String,
            reason: String,
        }
        Ok(match self {
            Self::Hold => {
                let Said { by, reason } = Said::deserialize(rest)?;
                Note::Hold { by, reason }
            }
            Self::Release => {
                let Said { by, reason } = Said::deserialize(rest)?;
                Note::Release { by, reason }
            }
            Self::Verified => Note::Verified(Evidence::deserialize(rest)?),
        })
    }
}

/// As serde would derive it, which puts every value aside until it knows the kind. ccb writes the kind first, and
/// there may be tens of thousands.
impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindFirst;
        impl<'de> Visitor<'de> for KindFirst {
            type Value = Note;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a note")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Note, A::Error> {
                let mut aside = Map::new();
                while let Some(key) = map.next_key::<String>()? {
                    if key == "note" {
                        let kind: NoteKind = map.next_value()?;
                        if aside.is_empty() {
                            return kind.read(MapAccessDeserializer::new(map));
                        }
                        while let Some((key, value)) = map.next_entry()? {
                            aside.insert(key, value);
                        }
                        return kind.read(Value::Object(aside)).map_err(A::Error::custom);
                    }
                    aside.insert(key, map.next_value()?);
                }
                Err(A::Error::missing_field("note"))
            }
        }
        deserializer.deserialize_map(KindFirst)
    }
}

/// The result of one check of one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Which check.
    pub check: Check,
    /// When it ended.
    pub at: Timestamp,
    /// The copy that was checked.
    pub destination: DestinationName,
    /// Its outcome.
    pub passed: bool,
    /// What was counted and compared.
    pub facts: BTreeMap<String, Value>,
    /// The outcome in words.
    pub message: String,
}

/// Checks of a backup, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// All its objects are there, with their sizes.
    Presence,
    /// All its bytes authenticate.
    Integrity,
    /// What it holds is what was asked for.
    Contents,
    /// It was restored and compared.
    RestoreTest,
    /// It can not be read without the key.
    Encrypted,
}

impl Check {
    /// The word in the plan file.
    pub fn as_str(self) -> &'static str {
        [
            "presence",
            "integrity",
            "contents",
            "restore-test",
            "encrypted",
        ][self as usize]
    }
}

/// A copy that restores without ccb, as it was written and read back. It outlives its backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportRecord {
    /// Version of this payload.
    pub v: Version<1>,
    /// What of.
    pub component: ComponentName,
    /// Of which backup.
    pub backup: BackupId,
    /// How that was made.
    pub method: Method,
    /// When it was taken.
    pub started: Timestamp,
    /// Name of the export in the plan file: `openssl`, `openssl dump`.
    pub name: String,
    /// What it is kept as.
    pub tiers: Vec<Tier>,
    /// Where it is.
    pub destination: DestinationName,
    /// Its key there.
    pub key: String,
    /// When it was read back.
    pub at: Timestamp,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
}

/// What one run of `ccb apply` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// Version of this payload.
    pub v: Version<1>,
    /// The run.
    pub run: RunId,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Name of the plan.
    pub plan: String,
    /// `production`, `staging`, …
    pub environment: String,
    /// Fingerprint of what the plan file asked for.
    pub config: Digest,
    /// The plan file's texts, root file first.
    pub files: Vec<PlanText>,
    /// What became of each step, in the order of the plan.
    pub steps: Vec<StepRecord>,
}

/// One file of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanText {
    /// Its path as it was given or included.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepRecord {
    /// What it was about.
    pub address: Address,
    /// `back up`, `copy`, …
    pub verb: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What went wrong, or a note.
    pub message: Option<String>,
    /// The backup that it made or was about.
    pub backup: Option<BackupId>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepOutcome {
    /// As planned.
    Done,
    /// It was tried, and did not.
    Failed,
    /// It was not tried, because of another.
    Skipped,
}

/// The version of a payload: serialised as `N`, and nothing else is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version<const N: u32>;

impl<const N: u32> Serialize for Version<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(N)
    }
}

impl<'de, const N: u32> Deserialize<'de> for Version<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            found if found == N => Ok(Self),
            found => Err(D::Error::custom(format!("version {found}, not {N}"))),
        }
    }
}

impl<const N: u32> JsonSchema for Version<N> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "const": N })
    }
}
