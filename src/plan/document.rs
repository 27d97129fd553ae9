//! The plan as a document: what `plan` decides, `render` prints, a saved plan holds and `apply` walks.
//! Plain data; who makes it stands in `plan`, what words it gets in `render`.

use crate::model::ids::{
    Address, BackupId, ComponentName, DestinationName, Digest, RepositoryId, ScheduleName, Tag,
};
use crate::model::records::{Check, Slot};
use crate::model::strategy::{ExportKind, Keep, Level, Method, RestoreInto, Tier};
use crate::model::units::{AsOf, Percent, Period, to_minute};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Everything that is to be done, and why; and what is not done, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Path of the plan file, as it was given.
    pub file: String,
    /// Name of the plan file's plan.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// IANA zone of calendar rules.
    pub timezone: String,
    /// The instant it was made for.
    pub at: AsOf,
    /// After this it is stale.
    pub expires: Timestamp,
    /// Fingerprint of what is asked for.
    pub config: Digest,
    /// Fingerprint of the inventory it was made on.
    pub inventory: Digest,
    /// The repository at each destination, where there is one.
    pub repositories: BTreeMap<DestinationName, RepositoryId>,
    /// When the newest recorded run ended.
    pub last_apply: Option<Timestamp>,
    /// Destinations that were not seen completely, with why.
    pub unseen: BTreeMap<DestinationName, String>,
    /// Destinations whose store can not refuse a second writer.
    pub single_writer: Vec<DestinationName>,
    /// Buckets that did not answer, with why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unseen_sources: BTreeMap<ComponentName, String>,
    /// Settings of sources that are not as the plan file says, and that are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Change>,
    /// What changed in the plan file since the base.
    pub changes: Vec<Change>,
    /// What is to be done, in an order that respects `needs`.
    pub steps: Vec<Step>,
    /// Backups that stay, with every reason.
    pub kept: Vec<Kept>,
    /// Backups that no rule keeps and that stay all the same.
    pub held: Vec<HeldBack>,
    /// Schedules that owe nothing now.
    pub not_due: Vec<NotDue>,
    /// What the policies say, worst first.
    pub findings: Vec<Finding>,
    /// Counts.
    pub summary: Summary,
}

/// Names a step within its plan: its number, from 1, in order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct StepId(pub u32);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{:02}", self.0)
    }
}

/// One thing to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// The component or destination it is about.
    pub address: Address,
    /// What is done.
    pub action: Action,
    /// Steps that must be done before.
    pub needs: Vec<StepId>,
    /// What set it off.
    pub cause: Cause,
    /// Why, in detail.
    pub because: Reason,
    /// Bytes that it is expected to write, or to free, where earlier backups tell.
    pub bytes: Option<u64>,
}

/// What a step does. Everything that changes what is done stands here; `apply` adds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Action {
    /// Make the repository of a destination that has none yet.
    Initialize {
        /// Where.
        destination: DestinationName,
    },
    /// Read the component in, to its first destination.
    BackUp {
        /// What.
        component: ComponentName,
        /// How.
        method: Method,
        /// Where to.
        destination: DestinationName,
        /// Slots that it fills; empty on demand.
        slots: Vec<Slot>,
        /// Tags it gets.
        tags: Vec<Tag>,
        /// The backup that unchanged content is taken from.
        parent: Option<BackupId>,
    },
    /// Replicate a backup.
    Copy {
        /// What of.
        component: ComponentName,
        /// Which.
        backup: BackupRef,
        /// Where it is.
        from: DestinationName,
        /// Where it is to be.
        to: DestinationName,
    },
    /// Prove something of a backup.
    Verify {
        /// What of.
        component: ComponentName,
        /// Which.
        backup: BackupRef,
        /// The copy that is looked at.
        destination: DestinationName,
        /// What is proved.
        check: CheckSpec,
    },
    /// Write a copy that needs no ccb.
    Export {
        /// What of.
        component: ComponentName,
        /// Which.
        backup: BackupRef,
        /// Where it is read from.
        from: DestinationName,
        /// Where it is written.
        to: DestinationName,
        /// For what program.
        kind: ExportKind,
        /// Name of the export in its component: `openssl`, `openssl dump`.
        name: String,
        /// Object key at `to`, all placeholders filled but `{id}`.
        key: String,
        /// What it is kept as.
        tiers: Vec<Tier>,
        /// Keys of earlier exports at `to` that go once this one was read back.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        removes: Vec<String>,
    },
    /// Set a source as the plan file says.
    Configure {
        /// What.
        component: ComponentName,
        /// What is set, before and after, as text.
        settings: Vec<Change>,
        /// Whether the source removes things then that it keeps now.
        #[serde(default)]
        removes: bool,
    },
    /// Look at a source, and hold it against the plan file (`method="check"`).
    Inspect {
        /// What.
        component: ComponentName,
    },
    /// Drop the manifest of a backup at one destination.
    Forget {
        /// What of.
        component: ComponentName,
        /// Which.
        backup: BackupId,
        /// Where.
        destination: DestinationName,
        /// When it was taken, for the reader.
        started: Timestamp,
        /// How it was made, for the reader.
        method: Method,
    },
    /// Remove packs that nothing needs.
    Prune {
        /// Where.
        destination: DestinationName,
        /// Forgotten backups stay restorable this long.
        trash: Period,
    },
}

