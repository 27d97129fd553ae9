//! Copies that restore without ccb: the `export` node.

use crate::model::ids::DestinationName;
use crate::model::strategy::encryption::SecretRef;
use crate::model::strategy::retain::Tier;
use crate::model::strategy::source::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// Where a repository has its own objects: no export goes there.
pub const RESERVED: [&str; 15] = [
    "CCB",
    "annotations",
    "backups",
    "checks",
    "exports",
    "gc",
    "index",
    "keys",
    "leases",
    "locks",
    "packs",
    "probes",
    "runs",
    "tombs",
    "wal",
];

impl Export {
    /// What it is called within its component and destination: `openssl`, or `openssl dump` where it is of one
    /// method only.
    pub fn name(&self) -> String {
        match self.method {
            Some(method) => format!("{} {method}", self.kind.as_str()),
            None => self.kind.as_str().to_owned(),
        }
    }
    /// Whether a key would lie among the objects of a repository.
    pub fn is_reserved(key: &str) -> bool {
        RESERVED.contains(&key.split('/').next().unwrap_or_default())
    }
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
