//! The saved plan: its text, what makes it stale, what of it may still run.

use crate::support::plan::{back_up, backup, copy, forget, held, inventory, plan, sunday, time};
use crate::support::strategy::name;
use ccb::model::ids::{Digest, RepositoryId};
use ccb::model::strategy::Method;
use ccb::model::units::{AsOf, Period};
use ccb::plan::saved::{
    Moved, SavedPlanError, StillNeeded, from_json, id, schema, staleness, still_needed, to_json,
};
use ccb::plan::{Action, BackupRef, Kept, KeptBecause, Plan, StepId, inventory_digest};
use serde_json::Value;

const TODAY: &str = "2026-11-22T02:00:00Z";
const LATER: &str = "2026-11-22T03:00:00Z";

fn three_steps() -> Plan {
    plan(vec![
        (back_up("daily", TODAY), vec![]),
        (copy(BackupRef::Of(StepId(1)), "offsite"), vec![1]),
        (forget(1, "primary"), vec![1, 2]),
    ])
}

fn configure() -> Action {
    Action::Configure {
        component: name("db"),
        settings: Vec::new(),
        removes: false,
    }
}

fn prune() -> Action {
    Action::Prune {
        destination: name("primary"),
        trash: Period::days(7),
    }
}

fn numbers(ids: &[StepId]) -> Vec<u32> {
    ids.iter().map(|id| id.0).collect()
}

fn running(left: &StillNeeded) -> Vec<u32> {
    left.plan.steps.iter().map(|step| step.id.0).collect()
}

#[test]
fn a_saved_plan_reads_back_and_its_text_is_canonical() {
    let text = to_json(&three_steps());
    assert_eq!(from_json(&text).unwrap(), three_steps());
    assert_eq!(text, to_json(&from_json(&text).unwrap()));
    assert!(text.ends_with("}\n") && text.lines().count() == 1);
    assert!(text.starts_with("{\"applyable\":true,\"at\":\"2026-11-22T02:07:00Z\",\"changes\":[]"));
    assert!(text.contains(&format!("\"id\":\"{}\"", id(&three_steps()))));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value.to_string() + "\n", text, "keys are sorted");
}

#[test]
fn a_plan_that_was_changed_by_hand_is_refused() {
    let text = to_json(&three_steps());
    let forged = text.replacen("\"primary\"", "\"offsite\"", 1);
    assert_ne!(forged, text);
    assert!(matches!(
        from_json(&forged),
        Err(SavedPlanError::Damaged { .. })
    ));
    let unnamed = text.replace(&id(&three_steps()).to_string(), "");
    assert!(matches!(
        from_json(&unnamed),
        Err(SavedPlanError::Damaged { .. })
    ));
}

#[test]
fn other_documents_and_other_major_formats_are_refused() {
    let text = to_json(&three_steps());
    let other = text.replace("\"format_version\":\"1.0\"", "\"format_version\":\"2.0\"");
    assert!(matches!(from_json(&other), Err(SavedPlanError::Format { found }) if found == "2.0"));
    let report = text.replace("\"kind\":\"plan\"", "\"kind\":\"report\"");
    assert!(matches!(from_json(&report), Err(SavedPlanError::Kind { found }) if found == "report"));
    for text in ["", "{", "[]", "null", "{\"kind\":\"plan\"}"] {
        assert!(from_json(text).is_err(), "{text}");
    }
}

#[test]
fn what_a_later_minor_version_added_is_ignored() {
    let mut document: Value = serde_json::from_str(&to_json(&three_steps())).unwrap();
    document["format_version"] = "1.7".into();
    document["weather"] = "fine".into();
    document.as_object_mut().unwrap().remove("id");
    let id = Digest::of(document.to_string().as_bytes());
    document["id"] = id.to_string().into();
    assert_eq!(from_json(&document.to_string()).unwrap(), three_steps());
}

#[test]
fn the_id_changes_with_anything_that_is_done() {
    let mut other = three_steps();
    other.steps[2].needs.clear();
    assert_ne!(id(&three_steps()), id(&other));
}

