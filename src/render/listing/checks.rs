//! What checks found: of whole repositories (`ccb check`), and of backups (`ccb verify`).

use crate::model::ids::{BackupId, ComponentName, DestinationName};
use crate::model::records::Check;
use crate::render::Look;
use crate::render::escape::line;
use crate::render::output::Document;
use crate::render::paint::Tint;
use crate::render::words;
use schemars::JsonSchema;
use serde::Serialize;

/// What a check of repositories found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Checked {
    /// Whether nothing was found.
    pub clean: bool,
    /// 0 all objects are there, 1 their structure, 2 a part of the bytes, 3 every byte.
    pub level: u8,
    /// In the order of the file.
    pub repositories: Vec<CheckedRepository>,
}

impl Document for Checked {
    const KIND: &'static str = "check";
}

/// What a check of one repository found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CheckedRepository {
    /// Which.
    pub destination: DestinationName,
    /// Backups, those in the trash included.
    pub backups: u64,
    /// Packs that there are.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Packs of which every byte was read.
    pub packs_read: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// What was healed before; none: healing was not asked for, or there was nothing to heal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healed: Option<HealedRepository>,
    /// What is damaged or missing.
    pub damaged: Vec<DamagedObject>,
    /// Backups that can not be restored in full.
    pub hit: Vec<HitBackup>,
}

/// What was stored again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct HealedRepository {
    /// What was damaged or missing.
    pub damaged: Vec<DamagedObject>,
    /// Destinations that were read besides this one.
    pub from: Vec<DestinationName>,
    /// Blobs that were stored again.
    pub blobs: u64,
    /// What they took.
    pub stored_bytes: u64,
    /// Damaged packs that were condemned; a prune removes them.
    pub condemned_packs: u64,
    /// Damaged index segments that were removed; the packs say the same.
    pub removed_segments: u64,
}

/// An object that is damaged or missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DamagedObject {
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// A backup that is hit by damage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HitBackup {
    /// Which.
    pub backup: BackupId,
    /// What of.
    pub component: ComponentName,
    /// The first few paths that can not be restored; a directory stands for all that is in it.
    pub paths: Vec<String>,
    /// How many there are.
    pub path_count: u64,
}

/// What was looked at and what is wrong, by destination; the last line says whether all is sound.
pub fn checked(all: &Checked, look: &Look) -> String {
    let mut out = String::new();
    for one in &all.repositories {
        out += &repository(one, look);
    }
    let count = |of: fn(&CheckedRepository) -> usize| -> u64 {
        all.repositories.iter().map(|one| of(one) as u64).sum()
    };
    out + &match (count(|one| one.damaged.len()), count(|one| one.hit.len())) {
        (0, 0) => "No damage found.\n".to_owned(),
        (damaged, hit) => format!(
            "{} damaged or missing, {} hit. `ccb check --heal` stores again what another destination has whole; `ccb restore --from` reads its copy.\n",
            words::count(damaged, "object"),
            words::count(hit, "backup")
        ),
    }
}

fn repository(one: &CheckedRepository, look: &Look) -> String {
    let read = match one.packs_read {
        0 => "none of them read".to_owned(),
        all if all == one.packs => "every byte read".to_owned(),
        some => format!("{some} of them read ({})", words::size(one.read_bytes)),
    };
    let mut out = format!(
        "destination.{}: {}, {} of {}, {read}\n",
        one.destination,
        words::count(one.backups, "backup"),
        words::count(one.packs, "pack"),
        words::size(one.pack_bytes),
    );
    if let Some(healed) = &one.healed {
        out += &repaired(healed, look);
    }
    for DamagedObject { key, why } in &one.damaged {
        let word = look.paint(Tint::BoldRed, "damaged");
        out += &format!("  {word} {}: {}\n", line(key), line(why));
    }
    for hit in &one.hit {
        out += &format!(
            "  {} {} of component.{}: {} can not be restored\n",
            look.paint(Tint::BoldRed, "hit"),
            hit.backup.short(),
            hit.component,
            words::count(hit.path_count, "path")
        );
        for path in &hit.paths {
            out += &format!("    {}\n", line(path));
        }
        let shown = hit.paths.len() as u64;
        if hit.path_count > shown {
            out += &format!("    and {} more\n", hit.path_count - shown);
        }
    }
    out
}

