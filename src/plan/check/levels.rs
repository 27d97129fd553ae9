//! How hard a broken rule is: the level on its own policy line, else `set`, else the preset; then waivers.

use crate::model::ids::Address;
use crate::model::rules::{Rule, find};
use crate::model::strategy::{Level, Preset, Strategy, Waiver};
use crate::model::units::AsOf;
use crate::plan::check::{Broken, Hardness};
use crate::plan::document::Finding;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Days before its end from which on a waiver is announced.
const ANNOUNCED_DAYS: i32 = 14;

/// The finding for a broken rule, unless the rule is off.
pub(crate) fn finding(strategy: &Strategy, at: AsOf, broken: Broken) -> Option<Finding> {
    let rule = find(broken.rule).expect("rules that are checked stand in the catalogue");
    let level = level(strategy, rule, broken.hardness);
    let waived = rule
        .waivable
        .then(|| waiver(strategy, at, &broken))
        .flatten();
    (level != Level::Off).then(|| Finding {
        rule: rule.id.to_owned(),
        name: rule.name.to_owned(),
        level,
        address: broken.address,
        related: broken.related,
        message: broken.message,
        help: broken.help,
        waived: waived.map(|waiver| (waiver.until, waiver.reason.clone())),
    })
}

/// Waivers that have ended, and those that soon will (CCB309).
pub(crate) fn ended_waivers(strategy: &Strategy, at: AsOf) -> Vec<Broken> {
    let today = today(strategy, at);
    let waivers = strategy.policy.waivers.iter();
    waivers
        .filter_map(|waiver| {
            let Waiver {
                rule, for_, until, ..
            } = waiver;
            let left = today.until(*until).ok()?.get_days();
            let message = match left {
                ..0 => format!("waiver for {for_} ended {until}, {rule} applies again"),
                0..=ANNOUNCED_DAYS => {
                    format!("waiver for {for_} ends {until}, then {rule} applies again")
                }
                _ => return None,
            };
            let renewed = format!(
                "satisfy the rule, or renew it: waive \"{}\" for=\"{for_}\" until=\"...\" reason=\"...\"",
                find(rule).map_or(rule.as_str(), |rule| rule.name)
            );
            let hardness = if left < 0 {
                Hardness::AsRule
            } else {
                Hardness::AtMost(Level::Warn)
            };
            let broken = Broken::new("CCB309", waiver_line(strategy, waiver), message, renewed);
            Some(broken.related(for_.clone()).hardness(hardness))
        })
        .collect()
}

fn level(strategy: &Strategy, rule: &Rule, hardness: Hardness) -> Level {
    let policy = &strategy.policy;
    let preset = rule.level(policy.preset);
    if !rule.waivable {
        return preset;
    }
    let own = match rule.id {
        "CCB202" => policy.copies.as_ref().and_then(|m| m.level),
        "CCB203" => policy.offsite.as_ref().and_then(|m| m.level),
        "CCB206" => policy.restore_test.as_ref().and_then(|m| m.level),
        _ => None,
    };
    let asked = own.or_else(|| policy.levels.get(rule.id).copied());
    let strict = matches!(policy.preset, None | Some(Preset::Production));
    match hardness {
        Hardness::AsRule => asked.unwrap_or(preset),
        Hardness::AtMost(most) => asked.unwrap_or(preset).min(most),
        Hardness::InProduction(level) if strict => asked.unwrap_or(level),
        Hardness::InProduction(_) => asked.unwrap_or(preset),
    }
}

fn waiver<'a>(strategy: &'a Strategy, at: AsOf, broken: &Broken) -> Option<&'a Waiver> {
    let today = today(strategy, at);
    let about = |waiver: &Waiver| {
        let within = |address: &Address| address.is_within(&waiver.for_);
        within(&broken.address) || broken.related.as_ref().is_some_and(within)
    };
    strategy
        .policy
        .waivers
        .iter()
        .find(|w| w.rule == broken.rule && today <= w.until && about(w))
}

/// Waivers are written by id or by name; their line is known by what was written.
fn waiver_line(strategy: &Strategy, waiver: &Waiver) -> Address {
    let line = Address("policy.waive".to_owned());
    let named = find(&waiver.rule).map(|rule| line.child(rule.name));
    named
        .filter(|line| strategy.places.contains_key(line))
        .unwrap_or_else(|| line.child(&waiver.rule))
}

fn today(strategy: &Strategy, at: AsOf) -> Date {
    at.0.to_zoned(zone(strategy)).date()
}

/// The plan's zone, from the rules that ccb carries: every machine decides alike.
pub(crate) fn zone(strategy: &Strategy) -> TimeZone {
    // A zone that does not exist was refused when the plan file was read.
    let bundled = TimeZoneDatabase::bundled();
    bundled.get(&strategy.timezone).unwrap_or(TimeZone::UTC)
}
