//! What somebody asks for beyond the plan file: backups now, and which steps to look at.

use crate::model::ids::{Address, ComponentName, Tag};
use crate::model::strategy::Method;

/// What the command line adds to a plan file. The default asks for nothing more and nothing less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Backups to make now. With any, the plan holds them, their copies and their checks, and nothing else.
    pub backups: Vec<OnDemand>,
    /// Only these, and what they need; empty: all.
    pub target: Vec<Address>,
    /// All but these, and what needs them.
    pub exclude: Vec<Address>,
    /// How many backups this run may forget, instead of the plan file's limit.
    pub allow_forget: Option<u64>,
}

/// A backup that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDemand {
    /// What of.
    pub component: ComponentName,
    /// How.
    pub method: Method,
    /// Put on it.
    pub tag: Option<Tag>,
}