impl Action {
    /// The verb that people read.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Initialize { .. } => "initialize",
            Self::BackUp { .. } => "back up",
            Self::Copy { .. } => "copy",
            Self::Verify { .. } => "verify",
            Self::Export { .. } => "export",
            Self::Configure { .. } => "change",
            Self::Inspect { .. } => "inspect",
            Self::Forget { .. } => "forget",
            Self::Prune { .. } => "prune",
        }
    }
    /// What exactly it is about, in a few words: `dump 2026-11-22T02:00Z`, `9c41d7e0 -> offsite`.
    pub fn what(&self) -> String {
        self.what_with(BackupRef::to_string)
    }
    /// The same, with other names for backups.
    pub fn what_with(&self, name: impl Fn(&BackupRef) -> String) -> String {
        match self {
            Self::Initialize { destination } => destination.to_string(),
            Self::BackUp { method, slots, .. } => match slots.iter().map(|slot| slot.at).max() {
                Some(slot) => format!("{method} {}", to_minute(slot)),
                None => format!("{method}, on demand"),
            },
            Self::Copy { backup, to, .. } => format!("{} -> {to}", name(backup)),
            Self::Verify {
                backup,
                destination,
                check,
                ..
            } => {
                format!("{} of {} at {destination}", check.as_str(), name(backup))
            }
            Self::Export {
                kind,
                to,
                key,
                removes,
                ..
            } => {
                let written = format!("{} {key} -> {to}", kind.as_str());
                match removes.len() {
                    0 => written,
                    n => format!("{written}, and {n} of before removed"),
                }
            }
            Self::Configure { settings, .. } => {
                let names: Vec<String> = settings.iter().map(|s| s.address.to_string()).collect();
                names.join(", ")
            }
            Self::Inspect { component } => component.to_string(),
            Self::Forget {
                backup,
                destination,
                ..
            } => {
                format!("{} at {destination}", backup.short())
            }
            Self::Prune { destination, .. } => destination.to_string(),
        }
    }
    /// The component it is about.
    pub fn component(&self) -> Option<&ComponentName> {
        match self {
            Self::BackUp { component, .. }
            | Self::Copy { component, .. }
            | Self::Verify { component, .. }
            | Self::Export { component, .. }
            | Self::Configure { component, .. }
            | Self::Inspect { component }
            | Self::Forget { component, .. } => Some(component),
            Self::Initialize { .. } | Self::Prune { .. } => None,
        }
    }
    /// Whether it takes something away.
    pub fn is_destructive(&self) -> bool {
        match self {
            Self::Forget { .. } | Self::Prune { .. } => true,
            Self::Configure { removes, .. } => *removes,
            _ => false,
        }
    }
}

/// A backup that exists, or that a step of the same plan makes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum BackupRef {
    /// It exists.
    Id(BackupId),
    /// The one that this step makes.
    Of(StepId),
}

impl fmt::Display for BackupRef {
    /// The first digits of the id, or the step that makes it: `9c41d7e0`, `backup of a03`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => f.pad(&id.short()),
            Self::Of(step) => f.pad(&format!("backup of {step}")),
        }
    }
}

