//! How a component is read: the `source` node, one type for each kind, and the methods each has.

use crate::model::strategy::destination::Credentials;
use crate::model::strategy::encryption::SecretRef;
use crate::model::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a component is read and put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum SourceSpec {
    Postgres(PostgresSource),
    Redis(RedisSource),
    Files(FilesSource),
    S3(BucketSource),
}

impl SourceSpec {
    /// The word in the plan file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Redis(_) => "redis",
            Self::Files(_) => "files",
            Self::S3(_) => "s3",
        }
    }
    /// The methods this kind of source has; the first is the default.
    pub fn methods(&self) -> &'static [Method] {
        match self {
            Self::Postgres(_) => &[Method::Dump, Method::Base, Method::Wal],
            Self::Redis(_) => &[Method::Rdb, Method::Aof],
            Self::Files(_) => &[Method::Incremental, Method::Full],
            Self::S3(_) => &[Method::Check, Method::Mirror],
        }
    }
}

/// How a source is captured.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Method {
    Dump,
    Base,
    Wal,
    Aof,
    Rdb,
    Incremental,
    Full,
    Mirror,
    Check,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 9] = [
        Self::Dump,
        Self::Base,
        Self::Wal,
        Self::Aof,
        Self::Rdb,
        Self::Incremental,
        Self::Full,
        Self::Mirror,
        Self::Check,
    ];
    /// The word in the plan file.
    pub fn as_str(self) -> &'static str {
        [
            "dump",
            "base",
            "wal",
            "aof",
            "rdb",
            "incremental",
            "full",
            "mirror",
            "check",
        ][self as usize]
    }
    /// Whether a backup made by `self` serves a schedule that asks for `asked`.
    pub fn satisfies(self, asked: Method) -> bool {
        self == asked || (self == Self::Full && asked == Self::Incremental)
    }
    /// Whether this method leaves a backup in a repository. `check` only looks.
    pub fn makes_backup(self) -> bool {
        self != Self::Check
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A PostgreSQL server and what is taken of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresSource {
    /// PGHOST.
    pub host: Option<String>,
    /// Port.
    pub port: u16,
    /// Role.
    pub user: Option<String>,
    /// Password.
    pub password: Option<SecretRef>,
    /// Database.
    pub database: String,
    /// libpq's sslmode.
    pub sslmode: SslMode,
    /// `pg_dump -F`.
    pub format: DumpFormat,
    /// `pg_dump -Z`.
    pub compress: u8,
    /// `pg_dump -n`; empty means all.
    pub schemas: Vec<String>,
    /// `pg_dump -T`.
    pub exclude_tables: Vec<String>,
    /// How long a dump may run: as long as it does, the server can not clean up behind it.
    pub timeout: Period,
    /// Where WAL segments are found.
    pub wal: Option<WalSource>,
    /// Put before every client program.
    pub via: Vec<String>,
}

/// libpq's sslmode, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    /// All of them.
    const ALL: [Self; 6] = [
        Self::Disable,
        Self::Allow,
        Self::Prefer,
        Self::Require,
        Self::VerifyCa,
        Self::VerifyFull,
    ];

    /// The word that libpq knows.
    pub fn as_str(self) -> &'static str {
        [
            "disable",
            "allow",
            "prefer",
            "require",
            "verify-ca",
            "verify-full",
        ][self as usize]
    }

    /// The mode that libpq calls so.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}

/// `pg_dump -F`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum DumpFormat {
    Custom,
    Plain,
}

/// Where WAL segments are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalSource {
    /// A directory that the server archives into.
    pub archive_dir: Option<String>,
    /// A replication slot.
    pub slot: Option<String>,
}

/// A Redis server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisSource {
    /// `redis://` or `rediss://` URL; it may hold a password.
    pub url: SecretRef,
    /// Where AOF and RDB files lie.
    pub data_dir: Option<String>,
    /// Put before every client program.
    pub via: Vec<String>,
}

/// A file tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesSource {
    /// Root of the tree.
    pub path: String,
    /// Directories that must exist in source and backup.
    pub subdirectories: Vec<String>,
    /// gitignore-like globs.
    pub exclude: Vec<String>,
    /// What is done with symbolic links.
    pub symlinks: Symlinks,
}

/// What is done with symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Symlinks {
    Keep,
    Follow,
    Skip,
}

/// An S3 bucket that is protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSource {
    /// Bucket.
    pub bucket: String,
    /// Region.
    pub region: Option<String>,
    /// Endpoint other than AWS.
    pub endpoint: Option<String>,
    /// `ENDPOINT/BUCKET/KEY`.
    pub path_style: bool,
    /// Where credentials come from; `None`: the AWS default chain.
    pub credentials: Option<Credentials>,
    /// Expected state: `true` enabled, `false` suspended.
    pub versioning: Option<bool>,
    /// Expected lifecycle rules.
    pub lifecycle: Option<Lifecycle>,
    /// Expected replication.
    pub replication: Option<Replication>,
    /// Drift is reported, or turned into steps.
    pub fix_drift: bool,
}

/// Expected lifecycle rules of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Lifecycle {
    pub noncurrent_expire: Option<Period>,
    pub current_expire: Option<Period>,
    pub abort_multipart: Option<Period>,
}

/// Expected replication of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    /// Bucket that objects are replicated to.
    pub to: String,
    /// Its region.
    pub region: Option<String>,
    /// Its endpoint; `None`: that of the bucket.
    pub endpoint: Option<String>,
    /// The role that AWS replicates by.
    pub role: Option<String>,
    /// How late an object may be.
    pub max_lag: Period,
}
