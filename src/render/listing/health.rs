//! Whether backups are as new as their schedules ask, and what needs attention.

use crate::model::units::{Period, Size};
use crate::plan::status::{ComponentStatus, Proof, ScheduleState, ScheduleStatus, Status};
use crate::render::Look;
use crate::render::escape::line;
use crate::render::output::Document;
use crate::render::paint::Tint;
use crate::render::table::Table;
use crate::render::words;

impl Document for Status {
    const KIND: &'static str = "status";
}

/// Schedules, components, what was not seen, what is due; the last line is `OK: …` or says what is not.
pub fn status(status: &Status, look: &Look) -> String {
    let title = format!(
        "{} / {}, {} UTC",
        line(&status.name),
        line(&status.environment),
        words::minute(status.at.0)
    );
    let last = status.last_apply.map_or("never applied".to_owned(), |at| {
        format!("last apply {} UTC", words::minute(at))
    });
    let mut out = format!("{}, {last}\n\n", look.paint(Tint::Bold, &title));
    out += &schedules(&status.schedules, look);
    out.push('\n');
    out += &components(&status.components, look);
    out.push('\n');
    for (name, unseen) in &status.unseen {
        let (word, tint) = match unseen.optional {
            true => ("Warning:", Tint::Yellow),
            false => ("Error:", Tint::BoldRed),
        };
        let word = look.paint(tint, word);
        let why = line(&unseen.why);
        out += &format!("{word} destination.{name} was not seen completely: {why}\n");
    }
    for component in &status.components {
        for words in &component.attention {
            let word = look.paint(Tint::BoldRed, "Error:");
            out += &format!(
                "{word} component.{}: {}\n",
                component.component,
                line(words)
            );
        }
        if let Some(error) = &component.last_error {
            out += &format!("  last error: {}\n", line(error));
        }
    }
    out + &due(status) + &last_line(status, look) + "\n"
}

fn schedules(rows: &[ScheduleStatus], look: &Look) -> String {
    let mut table = Table::new(&[
        "state",
        "component",
        "schedule",
        "newest",
        "taken",
        ">age",
        "slot",
        "next",
    ]);
    for row in rows {
        let instant = |at: Option<jiff::Timestamp>| at.map_or(String::new(), words::instant);
        let newest = match (row.newest, row.taken) {
            (Some(id), _) => id.short(),
            (None, Some(_)) => "looked at".to_owned(),
            (None, None) => "none".to_owned(),
        };
        let age = row.age_seconds.map_or(String::new(), words::age);
        table.row(vec![
            row.state.as_str().to_owned(),
            row.component.to_string(),
            row.schedule.to_string(),
            newest,
            instant(row.taken),
            age,
            instant(row.slot),
            instant(row.next),
        ]);
    }
    match rows.is_empty() {
        true => "No schedules.\n".to_owned(),
        false => table.render(look),
    }
}

fn components(rows: &[ComponentStatus], look: &Look) -> String {
    let mut table = Table::new(&[
        "component",
        ">backups",
        ">size",
        ">new",
        "last check",
        "restore test",
    ]);
    for row in rows {
        let test = match (&row.restore_test, row.restore_test_every) {
            (None, None) => "not asked for".to_owned(),
            (None, Some(every)) => format!("never, asked for {}", often(every)),
            (Some(test), None) => outcome(test),
            (Some(test), Some(every)) => format!("{}, asked for {}", outcome(test), often(every)),
        };
        let last = row.last_check.as_ref();
        let check = |proof: &Proof| format!("{} {}", proof.check.as_str(), outcome(proof));
        table.row(vec![
            row.component.to_string(),
            row.backups.to_string(),
            size(row.newest_bytes),
            size(row.newest_stored_bytes),
            last.map_or("never".to_owned(), check),
            test,
        ]);
    }
    table.render(look)
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or(String::new(), |bytes| Size(bytes).to_string())
}

fn often(every: Period) -> String {
    format!("every {every}")
}

fn outcome(proof: &Proof) -> String {
    let word = if proof.passed { "passed" } else { "FAILED" };
    format!("{word} {}", words::day(proof.at))
}

fn due(status: &Status) -> String {
    match words::counts(&status.due) {
        parts if parts.is_empty() => "Due now: nothing.\n".to_owned(),
        parts => format!("Due now: {}; `ccb plan` shows it.\n", parts.join(", ")),
    }
}

fn last_line(status: &Status, look: &Look) -> String {
    let late = |state: ScheduleState| status.schedules.iter().filter(|s| s.state == state).count();
    let counted = |number: usize, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let [missing, behind] = [ScheduleState::Missing, ScheduleState::Late].map(late);
    let blind = status
        .unseen
        .values()
        .filter(|unseen| !unseen.optional)
        .count();
    let unwell = status.components.iter().filter(|c| !c.attention.is_empty());
    let parts: Vec<String> = [
        counted(
            missing,
            "schedule has no backup",
            "schedules have no backup",
        ),
        counted(behind, "schedule is late", "schedules are late"),
        counted(
            unwell.count(),
            "component needs attention",
            "components need attention",
        ),
        counted(
            blind,
            "destination was not seen",
            "destinations were not seen",
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    if status.ok {
        let words = "OK: everything is as new as its schedule asks.";
        return look.paint(Tint::Green, words);
    }
    look.paint(Tint::BoldRed, &format!("NOT OK: {}.", parts.join(", ")))
}
