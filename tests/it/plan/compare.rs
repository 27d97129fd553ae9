//! What changed between two plan files, and which steps are there because of it.

use crate::support::plan::{back_up, backup, copy, forget, plan, sunday};
use crate::support::strategy::{at, daily, directory, keep, name, sound};
use ccb::model::strategy::{Component, Keep, Method, Pick, Selector, SourceSpec, Strategy};
use ccb::model::units::Period;
use ccb::plan::compare::{changes, mark_config_causes};
use ccb::plan::{BackupRef, Cause, Kept, KeptBecause, Reason, StepId};

fn of(count: u32) -> Keep {
    Keep::Daily {
        count,
        pick: Pick::Last,
    }
}

fn bent(bend: impl Fn(&mut Strategy, &mut Component)) -> Strategy {
    let mut strategy = sound();
    let mut component = strategy.components.remove(0);
    bend(&mut strategy, &mut component);
    strategy.components.insert(0, component);
    strategy
}

fn shown(base: &Strategy, now: &Strategy) -> Vec<String> {
    let side = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let lines = changes(base, now).into_iter();
    lines
        .map(|c| format!("{}: {} -> {}", c.address, side(c.before), side(c.after)))
        .collect()
}

#[test]
fn equal_strategies_have_no_changes() {
    assert_eq!(changes(&sound(), &sound()), []);
}

#[test]
fn each_kind_of_setting_shows_before_and_after_as_plan_file_text() {
    type Bend = fn(&mut Strategy, &mut Component);
    let table: &[(Bend, &str)] = &[
        (
            |_, c| c.retain[0].keep = of(14),
            "component.db.retain.daily: 30 -> 14",
        ),
        (
            |_, c| c.store = at(&["primary"]),
            "component.db.store: \"primary\" \"offsite\" -> \"primary\"",
        ),
        (
            |_, c| c.schedules[0] = daily("daily", "03:00", Method::Dump),
            "component.db.schedule.daily: at=\"02:00\" method=\"dump\" -> at=\"03:00\" method=\"dump\"",
        ),
        (
            |_, c| c.schedules.push(daily("late", "23:00", Method::Dump)),
            "component.db.schedule.late: - -> at=\"23:00\" method=\"dump\"",
        ),
        (
            |_, c| c.schedules.clear(),
            "component.db.schedule.daily: at=\"02:00\" method=\"dump\" -> -",
        ),
        (
            |_, c| c.retain[0].among.method = Some(Method::Dump),
            "component.db.retain.daily: 30 -> 30 method=\"dump\"",
        ),
        (
            |_, c| c.verify.integrity.as_mut().unwrap().every = Period::days(1),
            "component.db.verify.integrity: every=\"7d\" sample=\"100%\" -> every=\"1d\" sample=\"100%\"",
        ),
        (
            |_, c| {
                let SourceSpec::Postgres(source) = &mut c.source else {
                    unreachable!()
                };
                source.database = "sh\"op".to_owned();
            },
            "component.db.source.database: \"shop\" -> \"sh\\\"op\"",
        ),
        (
            |_, c| c.enabled = false,
            "component.db.enabled: #true -> #false",
        ),
        (
            |s, _| s.destinations[1].encrypt = None,
            "destination.offsite.encrypt: \"default\" -> none=#true",
        ),
        (
            |s, _| s.apply.trash = Period::days(1),
            "apply.trash: \"7d\" -> \"1d\"",
        ),
        (
            |s, _| s.apply.forget_limit_count = 5,
            "apply.forget-limit: count=20 percent=50 -> count=5 percent=50",
        ),
        (
            |s, _| s.policy.preset = None,
            "policy.preset: \"production\" -> -",
        ),
        (
            |s, _| s.notify[0].log = None,
            "notify.ops.log: file=\"/var/log/ccb.jsonl\" keep=\"90d\" -> -",
        ),
    ];
    for (bend, expected) in table {
        assert_eq!(shown(&sound(), &bent(bend)), [*expected]);
    }
}

#[test]
fn two_rules_of_one_word_are_told_apart_by_what_they_select() {
    let rules = |of_dumps: u32| {
        bent(|_, c| {
            let mut dumps = keep(of(of_dumps));
            dumps.among = Selector {
                method: Some(Method::Dump),
                ..Selector::default()
            };
            c.retain.push(dumps);
        })
    };
    assert_eq!(
        shown(&rules(7), &rules(5)),
        ["component.db.retain.daily: 7 -> 5"]
    );
}

#[test]
fn changes_stand_in_the_order_of_the_file_and_what_is_gone_stands_where_it_stood() {
    let base = bent(|s, c| {
        s.destinations.push(directory("nas", "/mnt/nas"));
        c.schedules.push(daily("late", "23:00", Method::Dump));
    });
    let now = bent(|s, c| {
        s.destinations[0].optional = true;
        c.retain[0].keep = of(7);
    });
    let addresses: Vec<String> = changes(&base, &now)
        .into_iter()
        .map(|c| c.address.0)
        .collect();
    assert_eq!(
        addresses,
        [
            "destination.primary.optional",
            "destination.nas.optional",
            "destination.nas.local",
            "destination.nas.encrypt",
            "component.db.schedule.late",
            "component.db.retain.daily",
        ]
    );
}

#[test]
fn steps_that_only_the_new_file_asks_for_are_caused_by_the_change() {
    let base_steps = vec![(back_up("daily", "2026-11-22T02:00:00Z"), vec![])];
    let mut base = plan(base_steps.clone());
    base.kept.push(Kept {
        backup: backup(1),
        component: name("db"),
        started: sunday().0,
        method: Method::Dump,
        because: vec![KeptBecause::Rule {
            keep: of(30),
            bucket: None,
        }],
    });
    let mut steps = base_steps;
    steps.push((copy(BackupRef::Of(StepId(1)), "offsite"), vec![1]));
    steps.push((forget(1, "primary"), vec![1]));
    let mut now = plan(steps);
    mark_config_causes(&mut now, &base);
    let causes: Vec<Cause> = now.steps.iter().map(|step| step.cause).collect();
    assert_eq!(causes, [Cause::Schedule, Cause::Config, Cause::Config]);
    assert_eq!(
        now.steps[2].because,
        Reason::NotKept {
            was: Some(of(30)),
            ends_at: None
        }
    );
}
