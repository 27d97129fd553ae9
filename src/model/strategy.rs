//! The checked form of a plan file: what is asked for. Everything is resolved (includes, templates,
//! variables, environment), so nothing here needs the text again except to point at it.
//! One file for each node of the plan file; every name is used as `strategy::NAME`.

mod apply;
mod component;
mod destination;
mod encryption;
mod export;
mod notify;
mod policy;
mod retain;
mod schedule;
mod source;
mod verify;

pub use crate::model::strategy::apply::ApplySettings;
pub use crate::model::strategy::component::{Component, Hook, HookWhen};
pub use crate::model::strategy::destination::{
    Credentials, Destination, DestinationKind, Location, ObjectLock, Sse, SseMode,
};
pub use crate::model::strategy::encryption::{Cipher, Encryption, Kdf, SecretRef};
pub use crate::model::strategy::export::{Export, ExportKeep, ExportKind, RESERVED};
pub use crate::model::strategy::notify::{Event, Notify, RunLog, Webhook};
pub use crate::model::strategy::policy::{
    Level, Minimum, Policy, Preset, RestoreTestPolicy, Waiver,
};
pub use crate::model::strategy::retain::{Keep, KeepRule, Pick, Selector, Tier, Until};
pub use crate::model::strategy::schedule::{Missed, Schedule, Timing};
pub use crate::model::strategy::source::{
    BucketSource, DumpFormat, FilesSource, Lifecycle, Method, PostgresSource, RedisSource,
    Replication, SourceSpec, SslMode, Symlinks, WalSource,
};
pub use crate::model::strategy::verify::{
    ContentsCheck, IntegrityCheck, PresenceCheck, RestoreInto, RestoreTest, TestServer,
    VerifySettings,
};

use crate::model::ids::{Address, ComponentName, DestinationName, Digest, EncryptionName};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A whole plan file, checked. Lists keep the order of the file; it is the order of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Strategy {
    /// Name of the plan: what is protected as a whole.
    pub name: String,
    /// `production`, `staging`, `development` or a name of the user's own.
    pub environment: String,
    /// IANA name of the zone that schedules and calendar rules are read in.
    pub timezone: String,
    /// Engine limits.
    pub apply: ApplySettings,
    /// Keys by name.
    pub encryptions: Vec<Encryption>,
    /// Places to write to.
    pub destinations: Vec<Destination>,
    /// Things to protect, disabled ones included.
    pub components: Vec<Component>,
    /// Rules and their exceptions.
    pub policy: Policy,
    /// Who hears of runs.
    pub notify: Vec<Notify>,
    /// Values of the variables, by name; what they were resolved to.
    pub variables: BTreeMap<String, String>,
    /// Names of environment variables that were read or are referred to as secrets; never values.
    pub env_names: Vec<String>,
    /// The texts this was read from, root file first.
    #[serde(skip)]
    pub files: Vec<SourceFile>,
    /// Where each address stands. Names that a template gave point into the template.
    #[serde(skip)]
    pub places: BTreeMap<Address, Place>,
    /// Environment variables that were written into values with `${env.NAME}`, and where.
    #[serde(skip)]
    pub env_in_values: Vec<EnvUse>,
    /// Templates and variables that nothing uses: `template.NAME`, `variable.NAME`.
    #[serde(skip)]
    pub unused: Vec<Address>,
}

impl Strategy {
    /// The rules of its timezone; UTC where the machine does not know it, which the plan file's check has refused.
    pub fn zone(&self) -> TimeZone {
        // Without a look into the machine's folders of time zones, which takes as long as a backup of nothing new.
        match self.timezone.as_str() {
            "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).unwrap_or(TimeZone::UTC),
        }
    }
    /// The component of that name.
    pub fn component(&self, name: &ComponentName) -> Option<&Component> {
        self.components.iter().find(|c| c.name == *name)
    }
    /// The destination of that name.
    pub fn destination(&self, name: &DestinationName) -> Option<&Destination> {
        self.destinations.iter().find(|d| d.name == *name)
    }
    /// The encryption of that name.
    pub fn encryption(&self, name: &EncryptionName) -> Option<&Encryption> {
        self.encryptions.iter().find(|e| e.name == *name)
    }
    /// The place of `address`, or of the nearest address above it that has one.
    pub fn place(&self, address: &Address) -> Option<&Place> {
        let mut at = Some(address.clone());
        while let Some(address) = at {
            if let Some(place) = self.places.get(&address) {
                return Some(place);
            }
            at = address.parent();
        }
        None
    }
    /// Fingerprint of what is asked for: equal for two texts that mean the same.
    pub fn digest(&self) -> Digest {
        // Serialising plain data with string keys into memory has no way to fail.
        Digest::of(&serde_json::to_vec(self).expect("a strategy is plain data"))
    }
}

/// One file that a strategy was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as it was given or included, for messages.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// A stretch of one of the strategy's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Index into [`Strategy::files`].
    pub file: usize,
    /// Byte offset of the first byte.
    pub start: usize,
    /// Length in bytes.
    pub len: usize,
}

/// One `${env.NAME}` in a value. Secrets do not belong there (CCB104).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvUse {
    /// Name of the environment variable.
    pub name: String,
    /// The value that it is part of.
    pub place: Place,
}
