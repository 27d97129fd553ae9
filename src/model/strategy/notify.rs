//! Who hears of runs: the `notify` node.

use crate::model::strategy::encryption::SecretRef;
use crate::model::units::Period;
use serde::{Deserialize, Serialize};

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
