//! The whole plan, as a reviewer reads it: what is to be done, what of it the plan file's change causes, and
//! what the rules say. Puts parts together, and decides nothing.

use crate::model::inventory::Inventory;
use crate::model::strategy::Strategy;
use crate::model::units::AsOf;
use crate::plan::basis::inventory_digest;
use crate::plan::check::{Surroundings, check_plan, check_strategy, sort};
use crate::plan::compare::{changes, mark_config_causes};
use crate::plan::document::{Plan, Summary};
use crate::plan::graph::Cycle;
use crate::plan::make::plan_on;
use crate::plan::request::Request;

/// Plans, compares with `base` (the plan file on the base branch, or the one last applied) and checks every
/// rule.
pub fn plan_with_checks(
    strategy: &Strategy,
    base: Option<&Strategy>,
    inventory: &Inventory,
    around: &Surroundings,
    at: AsOf,
    request: &Request,
) -> Result<Plan, Cycle> {
    let fingerprint = inventory_digest(inventory);
    let mut made = plan_on(strategy, inventory, fingerprint, at, request)?;
    if let Some(base) = base {
        made.changes = changes(base, strategy);
        let base_plan = plan_on(base, inventory, fingerprint, at, request)?;
        mark_config_causes(&mut made, &base_plan);
    }
    made.summary = Summary::of(&made.steps, &made.held);
    made.findings = check_strategy(strategy, around, at);
    let allow = request.allow_forget;
    made.findings
        .extend(check_plan(strategy, inventory, &made, allow));
    sort(&mut made.findings);
    Ok(made)
}
