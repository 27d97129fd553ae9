//! What is kept: the `retain` node. Decides nothing; `plan::keep` reads it.

use crate::model::ids::{ScheduleName, Tag};
use crate::model::strategy::source::Method;
use crate::model::units::{Day, DayOfYear, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One line of `retain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepRule {
    /// What it keeps.
    pub keep: Keep,
    /// Which backups it looks at.
    #[serde(flatten)]
    pub among: Selector,
}

/// What a keep rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Keep {
    /// The newest N.
    Last(u32),
    /// N newest hours that have one.
    Hourly { count: u32, pick: Pick },
    /// N newest days that have one.
    Daily { count: u32, pick: Pick },
    /// N newest weeks that have one; a week starts on `on`.
    Weekly { count: u32, on: Day, pick: Pick },
    /// N newest months that have one; a month starts on `on`.
    Monthly { count: u32, on: Day, pick: Pick },
    /// N newest years that have one; a year starts on `on`.
    Yearly {
        count: u32,
        on: DayOfYear,
        pick: Pick,
    },
    /// Everything younger.
    Within(Period),
    /// Bases and WAL that reach any moment this long back.
    Pitr(Period),
    /// Everything, or until that has happened.
    All(Option<Until>),
    /// Hard cap: forgotten when older, whatever else keeps it.
    Expire(Period),
}

impl Keep {
    /// The word in the plan file.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Last(_) => "last",
            Self::Hourly { .. } => "hourly",
            Self::Daily { .. } => "daily",
            Self::Weekly { .. } => "weekly",
            Self::Monthly { .. } => "monthly",
            Self::Yearly { .. } => "yearly",
            Self::Within(_) => "within",
            Self::Pitr(_) => "pitr",
            Self::All(_) => "all",
            Self::Expire(_) => "expire",
        }
    }
}

impl fmt::Display for Keep {
    /// As in the plan file, without selectors: `daily 30`, `within "7d"`, `all until="verified"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        match self {
            Self::Last(count)
            | Self::Hourly { count, .. }
            | Self::Daily { count, .. }
            | Self::Weekly { count, .. }
            | Self::Monthly { count, .. }
            | Self::Yearly { count, .. } => write!(f, "{word} {count}"),
            Self::Within(period) | Self::Pitr(period) | Self::Expire(period) => {
                write!(f, "{word} {period}")
            }
            Self::All(None) => f.write_str(word),
            Self::All(Some(Until::Verified)) => write!(f, "{word} until verified"),
            Self::All(Some(Until::Released)) => write!(f, "{word} until released"),
        }
    }
}

/// Which backup of a bucket represents it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Pick {
    First,
    Last,
}

/// What ends an `all until=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Until {
    Verified,
    Released,
}

/// Which backups a rule looks at; all that are given must match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Selector {
    /// Made by this method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Made for a slot of this schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleName>,
    /// Carrying this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
}

/// What a calendar rule calls a backup that it keeps.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Tier {
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Tier {
    /// The word in the plan file.
    pub fn as_str(self) -> &'static str {
        ["hourly", "daily", "weekly", "monthly", "yearly"][self as usize]
    }
}
