//! The result of a run in words: a line when a step starts and when it ends, and what it all came to.

use crate::model::units::Size;
use crate::plan::document::{Plan, Step, StepId};
use crate::plan::report::{Counts, Done, Outcome, RunReport, StepReport};
use crate::render::Look;
use crate::render::escape::line;
use crate::render::event::Progress;
use crate::render::paint::Tint;
use crate::render::words;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Things that could not be read which are named; the rest are counted.
const LEFT_OUT_SHOWN: usize = 10;

/// The few words that name a step in a report: `postgres dump -> primary`.
pub fn what(plan: &Plan, step: &Step) -> String {
    words::object(plan, step)
}

/// `02:20:01 + postgres dump -> primary  started`, without a newline.
pub fn start_line(at: Timestamp, plan: &Plan, step: &Step, look: &Look) -> String {
    let sign = words::sign(&step.action);
    row(at, sign, &words::object(plan, step), "started", "", look)
}

/// `02:20:47 + postgres dump -> primary  done  d2a6f3b8  411 MiB read, 37.9 MiB new  46s`, without a newline.
pub fn run_line(at: Timestamp, step: &StepReport, look: &Look) -> String {
    let (word, rest) = match &step.outcome {
        Outcome::Done(done) if done.left_out_count > 0 => ("incomplete", done_words(step, done)),
        Outcome::Done(done) => ("done", done_words(step, done)),
        Outcome::Failed(failure) => ("failed", chain(&failure.chain)),
        Outcome::Skipped { because_of } => ("not run", format!("{because_of} did not succeed")),
        Outcome::NotReached => ("not run", "the run was interrupted".to_owned()),
    };
    row(at, sign(&step.verb), &line(&step.what), word, &rest, look)
}

/// What the run came to: failures with their causes, counts, what was not run and what to do next.
pub fn summary(report: &RunReport, look: &Look) -> String {
    let mut out = String::new();
    for step in &report.steps {
        out += &trouble(step, look);
    }
    let complete = report.is_complete();
    let (head, tint) = if complete {
        ("Apply complete!", Tint::Green)
    } else {
        ("Apply incomplete!", Tint::BoldRed)
    };
    let of = Counts::of(report);
    out += &format!("{} {}\n", look.paint(tint, head), counts(&of));
    out += &totals(report, &of);
    if !complete {
        out += &next(report);
    }
    out
}

/// `02:20:31 + postgres dump -> primary  running  120 files, 411 MiB of ~900 MiB, 38.0 MiB/s, ~13s left`, without a
/// newline.
pub fn progress_line(
    at: Timestamp,
    plan: &Plan,
    step: &Step,
    progress: &Progress,
    look: &Look,
) -> String {
    let mut parts = Vec::new();
    if progress.files > 0 {
        parts.push(words::count(progress.files, "file"));
    }
    let of = progress.total_bytes.map_or(String::new(), |total| {
        format!(" of {}", words::about(total))
    });
    parts.push(format!("{}{of}", Size(progress.bytes)));
    if progress.bytes > 0 {
        parts.push(format!("{}/s", Size(progress.bytes_per_second)));
    }
    if let Some(seconds) = progress.seconds_left {
        parts.push(format!(
            "~{} left",
            words::took(seconds.saturating_mul(1000))
        ));
    }
    let (sign, what) = (words::sign(&step.action), words::object(plan, step));
    row(at, sign, &what, "running", &parts.join(", "), look)
}

/// The report as JSON, as `schemas/report.v1.json` says: sorted keys, one trailing newline.
pub fn json(report: &RunReport) -> String {
    value(report).to_string() + "\n"
}

/// The same as a value, for what it is a part of.
pub fn value(report: &RunReport) -> Value {
    // Plain data with string keys has no way to fail.
    let mut value = serde_json::to_value(report).expect("a report is plain data");
    if let Value::Object(members) = &mut value {
        members.insert("format_version".into(), json!("1.0"));
        members.insert("kind".into(), json!("report"));
        members.insert("complete".into(), json!(report.is_complete()));
    }
    value
}

fn row(at: Timestamp, sign: char, what: &str, word: &str, rest: &str, look: &Look) -> String {
    let tint = match word {
        "failed" => Tint::BoldRed,
        "incomplete" | "not run" => Tint::Yellow,
        _ => Tint::of_sign(sign),
    };
    let sign = look.paint(tint, &sign.to_string());
    let text = format!("{} {sign} {what:<44} {word:<10} {rest}", words::clock(at));
    text.trim_end().to_owned()
}

