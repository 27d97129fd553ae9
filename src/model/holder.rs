//! Who carries a plan out: enough to tell an operator whose run it is, and a later run on the same machine
//! whether its process is still there. Plain facts; `cli` reads them from the system.

use crate::model::ids::RunId;
use crate::model::records::Version;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A run and the process that carries it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Version of this record.
    pub v: Version<1>,
    /// The run.
    pub run: RunId,
    /// `NAME / ENVIRONMENT` of the plan that it carries out.
    pub plan: String,
    /// Who started it.
    pub user: String,
    /// On which machine.
    pub host: String,
    /// Its process.
    pub process: ProcessMark,
    /// When it began, by that machine's clock.
    pub since: Timestamp,
}

/// A process, told apart from every other one that ever had its number. What could not be read is empty;
/// then nothing can be said about it from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMark {
    /// Its number.
    pub pid: u32,
    /// The start of the machine that it runs on: a number means something only until the next one.
    pub boot: String,
    /// The namespace that the number is from: two containers have the same numbers.
    pub namespace: String,
    /// When it started, in the kernel's ticks since the machine did.
    pub started: u64,
}

impl ProcessMark {
    /// Whether its number means the same to both.
    pub fn is_comparable_with(&self, other: &ProcessMark) -> bool {
        let is_whole = |mark: &ProcessMark| {
            !mark.boot.is_empty() && !mark.namespace.is_empty() && mark.started > 0
        };
        is_whole(self)
            && is_whole(other)
            && (&self.boot, &self.namespace) == (&other.boot, &other.namespace)
    }
}
