//! What a rule means, and why a backup stays.

use crate::model::records::{Evidence, Manifest};
use crate::model::rules::{Rule, When};
use crate::model::strategy::{Level, Preset};
use crate::model::units::Size;
use crate::plan::document::KeptBecause;
use crate::render::Look;
use crate::render::escape::line;
use crate::render::paint::Tint;
use crate::render::words;

/// The page of a rule: what it says, why it exists, what to do, how hard it is where.
pub fn rule(rule: &Rule, look: &Look) -> String {
    let level = |preset| level(rule.level(Some(preset)));
    let when: Vec<&str> = rule.when.iter().map(|when| needs(*when)).collect();
    format!(
        "{}\n  {}\n\nwhy:      {}\nfix:      {}\nlevel:    production {}, staging {}, development {}\n\
         checked:  {}\nwaivable: {}\n",
        look.paint(Tint::Bold, &format!("{} {}", rule.id, rule.name)),
        rule.message,
        rule.reason,
        rule.fix,
        level(Preset::Production),
        level(Preset::Staging),
        level(Preset::Development),
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

/// What a backup is, what was proved of it, and why it stays.
pub fn backup(
    manifest: &Manifest,
    because: &[KeptBecause],
    evidence: &[&Evidence],
    look: &Look,
) -> String {
    let title = format!(
        "{} {} {}",
        manifest.id.short(),
        manifest.component,
        manifest.method
    );
    let slots: Vec<String> = manifest.slots.iter().map(words::slot).collect();
    let mut out = format!(
        "{}\n  taken {} on {}, for {}\n  {} files, {}, {} stored{}\n",
        look.paint(Tint::Bold, &title),
        words::instant(manifest.started),
        line(&manifest.host),
        if slots.is_empty() {
            "a request".to_owned()
        } else {
            slots.join(", ")
        },
        manifest.stats.files,
        Size(manifest.stats.bytes),
        Size(manifest.stats.stored_bytes),
        if manifest.complete {
            ""
        } else {
            ", incomplete"
        }
    );
    out += "\nstays because\n";
    for one in because {
        out += &format!("  {}\n", words::kept_because(one));
    }
    if because.is_empty() {
        out += "  nothing keeps it: the next apply forgets it\n";
    }
    out += "\nverified\n";
    for one in evidence {
        out += &evidence_row(one);
    }
    if evidence.is_empty() {
        out += "  never\n";
    }
    out
}

fn evidence_row(one: &Evidence) -> String {
    format!(
        "  {}  {:<12}  {:<6}  at {}  {}\n",
        words::instant(one.at),
        words::check_word(one.check),
        if one.passed { "passed" } else { "FAILED" },
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
