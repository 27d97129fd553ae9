//! How things stand: what there is and when it is looked at, side by side with what is said of it.

use crate::support::facts::{
    as_of, at, backup_id, component, destination_name, files_source, held, holding, inventory,
    manifest, schedule, strategy, time, verified,
};
use ccb::model::ids::{Address, Digest, RunId};
use ccb::model::inventory::{Held, Holding, Inventory};
use ccb::model::records::{Check, RunRecord, StepOutcome, StepRecord, Version};
use ccb::model::strategy::{Method, RestoreInto, RestoreTest, Strategy, Timing};
use ccb::model::units::Period;
use ccb::plan::status::{ScheduleState, Status, status};
use ccb::plan::{Request, plan};

/// `files` to `a` and `b`.
fn files(timing: Timing) -> Strategy {
    let mut strategy = strategy(&["a", "b"]);
    let mut files = component("files", files_source(), &["a", "b"]);
    files.schedules = vec![schedule("often", timing, Method::Incremental)];
    strategy.components = vec![files];
    strategy
}

fn backup(number: u32, started: &str) -> Held {
    held(manifest(
        backup_id(number),
        "files",
        Method::Incremental,
        started,
    ))
}

/// The same at both destinations.
fn both(backups: &[Held]) -> Inventory {
    let holding = |number| holding(number, backups.to_vec());
    inventory(vec![("a", holding(1)), ("b", holding(2))])
}

fn stand(strategy: &Strategy, inventory: &Inventory, now: &str) -> Status {
    let plan = plan(strategy, inventory, as_of(now), &Request::default()).unwrap();
    status(strategy, inventory, &plan)
}

#[test]
fn a_schedule_is_late_once_the_window_of_a_slot_after_its_newest_backup_has_passed() {
    let (daily, hourly) = (at("02:00", None), Timing::Every(Period::hours(1)));
    // timing, newest backup, now, state; the window is six hours
    let table = [
        (
            &daily,
            "2026-11-22T02:01Z",
            "2026-11-22T12:00Z",
            ScheduleState::Ok,
        ),
        (
            &daily,
            "2026-11-21T02:01Z",
            "2026-11-22T07:59Z",
            ScheduleState::Due,
        ),
        (
            &daily,
            "2026-11-21T02:01Z",
            "2026-11-22T08:00Z",
            ScheduleState::Late,
        ),
        (
            &hourly,
            "2026-11-22T11:00Z",
            "2026-11-22T11:59Z",
            ScheduleState::Ok,
        ),
        (
            &hourly,
            "2026-11-22T06:30Z",
            "2026-11-22T12:30Z",
            ScheduleState::Due,
        ),
        (
            &hourly,
            "2026-11-22T05:30Z",
            "2026-11-22T12:30Z",
            ScheduleState::Late,
        ),
    ];
    for (timing, newest, now, state) in table {
        let status = stand(&files(timing.clone()), &both(&[backup(1, newest)]), now);
        let schedule = &status.schedules[0];
        assert_eq!(schedule.state, state, "{newest} {now}");
        assert_eq!(status.ok, !state.is_late(), "{newest} {now}");
        assert_eq!(schedule.newest, Some(backup_id(1)));
        let age = time(now).duration_since(time(newest)).as_secs();
        assert_eq!(schedule.age_seconds, Some(age.unsigned_abs()));
    }
}

#[test]
fn without_any_good_backup_it_is_missing_and_on_demand_it_owes_nothing() {
    let mut bad = backup(1, "2026-11-22T02:01Z");
    bad.manifest.complete = false;
    let daily = files(at("02:00", None));
    for inventory in [both(&[]), both(&[bad])] {
        let status = stand(&daily, &inventory, "2026-11-22T03:00Z");
        assert_eq!(status.schedules[0].state, ScheduleState::Missing);
        assert!(!status.ok);
    }
    let status = stand(&files(Timing::OnDemand), &both(&[]), "2026-11-22T03:00Z");
    assert_eq!(status.schedules[0].state, ScheduleState::OnDemand);
    assert!(status.ok);
}

