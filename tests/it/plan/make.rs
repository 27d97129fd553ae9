//! Whole plans: what is there and what is asked for, side by side with the steps.

use crate::support::facts::{
    as_of, at, backup_id, component, component_name, destination_name, files_source, held, holding,
    inventory, manifest, postgres_source, rule, schedule, strategy, time, verified,
};
use crate::support::play::play;
use ccb::model::ids::Address;
use ccb::model::inventory::{Coverage, Held, Holding, Inventory};
use ccb::model::records::{Annotation, Check, Note, Version};
use ccb::model::strategy::{
    IntegrityCheck, Keep, Method, Pick, RestoreInto, RestoreTest, Strategy, Timing,
};
use ccb::model::units::{Day, Percent, Period, Weekday};
use ccb::plan::{Action, KeptBecause, OnDemand, Plan, Request, plan};
use proptest::prelude::{ProptestConfig, Strategy as _, any, prop_assert, proptest};

/// `db` every day at 02:00 to `a` and `b`, the last `keep` stay.
fn two_places(keep: u32) -> Strategy {
    let mut strategy = strategy(&["a", "b"]);
    let mut db = component("db", postgres_source(), &["a", "b"]);
    db.schedules = vec![schedule("daily", at("02:00", None), Method::Dump)];
    db.retain = vec![rule(Keep::Last(keep))];
    strategy.components = vec![db];
    strategy
}

/// A dump of `db`, checked at `a`.
fn dump(number: u32, started: &str) -> Held {
    let mut held = held(manifest(backup_id(number), "db", Method::Dump, started));
    let when = time(started);
    held.annotations = vec![verified(
        backup_id(number),
        Check::Presence,
        "a",
        when,
        true,
    )];
    held
}

fn planned(strategy: &Strategy, inventory: &Inventory, now: &str) -> Plan {
    plan(strategy, inventory, as_of(now), &Request::default()).unwrap()
}

/// `a01 back up dump 2026-11-22T02:00Z <- a02 a03`, a line for each step.
fn lines(plan: &Plan) -> Vec<String> {
    let line = |step: &ccb::plan::Step| {
        let needs: Vec<String> = step.needs.iter().map(ToString::to_string).collect();
        let after = if needs.is_empty() {
            String::new()
        } else {
            format!(" <- {}", needs.join(" "))
        };
        format!(
            "{} {} {}{after}",
            step.id,
            step.action.verb(),
            step.action.what()
        )
    };
    plan.steps.iter().map(line).collect()
}

fn both(backups: &[Held]) -> Inventory {
    inventory(vec![
        ("a", holding(1, backups.to_vec())),
        ("b", holding(2, backups.to_vec())),
    ])
}

#[test]
fn nothing_exists_repositories_come_first_then_the_backup_and_its_copy() {
    let empty = inventory(vec![("a", Holding::empty()), ("b", Holding::empty())]);
    let plan = planned(&two_places(2), &empty, "2026-11-22T02:07Z");
    assert_eq!(
        lines(&plan),
        [
            "a01 initialize a",
            "a02 initialize b",
            "a03 back up dump 2026-11-22T02:00Z <- a01",
            "a04 copy backup of a03 -> b <- a02 a03",
            "a05 verify presence of backup of a03 at a <- a03",
            "a06 verify presence of backup of a03 at b <- a04",
        ]
    );
}

#[test]
fn a_forget_waits_for_the_new_backup_and_its_checks_and_prune_for_the_forgets() {
    let backups = [dump(1, "2026-11-20T02:00Z"), dump(2, "2026-11-21T02:00Z")];
    let plan = planned(&two_places(2), &both(&backups), "2026-11-22T02:07Z");
    assert_eq!(
        lines(&plan),
        [
            "a01 back up dump 2026-11-22T02:00Z",
            "a02 copy backup of a01 -> b <- a01",
            "a03 verify presence of backup of a01 at a <- a01",
            "a04 verify presence of backup of a01 at b <- a02",
            "a05 forget 00000001 at a <- a03 a04",
            "a06 forget 00000001 at b <- a03 a04",
            "a07 prune a <- a05",
            "a08 prune b <- a06",
        ]
    );
}

