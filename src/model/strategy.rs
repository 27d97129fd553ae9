//! The checked form of a plan file: what is asked for. Everything is resolved (includes, templates,
//! variables, environment), so nothing here needs the text again except to point at it.

use crate::model::ids::{
    Address, ComponentName, DestinationName, Digest, EncryptionName, ScheduleName, Tag,
};
use crate::model::units::{Day, DayOfYear, Percent, Period, Size, TimeOfDay};
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

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

/// Engine limits, from the `apply` node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplySettings {
    /// Steps at once, 1 to 64.
    pub parallelism: usize,
    /// How long to wait for another run's lock.
    pub lock_timeout: Period,
    /// A saved plan older than this is stale.
    pub plan_max_age: Period,
    /// A plan that forgets more than this many backups is blocked.
    pub forget_limit_count: u64,
    /// A plan that forgets more than this share of the backups is blocked.
    pub forget_limit_percent: Percent,
    /// How long forgotten backups can be brought back.
    pub trash: Period,
}

impl Default for ApplySettings {
    fn default() -> Self {
        Self {
            parallelism: 4,
            lock_timeout: Period::default(),
            plan_max_age: Period::hours(24),
            forget_limit_count: 20,
            forget_limit_percent: Percent(50),
            trash: Period::days(7),
        }
    }
}

/// Where a secret is found; never the secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file, read whole, one trailing newline removed.
    File(String),
    /// A shell command whose standard output is the secret, one trailing newline removed.
    Command(String),
}

/// A named key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Its name.
    pub name: EncryptionName,
    /// AEAD for what is stored.
    pub cipher: Cipher,
    /// Where the key or passphrase is found.
    pub key: SecretRef,
    /// How the secret becomes a key.
    pub kdf: Kdf,
    /// Warn when the key is older.
    pub rotate_after: Option<Period>,
}

/// Authenticated ciphers that a repository can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Cipher {
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

/// How a secret becomes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kdf {
    /// `raw` when the secret is 64 hex or 44 base64 characters, else `argon2id`.
    Auto,
    /// A passphrase, stretched.
    Argon2id,
    /// 32 bytes in hex or base64.
    Raw,
}

/// A place that backups are written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Its name.
    pub name: DestinationName,
    /// Unreachable is a warning, not an error.
    pub optional: bool,
    /// Where it is.
    pub kind: DestinationKind,
    /// Which key its repository uses; `None` is `encrypt none=#true`.
    pub encrypt: Option<EncryptionName>,
    /// Server-side encryption asked for.
    pub sse: Option<Sse>,
    /// Where S3 credentials come from.
    pub credentials: Option<Credentials>,
    /// Its fault domain.
    pub location: Location,
    /// Retention put on objects.
    pub object_lock: Option<ObjectLock>,
}

/// What kind of store a destination is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationKind {
    /// A directory, relative ones to the folder of the root plan file's working directory.
    Local {
        /// The directory.
        path: String,
    },
    /// An S3-compatible bucket and prefix.
    S3 {
        /// `s3://BUCKET/PREFIX`.
        url: String,
        /// Region.
        region: Option<String>,
        /// Endpoint other than AWS.
        endpoint: Option<String>,
        /// `ENDPOINT/BUCKET/KEY` instead of `BUCKET.ENDPOINT/KEY`.
        path_style: bool,
        /// Storage class of data packs.
        storage_class: Option<String>,
    },
    /// A directory on a server reached by SSH.
    Sftp {
        /// `sftp://[USER@]HOST[:PORT]/PATH`.
        url: String,
    },
}

/// Server-side encryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sse {
    /// `AES256` or `aws:kms`.
    pub mode: SseMode,
    /// Key id, for `aws:kms`.
    pub key_id: Option<String>,
}

/// Modes of server-side encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SseMode {
    #[serde(rename = "AES256")]
    Aes256,
    #[serde(rename = "aws:kms")]
    AwsKms,
}

/// Where S3 credentials come from; never values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Credentials {
    /// Profile in the AWS files.
    pub profile: Option<String>,
    /// Prefix of `ACCESS_KEY_ID`, `SECRET_ACCESS_KEY`, `SESSION_TOKEN` in the environment.
    pub env_prefix: Option<String>,
}

/// Fault domain of a destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Location {
    /// Who runs it.
    pub provider: Option<String>,
    /// Region, as the provider names it.
    pub region: Option<String>,
    /// Building.
    pub site: Option<String>,
    /// Machine.
    pub host: Option<String>,
    /// Whether it counts as off site.
    pub offsite: bool,
}

