//! The whole plan: steps, what the change of the file causes, and what the rules say, from values alone.

use crate::plan_file::support::parse_committed;
use crate::support::plan::{checked, forget, held, inventory, plan as bare, sunday};
use crate::support::play::play;
use crate::support::strategy::{at, sound};
use ccb::model::ids::Address;
use ccb::model::inventory::Inventory;
use ccb::model::records::Check;
use ccb::model::strategy::{Level, Timing};
use ccb::plan::check::{Surroundings, check_plan, check_strategy};
use ccb::plan::saved::{staleness, still_needed, to_json};
use ccb::plan::{Action, Cause, Plan, Request, plan_with_checks};

const TAKEN: &str = "2026-11-22T02:01:00Z";

fn whole(base: Option<&[&str]>, inventory: &Inventory) -> Plan {
    let base = base.map(|store| {
        let mut base = sound();
        base.components[0].store = at(store);
        base
    });
    let request = Request::default();
    plan_with_checks(
        &sound(),
        base.as_ref(),
        inventory,
        &Surroundings::default(),
        sunday(),
        &request,
    )
    .unwrap()
}

fn one_backup_at_primary() -> Inventory {
    let taken = checked(held(1, TAKEN), Check::Integrity, TAKEN, true);
    inventory(&[("primary", &[taken]), ("offsite", &[])])
}

fn copies(plan: &Plan) -> Vec<Cause> {
    let copies = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Copy { .. }));
    copies.map(|step| step.cause).collect()
}

#[test]
fn a_copy_that_the_change_asks_for_is_caused_by_it_and_one_that_is_missing_is_drift() {
    let inventory = one_backup_at_primary();
    let added = whole(Some(&["primary"]), &inventory);
    assert!(!copies(&added).is_empty());
    assert!(copies(&added).iter().all(|cause| *cause == Cause::Config));
    let changed: Vec<_> = added.changes.iter().map(|c| c.address.0.as_str()).collect();
    assert_eq!(changed, ["component.db.store"]);
    assert!(added.findings.iter().all(|f| f.rule != "CCB210"));

    let missing = whole(Some(&["primary", "offsite"]), &inventory);
    assert!(copies(&missing).contains(&Cause::Drift));
    assert_eq!(missing.changes, []);
    assert!(missing.findings.iter().any(|f| f.rule == "CCB210"));
    assert_eq!(whole(None, &inventory).steps, missing.steps);
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let plan = || to_json(&whole(Some(&["primary"]), &one_backup_at_primary()));
    assert_eq!(plan(), plan());
}

#[test]
fn a_plan_that_is_made_again_at_once_is_approved_as_a_whole() {
    let plan = whole(None, &one_backup_at_primary());
    assert_eq!(staleness(&plan, &plan, sunday()), None);
    let left = still_needed(&plan, &plan);
    assert_eq!(left.plan, plan);
    assert!(left.satisfied.is_empty() && left.left_out.is_empty());
}

#[test]
fn the_committed_plans_break_no_rule_that_would_stop_them_and_every_finding_has_its_place() {
    for name in ["production", "staging", "development", "quickstart"] {
        let parsed = parse_committed(&format!("plans/{name}.kdl"));
        let strategy = parsed.unwrap_or_else(|e| panic!("{name}: {e:?}")).strategy;
        let findings = check_strategy(&strategy, &Surroundings::default(), sunday());
        for finding in &findings {
            assert_ne!(finding.level, Level::Deny, "{name}: {finding:#?}");
            assert!(
                strategy.place(&finding.address).is_some(),
                "{name}: {finding:#?}"
            );
        }
    }
}

#[test]
fn a_limit_that_stands_in_no_line_points_at_the_plan() {
    let strategy = parse_committed("plans/quickstart.kdl").unwrap().strategy;
    let one = inventory(&[("local", &[held(1, TAKEN)])]);
    let forgets = bare(vec![(forget(1, "local"), vec![])]);
    let findings = check_plan(&strategy, &one, &forgets, None);
    let limit = findings.iter().find(|f| f.rule == "CCB213").unwrap();
    assert_eq!(limit.address, Address("plan".to_owned()));
    assert!(strategy.place(&limit.address).is_some());
}

#[test]
fn the_committed_plans_are_planned_and_once_carried_out_nothing_is_left_to_do() {
    for name in ["production", "staging", "development", "quickstart"] {
        let parsed = parse_committed(&format!("plans/{name}.kdl"));
        let strategy = parsed.unwrap_or_else(|e| panic!("{name}: {e:?}")).strategy;
        let holding = || ccb::model::inventory::Holding::empty();
        let names = strategy.destinations.iter().map(|d| d.name.clone());
        let nothing = Inventory {
            destinations: names.map(|name| (name, holding())).collect(),
            ..Inventory::default()
        };
        let make = |inventory: &Inventory| {
            let around = Surroundings::default();
            let request = Request::default();
            plan_with_checks(&strategy, None, inventory, &around, sunday(), &request).unwrap()
        };
        let first = make(&nothing);
        assert_eq!(first.violations(), 0, "{name}: {:#?}", first.findings);
        let used = strategy.destinations.iter().filter(|destination| {
            let stores = |c: &&ccb::model::strategy::Component| c.store.contains(&destination.name);
            strategy.components.iter().any(|c| c.enabled && stores(&c))
        });
        assert_eq!(first.summary.change, used.count() as u64, "{name}");
        assert_eq!(looks(&first), u64::from(name == "production"), "{name}");
        let backups = strategy.components.iter().filter(|c| {
            let owes = |s: &ccb::model::strategy::Schedule| {
                let by_itself = !matches!(s.timing, Timing::OnDemand | Timing::Continuous);
                s.enabled && by_itself && s.method.makes_backup()
            };
            c.enabled && c.schedules.iter().any(owes)
        });
        assert!(
            first.summary.back_up >= backups.count() as u64,
            "{name}: {:?}",
            first.summary
        );
        let again = make(&play(&first, &nothing, 1));
        assert_eq!(again.steps, [], "{name}");
    }
}

/// Steps that only look at a source.
fn looks(plan: &Plan) -> u64 {
    let is_look = |step: &&ccb::plan::Step| matches!(step.action, Action::Inspect { .. });
    plan.steps.iter().filter(is_look).count() as u64
}
