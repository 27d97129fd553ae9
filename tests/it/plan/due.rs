//! Slots on the wall clock, and what a schedule owes.

use crate::support::facts::{as_of, at, backup_id, manifest, schedule, slot, time};
use ccb::model::strategy::{Method, Missed, Schedule, Timing};
use ccb::model::units::Period;
use ccb::plan::due::{Owes, Slots, owes, serves};
use jiff::tz::TimeZone;

fn slots(timing: &Timing, zone: &str) -> Slots {
    Slots::new(timing, &TimeZone::get(zone).unwrap())
}

#[test]
fn a_slot_is_the_newest_instant_at_or_before_and_the_next_one_after() {
    let cron = |text: &str| Timing::Cron(text.into());
    // timing, zone, at, newest slot, next slot
    let table = [
        (
            at("02:00", None),
            "UTC",
            "2026-11-22T02:07Z",
            "2026-11-22T02:00Z",
            "2026-11-23T02:00Z",
        ),
        (
            at("02:00", None),
            "UTC",
            "2026-11-22T02:00Z",
            "2026-11-22T02:00Z",
            "2026-11-23T02:00Z",
        ),
        (
            at("02:00", None),
            "UTC",
            "2026-11-22T01:59Z",
            "2026-11-21T02:00Z",
            "2026-11-22T02:00Z",
        ),
        (
            at("03:00", Some("sunday")),
            "UTC",
            "2026-11-25T00:00Z",
            "2026-11-22T03:00Z",
            "2026-11-29T03:00Z",
        ),
        (
            at("03:00", Some("1")),
            "UTC",
            "2026-11-25T00:00Z",
            "2026-11-01T03:00Z",
            "2026-12-01T03:00Z",
        ),
        (
            at("00:30", None),
            "Pacific/Kiritimati",
            "2026-11-22T10:31Z",
            "2026-11-22T10:30Z",
            "2026-11-23T10:30Z",
        ),
        (
            Timing::Every(Period::hours(1)),
            "Europe/Paris",
            "2026-11-22T02:07Z",
            "2026-11-22T02:00Z",
            "2026-11-22T03:00Z",
        ),
        (
            cron("*/15 * * * *"),
            "UTC",
            "2026-11-22T02:16Z",
            "2026-11-22T02:15Z",
            "2026-11-22T02:30Z",
        ),
        (
            cron("0 2 * * 1-5"),
            "Europe/Paris",
            "2026-11-22T12:00Z",
            "2026-11-20T01:00Z",
            "2026-11-23T01:00Z",
        ),
        (
            cron("0 0 29 2 *"),
            "UTC",
            "2026-11-22T12:00Z",
            "2024-02-29T00:00Z",
            "2028-02-29T00:00Z",
        ),
        // In Paris 02:30 does not exist on 2027-03-28: it shifts to 03:30 summer time.
        (
            at("02:30", None),
            "Europe/Paris",
            "2027-03-28T02:00Z",
            "2027-03-28T01:30Z",
            "2027-03-29T00:30Z",
        ),
        (
            cron("30 2 * * *"),
            "Europe/Paris",
            "2027-03-28T01:10Z",
            "2027-03-27T01:30Z",
            "2027-03-28T01:30Z",
        ),
        (
            cron("30 2 * * *"),
            "Europe/Paris",
            "2027-03-28T02:00Z",
            "2027-03-28T01:30Z",
            "2027-03-29T00:30Z",
        ),
        // 02:30 exists twice on 2026-10-25: the first counts, the second does not.
        (
            at("02:30", None),
            "Europe/Paris",
            "2026-10-25T01:40Z",
            "2026-10-25T00:30Z",
            "2026-10-26T01:30Z",
        ),
        (
            cron("30 2 * * *"),
            "Europe/Paris",
            "2026-10-25T01:40Z",
            "2026-10-25T00:30Z",
            "2026-10-26T01:30Z",
        ),
    ];
    for (timing, zone, instant, newest, next) in table {
        let slots = slots(&timing, zone);
        let named = format!("{timing:?} in {zone} at {instant}");
        assert_eq!(
            slots.at_or_before(time(instant)),
            Some(time(newest)),
            "{named}"
        );
        assert_eq!(slots.after(time(instant)), Some(time(next)), "{named}");
    }
}

