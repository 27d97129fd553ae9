//! The words that all outputs share: instants, sizes, counts, what a step does and why, why a backup stays.
//! Texts that come from elsewhere are escaped here, so that callers can not forget it.

use crate::model::ids::{BackupId, DestinationName};
use crate::model::records::Slot;
use crate::model::strategy::{Method, Tier};
use crate::model::units::Size;
use crate::plan::document::{Action, CheckSpec, Finding, KeptBecause, Plan, Reason, Step, Summary};
use crate::render::escape::line;
use jiff::{Timestamp, tz::TimeZone};
use std::collections::{BTreeMap, BTreeSet};

/// RFC 3339 to the minute: `2026-11-22T02:00Z`.
pub(crate) fn instant(at: Timestamp) -> String {
    utc(at, "%Y-%m-%dT%H:%MZ")
}

/// For running text: `2026-11-22 02:00`.
pub(crate) fn minute(at: Timestamp) -> String {
    utc(at, "%Y-%m-%d %H:%M")
}

/// The day: `2026-11-22`.
pub(crate) fn day(at: Timestamp) -> String {
    utc(at, "%Y-%m-%d")
}

/// The time of day, for lines of a run: `02:20:01`.
pub(crate) fn clock(at: Timestamp) -> String {
    utc(at, "%H:%M:%S")
}

fn utc(at: Timestamp, format: &str) -> String {
    at.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// `1 backup`, `12 backups`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// What must be known of a destination whose store creates over what is there.
pub(crate) fn single_writer(name: &DestinationName) -> String {
    format!(
        "destination {name} does not refuse to create what is there already: let no two runs write to it at once"
    )
}

/// An estimate: `~38.0 MiB`.
pub(crate) fn about(bytes: u64) -> String {
    format!("~{}", Size(bytes))
}

/// A size: `38.0 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    Size(bytes).to_string()
}

