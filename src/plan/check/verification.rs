//! Rules about proof that backups can be read: CCB204 and CCB206.

use crate::model::ids::Address;
use crate::model::inventory::{Held, Inventory};
use crate::model::records::Check;
use crate::model::strategy::{Component, RestoreInto, SourceSpec, Strategy};
use crate::model::units::Period;
use crate::plan::check::{Broken, backed_up};
use crate::plan::document::{Action, CheckSpec, Plan};
use jiff::Timestamp;

/// How long ago the last restore test may be when the policy names no time.
const RESTORE_TEST_WITHIN: Period = Period::days(31);

/// CCB204. Restore tests read every byte back too: they stand for `integrity`.
pub(crate) fn missing(strategy: &Strategy) -> Vec<Broken> {
    backed_up(strategy)
        .filter_map(|component| {
            let verify = &component.verify;
            let read_back = verify.integrity.is_some() || verify.restore_test.is_some();
            let (lacks, help) = match (verify.presence.is_some(), read_back) {
                (true, true) => return None,
                (true, false) => ("`integrity`", "verify { integrity every=\"7d\" }"),
                (false, true) => ("`presence`", "verify { presence }"),
                (false, false) => (
                    "`presence` and `integrity`",
                    "verify { presence; integrity every=\"7d\" }",
                ),
            };
            let at = Address::component(&component.name);
            let message = format!("{at} has no {lacks} check");
            Some(Broken::new("CCB204", at.child("verify"), message, help))
        })
        .collect()
}

/// CCB206. Silent when this plan tests it: a rule that stops the cure would never be satisfied.
pub(crate) fn overdue(strategy: &Strategy, inventory: &Inventory, plan: &Plan) -> Vec<Broken> {
    let policy = strategy.policy.restore_test.as_ref();
    let within = policy.map_or(RESTORE_TEST_WITHIN, |policy| policy.within);
    let due = within.before(plan.at.0);
    backed_up(strategy)
        .filter(|component| !tested_by(plan, component))
        .filter_map(|component| {
            let held = || all_of(inventory, component);
            let passed = held()
                .filter_map(|held| held.newest(Check::RestoreTest))
                .filter(|evidence| evidence.passed)
                .map(|evidence| evidence.at)
                .max();
            let since = |at: Timestamp| plan.at.0.duration_since(at).as_hours() / 24;
            let at = Address::component(&component.name);
            let message = match passed {
                Some(passed) if passed >= due => return None,
                Some(passed) => {
                    format!("last restore test of {at} was {} days ago", since(passed))
                }
                None => {
                    let first = held().map(|held| held.manifest.started).min()?;
                    // There was no time yet to test what is that young.
                    if first >= due {
                        return None;
                    }
                    format!("{at} was never restored as a test in {} days", since(first))
                }
            };
            let help = format!(
                "verify {{ restore-test every=\"30d\" into=\"{}\" }}, then `ccb apply`",
                restore_target(component).as_str()
            );
            let broken = Broken::new(
                "CCB206",
                at.child("verify").child("restore-test"),
                format!("{message}, {within} is the limit"),
                help,
            );
            Some(match policy {
                Some(_) => broken.related(Address("policy.restore-test".to_owned())),
                None => broken,
            })
        })
        .collect()
}

/// The backups of a component everywhere, under its earlier names too.
pub(crate) fn all_of<'a>(
    inventory: &'a Inventory,
    component: &'a Component,
) -> impl Iterator<Item = &'a Held> {
    let holdings = inventory.destinations.values();
    holdings
        .flat_map(|holding| &holding.backups)
        .filter(|held| is_of(held, component))
}

pub(crate) fn is_of(held: &Held, component: &Component) -> bool {
    let name = &held.manifest.component;
    *name == component.name || component.moved_from.contains(name)
}

fn tested_by(plan: &Plan, component: &Component) -> bool {
    plan.steps.iter().any(|step| {
        matches!(&step.action, Action::Verify { component: of, check: CheckSpec::RestoreTest { .. }, .. }
            if *of == component.name)
    })
}

/// Where a component is restored as a test.
pub(crate) fn restore_target(component: &Component) -> RestoreInto {
    match component.source {
        SourceSpec::Postgres(_) => RestoreInto::TemporaryDatabase,
        SourceSpec::Redis(_) => RestoreInto::TemporaryRedis,
        SourceSpec::Files(_) | SourceSpec::S3(_) => RestoreInto::TemporaryDirectory,
    }
}