#[test]
fn on_demand_and_continuous_schedules_have_no_slots() {
    for timing in [Timing::OnDemand, Timing::Continuous] {
        let slots = slots(&timing, "UTC");
        assert_eq!(slots.at_or_before(time("2026-11-22T02:00Z")), None);
        assert_eq!(slots.after(time("2026-11-22T02:00Z")), None);
    }
}

fn daily(missed: Missed) -> Schedule {
    Schedule {
        missed,
        ..schedule("daily", at("02:00", None), Method::Incremental)
    }
}

fn owed(schedule: &Schedule, now: &str, backups: &[(&str, Method)]) -> Owes {
    let now = as_of(now).0;
    let slots = Slots::new(&schedule.timing, &TimeZone::UTC);
    owes(schedule, &slots, now, |slot, end| {
        backups.iter().any(|(started, method)| {
            let backup = manifest(backup_id(1), "db", *method, started);
            serves(&backup, schedule, slot, end, now)
        })
    })
}

#[test]
fn a_slot_is_due_until_a_backup_serves_it_and_missed_after_its_window() {
    let due = |missed| Owes::Due {
        slot: slot("daily", "2026-11-22T02:00Z"),
        missed,
    };
    let nothing = |skipped: Option<&str>| Owes::Nothing {
        next: Some(time("2026-11-23T02:00Z")),
        skipped: skipped.map(time),
    };
    let full = [("2026-11-22T03:00Z", Method::Full)];
    let dump = [("2026-11-22T03:00Z", Method::Dump)];
    let late = [("2026-11-22T08:00Z", Method::Incremental)];
    let early = [("2026-11-22T01:59Z", Method::Incremental)];
    let future = [("2026-11-22T04:00Z", Method::Incremental)];
    // now, what exists, missed=run-once, missed=skip
    let table = [
        ("2026-11-22T02:00Z", &[][..], due(false), due(false)),
        ("2026-11-22T07:59Z", &[], due(false), due(false)),
        (
            "2026-11-22T08:00Z",
            &[],
            due(true),
            nothing(Some("2026-11-22T02:00Z")),
        ),
        ("2026-11-22T12:00Z", &full, nothing(None), nothing(None)),
        (
            "2026-11-22T12:00Z",
            &dump,
            due(true),
            nothing(Some("2026-11-22T02:00Z")),
        ),
        (
            "2026-11-22T12:00Z",
            &late,
            due(true),
            nothing(Some("2026-11-22T02:00Z")),
        ),
        ("2026-11-22T02:30Z", &early, due(false), due(false)),
        ("2026-11-22T03:30Z", &future, due(false), due(false)),
    ];
    for (now, backups, run_once, skip) in table {
        assert_eq!(
            owed(&daily(Missed::RunOnce), now, backups),
            run_once,
            "{now}"
        );
        assert_eq!(owed(&daily(Missed::Skip), now, backups), skip, "{now}");
    }
}

#[test]
fn a_missed_slot_that_was_made_up_for_is_not_made_up_for_again() {
    let daily = daily(Missed::RunOnce);
    let mut backup = manifest(backup_id(1), "db", Method::Incremental, "2026-11-22T12:00Z");
    let now = time("2026-11-22T13:00Z");
    let of = slot("daily", "2026-11-22T02:00Z");
    let end = time("2026-11-22T08:00Z");
    assert!(!serves(&backup, &daily, &of, end, now));
    backup.slots.push(of.clone());
    assert!(serves(&backup, &daily, &of, end, now));
    backup.complete = false;
    assert!(!serves(&backup, &daily, &of, end, now));
}