/// A check with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "check", rename_all = "kebab-case")]
pub enum CheckSpec {
    /// There, not empty, plausible. Limits stand in the strategy.
    Presence,
    /// Bytes read back.
    Integrity {
        /// How much of them.
        sample: Percent,
    },
    /// Lists what it should. Expectations stand in the strategy.
    Contents,
    /// Restored and compared.
    RestoreTest {
        /// Into what.
        into: RestoreInto,
        /// How many files; `None`: all.
        files: Option<u32>,
    },
    /// Stored bytes are ccb's, under the right key.
    Encrypted,
}

impl CheckSpec {
    /// The word in the plan file.
    pub fn as_str(&self) -> &'static str {
        self.check().as_str()
    }
    /// The kind of evidence that it leaves.
    pub fn check(&self) -> Check {
        match self {
            Self::Presence => Check::Presence,
            Self::Integrity { .. } => Check::Integrity,
            Self::Contents => Check::Contents,
            Self::RestoreTest { .. } => Check::RestoreTest,
            Self::Encrypted => Check::Encrypted,
        }
    }
}

/// What set a step off.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A schedule, on time.
    Schedule,
    /// A schedule whose window has passed.
    Missed,
    /// A change of the plan file.
    Config,
    /// Something is not as it should be: a copy is missing, a setting is off.
    Drift,
    /// Somebody asked.
    Request,
}

impl Cause {
    /// The word that people read.
    pub fn as_str(self) -> &'static str {
        ["schedule", "missed", "config", "drift", "request"][self as usize]
    }
}

/// Why a step is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// The destination has no repository.
    NoRepository,
    /// These slots have no backup.
    Due {
        /// Slots, newest of each schedule.
        slots: Vec<Slot>,
        /// The tiers that the new backup will be.
        tiers: Vec<Tier>,
    },
    /// Somebody asked for it now.
    Requested,
    /// The backup of this run goes to every destination of `store`.
    NewCopy,
    /// A destination of `store` lacks it.
    CopyMissing {
        /// What the last try said, and when.
        last_error: Option<(Timestamp, String)>,
    },
    /// Every backup of a run is checked so.
    AfterBackup,
    /// The check is made every so often.
    CheckDue {
        /// When it last passed.
        last: Option<Timestamp>,
        /// How often.
        every: Period,
    },
    /// The component asks for an export.
    ExportDue {
        /// The tier it is exported as.
        tier: Option<Tier>,
    },
    /// The source is not as the plan file says.
    Differs,
    /// The source is looked at when its schedule says so.
    LookDue,
    /// No rule keeps it.
    NotKept {
        /// The rule that kept it last, if one is known.
        was: Option<Keep>,
        /// Where that rule ends now.
        ends_at: Option<Timestamp>,
    },
    /// It is older than a hard cap.
    Expired {
        /// The cap.
        cap: Period,
    },
    /// The destination is not in `store` any longer.
    NotStoredHere,
    /// There is garbage, and trash that has waited long enough.
    Garbage,
}

/// A backup that stays, and every rule that keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// Which.
    pub backup: BackupId,
    /// What of.
    pub component: ComponentName,
    /// When it was taken.
    pub started: Timestamp,
    /// How.
    pub method: Method,
    /// Why, in the order of the rules.
    pub because: Vec<KeptBecause>,
}

/// Why a backup stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum KeptBecause {
    /// A rule keeps it.
    Rule {
        /// The rule.
        keep: Keep,
        /// The bucket it represents, such as `2026-10-25`.
        bucket: Option<String>,
    },
    /// The component has no rules.
    NoRules,
    /// It is the newest complete one of its method.
    Newest,
    /// Somebody holds it.
    Hold {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Point-in-time recovery needs it.
    Pitr {
        /// How far back.
        back: Period,
    },
    /// A base backup that stays restores nothing without it.
    BaseNeedsIt {
        /// When the base began.
        base: Timestamp,
    },
    /// `until` has not happened yet.
    Until {
        /// The rule.
        keep: Keep,
    },
    /// A copy of it is being made.
    CopyInFlight,
    /// This run's backup of the component is not made and verified yet, and will not be by this plan.
    NothingNewer,
    /// A destination was not seen completely.
    NotSeen {
        /// Which.
        destination: DestinationName,
    },
    /// It is the last verified one.
    LastVerified,
    /// It is not complete, and younger than the newest complete one is old.
    Incomplete,
    /// It is dated in the future.
    FutureDated,
    /// The component is disabled, or not in the plan file.
    NotManaged,
    /// Objects are locked until then.
    Locked {
        /// Until then.
        until: Timestamp,
    },
}

