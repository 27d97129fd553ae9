//! Planning takes time in proportion to the number of backups, not to its square: what a run with four times
//! as many takes is compared, in CPU time of this thread, which other programs do not lengthen.

use crate::support::facts::{
    as_of, backup_id, component, files_source, held, holding, inventory, manifest, postgres_source,
    rule, strategy, verified,
};
use ccb::model::inventory::{Held, Holding, Inventory, Trashed};
use ccb::model::records::{Check, Tomb, Version};
use ccb::model::strategy::{Component, Keep, Method, Strategy};
use ccb::model::units::Period;
use ccb::plan::check::Surroundings;
use ccb::plan::{Plan, Request, plan_with_checks, saved};
use ccb::render::{Look, markdown, text};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

const FEW: u32 = 1_500;
const TIMES: u32 = 4;
/// Sorting makes it a little more than [`TIMES`]; a square would make it 16.
const GROWTH_MAX: f64 = 9.0;

const NOW: &str = "2026-11-22T02:10Z";
const PLACES: [&str; 2] = ["primary", "second"];

/// Hourly, the last one an hour ago, each with a check that it passed.
fn backups(
    component: &str,
    at: &str,
    numbers: impl Iterator<Item = u32>,
    of: fn(u32) -> Method,
) -> Vec<Held> {
    let one = |number: u32| {
        let mut manifest = manifest(
            backup_id(number),
            component,
            of(number),
            "2026-11-22T01:10Z",
        );
        manifest.started = Period::hours(u64::from(number)).before(manifest.started);
        manifest.finished = Period::minutes(1).after(manifest.started);
        let annotation = verified(manifest.id, Check::Integrity, at, manifest.finished, true);
        Held {
            annotations: vec![annotation],
            ..held(manifest)
        }
    };
    numbers.map(one).collect()
}

fn trashed(backups: Vec<Held>) -> Vec<Trashed> {
    let gone = |held: Held| Trashed {
        tomb: Tomb {
            v: Version,
            backup: held.manifest.id,
            at: as_of(NOW).0,
            run: None,
            reason: String::new(),
        },
        manifest: held.manifest,
        since: as_of(NOW).0,
    };
    backups.into_iter().map(gone).collect()
}

fn files(_: u32) -> Method {
    Method::Incremental
}

/// A base each day, and log between.
fn physical(number: u32) -> Method {
    match number % 24 {
        0 => Method::Base,
        _ => Method::Wal,
    }
}

fn asked(component: Component, keep: Keep) -> Strategy {
    let retain = vec![rule(keep)];
    Strategy {
        components: vec![Component {
            retain,
            ..component
        }],
        ..strategy(&PLACES)
    }
}

fn data() -> Component {
    component("data", files_source(), &PLACES)
}

/// Everything stays, and is everywhere.
fn all_is_well(n: u32) -> (Strategy, Inventory) {
    let at = |number, place| (place, holding(number, backups("data", place, 0..n, files)));
    let keep = Keep::Within(Period::days(36_500));
    (
        asked(data(), keep),
        inventory(vec![at(1, "primary"), at(2, "second")]),
    )
}

/// Half of the copies are missing, and as many other backups lie in the trash.
fn copies_are_missing(n: u32) -> (Strategy, Inventory) {
    let there = holding(1, backups("data", "primary", 0..n, files));
    let half = holding(2, backups("data", "second", n / 2..n, files));
    let gone = trashed(backups("data", "second", n..2 * n, files));
    let second = Holding {
        trashed: gone,
        ..half
    };
    let keep = Keep::Within(Period::days(36_500));
    (
        asked(data(), keep),
        inventory(vec![("primary", there), ("second", second)]),
    )
}

/// A rule was shortened: nearly all goes.
fn nearly_all_goes(n: u32) -> (Strategy, Inventory) {
    (asked(data(), Keep::Last(10)), all_is_well(n).1)
}

/// Bases and log, of which the older half goes.
fn bases_and_log(n: u32) -> (Strategy, Inventory) {
    let at = |number, place| (place, holding(number, backups("db", place, 0..n, physical)));
    let db = component("db", postgres_source(), &PLACES);
    let keep = Keep::Pitr(Period::hours(u64::from(n / 2)));
    (
        asked(db, keep),
        inventory(vec![at(1, "primary"), at(2, "second")]),
    )
}

/// All that is done between the look at the destinations and the last line of output, and what a saved plan
/// is held against.
fn plan_and_print((strategy, inventory): &(Strategy, Inventory)) -> Plan {
    let base = Strategy {
        components: strategy
            .components
            .iter()
            .cloned()
            .map(|c| Component {
                retain: Vec::new(),
                ..c
            })
            .collect(),
        ..strategy.clone()
    };
    let around = Surroundings::default();
    let request = Request::default();
    let plan = plan_with_checks(
        strategy,
        Some(&base),
        inventory,
        &around,
        as_of(NOW),
        &request,
    )
    .unwrap();
    let printed = text::plan(&plan, strategy, &Look::PLAIN);
    let comment = markdown::plan(&plan, strategy, 60_000);
    let read = saved::from_json(&saved::to_json(&plan)).unwrap();
    let left = saved::still_needed(&read, &plan);
    assert_eq!(left.plan.steps.len(), plan.steps.len());
    assert!(!printed.is_empty() && !comment.is_empty());
    plan
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How much longer it takes with [`TIMES`] as many: the best of some tries, as other work only lengthens it.
fn growth(scene: fn(u32) -> (Strategy, Inventory)) -> f64 {
    let measure = |n| {
        let facts = scene(n);
        let took = |_| {
            let before = cpu_time();
            let plan = plan_and_print(&facts);
            let time = cpu_time() - before;
            assert!(!plan.name.is_empty());
            time
        };
        (0..2).map(took).min().unwrap_or_default()
    };
    let (few, many) = (measure(FEW), measure(FEW * TIMES));
    many.as_secs_f64() / few.as_secs_f64()
}

#[test]
fn planning_grows_no_faster_than_the_number_of_backups() {
    assert!(growth(all_is_well) < GROWTH_MAX);
}

#[test]
fn missing_copies_and_trash_do_not_multiply() {
    let (strategy, inventory) = copies_are_missing(100);
    let copies = plan_and_print(&(strategy, inventory)).summary.copy;
    assert_eq!(copies, 50);
    assert!(growth(copies_are_missing) < GROWTH_MAX);
}

#[test]
fn forgetting_nearly_all_takes_no_longer_for_each() {
    let plan = plan_and_print(&nearly_all_goes(100));
    assert_eq!(plan.summary.forget, 2 * 90);
    assert!(growth(nearly_all_goes) < GROWTH_MAX);
}

#[test]
fn bases_and_log_do_not_multiply() {
    let plan = plan_and_print(&bases_and_log(96));
    assert!(plan.summary.forget > 0);
    assert!(growth(bases_and_log) < GROWTH_MAX);
}