/// An age as people say it, in one unit: `12m`, `3h`, `2d`.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Milliseconds as people say them: `0.4s`, `46s`, `1m54s`, `2h03m`.
pub(crate) fn took(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{seconds}.{}s", ms % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// The sign of a step.
pub(crate) fn sign(action: &Action) -> char {
    match action {
        Action::Initialize { .. } | Action::Configure { .. } => '~',
        Action::BackUp { .. } => '+',
        Action::Copy { .. } | Action::Export { .. } => '>',
        Action::Verify { .. } | Action::Inspect { .. } => '?',
        Action::Forget { .. } | Action::Prune { .. } => '-',
    }
}

/// A check with its parameters: `integrity 10%`, `restore-test into temporary-database`.
pub(crate) fn check_spec(spec: &CheckSpec) -> String {
    let word = spec.as_str();
    match spec {
        CheckSpec::Integrity { sample } => format!("{word} {sample}"),
        CheckSpec::RestoreTest { into, files } => {
            let files = files.map_or(String::new(), |n| format!(", {}", count(n.into(), "file")));
            format!("{word} into {}{files}", into.as_str())
        }
        _ => word.to_owned(),
    }
}

/// `daily 2026-11-22T02:00Z`.
pub(crate) fn slot(slot: &Slot) -> String {
    format!("{} {}", slot.schedule, instant(slot.at))
}

/// `daily, weekly`.
pub(crate) fn tiers(tiers: &[Tier]) -> String {
    let words: Vec<&str> = tiers.iter().map(|tier| tier.as_str()).collect();
    words.join(", ")
}

/// What is known of existing backups: method and when each was taken, where the plan mentions them.
pub(crate) fn facts(plan: &Plan) -> BTreeMap<BackupId, (Method, Timestamp)> {
    let kept = plan.kept.iter().map(|k| (k.backup, (k.method, k.started)));
    let held = plan.held.iter().map(|h| (h.backup, (h.method, h.started)));
    held.chain(kept).collect()
}

/// What one step does, after its verb: `dump of postgres -> primary`, `9c41d7e0 -> offsite`.
pub(crate) fn object(plan: &Plan, step: &Step) -> String {
    match &step.action {
        Action::Initialize { destination } => format!("repository at {destination}"),
        Action::BackUp {
            component,
            method,
            destination,
            ..
        } => format!("{component} {method} -> {destination}"),
        Action::Copy {
            component,
            backup: which,
            to,
            ..
        } => format!("{component} {} -> {to}", plan.name_of(which)),
        Action::Verify {
            component,
            backup: which,
            destination,
            check,
        } => format!(
            "{component} {}: {} at {destination}",
            check_spec(check),
            plan.name_of(which)
        ),
        Action::Export {
            component,
            backup: which,
            to,
            kind,
            ..
        } => format!(
            "{component} {} as {} -> {to}",
            plan.name_of(which),
            kind.as_str()
        ),
        Action::Configure { component, .. } => format!("{component} settings"),
        Action::Inspect { component } => component.to_string(),
        Action::Forget {
            component,
            backup,
            destination,
            ..
        } => format!("{component} {} at {destination}", backup.short()),
        Action::Prune { destination, .. } => format!("{destination}"),
    }
}

/// Why a step is there, in a few words.
pub(crate) fn reason(reason: &Reason) -> String {
    match reason {
        Reason::NoRepository => "the destination has no repository".to_owned(),
        Reason::Due { slots, .. } => slots.iter().map(slot).collect::<Vec<_>>().join(", "),
        Reason::Requested => "asked for".to_owned(),
        Reason::NewCopy => "every backup of a run goes there".to_owned(),
        Reason::CopyMissing { last_error: None } => "the copy is missing".to_owned(),
        Reason::CopyMissing {
            last_error: Some((at, error)),
        } => format!("last error: {}, {}", line(error), minute(*at)),
        Reason::AfterBackup => "after every backup".to_owned(),
        Reason::CheckDue { last: None, every } => format!("never done, every {every}"),
        Reason::CheckDue {
            last: Some(last),
            every,
        } => format!("last {}, every {every}", day(*last)),
        Reason::ExportDue { tier: None } => "export".to_owned(),
        Reason::ExportDue { tier: Some(tier) } => format!("export {}", tier.as_str()),
        Reason::Differs => "not as the plan file says".to_owned(),
        Reason::LookDue => "looked at when its schedule says so".to_owned(),
        Reason::NotKept { was: None, .. } => "no rule keeps it".to_owned(),
        Reason::NotKept {
            was: Some(keep),
            ends_at: None,
        } => format!("was kept by `{keep}`, no rule keeps it now"),
        Reason::NotKept {
            was: Some(keep),
            ends_at: Some(at),
        } => format!("was kept by `{keep}`, which ends at {} now", day(*at)),
        Reason::Expired { cap } => format!("older than `expire {cap}`"),
        Reason::NotStoredHere => "the destination is not in `store` any longer".to_owned(),
        Reason::Garbage => "nothing needs it, and its time in the trash is over".to_owned(),
    }
}

/// Why a backup stays.
pub(crate) fn kept_because(because: &KeptBecause) -> String {
    match because {
        KeptBecause::Rule { keep, bucket: None } => format!("`{keep}`"),
        KeptBecause::Rule {
            keep,
            bucket: Some(bucket),
        } => format!("`{keep}`: {}", line(bucket)),
        KeptBecause::NoRules => "the component has no rules, so everything stays".to_owned(),
        KeptBecause::Newest => "the newest complete one of its method".to_owned(),
        KeptBecause::Hold { by, reason } => {
            format!("held by {}: \"{}\"", line(by), line(reason))
        }
        KeptBecause::Pitr { back } => format!("`pitr {back}` needs it"),
        KeptBecause::BaseNeedsIt { base } => {
            format!("the base of {} restores nothing without it", instant(*base))
        }
        KeptBecause::Until { keep } => format!("`{keep}`: that has not happened yet"),
        KeptBecause::CopyInFlight => "a copy of it is being made".to_owned(),
        KeptBecause::NothingNewer => "no newer backup is made and verified".to_owned(),
        KeptBecause::NotSeen { destination } => {
            format!("destination {destination} was not seen completely")
        }
        KeptBecause::LastVerified => "the last verified one".to_owned(),
        KeptBecause::Incomplete => "incomplete, and nothing complete is newer".to_owned(),
        KeptBecause::FutureDated => "dated in the future".to_owned(),
        KeptBecause::NotManaged => "its component is disabled or not in the plan file".to_owned(),
        KeptBecause::Locked { until } => format!("locked until {}", instant(*until)),
    }
}

/// The word of what keeps a backup, and where it stands in a list.
pub(crate) fn keeper(because: &KeptBecause) -> (u8, &'static str) {
    match because {
        KeptBecause::Rule { keep, .. } | KeptBecause::Until { keep } => {
            let order = ["last", "hourly", "daily", "weekly", "monthly", "yearly"];
            let nth = order.iter().position(|word| *word == keep.word());
            (nth.unwrap_or(order.len()) as u8, keep.word())
        }
        KeptBecause::Pitr { .. } => (6, "pitr"),
        KeptBecause::BaseNeedsIt { .. } => (6, "of a base"),
        KeptBecause::NoRules => (7, "without rules"),
        KeptBecause::Newest => (8, "newest"),
        KeptBecause::LastVerified => (9, "last verified"),
        KeptBecause::Hold { .. } => (10, "held"),
        KeptBecause::Locked { .. } => (11, "locked"),
        KeptBecause::CopyInFlight => (12, "being copied"),
        KeptBecause::NothingNewer => (13, "with nothing newer"),
        KeptBecause::NotSeen { .. } => (14, "where not all was seen"),
        KeptBecause::Incomplete => (15, "incomplete"),
        KeptBecause::FutureDated => (16, "dated in the future"),
        KeptBecause::NotManaged => (17, "not managed"),
    }
}

/// The rule of a finding as people cite it: `CCB202 copies`.
pub(crate) fn rule(finding: &Finding) -> String {
    format!("{} {}", line(&finding.rule), line(&finding.name))
}

/// The last line of a plan. It always has all the counts; tools look for how it begins.
pub(crate) fn last_line(plan: &Plan) -> String {
    let blocked = match plan.violations() {
        0 => String::new(),
        n => format!(" Blocked by {}.", count(n as u64, "violation")),
    };
    if plan.is_empty() && !plan.drift.is_empty() {
        let left = match plan.drift.len() {
            1 => "1 setting is not as the plan file says, and is left alone".to_owned(),
            n => format!("{n} settings are not as the plan file says, and are left alone"),
        };
        return format!("No changes. {left}.{blocked}");
    }
    if plan.is_empty() {
        return format!("No changes. The inventory matches the plan.{blocked}");
    }
    let counts = all_counts(&plan.summary);
    let parts: Vec<String> = counts.map(|(n, what)| format!("{n} {what}")).to_vec();
    format!("Plan: {}.{blocked}", parts.join(", "))
}

/// Every count of a plan, in the order in which people read them.
fn all_counts(summary: &Summary) -> [(u64, &'static str); 8] {
    [
        (summary.back_up, "to back up"),
        (summary.copy, "to copy"),
        (summary.verify, "to verify"),
        (summary.export, "to export"),
        (summary.change, "to change"),
        (summary.forget, "to forget"),
        (summary.prune, "to prune"),
        (summary.held, "held"),
    ]
}

/// What is to be done, without what is not: `1 to back up`, `2 to copy`.
pub(crate) fn counts(summary: &Summary) -> Vec<String> {
    let counts = all_counts(&Summary {
        held: 0,
        ..*summary
    });
    let some = counts.into_iter().filter(|(n, _)| *n > 0);
    some.map(|(n, what)| format!("{n} {what}")).collect()
}

/// Days as people list them: three or more in a row become a range.
pub(crate) fn days(days: &BTreeSet<jiff::civil::Date>) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = days.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|next| last.tomorrow().ok() == Some(*next)) {
            last = next;
        }
        if first == last {
            out.push(first.to_string());
        } else if first.tomorrow().ok() == Some(last) {
            out.extend([first.to_string(), last.to_string()]);
        } else {
            out.push(format!("{first}..{last}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::render::words::{days, took};

    #[test]
    fn three_days_in_a_row_are_a_range() {
        let all = [
            "2026-10-24",
            "2026-10-26",
            "2026-10-27",
            "2026-10-28",
            "2026-11-06",
            "2026-11-07",
        ];
        let all = all.iter().map(|day| day.parse().unwrap()).collect();
        assert_eq!(
            days(&all),
            [
                "2026-10-24",
                "2026-10-26..2026-10-28",
                "2026-11-06",
                "2026-11-07"
            ]
        );
    }

    #[test]
    fn durations_have_two_parts_at_most() {
        let table = [
            (430, "0.4s"),
            (46_900, "46s"),
            (114_000, "1m54s"),
            (7_380_000, "2h03m"),
        ];
        for (ms, text) in table {
            assert_eq!(took(ms), text);
        }
    }
}
