//! Rules about whether backups keep being made, and whether somebody would hear if not: CCB207, 208, 209,
//! 211, 212, 311.

use crate::model::ids::{Address, BackupId};
use crate::model::inventory::Inventory;
use crate::model::strategy::{Component, Encryption, Event, Level, Notify, Strategy, Webhook};
use crate::model::units::Period;
use crate::plan::check::timing::interval;
use crate::plan::check::verification::all_of;
use crate::plan::check::{Broken, Hardness, active, backed_up, standing};
use crate::plan::document::Plan;
use crate::plan::failures::Streak;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Failures in a row that stop a plan in production.
const FAILURES_DENIED: u64 = 3;

pub(crate) fn check(strategy: &Strategy, inventory: &Inventory, plan: &Plan) -> Vec<Broken> {
    let mut broken = Vec::new();
    for component in backed_up(strategy) {
        broken.extend(stale(inventory, component, plan.at.0));
    }
    for component in active(strategy) {
        for doing in [("back up", "backing up"), ("inspect", "looking at")] {
            broken.extend(failing(doing, strategy, inventory, component));
        }
    }
    for encryption in &strategy.encryptions {
        broken.extend(old_key(strategy, inventory, encryption, plan.at.0));
    }
    broken.extend(from_the_future(strategy, inventory, plan.at.0));
    broken
}

/// CCB211 and CCB212.
pub(crate) fn unheard(strategy: &Strategy) -> Vec<Broken> {
    let notify = &strategy.notify;
    let line = match notify.first() {
        Some(first) => Address("notify".to_owned()).child(&first.name),
        None => Address("plan".to_owned()),
    };
    let mut broken = Vec::new();
    if !notify.iter().any(hears_failures) {
        broken.push(Broken::new(
            "CCB211",
            line.clone(),
            "nobody hears of failures",
            "notify \"ops\" { healthchecks { url env=\"HEALTHCHECKS_PING_URL\" } }",
        ));
    }
    if notify.iter().all(|notify| notify.log.is_none()) {
        broken.push(Broken::new(
            "CCB212",
            line,
            "no `log` in `notify`",
            "notify \"ops\" { log file=\"/var/log/ccb/runs.jsonl\" }",
        ));
    }
    broken
}

fn hears_failures(notify: &Notify) -> bool {
    let webhook = |w: &Webhook| w.on.contains(&Event::Failure);
    notify.healthchecks.is_some()
        || notify.prometheus.is_some()
        || notify.webhooks.iter().any(webhook)
}

/// CCB207: by `presence fresh=`, and by each schedule, whose next window has passed.
fn stale(inventory: &Inventory, component: &Component, at: Timestamp) -> Option<Broken> {
    let of = Address::component(&component.name);
    let fresh = component.verify.presence.as_ref().and_then(|p| p.fresh);
    let by_schedule = component.schedules.iter().filter(|s| s.enabled);
    let by_schedule = by_schedule.filter_map(|schedule| {
        let every = interval(&schedule.timing)?;
        let limit = Period {
            seconds: every.seconds + schedule.window.seconds,
        };
        let address = of.child("schedule").child(&schedule.name);
        Some((address, Some(schedule.method), every, limit))
    });
    let by_check = fresh.map(|fresh| (of.child("verify").child("presence"), None, fresh, fresh));
    by_check
        .into_iter()
        .chain(by_schedule)
        .filter_map(|(address, method, every, limit)| {
            let newest = all_of(inventory, component)
                .map(|held| &held.manifest)
                .filter(|m| m.complete && m.started <= at)
                .filter(|m| method.is_none_or(|asked| m.method.satisfies(asked)))
                .map(|manifest| manifest.started)
                .max()?;
            (newest < limit.before(at)).then(|| {
                let hours = at.duration_since(newest).as_hours();
                let what = method.map_or("backup".to_owned(), |m| m.to_string());
                Broken::new(
                    "CCB207",
                    address,
                    format!("newest {what} of {of} is {hours} hours old, expected every {every}"),
                    "see what failed with `ccb status`, then `ccb apply`",
                )
            })
        })
        .next()
}

/// CCB208.
fn old_key(
    strategy: &Strategy,
    inventory: &Inventory,
    encryption: &Encryption,
    at: Timestamp,
) -> Option<Broken> {
    let limit = encryption.rotate_after?;
    let used = strategy
        .destinations
        .iter()
        .filter(|d| d.encrypt.as_ref() == Some(&encryption.name));
    let oldest = used
        .filter_map(|d| {
            inventory
                .destinations
                .get(&d.name)?
                .repository
                .as_ref()?
                .key_since
        })
        .min()?;
    (oldest < limit.before(at)).then(|| {
        let days = at.duration_since(oldest).as_hours() / 24;
        Broken::new(
            "CCB208",
            Address::encryption(&encryption.name).child("rotate-after"),
            format!(
                "key \"{}\" is {days} days old, it is to be changed after {limit}",
                encryption.name
            ),
            "ccb key rotate FILE",
        )
    })
}

/// CCB209.
fn failing(
    (verb, doing): (&str, &str),
    strategy: &Strategy,
    inventory: &Inventory,
    component: &Component,
) -> Option<Broken> {
    let Streak {
        failures,
        last_error,
    } = Streak::of_verb(verb, strategy, inventory, component);
    let error = last_error?;
    let of = Address::component(&component.name);
    let (times, hardness) = match failures {
        1 => ("in the last run".to_owned(), Hardness::AsRule),
        // A look that nobody may take any more would never be better.
        FAILURES_DENIED.. if verb != "inspect" => (
            format!("{failures} times in a row"),
            Hardness::InProduction(Level::Deny),
        ),
        _ => (format!("{failures} times in a row"), Hardness::AsRule),
    };
    let broken = Broken::new(
        "CCB209",
        of.child("schedule"),
        format!("{doing} {of} failed {times}: {error}"),
        "repair the cause, then `ccb apply`; `ccb status` shows the runs",
    );
    Some(broken.hardness(hardness))
}

/// CCB311.
fn from_the_future(strategy: &Strategy, inventory: &Inventory, at: Timestamp) -> Vec<Broken> {
    let mut dated: BTreeMap<BackupId, _> = BTreeMap::new();
    for holding in inventory.destinations.values() {
        for held in holding.backups.iter().filter(|h| h.manifest.started > at) {
            dated.insert(held.manifest.id, &held.manifest);
        }
    }
    dated
        .into_values()
        .map(|manifest| {
            let ahead = manifest.started.duration_since(at).as_secs();
            let ahead = Period {
                seconds: u64::try_from(ahead).unwrap_or(0),
            };
            Broken::new(
                "CCB311",
                standing(strategy, Address::component(&manifest.component)),
                format!(
                    "backup {} of component.{} is dated {ahead} in the future, it is counted nowhere",
                    manifest.id.short(),
                    manifest.component
                ),
                format!("set the clock of host \"{}\", which made it", manifest.host),
            )
        })
        .collect()
}