#[test]
fn the_basis_changes_with_what_is_held_and_not_with_the_moment_of_looking() {
    let one = inventory(&[("primary", &[held(1, TODAY)])]);
    let mut later = one.clone();
    for holding in later.destinations.values_mut() {
        holding.repository.as_mut().unwrap().server_time = time(LATER);
    }
    let two = inventory(&[("primary", &[held(2, TODAY)])]);
    assert_eq!(inventory_digest(&one), inventory_digest(&later));
    assert_ne!(inventory_digest(&one), inventory_digest(&two));
}

#[test]
fn a_plan_is_stale_only_by_file_repository_or_age() {
    let saved = three_steps();
    assert_eq!(staleness(&saved, &saved, sunday()), None);

    let mut backups_moved = saved.clone();
    backups_moved.inventory = Digest([9; 32]);
    backups_moved.steps.clear();
    assert_eq!(staleness(&saved, &backups_moved, sunday()), None);

    let mut edited = saved.clone();
    edited.config = Digest([0xab; 32]);
    let stale = staleness(&saved, &edited, sunday()).unwrap();
    assert_eq!(
        stale.to_string(),
        "the plan file changed: it was 01010101, it is abababab"
    );

    let mut replaced = saved.clone();
    replaced
        .repositories
        .insert(name("primary"), RepositoryId([8; 16]));
    let stale = staleness(&saved, &replaced, sunday()).unwrap();
    assert_eq!(
        stale.to_string(),
        "the repository at destination.primary changed: it was 07070707, it is 08080808"
    );

    let at_the_end = AsOf(saved.expires);
    assert_eq!(staleness(&saved, &saved, at_the_end), None);
    let late = AsOf(time("2026-11-23T02:07:01Z"));
    let stale = staleness(&saved, &saved, late).unwrap();
    assert!(matches!(stale.0[..], [Moved::Expired { .. }]));

    let mut other = saved.clone();
    other.environment = "staging".to_owned();
    assert!(staleness(&saved, &other, sunday()).is_some());
}

#[test]
fn a_repository_may_come_by_this_plan_and_may_be_out_of_reach() {
    let mut saved = plan(vec![(
        Action::Initialize {
            destination: name("primary"),
        },
        vec![],
    )]);
    saved.repositories.clear();
    assert_eq!(
        staleness(&saved, &three_steps(), sunday()),
        None,
        "made by this plan"
    );
    let mut elsewhere = saved.clone();
    elsewhere.steps.clear();
    assert!(
        staleness(&elsewhere, &three_steps(), sunday()).is_some(),
        "made by another"
    );

    let mut gone = three_steps();
    gone.repositories.clear();
    assert!(staleness(&three_steps(), &gone, sunday()).is_some(), "gone");
    gone.unseen.insert(name("primary"), "timeout".to_owned());
    assert_eq!(
        staleness(&three_steps(), &gone, sunday()),
        None,
        "out of reach"
    );
}

#[test]
fn the_whole_plan_runs_when_nothing_moved() {
    let left = still_needed(&three_steps(), &three_steps());
    assert_eq!(left.plan, three_steps());
    assert!(left.satisfied.is_empty() && left.brought.is_empty() && left.left_out.is_empty());
}

#[test]
fn approved_steps_run_by_what_they_do_whatever_their_number() {
    let fresh = plan(vec![
        (forget(9, "primary"), vec![]),
        (back_up("daily", TODAY), vec![]),
        (copy(BackupRef::Of(StepId(2)), "offsite"), vec![2]),
        (forget(1, "primary"), vec![2, 3]),
    ]);
    let left = still_needed(&three_steps(), &fresh);
    assert_eq!(running(&left), [2, 3, 4]);
    assert_eq!(numbers(&left.left_out), [1]);
    assert_eq!(
        (left.plan.summary.forget, left.plan.summary.back_up),
        (1, 1)
    );
}

