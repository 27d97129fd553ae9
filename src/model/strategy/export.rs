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
