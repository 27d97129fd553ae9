//! A plan as a comment on a pull request: what stops it first, then what the change itself causes, then,
//! folded, what the clock asks for anyway. Never longer than the platform takes.

use crate::model::strategy::{Level, Strategy};
use crate::plan::document::{Action, Cause, Finding, Plan, Reason, Step};
use crate::plan::saved::id;
use crate::render::escape::{cell, code_span, fenced, markdown};
use crate::render::groups::{Line, Section, sections};
use crate::render::place::spot;
use crate::render::text::{change_rows, kept_row};
use crate::render::{groups, words};
use std::collections::BTreeMap;

/// What a comment may hold on GitHub, with room for what the platform adds.
pub const MAX_CHARS: usize = 60_000;
/// Lists are cut to this many rows.
const ROWS_MAX: usize = 20;
/// The longest piece of an untrusted text in the headline.
const NAME_MAX: usize = 80;

/// The comment, at most `max_chars` characters long: lists are cut to 20 rows, then folded parts go from the
/// bottom up, then the part about the pull request, then findings, worst last. The marker, the headline
/// and the counts always stay; they need some 500 characters.
pub fn plan(plan: &Plan, strategy: &Strategy, max_chars: usize) -> String {
    let head = head(plan);
    let mut parts = violations(plan, strategy);
    parts.push(this_pull_request(plan, strategy));
    parts.push(drift(plan));
    parts.extend(warnings(plan, strategy));
    parts.extend(folded(plan, strategy));
    let foot = format!(
        "plan {} · config {} · inventory {} · apply with {}\n",
        code_span(&id(plan).short()),
        code_span(&plan.config.short()),
        code_span(&plan.inventory.short()),
        code_span("ccb apply")
    );
    parts.retain(|part| !part.is_empty());
    fit(&head, parts, &foot, max_chars)
}

/// Head, as many parts as fit in their order, and the foot, with a word on what was left out.
fn fit(head: &str, parts: Vec<String>, foot: &str, max_chars: usize) -> String {
    let length = |text: &str| text.chars().count();
    let left_out = |n: usize| {
        format!(
            "_{} left out for length: `ccb plan` prints everything._\n",
            words::count(n as u64, "part")
        )
    };
    let all =
        length(head) + parts.iter().map(|part| length(part) + 1).sum::<usize>() + length(foot);
    let mut out = head.to_owned();
    if all <= max_chars {
        for part in &parts {
            out += part;
            out.push('\n');
        }
        return out + foot;
    }
    let mut used = length(head) + length(&left_out(parts.len())) + length(foot) + 1;
    // From the bottom up: nothing below the first part that does not fit is shown.
    let shown = parts.iter().take_while(|part| {
        used += length(part) + 1;
        used <= max_chars
    });
    let mut count = 0;
    for part in shown {
        out += part;
        out.push('\n');
        count += 1;
    }
    out + &left_out(parts.len() - count) + "\n" + foot
}

/// The marker that finds the comment again, the headline and the counts.
fn head(plan: &Plan) -> String {
    let marker = |text: &str| -> String {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        };
        text.chars().take(NAME_MAX).map(safe).collect()
    };
    let environment: String = plan.environment.chars().take(NAME_MAX).collect();
    let (mark, state) = match plan.violations() {
        0 if plan.is_empty() => ("✅", "no changes".to_owned()),
        0 => ("✅", words::count(plan.steps.len() as u64, "step")),
        n => (
            "❌",
            format!("blocked by {}", words::count(n as u64, "violation")),
        ),
    };
    format!(
        "<!-- ccb:plan {}/{} {} -->\n### {mark} ccb plan, {}: {state}\n**{}**\n\n",
        marker(&plan.name),
        marker(&plan.environment),
        id(plan).short(),
        markdown(&environment),
        words::last_line(plan)
    )
}

/// What stops an apply: each a part of its own.
fn violations(plan: &Plan, strategy: &Strategy) -> Vec<String> {
    let blocking = plan.findings.iter().filter(|one| one.blocks());
    blocking
        .map(|one| format!("> [!CAUTION]\n> {}\n", finding(one, strategy)))
        .collect()
}

/// Settings of sources that are left as they are.
fn drift(plan: &Plan) -> String {
    if plan.drift.is_empty() {
        return String::new();
    }
    let rows = change_rows(&plan.drift);
    let rows = rows.iter().map(|row| format!("! {row}")).collect();
    format!(
        "#### Not as the plan file says, and left alone\n{}",
        fenced("diff", &cut(rows))
    )
}

fn warnings(plan: &Plan, strategy: &Strategy) -> Vec<String> {
    let warn = |text: String| format!("> [!WARNING]\n> {text}\n");
    let is_warning = |one: &&Finding| {
        !one.blocks() && one.waived.is_none() && matches!(one.level, Level::Warn | Level::Deny)
    };
    let found = plan.findings.iter().filter(is_warning);
    let unseen = plan.unseen.iter().map(|(name, why)| {
        format!(
            "destination {name} was not seen completely, so nothing is forgotten there: {}",
            markdown(why)
        )
    });
    found
        .map(|one| finding(one, strategy))
        .chain(unseen)
        .chain(plan.single_writer.iter().map(words::single_writer))
        .map(warn)
        .collect()
}

