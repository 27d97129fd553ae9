//! What a rule means, and why a backup stays or goes.

use crate::model::ids::DestinationName;
use crate::model::records::{Evidence, Manifest};
use crate::model::rules::{Rule, When};
use crate::model::strategy::{Level, Preset, Tier};
use crate::plan::document::{KeptBecause, Reason};
use crate::plan::explain::{Explained, Forget};
use crate::render::Look;
use crate::render::escape::line;
use crate::render::output::Document;
use crate::render::paint::Tint;
use crate::render::words;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A rule, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleExplained {
    /// `CCB202`.
    pub id: &'static str,
    /// `copies`.
    pub name: &'static str,
    /// What it says when it is broken.
    pub message: &'static str,
    /// Why it exists.
    pub reason: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// How hard it is, by environment.
    pub levels: BTreeMap<&'static str, Level>,
    /// Whether a plan file can make an exception.
    pub waivable: bool,
}

impl Document for RuleExplained {
    const KIND: &'static str = "rule";
}

const PRESETS: [(&str, Preset); 3] = [
    ("production", Preset::Production),
    ("staging", Preset::Staging),
    ("development", Preset::Development),
];

impl From<&Rule> for RuleExplained {
    fn from(rule: &Rule) -> Self {
        let level = |(name, preset)| (name, rule.level(Some(preset)));
        Self {
            id: rule.id,
            name: rule.name,
            message: rule.message,
            reason: rule.reason,
            fix: rule.fix,
            levels: PRESETS.into_iter().map(level).collect(),
            waivable: rule.waivable,
        }
    }
}

/// The page of a rule: what it says, why it exists, what to do, how hard it is where.
pub fn rule(rule: &Rule, look: &Look) -> String {
    let level = |(name, preset)| format!("{name} {}", level(rule.level(Some(preset))));
    let when: Vec<&str> = rule.when.iter().map(|when| needs(*when)).collect();
    format!(
        "{}\n  {}\n\nwhy:      {}\nfix:      {}\nlevel:    {}\nchecked:  {}\nwaivable: {}\n",
        look.paint(Tint::Bold, &format!("{} {}", rule.id, rule.name)),
        rule.message,
        rule.reason,
        rule.fix,
        PRESETS.map(level).join(", "),
        when.join(", "),
        if rule.waivable {
            format!(
                "waive \"{}\" for=\"ADDRESS\" until=\"YYYY-MM-DD\" reason=\"...\"",
                rule.name
            )
        } else {
            "no".to_owned()
        }
    )
}

/// A backup and what the plan says of it, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BackupExplained {
    /// What it is.
    pub manifest: Manifest,
    /// `kept`, `forgotten by the next apply`, `in the trash`, in a word.
    pub fate: Fate,
    /// Where it can be read.
    pub copies: Vec<DestinationName>,
    /// Where copies are to be made.
    pub copies_missing: Vec<DestinationName>,
    /// Every rule and hold that keeps it.
    pub kept_because: Vec<KeptBecause>,
    /// What holds it back although no rule keeps it.
    pub held_back_because: Option<KeptBecause>,
    /// What calendar rules call it, finest first.
    pub tiers: Vec<Tier>,
    /// Where the next apply forgets it, and why.
    pub forgets: BTreeMap<DestinationName, Reason>,
    /// Where it is in the trash, and until when it can surely be brought back.
    pub trash: BTreeMap<DestinationName, Timestamp>,
    /// Every result of a check, oldest first.
    pub evidence: Vec<Evidence>,
}

/// What becomes of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It stays, at every destination that has it.
    Kept,
    /// The next apply forgets it at some destinations; at others it stays.
    ForgottenInPart,
    /// The next apply forgets it.
    Forgotten,
    /// It was forgotten, and can be brought back.
    Trashed,
}

impl Document for BackupExplained {
    const KIND: &'static str = "backup";
}

impl From<&Explained<'_>> for BackupExplained {
    fn from(one: &Explained<'_>) -> Self {
        let names = |names: &[&DestinationName]| names.iter().map(|name| (*name).clone()).collect();
        let forgets = one.forgets.iter();
        let trash = one.trash.iter();
        Self {
            manifest: one.manifest.clone(),
            fate: fate(one),
            copies: names(&one.copies),
            copies_missing: names(&one.missing),
            kept_because: one.kept.iter().map(|because| (*because).clone()).collect(),
            held_back_because: one.held_back.cloned(),
            tiers: one.tiers.clone(),
            forgets: forgets
                .map(|forget| (forget.destination.clone(), forget.because.clone()))
                .collect(),
            trash: trash
                .map(|gone| (gone.destination.clone(), gone.until))
                .collect(),
            evidence: one.evidence.iter().map(|one| (*one).clone()).collect(),
        }
    }
}

fn fate(one: &Explained<'_>) -> Fate {
    match (one.copies.len(), one.forgets.len()) {
        (0, _) => Fate::Trashed,
        (_, 0) => Fate::Kept,
        (copies, forgets) if forgets < copies => Fate::ForgottenInPart,
        _ => Fate::Forgotten,
    }
}

