//! A plan as text for a terminal or a log. The last line says it all, because the tail is what survives
//! when a log is cut.

use crate::model::ids::ComponentName;
use crate::model::strategy::{Level, Strategy};
use crate::plan::document::{Change, Finding, Kept, Plan};
use crate::render::Look;
use crate::render::escape::line;
use crate::render::groups::{Line, Section, components, sections};
use crate::render::paint::Tint;
use crate::render::{snippet, words};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// How far details stand in: below the object of their line.
const INDENT: usize = 15;
/// Objects that are longer than this do not push the other columns to the right.
const OBJECT_MAX: usize = 46;

/// The whole plan; the last line is `Plan: …` or `No changes. …`.
pub fn plan(plan: &Plan, strategy: &Strategy, look: &Look) -> String {
    let parts = [
        header(plan, look),
        changes(&plan.changes, look),
        drift(&plan.drift, look),
        steps(plan, strategy, look),
        kept(plan, strategy, look),
        not_due(plan, look),
        unseen(plan, look),
        findings(plan, strategy, look),
    ];
    let mut out = String::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        out += part;
        out.push('\n');
    }
    out + &look.paint(Tint::Bold, &words::last_line(plan)) + "\n"
}

/// One finding with its place, as `plan` and `validate` print it.
pub fn finding(finding: &Finding, strategy: &Strategy, look: &Look) -> String {
    let (word, tint) = match finding.level {
        Level::Deny if finding.blocks() => ("Error", Tint::BoldRed),
        Level::Deny | Level::Warn => ("Warning", Tint::Yellow),
        Level::Info | Level::Off => ("Note", Tint::Dim),
    };
    let mut out = format!(
        "{} {}: {}\n",
        look.paint(tint, &format!("{word}:")),
        words::rule(finding),
        line(&finding.message)
    );
    if let Some((until, reason)) = &finding.waived {
        return out + &format!("  waived until {until}: {}\n", line(reason));
    }
    if finding.level <= Level::Info && !look.verbose {
        return out;
    }
    out += &snippet::draw(strategy, &finding.address, &line(&finding.address.0), look);
    if let Some(related) = &finding.related {
        out += &snippet::draw(strategy, related, "has to do with it", look);
    }
    out + &format!("  help: {}\n", line(&finding.help))
}

fn header(plan: &Plan, look: &Look) -> String {
    let title = format!(
        "{} / {}, planned for {} UTC",
        line(&plan.name),
        line(&plan.environment),
        words::minute(plan.at.0)
    );
    let last = plan.last_apply.map_or("never applied".to_owned(), |at| {
        format!("last apply {} UTC", words::minute(at))
    });
    let names: Vec<&str> = plan.repositories.keys().map(|name| name.as_str()).collect();
    let at = if names.is_empty() {
        "no repository yet".to_owned()
    } else {
        format!("at {}", names.join(", "))
    };
    format!(
        "{}\ninventory {} {at}, {last}\n",
        look.paint(Tint::Bold, &title),
        plan.inventory.short()
    )
}

fn changes(changes: &[Change], look: &Look) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut out = "The plan file changed since the last apply:\n".to_owned();
    for row in change_rows(changes) {
        out += &format!("  {} {row}\n", look.paint(Tint::Yellow, "~"));
    }
    out
}

/// What is, against what the plan file says.
fn drift(drift: &[Change], look: &Look) -> String {
    if drift.is_empty() {
        return String::new();
    }
    let mut out = "Not as the plan file says, and left alone:\n".to_owned();
    for row in change_rows(drift) {
        out += &format!("  {} {row}\n", look.paint(Tint::Yellow, "~"));
    }
    out
}

/// `component.postgres.retain.daily  30 -> 14`, aligned.
pub(crate) fn change_rows(changes: &[Change]) -> Vec<String> {
    let width = changes
        .iter()
        .map(|change| line(&change.address.0).chars().count())
        .max();
    let width = width.unwrap_or(0);
    let value = |value: &Option<String>| value.as_deref().map_or("(none)".to_owned(), line);
    let row = |change: &Change| {
        format!(
            "{:<width$}  {} -> {}",
            line(&change.address.0),
            value(&change.before),
            value(&change.after)
        )
    };
    changes.iter().map(row).collect()
}

fn steps(plan: &Plan, strategy: &Strategy, look: &Look) -> String {
    let sections = sections(plan, strategy);
    if sections.is_empty() {
        return String::new();
    }
    let lines = || sections.iter().flat_map(|section| &section.lines);
    let width = |text: fn(&Line) -> &String| {
        let widths = lines().map(|line| text(line).chars().count());
        widths
            .filter(|width| *width <= OBJECT_MAX)
            .max()
            .unwrap_or(0)
    };
    let columns = [width(|line| &line.what), width(|line| &line.why)];
    let bodies: Vec<String> = sections
        .iter()
        .map(|section| section_text(section, columns, look))
        .collect();
    format!("ccb will:\n\n{}", bodies.join("\n"))
}

