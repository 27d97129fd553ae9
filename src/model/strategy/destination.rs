//! Places that backups are written to: the `destination` node.

use crate::model::ids::{DestinationName, EncryptionName};
use serde::{Deserialize, Serialize};

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