#[test]
fn a_missing_copy_is_made_and_what_was_forgotten_there_is_not() {
    let backups = [
        dump(1, "2026-11-20T02:00Z"),
        dump(2, "2026-11-21T02:00Z"),
        dump(3, "2026-11-22T02:00Z"),
    ];
    let mut there = both(&backups);
    there
        .destinations
        .get_mut(&destination_name("b"))
        .unwrap()
        .backups
        .remove(1);
    let plan = planned(&two_places(3), &there, "2026-11-22T12:00Z");
    assert_eq!(lines(&plan), ["a01 copy 00000002 -> b"]);
}

#[test]
fn a_partial_inventory_never_leads_to_forgetting() {
    let backups = [
        dump(1, "2026-11-20T02:00Z"),
        dump(2, "2026-11-21T02:00Z"),
        dump(3, "2026-11-22T02:00Z"),
    ];
    let mut there = both(&backups);
    let partial = Coverage::Partial { why: "403".into() };
    there
        .destinations
        .get_mut(&destination_name("b"))
        .unwrap()
        .coverage = partial;
    let plan = planned(&two_places(1), &there, "2026-11-22T12:00Z");
    assert_eq!(
        lines(&plan),
        [
            "a01 forget 00000001 at a",
            "a02 forget 00000002 at a",
            "a03 prune a <- a01 a02"
        ]
    );
    let because = KeptBecause::NotSeen {
        destination: destination_name("b"),
    };
    assert!(plan.held.len() == 2 && plan.held.iter().all(|held| held.because == because));
    assert_eq!(plan.unseen[&destination_name("b")], "403");
}

#[test]
fn nothing_is_planned_where_nothing_was_reached() {
    let backups = vec![dump(1, "2026-11-20T02:00Z")];
    let there = inventory(vec![
        ("a", holding(1, backups)),
        ("b", Holding::unreachable("timed out".into())),
    ]);
    let plan = planned(&two_places(1), &there, "2026-11-20T12:00Z");
    assert_eq!(lines(&plan), [""; 0]);
}

#[test]
fn what_is_not_verified_proves_nothing() {
    let failed = |number: u32, started: &str| {
        let mut dump = dump(number, started);
        let note = verified(
            backup_id(number),
            Check::Presence,
            "a",
            time(started),
            false,
        );
        dump.annotations = vec![note];
        dump
    };
    let backups = [
        dump(1, "2026-11-20T02:00Z"),
        failed(2, "2026-11-21T02:00Z"),
        failed(3, "2026-11-22T02:00Z"),
    ];
    let plan = planned(&two_places(1), &both(&backups), "2026-11-22T12:00Z");
    assert_eq!(lines(&plan), [""; 0]);
    let why: Vec<_> = plan.held.iter().map(|held| held.because.clone()).collect();
    assert_eq!(why, [KeptBecause::LastVerified, KeptBecause::NothingNewer]);
}

#[test]
fn held_future_and_unmanaged_backups_stay() {
    let mut of_ana = dump(1, "2026-11-19T02:00Z");
    of_ana.annotations.push(Annotation {
        v: Version,
        backup: backup_id(1),
        at: time("2026-11-19T03:00Z"),
        note: Note::Hold {
            by: "ana".into(),
            reason: "incident".into(),
        },
    });
    let mut staging = dump(5, "2026-11-01T02:00Z");
    staging.manifest.environment = "staging".into();
    let backups = [
        of_ana,
        dump(2, "2026-11-21T02:00Z"),
        dump(3, "2026-11-22T02:00Z"),
        dump(4, "2026-11-23T02:00Z"),
        staging,
    ];
    let plan = planned(&two_places(1), &both(&backups), "2026-11-22T12:00Z");
    let forgotten = plan.steps.iter().filter(
        |step| matches!(step.action, Action::Forget { backup, .. } if backup == backup_id(2)),
    );
    assert_eq!(forgotten.count(), 2);
    assert_eq!(plan.summary.forget, 1);
    let why: Vec<_> = plan.held.iter().map(|held| held.because.clone()).collect();
    let hold = KeptBecause::Hold {
        by: "ana".into(),
        reason: "incident".into(),
    };
    assert_eq!(why, [hold, KeptBecause::FutureDated]);
    let last = plan.kept.last().unwrap();
    assert_eq!(
        (last.backup, &last.because[..]),
        (backup_id(5), &[KeptBecause::NotManaged][..])
    );
}

