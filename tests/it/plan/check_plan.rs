//! The rules about plans and inventories: each one breaks where it should and is silent where it is kept.

use crate::plan::check::{BREAKING, bent, db, of};
use crate::support::plan::{backup, checked, copy, forget, held, inventory, plan, run, time};
use crate::support::strategy::{name, sound};
use ccb::model::ids::Address;
use ccb::model::inventory::{Held, Holding, Inventory};
use ccb::model::records::{Check, StepOutcome};
use ccb::model::rules::{RULES, When};
use ccb::model::strategy::{Level, Method, Preset, RestoreInto, RestoreTestPolicy};
use ccb::model::units::{Percent, Period};
use ccb::model::wal::{BaseFacts, Lsn, SegmentBytes, SegmentName, SystemId, WalFacts, WalName};
use ccb::plan::check::check_plan;
use ccb::plan::{Action, BackupRef, Cause, CheckSpec, Finding, Plan, StepId};

const BEFORE: &str = "2026-11-21T02:00:00Z";
const LONG_AGO: &str = "2026-10-01T02:00:00Z";

fn proven(number: u8, started: &str) -> Held {
    checked(held(number, started), Check::Integrity, started, true)
}

fn tested(number: u8, started: &str) -> Held {
    checked(held(number, started), Check::RestoreTest, started, true)
}

fn made_by(method: Method, mut held: Held) -> Held {
    held.manifest.method = method;
    held
}

fn verify(backup: BackupRef, check: CheckSpec) -> Action {
    Action::Verify {
        component: name("db"),
        backup,
        destination: name("primary"),
        check,
    }
}

fn test_now() -> Plan {
    let check = CheckSpec::RestoreTest {
        into: RestoreInto::TemporaryDatabase,
        files: None,
    };
    plan(vec![(verify(BackupRef::Id(backup(1)), check), vec![])])
}

fn nothing() -> Plan {
    plan(vec![])
}

fn at_primary(backups: &[Held]) -> Inventory {
    inventory(&[("primary", backups)])
}

fn with_runs(outcomes: &[(&str, StepOutcome)]) -> Inventory {
    let mut inventory = inventory(&[("primary", &[tested(1, BEFORE)]), ("offsite", &[])]);
    for holding in inventory.destinations.values_mut() {
        holding.runs = outcomes
            .iter()
            .map(|(at, outcome)| run(at, *outcome))
            .collect();
    }
    inventory
}

fn many(count: u8) -> Inventory {
    let backups: Vec<Held> = (1..=count).map(|number| tested(number, BEFORE)).collect();
    inventory(&[("offsite", &backups), ("primary", &backups)])
}

fn forgetting(count: u8) -> Plan {
    let steps = (1..=count).flat_map(|n| [forget(n, "primary"), forget(n, "offsite")]);
    plan(steps.map(|step| (step, vec![])).collect())
}

fn wal_and_bases() -> Inventory {
    at_primary(&[
        made_by(Method::Base, tested(1, "2026-11-12T02:07:00Z")),
        made_by(Method::Wal, tested(2, "2026-11-15T02:07:00Z")),
        made_by(Method::Base, tested(3, "2026-11-19T02:07:00Z")),
        tested(4, BEFORE),
    ])
}

/// A base that needs segments 2 and 3, and WAL of these.
fn base_and_wal(segments: &[u64]) -> Inventory {
    let system = SystemId(7);
    let bytes = SegmentBytes::USUAL;
    let base = BaseFacts {
        system_identifier: system,
        timeline: 1,
        start_lsn: Lsn(2 * bytes.get() + 40),
        stop_lsn: Lsn(3 * bytes.get() + 256),
        segment_bytes: bytes,
        checksums_verified: None,
        server_version: "15.18".to_owned(),
        superuser: None,
        backup_label: String::new(),
    };
    let names = segments.iter().map(|number| {
        let segment = SegmentName::new(1, *number, bytes).unwrap();
        (WalName::Segment(segment), BEFORE.parse().unwrap())
    });
    let facts = WalFacts::empty(system, bytes).with(names);
    let mut held = made_by(Method::Base, tested(1, "2026-11-19T02:07:00Z"));
    held.manifest
        .source
        .insert("base".to_owned(), serde_json::to_value(base).unwrap());
    let mut wal = made_by(Method::Wal, tested(2, "2026-11-20T02:07:00Z"));
    wal.manifest
        .source
        .insert("wal".to_owned(), serde_json::to_value([facts]).unwrap());
    let mut inventory = at_primary(&[held, wal]);
    inventory
        .destinations
        .insert("offsite".parse().unwrap(), Holding::empty());
    inventory
}