fn sign(verb: &str) -> char {
    match verb {
        "back up" => '+',
        "copy" | "export" => '>',
        "verify" | "inspect" => '?',
        "forget" | "prune" => '-',
        _ => '~',
    }
}

fn done_words(step: &StepReport, done: &Done) -> String {
    let mut parts = Vec::new();
    if step.verb == "back up"
        && let Some(backup) = done.backup
    {
        parts.push(backup.short());
    }
    let mut bytes = Vec::new();
    if done.read_bytes > 0 {
        bytes.push(format!("{} read", Size(done.read_bytes)));
    }
    if done.stored_bytes > 0 {
        let word = if step.verb == "prune" { "freed" } else { "new" };
        bytes.push(format!("{} {word}", Size(done.stored_bytes)));
    }
    parts.push(bytes.join(", "));
    if done.left_out_count > 0 {
        parts.push(format!("{} left out", done.left_out_count));
    }
    parts.push(line(&done.note));
    parts.push(words::took(step.took_ms));
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}

fn chain(chain: &[String]) -> String {
    let parts: Vec<String> = chain.iter().map(|part| line(part)).collect();
    parts.join(": ")
}

/// What went wrong in a step, if anything did.
fn trouble(step: &StepReport, look: &Look) -> String {
    let name = format!("{} {}", line(&step.verb), line(&step.what));
    match &step.outcome {
        Outcome::Failed(failure) => format!(
            "{} {name}: {}\n",
            look.paint(Tint::BoldRed, "Error:"),
            chain(&failure.chain)
        ),
        Outcome::Done(done) if done.left_out_count > 0 => {
            let mut out = format!(
                "{} {name}: {} could not be read; the backup is marked incomplete\n",
                look.paint(Tint::Yellow, "Warning:"),
                words::count(done.left_out_count, "thing")
            );
            for left_out in done.left_out.iter().take(LEFT_OUT_SHOWN) {
                out += &format!("  {}\n", line(left_out));
            }
            let shown = done.left_out.len().min(LEFT_OUT_SHOWN) as u64;
            if done.left_out_count > shown {
                out += &format!("  and {} more\n", done.left_out_count - shown);
            }
            out
        }
        _ => String::new(),
    }
}

/// `2 backed up, 7 copied, … 1 failed, 12 not run.` Always all but what was not run.
fn counts(of: &Counts) -> String {
    let mut text = format!(
        "{} backed up, {} copied, {} verified, {} exported, {} changed, {} forgotten, {} pruned, {} failed",
        of.backed_up,
        of.copied,
        of.verified,
        of.exported,
        of.changed,
        of.forgotten,
        of.pruned,
        of.failed
    );
    if of.not_run > 0 {
        text += &format!(", {} not run", of.not_run);
    }
    text + "."
}

/// `  411 MiB read, 84.2 MiB stored, 1m54s.`
fn totals(report: &RunReport, of: &Counts) -> String {
    let freed = match of.freed_bytes {
        0 => String::new(),
        bytes => format!("{} freed, ", Size(bytes)),
    };
    let ms = report.finished.duration_since(report.started).as_millis();
    format!(
        "  {} read, {} stored, {freed}{}.\n",
        Size(of.read_bytes),
        Size(of.stored_bytes),
        words::took(u64::try_from(ms).unwrap_or(0))
    )
}

/// What was not run, by what it waits for, and how to go on.
fn next(report: &RunReport) -> String {
    let mut waiting: BTreeMap<(Option<StepId>, &str), u64> = BTreeMap::new();
    for step in &report.steps {
        match step.outcome {
            Outcome::Skipped { because_of } => {
                *waiting.entry((Some(because_of), &step.verb)).or_default() += 1;
            }
            Outcome::NotReached => *waiting.entry((None, &step.verb)).or_default() += 1,
            _ => {}
        }
    }
    let mut out = String::new();
    for ((because_of, verb), count) in waiting {
        let why = match because_of {
            None => "the run was interrupted".to_owned(),
            Some(id) => match report.steps.iter().find(|step| step.id == id) {
                Some(step) => format!("waiting for {} {}", line(&step.verb), line(&step.what)),
                None => format!("waiting for {id}"),
            },
        };
        out += &format!("  not run: {count} {}, {why}\n", line(verb));
    }
    out + "  Nothing that was done is lost: `ccb apply` goes on from here; `ccb status` shows what is missing.\n"
}