#[test]
fn schedules_due_together_make_one_backup_and_full_serves_incremental() {
    let mut strategy = strategy(&["a"]);
    let mut files = component("files", files_source(), &["a"]);
    files.schedules = vec![
        schedule("daily", at("03:00", None), Method::Incremental),
        schedule("weekly", at("03:00", Some("sunday")), Method::Full),
    ];
    strategy.components = vec![files];
    let there = inventory(vec![("a", holding(1, vec![]))]);
    let plan = planned(&strategy, &there, "2026-11-22T03:00Z");
    let Action::BackUp { method, slots, .. } = &plan.steps[0].action else {
        panic!("{:?}", plan.steps);
    };
    let names: Vec<&str> = slots.iter().map(|slot| slot.schedule.as_str()).collect();
    assert_eq!((*method, names), (Method::Full, vec!["daily", "weekly"]));
    assert_eq!(plan.summary.back_up, 1);
}

#[test]
fn target_brings_what_it_needs_and_exclude_drops_what_needs_it() {
    let backups = [dump(1, "2026-11-20T02:00Z"), dump(2, "2026-11-21T02:00Z")];
    let with = |target: &[&str], exclude: &[&str]| {
        let addresses = |list: &[&str]| list.iter().map(|a| Address((*a).into())).collect();
        let request = Request {
            backups: Vec::new(),
            target: addresses(target),
            exclude: addresses(exclude),
            allow_forget: None,
        };
        let now = as_of("2026-11-22T02:07Z");
        lines(&plan(&two_places(2), &both(&backups), now, &request).unwrap())
    };
    assert_eq!(
        with(&["component.db.schedule.daily"], &[]),
        [
            "a01 back up dump 2026-11-22T02:00Z",
            "a02 copy backup of a01 -> b <- a01",
            "a03 verify presence of backup of a01 at a <- a01",
            "a04 verify presence of backup of a01 at b <- a02",
        ]
    );
    assert_eq!(
        with(&[], &["destination.b"]),
        [
            "a01 back up dump 2026-11-22T02:00Z",
            "a02 verify presence of backup of a01 at a <- a01",
        ]
    );
    assert_eq!(with(&["component.other"], &[]), [""; 0]);
}

#[test]
fn a_backup_on_demand_brings_its_copies_and_checks_and_forgets_nothing() {
    let backups = [dump(1, "2026-11-20T02:00Z"), dump(2, "2026-11-21T02:00Z")];
    let request = Request {
        backups: vec![OnDemand {
            component: component_name("db"),
            method: Method::Dump,
            tag: Some("pre-deploy".parse().unwrap()),
        }],
        ..Request::default()
    };
    let now = as_of("2026-11-22T01:00Z");
    let plan = plan(&two_places(1), &both(&backups), now, &request).unwrap();
    let verbs: Vec<&str> = plan.steps.iter().map(|step| step.action.verb()).collect();
    assert_eq!(verbs, ["back up", "copy", "verify", "verify"]);
}

#[test]
fn components_that_wait_for_each_other_are_named() {
    let mut strategy = two_places(1);
    let mut files = component("files", files_source(), &["a"]);
    files.schedules = vec![schedule("daily", at("02:00", None), Method::Full)];
    files.after = vec![component_name("db")];
    strategy.components[0].after = vec![component_name("files")];
    strategy.components.push(files);
    let circle = plan(
        &strategy,
        &both(&[]),
        as_of("2026-11-22T02:07Z"),
        &Request::default(),
    );
    assert_eq!(circle.unwrap_err().members, ["db", "files"]);
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let backups = [dump(1, "2026-11-20T02:00Z"), dump(2, "2026-11-21T02:00Z")];
    let bytes = || {
        let plan = planned(&two_places(1), &both(&backups), "2026-11-22T02:07Z");
        serde_json::to_vec(&plan).unwrap()
    };
    assert_eq!(bytes(), bytes());
}