type Case = (
    &'static str,
    fn() -> Inventory,
    fn() -> Plan,
    &'static str,
    &'static str,
);

/// Rule, inventory and plan that break it, where that stands, what is said.
const BREAKING_PLANS: &[Case] = &[
    (
        "CCB205",
        || at_primary(&[held(1, LONG_AGO), held(2, BEFORE)]),
        || plan(vec![(forget(1, "primary"), vec![])]),
        "component.db.retain",
        "1 forget of component.db has no newer verified backup",
    ),
    (
        "CCB205",
        || {
            at_primary(&[
                proven(1, LONG_AGO),
                checked(
                    proven(2, BEFORE),
                    Check::Presence,
                    "2026-11-22T00:00:00Z",
                    false,
                ),
            ])
        },
        || plan(vec![(forget(1, "primary"), vec![])]),
        "component.db.retain",
        "1 forget of component.db has no newer verified backup",
    ),
    (
        "CCB205",
        || at_primary(&[proven(1, LONG_AGO), proven(2, BEFORE)]),
        || {
            plan(vec![
                (forget(1, "primary"), vec![]),
                (forget(2, "primary"), vec![]),
            ])
        },
        "component.db.retain",
        "2 forgets of component.db have no newer verified backup",
    ),
    (
        "CCB206",
        || at_primary(&[tested(1, LONG_AGO), held(2, BEFORE)]),
        nothing,
        "component.db.verify.restore-test",
        "last restore test of component.db was 52 days ago, 31d is the limit",
    ),
    (
        "CCB206",
        || at_primary(&[held(1, LONG_AGO), held(2, BEFORE)]),
        nothing,
        "component.db.verify.restore-test",
        "component.db was never restored as a test in 52 days, 31d is the limit",
    ),
    (
        "CCB207",
        || at_primary(&[tested(1, "2026-11-20T02:07:00Z")]),
        nothing,
        "component.db.schedule.daily",
        "newest dump of component.db is 48 hours old, expected every 1d",
    ),
    (
        "CCB208",
        || {
            let mut inventory = at_primary(&[]);
            for holding in inventory.destinations.values_mut() {
                holding.repository.as_mut().unwrap().key_since = Some(time("2025-01-01T00:00:00Z"));
            }
            inventory
        },
        nothing,
        "encryption.default.rotate-after",
        "key \"default\" is 690 days old, it is to be changed after 365d",
    ),
    (
        "CCB209",
        || {
            with_runs(&[
                ("2026-11-21T02:00:00Z", StepOutcome::Failed),
                ("2026-11-20T02:00:00Z", StepOutcome::Done),
            ])
        },
        nothing,
        "component.db.schedule",
        "backing up component.db failed in the last run: exited with 1",
    ),
    (
        "CCB210",
        || at_primary(&[tested(1, BEFORE)]),
        || plan(vec![(copy(BackupRef::Id(backup(1)), "offsite"), vec![])]),
        "component.db.store",
        "1 backup of component.db is missing at destination.offsite",
    ),
    (
        "CCB213",
        || many(50),
        || forgetting(21),
        "apply.forget-limit",
        "plan forgets 21 of 50 backups, limit 20",
    ),
    (
        "CCB213",
        || many(10),
        || forgetting(6),
        "apply.forget-limit",
        "plan forgets 6 of 10 backups, limit 50%",
    ),
    (
        "CCB214",
        || many(2),
        || forgetting(2),
        "component.db.retain",
        "would remove the last complete backup of component.db",
    ),
    (
        "CCB215",
        wal_and_bases,
        || plan(vec![(forget(1, "primary"), vec![])]),
        "component.db.retain",
        "WAL of component.db is kept for 7d at destination.primary but the oldest base only reaches 3d",
    ),
    (
        "CCB222",
        || base_and_wal(&[2, 3, 6, 7]),
        nothing,
        "component.db.schedule",
        "WAL of component.db lacks 2 segments, 000000010000000000000004 to 000000010000000000000005: from the base of 2026-11-19T02:07Z no moment after 2026-11-21T02:00Z can be restored",
    ),
    (
        "CCB222",
        || base_and_wal(&[3, 4]),
        nothing,
        "component.db.schedule",
        "WAL of component.db lacks the segment 000000010000000000000002: the base of 2026-11-19T02:07Z can not be restored",
    ),
    (
        "CCB222",
        || base_and_wal(&[2]),
        nothing,
        "component.db.schedule",
        "WAL of component.db ends before 000000010000000000000003, without which the base of 2026-11-19T02:07Z can not be restored",
    ),
    (
        "CCB311",
        || at_primary(&[tested(1, BEFORE), held(2, "2026-11-22T05:07:00Z")]),
        nothing,
        "component.db",
        "backup 02020202 of component.db is dated 3h in the future, it is counted nowhere",
    ),
];