#[test]
fn nothing_is_forgotten_that_was_not_approved_for_that_destination() {
    for never_approved in [
        forget(2, "primary"),
        forget(1, "offsite"),
        prune(),
        configure(),
    ] {
        let fresh = plan(vec![(never_approved.clone(), vec![])]);
        let left = still_needed(&three_steps(), &fresh);
        assert_eq!(left.plan.steps, [], "{never_approved:?}");
        assert_eq!(numbers(&left.left_out), [1]);
        assert_eq!(numbers(&left.satisfied), [1, 2, 3]);
    }
}

#[test]
fn a_plan_that_was_applied_has_nothing_left_to_do() {
    let left = still_needed(&three_steps(), &plan(vec![]));
    assert!(left.plan.is_empty());
    assert_eq!(numbers(&left.satisfied), [1, 2, 3]);
}

#[test]
fn a_copy_of_the_backup_that_this_plan_made_is_approved() {
    let made_at = |started: &str| {
        let mut fresh = plan(vec![(copy(BackupRef::Id(backup(5)), "offsite"), vec![])]);
        fresh.kept.push(Kept {
            backup: backup(5),
            component: name("db"),
            started: time(started),
            method: Method::Dump,
            because: vec![KeptBecause::Newest],
        });
        fresh
    };
    let left = still_needed(&three_steps(), &made_at("2026-11-22T02:10:00Z"));
    assert_eq!(
        (running(&left), numbers(&left.satisfied)),
        (vec![1], vec![1, 3])
    );
    let left = still_needed(&three_steps(), &made_at("2026-11-21T02:00:00Z"));
    assert_eq!(
        running(&left),
        Vec::<u32>::new(),
        "that one is older than the plan"
    );
}

#[test]
fn a_later_slot_of_an_approved_schedule_is_approved() {
    let run = |fresh: Action| running(&still_needed(&three_steps(), &plan(vec![(fresh, vec![])])));
    assert_eq!(run(back_up("daily", LATER)), [1]);
    assert_eq!(run(back_up("weekly", TODAY)), Vec::<u32>::new());
}

#[test]
fn what_an_approved_step_needs_comes_along_unless_it_takes_away() {
    let fresh = plan(vec![
        (back_up("wal", LATER), vec![]),
        (forget(2, "primary"), vec![]),
        (forget(1, "primary"), vec![1, 2]),
    ]);
    let left = still_needed(&three_steps(), &fresh);
    assert_eq!(running(&left), [1, 3]);
    assert_eq!(
        (numbers(&left.brought), numbers(&left.left_out)),
        (vec![1], vec![2])
    );
    assert_eq!(left.plan.steps[1].needs, [StepId(1)]);
}

#[test]
fn what_waits_for_an_unapproved_change_of_a_source_waits() {
    let fresh = plan(vec![
        (configure(), vec![]),
        (back_up("wal", LATER), vec![1]),
        (forget(1, "primary"), vec![2]),
    ]);
    let left = still_needed(&three_steps(), &fresh);
    assert_eq!(running(&left), Vec::<u32>::new());
    assert_eq!(numbers(&left.left_out), [1, 2, 3]);
}

fn object<'a>(value: &'a Value, name: &str) -> &'a serde_json::Map<String, Value> {
    value[name]
        .as_object()
        .unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_committed_schema_is_the_one_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/plan.v1.json");
    if std::env::var_os("CCB_WRITE_SCHEMAS").is_some() {
        std::fs::write(path, schema()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed == schema(),
        "run this test with CCB_WRITE_SCHEMAS=1, and commit {path}"
    );
}

#[test]
fn a_saved_plan_has_what_its_schema_requires_and_nothing_that_it_does_not_know() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let plan: Value = serde_json::from_str(&to_json(&three_steps())).unwrap();
    let known = object(&schema, "properties");
    for name in plan.as_object().unwrap().keys() {
        assert!(known.contains_key(name), "{name}");
    }
    for name in schema["required"].as_array().unwrap() {
        assert!(plan.get(name.as_str().unwrap()).is_some(), "{name}");
    }
    let step = object(&schema["$defs"]["Step"], "properties");
    for name in plan["steps"][0].as_object().unwrap().keys() {
        assert!(step.contains_key(name), "{name}");
    }
}