/// Files and a database with every kind of rule that reads the calendar, integrity and restore tests.
fn busy() -> Strategy {
    let mut strategy = two_places(2);
    let sunday = Day::Week(Weekday::Sunday);
    let db = &mut strategy.components[0];
    db.retain.push(rule(Keep::Weekly {
        count: 2,
        on: sunday,
        pick: Pick::First,
    }));
    db.verify.integrity = Some(IntegrityCheck {
        every: Period::days(7),
        sample: Percent(100),
    });
    db.verify.restore_test = Some(RestoreTest {
        server: None,
        every: Period::days(30),
        into: RestoreInto::TemporaryDatabase,
        files: None,
    });
    let mut files = component("files", files_source(), &["b", "a"]);
    files.after = vec![component_name("db")];
    files.schedules = vec![
        schedule(
            "hourly",
            Timing::Every(Period::hours(1)),
            Method::Incremental,
        ),
        schedule("weekly", at("03:00", Some("sunday")), Method::Full),
    ];
    files.retain = vec![
        rule(Keep::Within(Period::days(2))),
        rule(Keep::Daily {
            count: 3,
            pick: Pick::Last,
        }),
        rule(Keep::Expire(Period::days(20))),
    ];
    strategy.components.push(files);
    strategy
}

fn any_backup() -> impl proptest::strategy::Strategy<Value = (u32, bool, Held, bool, bool)> {
    (
        1..500_u32,
        0..1200_i64,
        0..3_usize,
        any::<(bool, bool, bool, bool)>(),
    )
        .prop_map(
            |(number, hours_ago, kind, (complete, checked, at_a, at_b))| {
                let now = time("2026-11-22T12:00Z");
                let (name, method) = [
                    ("db", Method::Dump),
                    ("files", Method::Incremental),
                    ("files", Method::Full),
                ][kind];
                let started = now - jiff::SignedDuration::from_hours(hours_ago - 5);
                let mut made = manifest(backup_id(number), name, method, &started.to_string());
                made.complete = complete;
                let mut held = held(made);
                if checked {
                    held.annotations = vec![verified(
                        backup_id(number),
                        Check::Presence,
                        "a",
                        started,
                        true,
                    )];
                }
                (number, checked, held, at_a, at_b || !at_a)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn carrying_plans_out_comes_to_rest_with_a_good_backup_everywhere(
        backups in proptest::collection::vec(any_backup(), 0..40)
    ) {
        let unique: std::collections::BTreeMap<_, _> = backups.into_iter().map(|b| (b.0, b)).collect();
        let at = |first: bool| unique.values().filter(|b| if first { b.3 } else { b.4 }).map(|b| b.2.clone()).collect::<Vec<_>>();
        let before = inventory(vec![("a", holding(1, at(true))), ("b", holding(2, at(false)))]);
        let strategy = busy();
        let mut after = before;
        let mut rounds = 0;
        loop {
            let plan = planned(&strategy, &after, "2026-11-22T12:00Z");
            for step in &plan.steps {
                prop_assert!(step.needs.iter().all(|need| *need < step.id), "{:?}", step);
            }
            if plan.is_empty() {
                break;
            }
            // What a copy brought to a place is checked and replaces older ones there from the next plan on.
            rounds += 1;
            prop_assert!(rounds <= 3, "{:?}", lines(&plan));
            prop_assert!(rounds == 1 || plan.summary.back_up == 0, "{:?}", lines(&plan));
            after = play(&plan, &after, 1000 * rounds);
        }
        for (name, holding) in &after.destinations {
            for component in &strategy.components {
                let good = holding.of(&component.name).filter(|held| held.manifest.complete);
                prop_assert!(good.count() > 0, "{} has no {}", name, component.name);
            }
        }
    }
}

/// `db` with bases on demand, WAL all the time, and these rules.
fn point_in_time(rules: Vec<ccb::model::strategy::KeepRule>) -> Strategy {
    let mut strategy = strategy(&["a"]);
    let mut db = component("db", postgres_source(), &["a"]);
    db.schedules = vec![
        schedule("base", Timing::OnDemand, Method::Base),
        schedule("wal", Timing::Continuous, Method::Wal),
    ];
    db.retain = rules;
    strategy.components = vec![db];
    strategy
}

fn made(number: u32, method: Method, started: &str) -> Held {
    let mut backup = dump(number, started);
    backup.manifest.method = method;
    backup
}

#[test]
fn a_base_that_stays_keeps_the_wal_without_which_it_is_nothing() {
    let monthly = Keep::Monthly {
        count: 12,
        on: Day::Month(1),
        pick: Pick::First,
    };
    let mut bases = rule(monthly);
    bases.among.method = Some(Method::Base);
    let strategy = point_in_time(vec![bases, rule(Keep::Pitr(Period::days(2)))]);
    let backups = [
        made(1, Method::Base, "2026-10-01T01:00Z"),
        made(2, Method::Wal, "2026-10-01T02:00Z"),
        made(3, Method::Wal, "2026-10-01T03:00Z"),
        made(4, Method::Base, "2026-11-19T01:00Z"),
        made(5, Method::Wal, "2026-11-19T02:00Z"),
        made(6, Method::Wal, "2026-11-22T01:00Z"),
    ];
    let there = inventory(vec![("a", holding(1, backups.to_vec()))]);
    let plan = planned(&strategy, &there, "2026-11-22T02:07Z");
    assert_eq!(
        lines(&plan),
        ["a01 forget 00000003 at a", "a02 prune a <- a01"]
    );
    let held: Vec<_> = plan
        .held
        .iter()
        .map(|held| (held.backup, held.because.clone()))
        .collect();
    let because = KeptBecause::BaseNeedsIt {
        base: time("2026-10-01T01:00Z"),
    };
    assert_eq!(held, [(backup_id(2), because)]);
}

#[test]
fn wal_that_was_handed_over_is_taken_over_once_an_hour() {
    use ccb::model::inventory::WaitingWal;
    use ccb::model::wal::{SegmentBytes, SystemId, WalFacts, WalName};
    let strategy = point_in_time(vec![rule(Keep::Pitr(Period::days(2)))]);
    let name = |text: &str| -> WalName { text.parse().unwrap() };
    let facts = |names: &[&str]| {
        WalFacts::empty(SystemId(7), SegmentBytes::USUAL).with(
            names
                .iter()
                .map(|text| (name(text), time("2026-11-22T01:30Z"))),
        )
    };
    let mut wal = made(2, Method::Wal, "2026-11-22T01:00Z");
    let value = serde_json::to_value([facts(&["000000010000000000000001"])]).unwrap();
    wal.manifest.source.insert("wal".to_owned(), value);
    let mut at_a = holding(1, vec![made(1, Method::Base, "2026-11-21T01:00Z"), wal]);
    let waiting = |names: &[&str]| WaitingWal {
        component: component_name("db"),
        facts: facts(names),
        files: 1,
        bytes: 1,
    };
    at_a.wal = vec![waiting(&["000000010000000000000001"])];
    let steps = |at_a: &Holding, now: &str| {
        lines(&planned(
            &strategy,
            &inventory(vec![("a", at_a.clone())]),
            now,
        ))
    };
    assert_eq!(steps(&at_a, "2026-11-22T02:07Z"), [""; 0]);
    at_a.wal = vec![waiting(&[
        "000000010000000000000001",
        "000000010000000000000002",
    ])];
    assert_eq!(steps(&at_a, "2026-11-22T01:50Z"), [""; 0]);
    let due = steps(&at_a, "2026-11-22T02:07Z");
    assert_eq!(due[0], "a01 back up wal 2026-11-22T02:00Z");
    // A saved plan does not get stale because a server went on writing.
    let digest = |at_a: &Holding| {
        planned(
            &strategy,
            &inventory(vec![("a", at_a.clone())]),
            "2026-11-22T02:07Z",
        )
        .inventory
    };
    let before = digest(&at_a);
    at_a.wal = vec![waiting(&[
        "000000010000000000000002",
        "000000010000000000000003",
    ])];
    assert_eq!(digest(&at_a), before);
}
