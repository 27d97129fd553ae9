//! Checks that are asked for now, and what is said of backups one by one.

use crate::support::facts::{
    as_of, at, backup_id, component, component_name, destination_name, files_source, held, holding,
    inventory, manifest, rule, schedule, strategy, time, verified,
};
use ccb::model::inventory::{Held, Holding, Inventory, Trashed};
use ccb::model::records::{Annotation, Check, Note, Tomb, Version};
use ccb::model::strategy::{IntegrityCheck, Keep, Method, Pick, Strategy, Tier};
use ccb::model::units::{Percent, Period};
use ccb::plan::explain::explain;
use ccb::plan::proving::{CheckRequest, checks_now};
use ccb::plan::{Action, KeptBecause, Request, plan};

const NOW: &str = "2026-11-22T12:00Z";

/// `files` every day to `a` and `b`, two days stay, a tenth is read back every week.
fn files() -> Strategy {
    let mut strategy = strategy(&["a", "b"]);
    let mut files = component("files", files_source(), &["a", "b"]);
    files.schedules = vec![schedule("daily", at("02:00", None), Method::Incremental)];
    files.retain = vec![rule(Keep::Daily {
        count: 2,
        pick: Pick::Last,
    })];
    files.verify.integrity = Some(IntegrityCheck {
        every: Period::days(7),
        sample: Percent(10),
    });
    strategy.components = vec![files];
    strategy
}

fn backup(number: u32, day: u32) -> Held {
    let started = format!("2026-11-{day}T02:01Z");
    held(manifest(
        backup_id(number),
        "files",
        Method::Incremental,
        &started,
    ))
}

/// Backups 1, 2, 3 of three days at `a`; only the last is at `b` too.
fn three() -> Inventory {
    let mut newest = backup(3, 22);
    let checked = time("2026-11-22T02:05Z");
    let proof = |at| verified(backup_id(3), Check::Integrity, at, checked, true);
    newest.annotations = vec![proof("a"), proof("b")];
    inventory(vec![
        (
            "a",
            holding(1, vec![backup(1, 20), backup(2, 21), newest.clone()]),
        ),
        ("b", holding(2, vec![newest])),
    ])
}

/// What is checked: `integrity of 00000003 at a`.
fn asked(inventory: &Inventory, request: &CheckRequest) -> (Vec<String>, Vec<String>) {
    let (plan, left_out) = checks_now(&files(), inventory, as_of(NOW), request);
    let steps = plan.steps.iter().map(|step| step.action.what()).collect();
    let left_out = left_out.into_iter().map(|one| one.why).collect();
    (steps, left_out)
}

#[test]
fn by_default_the_newest_is_checked_everywhere_as_the_plan_file_asks() {
    let (steps, left_out) = asked(&three(), &CheckRequest::default());
    assert_eq!(
        steps,
        [
            "presence of 00000003 at a",
            "integrity of 00000003 at a",
            "presence of 00000003 at b",
            "integrity of 00000003 at b",
        ]
    );
    assert!(left_out.is_empty());
}

#[test]
fn a_check_by_name_is_made_in_full_of_the_backup_that_is_named_and_a_missing_copy_is_told() {
    let request = CheckRequest {
        component: Some(component_name("files")),
        backup: Some(backup_id(2)),
        check: Some(Check::Integrity),
    };
    let (plan, left_out) = checks_now(&files(), &three(), as_of(NOW), &request);
    let Action::Verify { check, .. } = &plan.steps[0].action else {
        panic!("{plan:#?}")
    };
    assert_eq!(format!("{check:?}"), "Integrity { sample: Percent(100) }");
    assert_eq!(plan.steps.len(), 1);
    let (left_out, why) = (&left_out[0], "there is no copy; `ccb apply` makes it");
    assert_eq!(left_out.destination, Some(destination_name("b")));
    assert_eq!(left_out.why, why);
}

#[test]
fn what_can_not_be_seen_is_not_passed_over() {
    let mut away = three();
    let unreachable = Holding::unreachable("no route".into());
    away.destinations.insert(destination_name("b"), unreachable);
    let (steps, left_out) = asked(&away, &CheckRequest::default());
    assert_eq!(steps.len(), 2);
    assert_eq!(
        left_out,
        ["the destination was not seen completely: no route"]
    );
    let (steps, left_out) = asked(&Inventory::default(), &CheckRequest::default());
    assert!(steps.is_empty());
    assert_eq!(left_out, ["it has no good backup that was seen"]);
}

#[test]
fn a_backup_is_explained_by_the_plan_that_is_made_now() {
    let (strategy, mut inventory) = (files(), three());
    let a = inventory
        .destinations
        .get_mut(&destination_name("a"))
        .unwrap();
    a.backups[1].annotations = vec![Annotation {
        v: Version,
        backup: backup_id(2),
        at: time("2026-11-21T12:00Z"),
        note: Note::Hold {
            by: "ana".into(),
            reason: "incident".into(),
        },
    }];
    a.trashed.push(Trashed {
        manifest: backup(9, 10).manifest,
        tomb: Tomb {
            v: Version,
            backup: backup_id(9),
            at: time("2026-11-20T02:00Z"),
            run: None,
            reason: "no rule keeps it".into(),
        },
        since: time("2026-11-20T02:00Z"),
    });
    let plan = plan(&strategy, &inventory, as_of(NOW), &Request::default()).unwrap();
    let tell = |number| explain(&plan, &inventory, Period::days(7), &backup_id(number));

    let newest = tell(3).unwrap();
    assert_eq!(newest.tiers, [Tier::Daily]);
    assert_eq!(
        newest.copies,
        [&destination_name("a"), &destination_name("b")]
    );
    assert!(newest.forgets.is_empty() && newest.held_back.is_none());
    assert_eq!(newest.evidence.len(), 2);

    let held = tell(2).unwrap();
    assert!(
        held.kept
            .iter()
            .any(|because| matches!(because, KeptBecause::Hold { .. }))
    );
    assert_eq!(held.holds.len(), 1);
    assert_eq!(held.missing, [&destination_name("b")]);

    let going = tell(1).unwrap();
    assert!(going.kept.is_empty());
    assert_eq!(going.forgets.len(), 1, "{going:#?}");
    assert_eq!(going.forgets[0].destination, &destination_name("a"));

    let gone = tell(9).unwrap();
    assert!(gone.copies.is_empty());
    assert_eq!(gone.trash[0].until, time("2026-11-27T02:00Z"));
    assert!(tell(77).is_none());
}