fn section_text(section: &Section, columns: [usize; 2], look: &Look) -> String {
    let mut out = look.paint(Tint::Bold, &format!("  # {}", section.title)) + "\n";
    for line in &section.lines {
        out += &line_text(line, columns, look);
    }
    out
}

fn line_text(line: &Line, [what, why]: [usize; 2], look: &Look) -> String {
    let sign = look.paint(Tint::of_sign(line.sign), &line.sign.to_string());
    let rest = format!(
        "{:<10} {:<what$}  {:<why$}  {}",
        line.verb, line.what, line.why, line.note
    );
    let mut out = format!("  {sign} {}\n", rest.trim_end());
    for (label, items) in &line.lists {
        out += &wrapped(label, items, look.width);
    }
    for detail in &line.details {
        out += &format!("{:INDENT$}{detail}\n", "");
    }
    out
}

/// A label and items, as many on a line as fit.
fn wrapped(label: &str, items: &[String], width: usize) -> String {
    let mut out = String::new();
    let mut row = label.to_owned();
    for item in items {
        if !row.is_empty() && INDENT + row.chars().count() + 2 + item.chars().count() > width {
            out += &format!("{:INDENT$}{row}\n", "");
            row = " ".repeat(label.chars().count());
        }
        if !row.is_empty() {
            row.push_str("  ");
        }
        row.push_str(item);
    }
    out + &format!("{:INDENT$}{row}\n", "")
}

fn kept(plan: &Plan, strategy: &Strategy, look: &Look) -> String {
    let mut out = String::new();
    for component in components(plan, strategy) {
        let of: Vec<&Kept> = plan
            .kept
            .iter()
            .filter(|k| k.component == *component)
            .collect();
        if !of.is_empty() {
            out += &format!("    {}\n", kept_row(component, &of));
        }
    }
    if out.is_empty() {
        return out;
    }
    look.paint(Tint::Dim, "  # kept, and the oldest that each rule keeps") + "\n" + &out
}

/// `postgres  42 backups: daily 14 (2026-11-09), weekly 6 (2026-10-18)`.
pub(crate) fn kept_row(component: &ComponentName, kept: &[&Kept]) -> String {
    let mut rules: BTreeMap<(u8, &str), (u64, Timestamp)> = BTreeMap::new();
    for backup in kept {
        for because in &backup.because {
            let entry = rules
                .entry(words::keeper(because))
                .or_insert((0, backup.started));
            entry.0 += 1;
            entry.1 = entry.1.min(backup.started);
        }
    }
    let parts: Vec<String> = rules
        .iter()
        .map(|((_, word), (count, oldest))| format!("{count} {word} ({})", words::day(*oldest)))
        .collect();
    format!(
        "{component}  {}: {}",
        words::count(kept.len() as u64, "backup"),
        parts.join(", ")
    )
}

fn not_due(plan: &Plan, look: &Look) -> String {
    let next = plan.not_due.iter().filter_map(|schedule| {
        let name = format!("{}.{}", schedule.component, schedule.schedule);
        schedule
            .next
            .map(|at| format!("{name} {}", words::instant(at)))
    });
    let next: Vec<String> = next.collect();
    let mut out = String::new();
    if !next.is_empty() {
        let text = format!("  # not due: {}", next.join(", "));
        out += &format!("{}\n", look.paint(Tint::Dim, &text));
    }
    for schedule in &plan.not_due {
        if let Some(at) = schedule.skipped {
            let name = format!("{}.{}", schedule.component, schedule.schedule);
            let text = format!(
                "  # missed and left alone (missed=\"skip\"): {name} {}",
                words::instant(at)
            );
            out += &format!("{}\n", look.paint(Tint::Dim, &text));
        }
    }
    out
}

fn unseen(plan: &Plan, look: &Look) -> String {
    let row = |(name, why): (&_, &String)| {
        format!(
            "{} destination {name} was not seen completely, so nothing is forgotten there: {}\n",
            look.paint(Tint::Yellow, "Warning:"),
            line(why)
        )
    };
    let seen: String = plan.unseen.iter().map(row).collect();
    let single = plan.single_writer.iter().map(|name| {
        let word = look.paint(Tint::Yellow, "Warning:");
        format!("{word} {}\n", words::single_writer(name))
    });
    seen + &single.collect::<String>()
}

/// Notes, then warnings, then what blocks: the worst stands nearest to the last line.
fn findings(plan: &Plan, strategy: &Strategy, look: &Look) -> String {
    let rank = |finding: &Finding| match finding.level {
        _ if finding.blocks() => 3,
        Level::Deny | Level::Warn if finding.waived.is_none() => 2,
        Level::Deny | Level::Warn => 1,
        Level::Info | Level::Off => 0,
    };
    let mut sorted: Vec<&Finding> = plan.findings.iter().collect();
    sorted.sort_by_key(|finding| rank(finding));
    let texts = sorted.into_iter().map(|one| finding(one, strategy, look));
    let mut out = String::new();
    let mut was_long = false;
    for text in texts {
        // Notes of one line stand together.
        let is_long = text.lines().count() > 1;
        if !out.is_empty() && (is_long || was_long) {
            out.push('\n');
        }
        was_long = is_long;
        out += &text;
    }
    out
}
