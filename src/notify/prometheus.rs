//! The last run as a textfile for node_exporter. Written under another name first, so that a reader never
//! sees half of it.

use crate::model::ids::{ComponentName, DestinationName};
use crate::model::inventory::Inventory;
use crate::model::strategy::Strategy;
use crate::notify::summary::Summary;
use crate::plan::report::{Outcome, RunReport};
use crate::plan::{Action, BackupRef, Plan, StepId};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The newest complete backup of each component at each destination.
pub type Newest = BTreeMap<(ComponentName, DestinationName), Timestamp>;

const NEWEST: &str = "ccb_newest_backup_timestamp_seconds";
const LAST_SUCCESS: &str = "ccb_last_success_timestamp_seconds";

/// What there is once a run is over: what was seen before it, and what it made.
pub fn newest(strategy: &Strategy, seen: &Inventory, done: Option<(&Plan, &RunReport)>) -> Newest {
    let mut newest = Newest::new();
    let mut note = |component: &ComponentName, destination: &DestinationName, at: Timestamp| {
        let known = newest
            .entry((component.clone(), destination.clone()))
            .or_insert(at);
        *known = at.max(*known);
    };
    for (destination, holding) in &seen.destinations {
        let complete = holding.backups.iter().map(|held| &held.manifest);
        for m in complete.filter(|m| m.complete && strategy.component(&m.component).is_some()) {
            note(&m.component, destination, m.started);
        }
    }
    if let Some((plan, report)) = done {
        let made = |id: StepId| is_whole(report, id);
        for step in &plan.steps {
            match &step.action {
                Action::BackUp {
                    component,
                    destination,
                    ..
                } if made(step.id) => note(component, destination, report.started),
                Action::Copy {
                    component,
                    backup: BackupRef::Of(of),
                    to,
                    ..
                } if made(*of) && made(step.id) => {
                    note(component, to, report.started);
                }
                _ => {}
            }
        }
    }
    newest
}

/// Whether a step made a backup with nothing left out.
fn is_whole(report: &RunReport, id: StepId) -> bool {
    let step = report.steps.iter().find(|step| step.id == id);
    step.is_some_and(|it| matches!(&it.outcome, Outcome::Done(done) if done.left_out_count == 0))
}

/// Writes the metrics of a run to `path`. What only a success says is kept from the file that was there.
pub fn write(path: &Path, summary: &Summary, newest: &Newest) -> io::Result<()> {
    let before = fs::read_to_string(path).unwrap_or_default();
    replace(path, &text(summary, newest, &before))
}

/// The metrics of a run. `before` is the text of the run before.
pub fn text(summary: &Summary, newest: &Newest, before: &str) -> String {
    let of_plan = format!(
        "plan=\"{}\",environment=\"{}\"",
        escaped(&summary.plan),
        escaped(&summary.environment)
    );
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, rows: Vec<(String, i64)>| {
        if rows.is_empty() {
            return;
        }
        // Writing into a string has no way to fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in rows {
            let comma = if labels.is_empty() { "" } else { "," };
            let _ = writeln!(out, "{name}{{{of_plan}{comma}{labels}}} {value}");
        }
    };
    let one = |value: i64| vec![(String::new(), value)];
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let counts = &summary.counts;
    gauge(
        "ccb_run_exit_code",
        "Exit code of the last run.",
        one(summary.exit.into()),
    );
    gauge(
        "ccb_run_started_timestamp_seconds",
        "When the last run began.",
        one(summary.started.as_second()),
    );
    gauge(
        "ccb_run_finished_timestamp_seconds",
        "When the last run ended.",
        one(summary.finished.as_second()),
    );
    let success = match summary.exit {
        0 => one(summary.finished.as_second()),
        _ => values(before, LAST_SUCCESS, &of_plan),
    };
    gauge(
        LAST_SUCCESS,
        "When a run last ended with exit code 0.",
        success,
    );
    let verbs = [
        ("backed_up", counts.backed_up),
        ("copied", counts.copied),
        ("verified", counts.verified),
        ("exported", counts.exported),
        ("changed", counts.changed),
        ("forgotten", counts.forgotten),
        ("pruned", counts.pruned),
        ("failed", counts.failed),
        ("not_run", counts.not_run),
    ];
    let rows = verbs.map(|(what, count)| (format!("what=\"{what}\""), number(count)));
    gauge("ccb_run_actions", "What the last run did.", rows.to_vec());
    gauge(
        "ccb_run_left_out",
        "Things that the last run could not read.",
        one(number(counts.left_out)),
    );
    gauge(
        "ccb_run_read_bytes",
        "Bytes of sources that the last run looked at.",
        one(number(counts.read_bytes)),
    );
    gauge(
        "ccb_run_stored_bytes",
        "Bytes that the last run added to stores.",
        one(number(counts.stored_bytes)),
    );
    gauge(
        "ccb_run_freed_bytes",
        "Bytes that the last run removed from stores.",
        one(number(counts.freed_bytes)),
    );
    let row = |((component, destination), at): (&(ComponentName, DestinationName), &Timestamp)| {
        let labels = format!("component=\"{component}\",destination=\"{destination}\"");
        (labels, at.as_second())
    };
    let mut rows: Vec<(String, i64)> = newest.iter().map(row).collect();
    if rows.is_empty() {
        rows = values(before, NEWEST, &format!("{of_plan},"));
    }
    gauge(
        NEWEST,
        "When the newest complete backup was begun, by component and destination.",
        rows,
    );
    out
}

/// What the file before said of this plan: labels beyond those of the plan, and values.
fn values(before: &str, name: &str, of_plan: &str) -> Vec<(String, i64)> {
    let start = format!("{name}{{{of_plan}");
    let lines = before.lines().filter_map(|line| line.strip_prefix(&start));
    lines
        .filter_map(|rest| {
            let (labels, value) = rest.rsplit_once("} ")?;
            Some((labels.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

/// Readable for everyone: the collector runs as another user.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("it names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(hidden);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
