//! When a method is owed: the `schedule` node. Decides nothing; `plan::due` reads it.

use crate::model::ids::{ScheduleName, Tag};
use crate::model::strategy::source::Method;
use crate::model::units::{Day, Period, TimeOfDay};
use serde::{Deserialize, Serialize};

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
