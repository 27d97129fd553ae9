//! Checks on backups: the `verify` node.

use crate::model::strategy::encryption::SecretRef;
use crate::model::strategy::source::SslMode;
use crate::model::units::{Percent, Period, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Checks on a component's backups; `None` means: not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerifySettings {
    /// After every backup.
    pub presence: Option<PresenceCheck>,
    /// Stored bytes read back.
    pub integrity: Option<IntegrityCheck>,
    /// What it should list.
    pub contents: Option<ContentsCheck>,
    /// Really restored, then dropped.
    pub restore_test: Option<RestoreTest>,
    /// The stored bytes carry ccb's header and the right key id.
    pub encrypted: bool,
}

/// Exists, not empty, plausible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceCheck {
    /// At least this large.
    pub min_size: Size,
    /// At most this much smaller than the median of the last five.
    pub max_shrink: Percent,
    /// Not older than this.
    pub fresh: Option<Period>,
}

/// Stored bytes read back from each destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegrityCheck {
    /// How often.
    pub every: Period,
    /// How much of the backup's bytes each time.
    pub sample: Percent,
}

/// The backup lists what it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentsCheck {
    /// Counts must match the source's.
    pub counts: bool,
    /// Sizes must match the source's.
    pub sizes: bool,
    /// How far key counts may differ.
    pub keys_tolerance: Percent,
    /// Tables that must be in the archive.
    pub tables: Vec<String>,
}

/// Really restored, then dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreTest {
    /// How often.
    pub every: Period,
    /// Into what.
    pub into: RestoreInto,
    /// How many files are compared; `None`: all.
    pub files: Option<u32>,
    /// Where dumps are restored; `None`: in a server that is made for the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<TestServer>,
}

/// A PostgreSQL server for restore tests, which is never the one that is backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestServer {
    /// Where it is.
    pub host: String,
    /// Port.
    pub port: u16,
    /// A role that may make databases.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretRef>,
    /// libpq's sslmode.
    pub sslmode: SslMode,
}

/// Throwaway targets of a restore test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum RestoreInto {
    TemporaryDatabase,
    TemporaryRedis,
    TemporaryDirectory,
}

impl RestoreInto {
    /// The word in the plan file.
    pub fn as_str(self) -> &'static str {
        [
            "temporary-database",
            "temporary-redis",
            "temporary-directory",
        ][self as usize]
    }
}