/// Object lock put on what is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLock {
    /// `true`: nobody can shorten it. `false` (governance): people with the right can.
    pub compliance: bool,
    /// Days.
    pub days: u32,
}

/// One thing to protect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: ComponentName,
    /// A disabled one is neither backed up nor forgotten.
    pub enabled: bool,
    /// Holds personal or secret data.
    pub sensitive: bool,
    /// How it is read.
    pub source: SourceSpec,
    /// Components whose backups are made first.
    pub after: Vec<ComponentName>,
    /// Destinations: written to the first, copied to the rest. Empty for an S3 bucket that is only checked.
    pub store: Vec<DestinationName>,
    /// When.
    pub schedules: Vec<Schedule>,
    /// Keep rules; empty keeps everything.
    pub retain: Vec<KeepRule>,
    /// Checks on backups.
    pub verify: VerifySettings,
    /// Copies that restore without ccb.
    pub exports: Vec<Export>,
    /// Commands run at apply.
    pub hooks: Vec<Hook>,
    /// Earlier names, whose backups count as this component's.
    pub moved_from: Vec<ComponentName>,
}

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
}

/// `pg_dump -F`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum DumpFormat {
    Custom,
    Directory,
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
    /// How late an object may be.
    pub max_lag: Period,
}

/// A named rule that says when a method is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name within the component.
    pub name: ScheduleName,
    /// When its slots are.
    pub timing: Timing,
    /// How the source is captured.
    pub method: Method,
    /// How long after a slot a backup still counts as on time.
    pub window: Period,
    /// What is done about a missed slot.
    pub missed: Missed,
    /// Tag put on its backups.
    pub tag: Option<Tag>,
    /// A disabled one owes nothing.
    pub enabled: bool,
}

/// When slots are, on the wall clock of the plan's timezone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timing {
    /// Every day, or on one weekday or day of the month, at a time.
    At {
        /// Time of day.
        time: TimeOfDay,
        /// `None`: every day.
        on: Option<Day>,
    },
    /// Whole multiples of a period since the Unix epoch.
    Every(Period),
    /// A five-field cron expression.
    Cron(String),
    /// Only when asked for.
    OnDemand,
    /// All the time (WAL by `ccb wal push`): no slots.
    Continuous,
}

/// What is done about a slot whose window has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Missed {
    RunOnce,
    Skip,
}

/// One line of `retain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepRule {
    /// What it keeps.
    pub keep: Keep,
    /// Which backups it looks at.
    #[serde(flatten)]
    pub among: Selector,
}

/// What a keep rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Keep {
    /// The newest N.
    Last(u32),
    /// N newest hours that have one.
    Hourly { count: u32, pick: Pick },
    /// N newest days that have one.
    Daily { count: u32, pick: Pick },
    /// N newest weeks that have one; a week starts on `on`.
    Weekly { count: u32, on: Day, pick: Pick },
    /// N newest months that have one; a month starts on `on`.
    Monthly { count: u32, on: Day, pick: Pick },
    /// N newest years that have one; a year starts on `on`.
    Yearly {
        count: u32,
        on: DayOfYear,
        pick: Pick,
    },
    /// Everything younger.
    Within(Period),
    /// Bases and WAL that reach any moment this long back.
    Pitr(Period),
    /// Everything, or until that has happened.
    All(Option<Until>),
    /// Hard cap: forgotten when older, whatever else keeps it.
    Expire(Period),
}

impl Keep {
    /// The word in the plan file.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Last(_) => "last",
            Self::Hourly { .. } => "hourly",
            Self::Daily { .. } => "daily",
            Self::Weekly { .. } => "weekly",
            Self::Monthly { .. } => "monthly",
            Self::Yearly { .. } => "yearly",
            Self::Within(_) => "within",
            Self::Pitr(_) => "pitr",
            Self::All(_) => "all",
            Self::Expire(_) => "expire",
        }
    }
}

impl fmt::Display for Keep {
    /// As in the plan file, without selectors: `daily 30`, `within "7d"`, `all until="verified"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        match self {
            Self::Last(count)
            | Self::Hourly { count, .. }
            | Self::Daily { count, .. }
            | Self::Weekly { count, .. }
            | Self::Monthly { count, .. }
            | Self::Yearly { count, .. } => write!(f, "{word} {count}"),
            Self::Within(period) | Self::Pitr(period) | Self::Expire(period) => {
                write!(f, "{word} {period}")
            }
            Self::All(None) => f.write_str(word),
            Self::All(Some(Until::Verified)) => write!(f, "{word} until verified"),
            Self::All(Some(Until::Released)) => write!(f, "{word} until released"),
        }
    }
}