fn repaired(healed: &HealedRepository, look: &Look) -> String {
    let mut out = String::new();
    for DamagedObject { key, why } in &healed.damaged {
        let word = look.paint(Tint::Yellow, "was damaged");
        out += &format!("  {word} {}: {}\n", line(key), line(why));
    }
    let from: Vec<String> = healed
        .from
        .iter()
        .map(|name| format!("destination.{name}"))
        .collect();
    let from = match from.is_empty() {
        true => "what is whole here, for no other destination is open".to_owned(),
        false => format!("what is whole here and in {}", from.join(", ")),
    };
    out += &format!(
        "  stored again, from {from}: {} ({})\n",
        words::count(healed.blobs, "blob"),
        words::size(healed.stored_bytes)
    );
    if healed.condemned_packs > 0 {
        out += &format!(
            "  {} condemned: nothing refers to it any more, and `ccb prune` removes it after its grace\n",
            words::count(healed.condemned_packs, "damaged pack")
        );
    }
    if healed.removed_segments > 0 {
        out += &format!(
            "  {} removed; the packs say the same\n",
            words::count(healed.removed_segments, "damaged index segment")
        );
    }
    out
}

/// What checks of backups found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verified {
    /// Whether every check was made and passed.
    pub ok: bool,
    /// In the order in which they were planned.
    pub checks: Vec<VerifiedCopy>,
    /// What could not be checked.
    pub not_checked: Vec<NotChecked>,
}

impl Document for Verified {
    const KIND: &'static str = "verified";
}

/// What one check of one copy found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerifiedCopy {
    /// What of.
    pub component: ComponentName,
    /// Which backup.
    pub backup: BackupId,
    /// Which copy.
    pub destination: DestinationName,
    /// Which check.
    pub check: Check,
    /// Whether it passed.
    pub passed: bool,
    /// In words.
    pub message: String,
}

/// What could not be checked, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NotChecked {
    /// What of.
    pub component: ComponentName,
    /// Which backup; none: there is none.
    pub backup: Option<BackupId>,
    /// Where.
    pub destination: Option<DestinationName>,
    /// Which check; none: all of them.
    pub check: Option<Check>,
    /// Why.
    pub why: String,
}

/// A line for each check, then what could not be checked; the last line says what it all came to.
pub fn verified(all: &Verified, look: &Look) -> String {
    let mut out = String::new();
    let width = all.checks.iter().map(|one| copy_words(one).chars().count());
    let width = width.max().unwrap_or(0);
    for one in &all.checks {
        let (word, tint) = match one.passed {
            true => ("passed", Tint::Green),
            false => ("FAILED", Tint::BoldRed),
        };
        out += &format!(
            "{}  {:<12}  {:<width$}  {}\n",
            look.paint(tint, word),
            one.check.as_str(),
            copy_words(one),
            line(&one.message)
        );
    }
    for one in &all.not_checked {
        out += &format!(
            "{} {}\n",
            look.paint(Tint::Yellow, "not checked:"),
            left_out(one)
        );
    }
    let passed = all.checks.iter().filter(|one| one.passed).count();
    let failed = all.checks.len() - passed;
    let counts = format!(
        "{} passed, {failed} failed, {} could not be made.",
        words::count(passed as u64, "check"),
        all.not_checked.len()
    );
    let tint = match (failed, all.not_checked.len()) {
        (0, 0) => Tint::Green,
        (0, _) => Tint::Yellow,
        _ => Tint::BoldRed,
    };
    out + &look.paint(tint, &counts) + "\n"
}

fn copy_words(one: &VerifiedCopy) -> String {
    format!(
        "{} {} at {}",
        one.component,
        one.backup.short(),
        one.destination
    )
}

fn left_out(one: &NotChecked) -> String {
    let mut words = format!("component.{}", one.component);
    if let Some(backup) = one.backup {
        words += &format!(" {}", backup.short());
    }
    if let Some(destination) = &one.destination {
        words += &format!(" at {destination}");
    }
    if let Some(check) = one.check {
        words += &format!(", {}", check.as_str());
    }
    format!("{words}: {}", line(&one.why))
}
