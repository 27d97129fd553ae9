//! What a bucket says of itself, and how that differs from what the plan file says. Facts and comparisons only:
//! nothing is asked of a server here, and nothing is decided about it.

mod difference;

pub use difference::{Difference, Wanted, differences};

use crate::model::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A bucket that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "seen", rename_all = "lowercase")]
pub enum BucketSeen {
    /// It answered.
    Bucket(BucketFacts),
    /// It did not.
    Unreachable {
        /// The error.
        why: String,
    },
}

/// What a bucket says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BucketFacts {
    /// Whether it keeps what is overwritten or deleted.
    pub versioning: Told<Versioning>,
    /// Its rules of what it removes by itself.
    pub lifecycle: Told<Vec<LifecycleRule>>,
    /// Its rules of what it sends to other buckets.
    pub replication: Told<Vec<ReplicationRule>>,
    /// By what it is open to everybody; empty: it is not.
    pub public: Told<Vec<PublicBy>>,
}

/// One fact, or why it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Told<T> {
    /// The server told.
    Says(T),
    /// It did not; nothing follows from that.
    Silent(String),
}

impl<T> Told<T> {
    /// What the server told.
    pub fn says(&self) -> Option<&T> {
        match self {
            Self::Says(fact) => Some(fact),
            Self::Silent(_) => None,
        }
    }
}

/// Whether a bucket keeps what is overwritten or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Versioning {
    /// It never did.
    Off,
    /// It does.
    Enabled,
    /// It did, and does not any longer.
    Suspended,
}

impl fmt::Display for Versioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Off => "off",
            Self::Enabled => "enabled",
            Self::Suspended => "suspended",
        })
    }
}

/// The id of the rules that ccb writes. Every other rule is somebody else's, and is never touched.
pub const OWN_RULE: &str = "ccb";

/// A rule of what a bucket removes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LifecycleRule {
    /// Its id; empty: it has none.
    pub id: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// What the names that it concerns begin with; empty: all.
    pub prefix: String,
    /// Whether it concerns only some of these, by tag, size or number of versions.
    pub partial: bool,
    /// Current versions are removed after that; zero: on a date.
    pub expire: Option<Period>,
    /// Versions that are no longer current are removed after that.
    pub noncurrent_expire: Option<Period>,
    /// Uploads that were never finished are removed after that.
    pub abort_multipart: Option<Period>,
}

impl LifecycleRule {
    /// Whether it is in force for everything in the bucket.
    pub fn is_for_all(&self) -> bool {
        self.enabled && !self.partial && self.prefix.is_empty()
    }
}

/// A rule of what a bucket sends to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicationRule {
    /// Its id; empty: it has none.
    pub id: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// What the names that it concerns begin with; empty: all.
    pub prefix: String,
    /// Whether it concerns only some of these, by tag.
    pub partial: bool,
    /// The bucket that it sends to.
    pub to: String,
}

/// By what a bucket is open to everybody.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PublicBy {
    /// A policy on it.
    Policy,
    /// Its access control list.
    Acl,
}

impl fmt::Display for PublicBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Policy => "its policy",
            Self::Acl => "its access control list",
        })
    }
}