/// Which backup of a bucket represents it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Pick {
    First,
    Last,
}

/// What ends an `all until=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Until {
    Verified,
    Released,
}

/// Which backups a rule looks at; all that are given must match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Selector {
    /// Made by this method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Made for a slot of this schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleName>,
    /// Carrying this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
}

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

/// Copies that restore without ccb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// What program reads them.
    pub kind: ExportKind,
    /// Where they are put.
    pub to: DestinationName,
    /// Only backups of this method.
    pub method: Option<Method>,
    /// Object key with `{component}` `{tier}` `{method}` `{database}` `{id}` `{time:strftime}`.
    pub layout: String,
    /// Secret for `openssl` and `gpg`.
    pub key: Option<SecretRef>,
    /// Key derivation of `openssl`: rounds of PBKDF2, or `None` for one round of EVP_BytesToKey.
    pub pbkdf2_iterations: Option<u32>,
    /// How many stay.
    pub keep: Vec<ExportKeep>,
}

/// What program reads an export.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ExportKind {
    Openssl,
    Gpg,
    Tar,
    Plain,
}

impl ExportKind {
    /// The word in the plan file.
    pub fn as_str(self) -> &'static str {
        ["openssl", "gpg", "tar", "plain"][self as usize]
    }
}

/// How many exports stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportKeep {
    /// Only of this tier.
    pub tier: Option<Tier>,
    /// That many.
    pub count: u32,
}

/// What a calendar rule calls a backup that it keeps.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Tier {
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Tier {
    /// The word in the plan file.
    pub fn as_str(self) -> &'static str {
        ["hourly", "daily", "weekly", "monthly", "yearly"][self as usize]
    }
}

/// A command run at apply, never at plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Before, after, or when it failed.
    pub when: HookWhen,
    /// `true`: around restores; `false`: around backups.
    pub on_restore: bool,
    /// Killed after this.
    pub timeout: Period,
    /// argv; no shell.
    pub run: Vec<String>,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum HookWhen {
    Before,
    After,
    Failed,
}

/// How hard a rule is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Level {
    Off,
    Info,
    Warn,
    Deny,
}

/// Rules and their exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policy {
    /// Whose levels apply; `None` when the environment has no preset of its name.
    pub preset: Option<Preset>,
    /// Copies required (CCB202).
    pub copies: Option<Minimum>,
    /// Copies required off site (CCB203).
    pub offsite: Option<Minimum>,
    /// A restore test not longer ago than this (CCB206).
    pub restore_test: Option<RestoreTestPolicy>,
    /// Levels changed, by rule id (`CCB202`).
    pub levels: BTreeMap<String, Level>,
    /// Exceptions.
    pub waivers: Vec<Waiver>,
}

/// Levels per environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Preset {
    Production,
    Staging,
    Development,
}

/// A minimum and how hard it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minimum {
    /// At least.
    pub min: u32,
    /// `None`: the preset's level.
    pub level: Option<Level>,
}

/// How long ago the last restore test may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreTestPolicy {
    /// At most.
    pub within: Period,
    /// `None`: the preset's level.
    pub level: Option<Level>,
}

/// An exception that ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Rule id, `CCB206`.
    pub rule: String,
    /// What it excepts.
    pub for_: Address,
    /// Last day it holds.
    pub until: Date,
    /// Why.
    pub reason: String,
}

/// Who hears of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Its name.
    pub name: String,
    /// Ping URL of healthchecks.io or a like service.
    pub healthchecks: Option<SecretRef>,
    /// URLs that get the summary.
    pub webhooks: Vec<Webhook>,
    /// Path of a node_exporter textfile.
    pub prometheus: Option<String>,
    /// JSON lines of every run.
    pub log: Option<RunLog>,
}

/// A URL that gets the summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Where it is found.
    pub url: SecretRef,
    /// What it hears of.
    pub on: Vec<Event>,
}

/// What a webhook can hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Event {
    Success,
    Failure,
    Violation,
    Missed,
    Forget,
}

/// JSON lines of every run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLog {
    /// File that is appended to.
    pub file: String,
    /// Lines older than this are dropped.
    pub keep: Period,
}
