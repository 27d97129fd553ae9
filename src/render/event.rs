//! A run as lines of JSON, one for each thing that happens: what `apply --json` prints, `--log-format json`
//! and the run log keep. `schemas/events.v1.json` says what each type of line holds.

use crate::model::ids::{Address, RunId};
use crate::plan::report::{Counts, StepReport};
use crate::plan::{Plan, Step, StepId};
use crate::render::report::what;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

/// Version of these lines. A reader ignores names that it does not know.
pub const FORMAT_VERSION: &str = "1.0";

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The run began; the first line.
    Version {
        /// Of ccb.
        ccb: String,
        /// [`FORMAT_VERSION`].
        format_version: String,
        /// Name of the plan.
        plan: String,
        /// `production`, `staging`, …
        environment: String,
    },
    /// A step began.
    ActionStart(Started),
    /// A step goes on.
    ActionProgress(Progress),
    /// A step ended, or will not be tried.
    ActionDone(StepReport),
    /// Something that an operator should know.
    Diagnostic {
        /// How grave it is.
        level: Level,
        /// What.
        message: String,
    },
    /// The run ended; the last line.
    Summary {
        /// The exit code.
        exit: u8,
        /// Whether all was done that was to be done, with nothing left out.
        complete: bool,
        /// What was done.
        counts: Counts,
        /// The whole result, as `schemas/report.v1.json` says; none when no step was tried.
        report: Option<Value>,
    },
}

/// A step that began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Started {
    /// Its number in the plan.
    pub id: StepId,
    /// What it is about.
    pub address: Address,
    /// `back up`, `copy`, …
    pub verb: String,
    /// What exactly, in a few words.
    pub what: String,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Its number in the plan.
    pub id: StepId,
    /// Files that are done.
    pub files: u64,
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes that it will be, as the backup before tells; none when nothing does.
    pub total_bytes: Option<u64>,
    /// How fast it was so far.
    pub bytes_per_second: u64,
    /// How long it will take at that pace; none when the total is not known, or was passed.
    pub seconds_left: Option<u64>,
}

/// How grave a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// To know.
    Info,
    /// It went on all the same.
    Warning,
    /// Something was not done.
    Error,
}

impl Started {
    /// Of a step of a plan.
    pub fn of(plan: &Plan, step: &Step) -> Self {
        Self {
            id: step.id,
            address: step.address.clone(),
            verb: step.action.verb().to_owned(),
            what: what(plan, step),
        }
    }
}

impl Progress {
    /// From what was counted, after `took_ms`.
    pub fn new(
        id: StepId,
        (files, bytes): (u64, u64),
        total_bytes: Option<u64>,
        took_ms: u64,
    ) -> Self {
        let bytes_per_second = bytes.saturating_mul(1000) / took_ms.max(1);
        let left = total_bytes.and_then(|total| total.checked_sub(bytes));
        Self {
            id,
            files,
            bytes,
            total_bytes,
            bytes_per_second,
            seconds_left: left.and_then(|left| left.checked_div(bytes_per_second)),
        }
    }
}

/// The line of an event, with a newline: keys sorted, no floats. What is said outside of a run names none.
pub fn line(at: Timestamp, run: Option<RunId>, event: &Event) -> String {
    // Plain data with string keys has no way to fail.
    let mut value = serde_json::to_value(event).expect("an event is plain data");
    if let Value::Object(members) = &mut value {
        members.insert("at".into(), json!(at));
        members.insert("run".into(), json!(run));
    }
    value.to_string() + "\n"
}

/// The level that a message says of itself by its first word, and the message without it.
pub fn level_of(message: &str) -> (Level, &str) {
    for (word, level) in [("Error: ", Level::Error), ("Warning: ", Level::Warning)] {
        if let Some(rest) = message.strip_prefix(word) {
            return (level, rest);
        }
    }
    (Level::Info, message)
}

#[cfg(test)]
mod tests {
    use crate::plan::StepId;
    use crate::render::event::Progress;

    #[test]
    fn what_is_left_is_told_when_the_total_is_known_and_something_was_done() {
        let left = |bytes, total, ms| {
            let progress = Progress::new(StepId(1), (0, bytes), total, ms);
            (progress.bytes_per_second, progress.seconds_left)
        };
        assert_eq!(left(100, Some(300), 10_000), (10, Some(20)));
        assert_eq!(left(100, None, 10_000), (10, None));
        assert_eq!(left(0, Some(300), 10_000), (0, None));
        assert_eq!(left(400, Some(300), 10_000), (40, None));
        assert_eq!(left(7, Some(7), 0), (7000, Some(0)));
    }
}
