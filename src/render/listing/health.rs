//! Whether backups are as new as their schedules ask, and whether a repository is sound.

use crate::model::ids::{BackupId, ComponentName, DestinationName, ScheduleName};
use crate::model::records::Check;
use crate::model::units::Period;
use crate::render::Look;
use crate::render::escape::line;
use crate::render::paint::Tint;
use crate::render::table::Table;
use crate::render::words;
use jiff::Timestamp;

/// How one schedule of one component stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What.
    pub component: ComponentName,
    /// Which schedule; `None`: no schedule asks for anything.
    pub schedule: Option<ScheduleName>,
    /// The newest good backup, and when it was taken.
    pub newest: Option<(BackupId, Timestamp)>,
    /// How old that is.
    pub age: Option<Period>,
    /// When one was owed for the last time.
    pub due: Option<Timestamp>,
    /// Whether it is later than its window allows.
    pub late: bool,
    /// Copies that there are, and that `store` asks for.
    pub copies: (usize, usize),
    /// The strongest check that the newest one passed, and when.
    pub verified: Option<(Check, Timestamp)>,
}

impl Status {
    /// The one word for it: `ok`, `late`, `missing`, `copies`.
    pub fn word(&self) -> &'static str {
        match self {
            _ if self.late && self.newest.is_none() => "missing",
            _ if self.late => "late",
            _ if self.newest.is_some() && self.copies.0 < self.copies.1 => "copies",
            _ => "ok",
        }
    }
}

/// A row for each, then destinations that were not seen completely, then `OK` or what is not.
pub fn status(rows: &[Status], unseen: &[(DestinationName, String)], look: &Look) -> String {
    let mut table = Table::new(&[
        "",
        "component",
        "schedule",
        "newest",
        "taken",
        ">age",
        "due",
        "copies",
        "verified",
    ]);
    for row in rows {
        let newest = row.newest.map(|(id, at)| (id.short(), words::instant(at)));
        let (id, taken) = newest.unwrap_or_else(|| ("none".to_owned(), String::new()));
        let verified = row.verified.map_or("never".to_owned(), |(check, at)| {
            format!("{} {}", words::check_word(check), words::day(at))
        });
        table.row(vec![
            row.word().to_owned(),
            row.component.to_string(),
            row.schedule
                .as_ref()
                .map_or("-".to_owned(), ToString::to_string),
            id,
            taken,
            row.age.map_or(String::new(), |age| age.to_string()),
            row.due.map_or(String::new(), words::instant),
            format!("{}/{}", row.copies.0, row.copies.1),
            verified,
        ]);
    }
    let mut out = table.render(look);
    for (name, why) in unseen {
        let word = look.paint(Tint::Yellow, "Warning:");
        out += &format!(
            "{word} destination {name} was not seen completely: {}\n",
            line(why)
        );
    }
    let bad = rows.iter().filter(|row| row.word() != "ok").count();
    out + &match (bad, unseen.len()) {
        (0, 0) => {
            look.paint(
                Tint::Green,
                "OK: everything is as new as its schedule asks.",
            ) + "\n"
        }
        (0, _) => look.paint(Tint::Yellow, "Unknown: not everything was seen.") + "\n",
        (n, _) => {
            look.paint(
                Tint::BoldRed,
                &format!("NOT OK: {n} of {} need attention.", rows.len()),
            ) + "\n"
        }
    }
}

/// What a check of one repository found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Which.
    pub destination: DestinationName,
    /// What was looked at, a few words: `12 backups, 340 packs, 34 of them read whole`.
    pub looked_at: String,
    /// Keys of what is damaged or missing, with why.
    pub damaged: Vec<(String, String)>,
    /// Backups that can not be restored in full: which, and the first paths that are lost.
    pub hit: Vec<(BackupId, ComponentName, Vec<String>, u64)>,
}

/// What was looked at and what is wrong, by destination; the last line says whether all is sound.
pub fn checked(all: &[Checked], look: &Look) -> String {
    let mut out = String::new();
    for one in all {
        out += &format!(
            "destination.{}: {}\n",
            one.destination,
            line(&one.looked_at)
        );
        for (key, why) in &one.damaged {
            out += &format!(
                "  {} {}: {}\n",
                look.paint(Tint::BoldRed, "damaged"),
                line(key),
                line(why)
            );
        }
        for (backup, component, paths, count) in &one.hit {
            out += &format!(
                "  {} {} {component}: {} can not be restored\n",
                look.paint(Tint::BoldRed, "hit"),
                backup.short(),
                words::count(*count, "path")
            );
            for path in paths {
                out += &format!("    {}\n", line(path));
            }
        }
    }
    let damaged: usize = all.iter().map(|one| one.damaged.len()).sum();
    let hit: usize = all.iter().map(|one| one.hit.len()).sum();
    out + &match (damaged, hit) {
        (0, 0) => "No damage found.\n".to_owned(),
        _ => format!(
            "{} damaged or missing, {} hit. `ccb restore --from` reads another destination's copy.\n",
            words::count(damaged as u64, "object"),
            words::count(hit as u64, "backup")
        ),
    }
}
