//! Engine limits: the `apply` node.

use crate::model::units::{Percent, Period};
use serde::{Deserialize, Serialize};

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