/// A backup that no rule keeps and that stays all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldBack {
    /// Which.
    pub backup: BackupId,
    /// What of.
    pub component: ComponentName,
    /// When it was taken.
    pub started: Timestamp,
    /// How.
    pub method: Method,
    /// What holds it back.
    pub because: KeptBecause,
}

/// A schedule that owes nothing now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotDue {
    /// What of.
    pub component: ComponentName,
    /// Which schedule.
    pub schedule: ScheduleName,
    /// Its next slot; `None` when it has none (on demand, continuous, disabled).
    pub next: Option<Timestamp>,
    /// A missed slot that is left alone (`missed="skip"`).
    pub skipped: Option<Timestamp>,
}

/// A setting that is one thing and was, or should be, another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// What.
    pub address: Address,
    /// Before, as in a plan file; `None`: it was not there.
    pub before: Option<String>,
    /// After; `None`: it is gone.
    pub after: Option<String>,
}

/// What a rule says about something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// `CCB202`.
    pub rule: String,
    /// Its name: `copies`.
    pub name: String,
    /// How hard, after presets, `set` and waivers.
    pub level: Level,
    /// What it is about.
    pub address: Address,
    /// A second place that has to do with it, such as the policy line.
    pub related: Option<Address>,
    /// What is wrong.
    pub message: String,
    /// What to write or do.
    pub help: String,
    /// The waiver that softens it: until when, and why.
    pub waived: Option<(jiff::civil::Date, String)>,
}

impl Finding {
    /// Whether it stops an apply.
    pub fn blocks(&self) -> bool {
        self.level == Level::Deny && self.waived.is_none()
    }
}

/// Counts, as in the last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub struct Summary {
    pub back_up: u64,
    pub copy: u64,
    pub verify: u64,
    pub export: u64,
    pub change: u64,
    pub forget: u64,
    pub prune: u64,
    pub held: u64,
}

impl Plan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
    /// How many findings stop an apply.
    pub fn violations(&self) -> usize {
        self.findings.iter().filter(|f| f.blocks()).count()
    }
    /// The step of that id.
    pub fn step(&self, id: StepId) -> Option<&Step> {
        // They stand in the order of their ids; a document that somebody wrote may have others.
        match self.steps.binary_search_by_key(&id, |step| step.id) {
            Ok(at) => self.steps.get(at),
            Err(_) => self.steps.iter().find(|step| step.id == id),
        }
    }
    /// What people call a backup: `9c41d7e0`, or `dump of this run`.
    pub fn name_of(&self, backup: &BackupRef) -> String {
        let BackupRef::Of(step) = backup else {
            return backup.to_string();
        };
        match self.step(*step).map(|step| &step.action) {
            Some(Action::BackUp { method, .. }) => format!("{method} of this run"),
            _ => format!("what {step} makes"),
        }
    }
}

impl Summary {
    /// Counts steps, and backups that stay although no rule keeps them.
    pub fn of(steps: &[Step], held: &[HeldBack]) -> Self {
        let mut counts = Self {
            held: held.len() as u64,
            ..Self::default()
        };
        let mut forgotten = BTreeSet::new();
        for step in steps {
            match &step.action {
                Action::Initialize { .. } | Action::Configure { .. } => counts.change += 1,
                Action::BackUp { .. } => counts.back_up += 1,
                Action::Copy { .. } => counts.copy += 1,
                Action::Verify { .. } | Action::Inspect { .. } => counts.verify += 1,
                Action::Export { .. } => counts.export += 1,
                // A backup that goes from three destinations is one backup.
                Action::Forget { backup, .. } => {
                    forgotten.insert(*backup);
                }
                Action::Prune { .. } => counts.prune += 1,
            }
        }
        counts.forget = forgotten.len() as u64;
        counts
    }
}