/// What a backup is, why it stays or goes, where its copies are, and what was proved of it.
pub fn backup(one: &Explained<'_>, look: &Look) -> String {
    let manifest = one.manifest;
    let title = format!(
        "{} {} {}",
        manifest.id.short(),
        manifest.component,
        manifest.method
    );
    let mut out = look.paint(Tint::Bold, &title) + "\n" + &facts(manifest);
    out += "\nwhere\n";
    out += &places(one);
    out += "\nwhy\n";
    out += &reasons(one);
    if !one.holds.is_empty() {
        out += "\nholds\n";
    }
    for (at, by, reason, is_hold) in &one.holds {
        let word = if *is_hold { "held" } else { "released" };
        let quoted = match reason.is_empty() {
            true => String::new(),
            false => format!(": \"{}\"", line(reason)),
        };
        out += &format!(
            "  {}  {word} by {}{quoted}\n",
            words::instant(*at),
            line(by)
        );
    }
    out += "\nverified\n";
    for evidence in &one.evidence {
        out += &evidence_row(evidence, look);
    }
    if one.evidence.is_empty() {
        out += "  never\n";
    }
    out
}

fn facts(manifest: &Manifest) -> String {
    let slots: Vec<String> = manifest.slots.iter().map(words::slot).collect();
    let mut out = format!(
        "  taken {} on {}, for {}\n  {}, {}, {} stored{}\n",
        words::instant(manifest.started),
        line(&manifest.host),
        match slots.is_empty() {
            true => "a request".to_owned(),
            false => slots.join(", "),
        },
        words::count(manifest.stats.files, "file"),
        words::size(manifest.stats.bytes),
        words::size(manifest.stats.stored_bytes),
        match manifest.complete {
            true => String::new(),
            false => format!(", INCOMPLETE: {} left out", manifest.error_count),
        }
    );
    let tags: Vec<&str> = manifest.tags.iter().map(|tag| tag.as_str()).collect();
    if !tags.is_empty() {
        out += &format!("  tagged {}\n", tags.join(", "));
    }
    for error in manifest.errors.iter().take(10) {
        out += &format!(
            "  left out: {}: {}\n",
            line(&error.path),
            line(&error.message)
        );
    }
    out
}

fn places(one: &Explained<'_>) -> String {
    let mut out = String::new();
    for name in &one.copies {
        out += &format!("  {name}\n");
    }
    for name in &one.missing {
        out += &format!("  {name}: missing, the next apply copies it\n");
    }
    for gone in &one.trash {
        out += &format!(
            "  {}: in the trash since {}, `ccb undelete` brings it back until {}\n",
            gone.destination,
            words::instant(gone.since),
            words::instant(gone.until)
        );
        if !gone.reason.is_empty() {
            out += &format!("    forgotten because: {}\n", line(gone.reason));
        }
    }
    out
}

fn reasons(one: &Explained<'_>) -> String {
    let mut out = String::new();
    if !one.tiers.is_empty() {
        out += &format!("  kept as {}\n", words::tiers(&one.tiers));
    }
    for because in &one.kept {
        out += &format!("  stays: {}\n", words::kept_because(because));
    }
    if let Some(because) = one.held_back {
        out += "  no rule keeps it\n";
        out += &format!("  stays all the same: {}\n", words::kept_because(because));
    }
    for forget in &one.forgets {
        out += &forget_row(forget);
    }
    if out.is_empty() {
        out += "  no rule keeps it: it was forgotten\n";
    }
    out
}

fn forget_row(forget: &Forget<'_>) -> String {
    let mut needs: BTreeMap<&str, u64> = BTreeMap::new();
    for step in &forget.needs {
        *needs.entry(step.action.verb()).or_default() += 1;
    }
    let needs: Vec<String> = needs
        .iter()
        .map(|(verb, n)| format!("{n} {verb}"))
        .collect();
    let waits = match needs.is_empty() {
        true => String::new(),
        false => format!(", once these succeed: {}", needs.join(", ")),
    };
    format!(
        "  goes: the next apply forgets it at {}: {}{waits}\n",
        forget.destination,
        words::reason(forget.because)
    )
}

fn evidence_row(one: &Evidence, look: &Look) -> String {
    let (word, tint) = match one.passed {
        true => ("passed", Tint::Green),
        false => ("FAILED", Tint::BoldRed),
    };
    format!(
        "  {}  {:<12}  {}  at {}  {}\n",
        words::instant(one.at),
        one.check.as_str(),
        look.paint(tint, word),
        one.destination,
        line(&one.message)
    )
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Off => "off",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Deny => "deny",
    }
}

fn needs(when: When) -> &'static str {
    match when {
        When::Validate => "from the plan file alone",
        When::Plan => "with the inventory",
        When::Apply => "on what a run has made",
    }
}
