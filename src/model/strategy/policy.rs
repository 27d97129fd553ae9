//! Rules, their levels and exceptions: the `policy` node.

use crate::model::ids::Address;
use crate::model::units::Period;
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
