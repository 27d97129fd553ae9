//! The days to come, side by side with what the keep rules promise.

use crate::plan_file::support::parse_committed;
use crate::support::facts::{
    as_of, at, backup_id, component, component_name, destination_name, files_source, held, holding,
    inventory, manifest, rule, schedule, strategy,
};
use ccb::model::inventory::{Held, Inventory};
use ccb::model::records::Stats;
use ccb::model::strategy::{Keep, Method, Pick, Strategy, Timing};
use ccb::model::units::Period;
use ccb::plan::simulate::{Amount, Simulation, simulate};

const START: &str = "2026-11-22T12:00Z";

/// `files` every day at 02:00 to `a`, `count` days stay, forgotten ones go after `trash`.
fn daily(count: u32, trash: Period) -> Strategy {
    let mut strategy = strategy(&["a"]);
    let mut files = component("files", files_source(), &["a"]);
    files.schedules = vec![schedule("daily", at("02:00", None), Method::Incremental)];
    let pick = Pick::Last;
    files.retain = vec![rule(Keep::Daily { count, pick })];
    strategy.components = vec![files];
    strategy.apply.trash = trash;
    strategy
}

fn run(strategy: &Strategy, inventory: &Inventory, days: u32) -> Simulation {
    simulate(strategy, inventory, as_of(START), days).unwrap()
}

fn backup(number: u32, day: &str, bytes: u64, stored: u64) -> Held {
    let started = format!("{day}T02:00Z");
    let mut manifest = manifest(backup_id(number), "files", Method::Incremental, &started);
    manifest.stats = Stats {
        files: 10,
        bytes,
        new_bytes: stored * 2,
        stored_bytes: stored,
        ..Stats::default()
    };
    held(manifest)
}

#[test]
fn a_week_of_dailies_fills_and_then_one_comes_and_one_goes() {
    let nothing = inventory(vec![("a", holding(1, Vec::new()))]);
    let simulated = run(&daily(7, Period::days(7)), &nothing, 30);
    assert_eq!(simulated.days.len(), 30);
    let kept: Vec<u64> = simulated.days.iter().map(|day| day.backups).collect();
    assert_eq!(kept[..8], [1, 2, 3, 4, 5, 6, 7, 7]);
    assert!(kept[7..].iter().all(|backups| *backups == 7));
    for (nth, day) in simulated.days.iter().enumerate() {
        assert_eq!(
            (day.made, day.forgotten),
            (1, u64::from(nth >= 7)),
            "{day:?}"
        );
    }
    assert_eq!(simulated.days[0].day.to_string(), "2026-11-22");
    // No backup ever said how large one is.
    assert_eq!(simulated.unknown_size, [component_name("files")]);
    assert!(simulated.days.iter().all(|day| day.stored_bytes == 0));
}

#[test]
fn space_is_one_backup_in_full_and_what_each_further_one_adds_the_trash_included() {
    // 2000 bytes read and half of it stored at first, then 40, 60 and 50: the median adds 50.
    let known = [
        backup(1, "2026-11-19", 2000, 1000),
        backup(2, "2026-11-20", 2000, 40),
        backup(3, "2026-11-21", 2000, 60),
        backup(4, "2026-11-22", 2000, 50),
    ];
    let known = inventory(vec![("a", holding(1, known.to_vec()))]);
    let simulated = run(&daily(7, Period::days(3)), &known, 40);
    assert!(simulated.unknown_size.is_empty() && simulated.assumed_change_percent.is_empty());
    let space = &simulated.space[0];
    let now = Amount {
        backups: 4,
        stored_bytes: 1000 + 40 + 60 + 50,
    };
    assert_eq!(space.now, now);
    // Seven stay and three wait in the trash, each of which but the oldest adds 50.
    let end = Amount {
        backups: 7,
        stored_bytes: 1000 + 9 * 50,
    };
    assert_eq!((space.end, space.peak.backups), (end, 7));
    assert_eq!(space.destination, destination_name("a"));
    let last = simulated.days.last().unwrap();
    assert_eq!((last.backups, last.stored_bytes), (7, end.stored_bytes));
}

#[test]
fn one_backup_does_not_tell_how_much_changes_and_that_is_said() {
    let one = inventory(vec![(
        "a",
        holding(1, vec![backup(1, "2026-11-22", 2000, 1000)]),
    )]);
    let simulated = run(&daily(3, Period::days(1)), &one, 10);
    assert_eq!(
        simulated.assumed_change_percent[&component_name("files")],
        5
    );
    let last = simulated.days.last().unwrap();
    assert_eq!((last.backups, last.stored_bytes), (3, 1000 + 3 * 50));
}

#[test]
fn hourly_backups_are_made_each_hour_and_a_plan_on_demand_makes_none() {
    let nothing = inventory(vec![("a", holding(1, Vec::new()))]);
    let mut strategy = daily(7, Period::days(7));
    strategy.components[0].schedules[0].timing = Timing::Every(Period::hours(1));
    let simulated = run(&strategy, &nothing, 3);
    let made: Vec<u64> = simulated.days.iter().map(|day| day.made).collect();
    assert_eq!(made, [12, 24, 24]);
    strategy.components[0].schedules[0].timing = Timing::OnDemand;
    assert!(
        run(&strategy, &nothing, 3)
            .days
            .iter()
            .all(|day| day.made == 0)
    );
}

#[test]
fn a_year_of_the_committed_plans_stays_within_what_their_rules_keep() {
    for (name, most) in [("quickstart", 60), ("development", 40), ("staging", 60)] {
        let strategy = parse_committed(&format!("plans/{name}.kdl"))
            .unwrap()
            .strategy;
        let simulated = run(&strategy, &Inventory::default(), 365);
        let again = run(&strategy, &Inventory::default(), 365);
        assert_eq!(simulated, again, "{name}");
        let peak = simulated.days.iter().map(|day| day.backups).max().unwrap();
        assert!(peak <= most, "{name}: {peak}");
        assert_eq!(simulated.unseen.len(), strategy.destinations.len());
    }
}