#[test]
fn missing_copies_failed_checks_and_overdue_restore_tests_need_attention() {
    let mut strategy = files(at("02:00", None));
    let now = "2026-11-22T03:00Z";
    let fresh = backup(1, "2026-11-22T02:01Z");
    let thin = inventory(vec![
        ("a", holding(1, vec![fresh.clone()])),
        ("b", holding(2, Vec::new())),
    ]);
    let status = stand(&strategy, &thin, now);
    assert_eq!(status.components[0].attention, ["1 copy is missing at b"]);
    assert_eq!(
        status.components[0].copies_missing[&destination_name("b")],
        1
    );
    assert!(!status.ok && !status.is_damaged());

    let mut failed = fresh.clone();
    let check = |minute: &str, passed| {
        let when = time(&format!("2026-11-22T02:{minute}Z"));
        verified(backup_id(1), Check::Integrity, "a", when, passed)
    };
    failed.annotations = vec![check("10", true), check("20", false)];
    let status = stand(&strategy, &both(&[failed.clone()]), now);
    assert!(status.is_damaged() && !status.ok);
    // Checked again, and well again.
    failed.annotations.push(check("30", true));
    let status = stand(&strategy, &both(&[failed]), now);
    assert!(status.ok && !status.is_damaged(), "{status:#?}");

    strategy.components[0].verify.restore_test = Some(RestoreTest {
        server: None,
        every: Period::days(30),
        into: RestoreInto::TemporaryDirectory,
        files: None,
    });
    let old = backup(2, "2026-10-01T02:01Z");
    let status = stand(&strategy, &both(&[old, fresh]), now);
    assert_eq!(
        status.components[0].attention,
        ["never restored as a test in 52 days"]
    );
}

#[test]
fn failures_in_a_row_are_counted_once_for_each_run_and_end_with_a_success() {
    let run = |number: u8, day: &str, outcome| RunRecord {
        v: Version,
        run: RunId([number; 16]),
        started: time(&format!("{day}T02:00Z")),
        finished: time(&format!("{day}T02:01Z")),
        plan: "app".into(),
        environment: "production".into(),
        config: Digest([0; 32]),
        files: Vec::new(),
        steps: vec![StepRecord {
            address: Address("component.files".into()),
            verb: "back up".into(),
            outcome,
            message: Some(format!("error of {day}")),
            backup: None,
        }],
    };
    let runs = vec![
        run(3, "2026-11-22", StepOutcome::Failed),
        run(2, "2026-11-21", StepOutcome::Failed),
        run(1, "2026-11-20", StepOutcome::Done),
        run(0, "2026-11-19", StepOutcome::Failed),
    ];
    let mut inventory = both(&[backup(1, "2026-11-22T01:00Z")]);
    for holding in inventory.destinations.values_mut() {
        holding.runs.clone_from(&runs);
    }
    let status = stand(&files(at("02:00", None)), &inventory, "2026-11-22T03:00Z");
    let component = &status.components[0];
    assert_eq!(component.failures_in_a_row, 2);
    assert_eq!(component.last_error.as_deref(), Some("error of 2026-11-22"));
    assert_eq!(
        component.attention,
        ["the last 2 runs failed to back it up"]
    );
}

#[test]
fn a_destination_that_can_not_be_seen_is_no_success_unless_it_may_be_away() {
    let mut strategy = files(at("02:00", None));
    let mut inventory = both(&[backup(1, "2026-11-22T02:01Z")]);
    let away = Holding::unreachable("no route to host".into());
    inventory.destinations.insert(destination_name("b"), away);
    let now = "2026-11-22T03:00Z";
    let status = stand(&strategy, &inventory, now);
    assert!(status.is_blind() && !status.ok);
    assert_eq!(
        status.unseen[&destination_name("b")].why,
        "no route to host"
    );
    strategy.destinations[1].optional = true;
    let status = stand(&strategy, &inventory, now);
    assert!(status.ok && !status.is_blind(), "{status:#?}");
}