type Kept = (&'static str, fn() -> Inventory, fn() -> Plan);

/// Inventories and plans that come close to breaking a rule, and do not.
const KEEPING_PLANS: &[Kept] = &[
    (
        "CCB205",
        || at_primary(&[held(1, LONG_AGO), proven(2, BEFORE)]),
        || plan(vec![(forget(1, "primary"), vec![])]),
    ),
    (
        "CCB205",
        || at_primary(&[held(1, LONG_AGO)]),
        || {
            plan(vec![
                (
                    verify(BackupRef::Id(backup(2)), CheckSpec::Contents),
                    vec![],
                ),
                (copy(BackupRef::Id(backup(2)), "offsite"), vec![1]),
                (forget(1, "primary"), vec![2]),
            ])
        },
    ),
    // The same backup goes from one destination, and stays, proven, at another.
    (
        "CCB205",
        || many(1),
        || plan(vec![(forget(1, "offsite"), vec![])]),
    ),
    ("CCB206", || at_primary(&[held(1, LONG_AGO)]), test_now),
    (
        "CCB206",
        || at_primary(&[tested(1, "2026-10-23T02:07:00Z")]),
        nothing,
    ),
    ("CCB206", || at_primary(&[held(1, BEFORE)]), nothing),
    (
        "CCB207",
        || at_primary(&[tested(1, "2026-11-20T20:07:00Z")]),
        nothing,
    ),
    ("CCB207", || at_primary(&[]), nothing),
    ("CCB208", || at_primary(&[]), nothing),
    (
        "CCB209",
        || {
            with_runs(&[
                ("2026-11-21T02:00:00Z", StepOutcome::Done),
                ("2026-11-20T02:00:00Z", StepOutcome::Failed),
            ])
        },
        nothing,
    ),
    (
        "CCB210",
        || at_primary(&[tested(1, BEFORE)]),
        || {
            let mut plan = plan(vec![(copy(BackupRef::Id(backup(1)), "offsite"), vec![])]);
            plan.steps[0].cause = Cause::Config;
            plan
        },
    ),
    (
        "CCB210",
        || at_primary(&[]),
        || plan(vec![(copy(BackupRef::Of(StepId(9)), "offsite"), vec![])]),
    ),
    ("CCB213", || many(50), || forgetting(20)),
    ("CCB213", || many(2), || forgetting(1)),
    ("CCB214", || many(2), || forgetting(1)),
    (
        "CCB214",
        || many(1),
        || plan(vec![(forget(1, "offsite"), vec![])]),
    ),
    ("CCB215", wal_and_bases, || {
        plan(vec![
            (forget(1, "primary"), vec![]),
            (forget(2, "primary"), vec![]),
        ])
    }),
    ("CCB215", wal_and_bases, || {
        plan(vec![(forget(2, "primary"), vec![])])
    }),
    ("CCB222", || base_and_wal(&[2, 3, 4, 5]), nothing),
    (
        "CCB222",
        || {
            // What is out of sight may be there.
            let mut inventory = base_and_wal(&[2, 3, 6]);
            let away = Holding::unreachable("away".to_owned());
            inventory
                .destinations
                .insert("offsite".parse().unwrap(), away);
            inventory
        },
        nothing,
    ),
    ("CCB311", || at_primary(&[tested(1, BEFORE)]), nothing),
];

#[test]
fn each_rule_about_plans_is_broken_where_it_should_be() {
    for (rule, inventory, plan, address, message) in BREAKING_PLANS {
        let all = check_plan(&sound(), &inventory(), &plan(), None);
        let found = of(rule, &all);
        assert_eq!(found.len(), 1, "{rule}: {message}: {all:#?}");
        assert_eq!(
            (found[0].address.0.as_str(), found[0].message.as_str()),
            (*address, *message)
        );
    }
}

#[test]
fn each_rule_about_plans_is_silent_where_it_is_kept() {
    for (number, (rule, inventory, plan)) in KEEPING_PLANS.iter().enumerate() {
        let all = check_plan(&sound(), &inventory(), &plan(), None);
        assert_eq!(
            of(rule, &all),
            Vec::<&Finding>::new(),
            "{rule}, case {number}"
        );
    }
}

#[test]
fn every_rule_that_needs_no_live_server_has_a_case_that_breaks_it() {
    // Asked of a live bucket: 108, 216 to 218, 225, 226; of a live database: 220, 223, 224. Of a simulation: 312. Of the caller:
    // 109, 307.
    let elsewhere = [
        "CCB108", "CCB109", "CCB216", "CCB217", "CCB218", "CCB225", "CCB226", "CCB220", "CCB223",
        "CCB224", "CCB307", "CCB312",
    ];
    let tested: Vec<&str> = BREAKING
        .iter()
        .map(|(rule, ..)| *rule)
        .chain(BREAKING_PLANS.iter().map(|(rule, ..)| *rule))
        .chain(elsewhere)
        .collect();
    for rule in RULES.iter().filter(|rule| rule.when != [When::Apply]) {
        assert!(tested.contains(&rule.id), "{}", rule.id);
    }
}

#[test]
fn the_third_failure_in_a_row_stops_a_production_plan() {
    let failures = |days: &[&'static str], preset: Option<Preset>| {
        let runs: Vec<_> = days.iter().map(|day| (*day, StepOutcome::Failed)).collect();
        let strategy = bent(|s| s.policy.preset = preset);
        let all = check_plan(&strategy, &with_runs(&runs), &nothing(), None);
        of("CCB209", &all).first().map(|f| f.level)
    };
    let days = [
        "2026-11-21T02:00:00Z",
        "2026-11-20T02:00:00Z",
        "2026-11-19T02:00:00Z",
    ];
    let production = Some(Preset::Production);
    assert_eq!(failures(&days[..2], production), Some(Level::Warn));
    assert_eq!(failures(&days, production), Some(Level::Deny));
    assert_eq!(failures(&days, Some(Preset::Staging)), Some(Level::Warn));
    assert_eq!(failures(&days, Some(Preset::Development)), None);
}

#[test]
fn the_policy_says_how_long_ago_the_last_restore_test_may_be() {
    let strategy = bent(|s| {
        s.policy.restore_test = Some(RestoreTestPolicy {
            within: Period::days(7),
            level: Some(Level::Warn),
        });
    });
    let inventory = at_primary(&[tested(1, "2026-11-10T02:07:00Z")]);
    let all = check_plan(&strategy, &inventory, &nothing(), None);
    let found = of("CCB206", &all)[0];
    assert_eq!(found.level, Level::Warn);
    assert_eq!(
        found.message,
        "last restore test of component.db was 12 days ago, 7d is the limit"
    );
    assert_eq!(
        found.related,
        Some(Address("policy.restore-test".to_owned()))
    );
}

#[test]
fn backups_under_an_earlier_name_are_the_components_own() {
    let strategy = bent(|s| {
        db(s).name = name("database");
        db(s).moved_from = vec![name("db")];
    });
    let all = check_plan(&strategy, &many(2), &forgetting(2), None);
    assert_eq!(
        of("CCB214", &all)[0].message,
        "would remove the last complete backup of component.database"
    );
}

#[test]
fn a_limit_can_be_raised_in_the_plan_file() {
    let strategy = bent(|s| s.apply.forget_limit_count = 100);
    let all = check_plan(&strategy, &many(50), &forgetting(21), None);
    assert_eq!(of("CCB213", &all), Vec::<&Finding>::new());
    let strategy = bent(|s| s.apply.forget_limit_percent = Percent(60));
    let all = check_plan(&strategy, &many(10), &forgetting(6), None);
    assert_eq!(of("CCB213", &all), Vec::<&Finding>::new());
}

#[test]
fn an_allowance_replaces_the_limit_for_one_run_in_both_directions() {
    let strategy = sound();
    let broken = |gone: u8, allowed: Option<u64>| {
        let all = check_plan(&strategy, &many(50), &forgetting(gone), allowed);
        let found = all.iter().find(|finding| finding.rule == "CCB213");
        found.map(|finding| finding.message.clone())
    };
    assert!(broken(30, None).is_some());
    assert_eq!(broken(30, Some(30)), None);
    assert_eq!(
        broken(30, Some(29)).as_deref(),
        Some("plan forgets 30 backups, this run may forget 29")
    );
    assert_eq!(broken(3, None), None);
    assert!(
        broken(3, Some(2)).is_some(),
        "less than the limit counts, too"
    );
}