fn finding(finding: &Finding, strategy: &Strategy) -> String {
    let place = spot(strategy, &finding.address).map_or(String::new(), |spot| {
        format!(
            " {}",
            code_span(&format!("{}:{}", spot.file.path, spot.line))
        )
    });
    format!(
        "**{}**{place} {}. {}",
        markdown(&words::rule(finding)),
        markdown(&finding.message),
        code_span(&finding.help)
    )
}

/// What changed in the file, and the lines that this causes.
fn this_pull_request(plan: &Plan, strategy: &Strategy) -> String {
    let mut rows: Vec<String> = change_rows(&plan.changes)
        .into_iter()
        .map(|row| format!("! {row}"))
        .collect();
    for section in sections(plan, strategy) {
        let caused = section
            .lines
            .iter()
            .filter(|line| line.cause == Some(Cause::Config));
        rows.extend(caused.map(|line| diff_row(&section, line)));
    }
    if rows.is_empty() {
        return "#### This pull request\nchanges nothing that the plan would do.\n".to_owned();
    }
    format!("#### This pull request\n{}", fenced("diff", &cut(rows)))
}

/// The first rows, and how many more there are.
fn cut(mut rows: Vec<String>) -> String {
    if let Some(more) = rows.len().checked_sub(ROWS_MAX).filter(|more| *more > 0) {
        rows.truncate(ROWS_MAX);
        rows.push(format!("  and {more} more"));
    }
    rows.join("\n")
}

fn diff_row(section: &Section, line: &Line) -> String {
    let column = match line.sign {
        '+' | '>' => '+',
        '?' => '#',
        '~' => '!',
        '-' => '-',
        _ => ' ',
    };
    let name = section.title.rsplit('.').next().unwrap_or_default();
    let row = format!(
        "{column} {:<8} {name} {}  {}  {}",
        line.verb, line.what, line.why, line.note
    );
    row.trim_end().to_owned()
}

fn folded(plan: &Plan, strategy: &Strategy) -> Vec<String> {
    let mut due = Vec::new();
    for section in sections(plan, strategy) {
        let lines = section
            .lines
            .iter()
            .filter(|line| line.cause != Some(Cause::Config));
        due.extend(lines.map(|line| diff_row(&section, line)));
    }
    let title = format!("Due anyway at {} UTC", words::minute(plan.at.0));
    vec![
        forgets(plan),
        fold(&title, due.is_empty(), || fenced("diff", &cut(due))),
        soft_findings(plan, strategy),
        kept(plan, strategy),
    ]
}

fn fold(title: &str, is_empty: bool, body: impl FnOnce() -> String) -> String {
    if is_empty {
        return String::new();
    }
    format!(
        "<details><summary>{title}</summary>\n\n{}\n</details>\n",
        body()
    )
}

/// Every backup that is to be forgotten: a row each, with all its destinations.
fn forgets(plan: &Plan) -> String {
    let mut rows: BTreeMap<_, (String, Vec<&str>)> = BTreeMap::new();
    for step in &plan.steps {
        if let Action::Forget {
            component,
            backup,
            destination,
            started,
            method,
        } = &step.action
        {
            let cells = format!(
                "| {} | {component} {method} | {} | {}",
                backup.short(),
                words::minute(*started),
                was_kept_by(step)
            );
            let row = rows.entry((started, backup)).or_insert((cells, Vec::new()));
            row.1.push(destination.as_str());
        }
    }
    let title = format!("{} to forget", words::count(rows.len() as u64, "backup"));
    let is_empty = rows.is_empty();
    fold(&title, is_empty, || {
        let rows: Vec<String> = rows
            .into_values()
            .map(|(cells, places)| format!("{cells} | {} |", places.join(", ")))
            .collect();
        let more = rows.len().saturating_sub(ROWS_MAX);
        let mut out =
            "| backup | what | taken | why | copies |\n|---|---|---|---|---|\n".to_owned();
        for row in rows.iter().take(ROWS_MAX) {
            out += &format!("{row}\n");
        }
        if more > 0 {
            out += &format!("\nand {more} more\n");
        }
        out
    })
}

fn was_kept_by(step: &Step) -> String {
    match &step.because {
        Reason::NotKept {
            was: Some(keep), ..
        } => cell(&format!("was kept by {}", code_span(&keep.to_string()))),
        // Reasons carry backticks of their own for what stands in the plan file.
        other => cell(&words::reason(other)),
    }
}

fn soft_findings(plan: &Plan, strategy: &Strategy) -> String {
    let soft = plan
        .findings
        .iter()
        .filter(|one| one.waived.is_some() || matches!(one.level, Level::Info | Level::Off));
    let rows: Vec<String> = soft
        .map(|one| {
            let waived = one
                .waived
                .as_ref()
                .map_or(String::new(), |(until, reason)| {
                    format!(" Waived until {until}: {}", markdown(reason))
                });
            format!("- {}{waived}", finding(one, strategy))
        })
        .collect();
    fold("Notes and waivers", rows.is_empty(), || cut(rows) + "\n")
}

fn kept(plan: &Plan, strategy: &Strategy) -> String {
    let mut rows = Vec::new();
    for component in groups::components(plan, strategy) {
        let of: Vec<_> = plan
            .kept
            .iter()
            .filter(|kept| kept.component == *component)
            .collect();
        if !of.is_empty() {
            rows.push(kept_row(component, &of));
        }
    }
    let title = format!("{} kept", words::count(plan.kept.len() as u64, "backup"));
    fold(&title, rows.is_empty(), || fenced("", &cut(rows)))
}
