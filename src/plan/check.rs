//! Holds a strategy, and the plan made of it, against the rules of `model::rules`. Each rule is a small
//! function that says what is broken; how hard that is (preset, `set`, levels, waivers) is decided once,
//! for all of them. Reports facts it was given, and never looks for any itself.

mod advice;
mod bucket;
mod copies;
mod levels;
mod live;
mod paths;
mod removal;
mod secrets;
mod security;
mod timing;
mod upkeep;
mod verification;
mod wal;

use crate::model::ids::{Address, ComponentName, DestinationName};
use crate::model::inventory::Inventory;
use crate::model::strategy::{Component, Level, Strategy};
use crate::model::units::AsOf;
use crate::plan::document::{Finding, Plan};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

pub use live::Live;
pub(crate) use paths::is_loopback;
pub use removal::forgotten;
pub(crate) use verification::restore_target;
pub(crate) use wal::lacks;

/// Facts about the machine and the project that no plan file holds. What is not known is empty, and the
/// rules that need it are silent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Local destinations that lie in a git work tree and are not ignored (CCB109).
    pub unignored_in_git: BTreeSet<DestinationName>,
    /// The committed runbook that differs from what `ccb runbook` prints (CCB307).
    pub stale_runbook: Option<String>,
    /// Databases that were looked at, because somebody asked for it (CCB220, CCB223, CCB224).
    pub live: BTreeMap<ComponentName, Live>,
}

/// What the rules say about a plan file alone. Worst first, then by address and rule.
pub fn check_strategy(strategy: &Strategy, around: &Surroundings, at: AsOf) -> Vec<Finding> {
    let mut broken = Vec::new();
    broken.extend(security::check(strategy));
    broken.extend(security::inside_git(strategy, around));
    broken.extend(secrets::check(strategy));
    broken.extend(copies::check(strategy));
    broken.extend(verification::missing(strategy));
    broken.extend(upkeep::unheard(strategy));
    broken.extend(advice::check(strategy));
    broken.extend(advice::stale_runbook(around));
    broken.extend(live::check(strategy, around));
    broken.extend(timing::check(strategy, at));
    broken.extend(levels::ended_waivers(strategy, at));
    settle(strategy, at, broken)
}

/// What the rules say about a plan and the inventory that it was made on. Worst first, then by address
/// and rule. `allow_forget` is how many backups this run may forget, instead of the plan file's limit.
pub fn check_plan(
    strategy: &Strategy,
    inventory: &Inventory,
    plan: &Plan,
    allow_forget: Option<u64>,
) -> Vec<Finding> {
    let mut broken = Vec::new();
    broken.extend(removal::check(strategy, inventory, plan, allow_forget));
    broken.extend(verification::overdue(strategy, inventory, plan));
    broken.extend(upkeep::check(strategy, inventory, plan));
    broken.extend(copies::missing(strategy, plan));
    broken.extend(wal::check(strategy, inventory));
    broken.extend(bucket::check(strategy, inventory));
    settle(strategy, plan.at, broken)
}

/// Whether breaking `rule` at `address` would stop an apply: for what only shows when something is done.
pub fn would_block(strategy: &Strategy, at: AsOf, rule: &'static str, address: Address) -> bool {
    let broken = Broken::new(rule, address, "", "");
    levels::finding(strategy, at, broken).is_some_and(|finding| finding.blocks())
}

/// Puts findings in their order: worst first, then by address and rule. What is waived comes last.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let key = |f: &Finding| {
            let hardness = if f.waived.is_some() {
                Level::Off
            } else {
                f.level
            };
            (Reverse(hardness), f.address.clone(), f.rule.clone())
        };
        key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
    });
}

/// A rule that does not hold, before anyone asked how hard it is.
struct Broken {
    rule: &'static str,
    address: Address,
    related: Option<Address>,
    message: String,
    help: String,
    /// The rule's own say on how hard this case is, where cases differ.
    hardness: Hardness,
}

/// How hard one case of a rule is, against the level of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hardness {
    /// As the rule.
    AsRule,
    /// At most that.
    AtMost(Level),
    /// That in production, unless `set` says otherwise.
    InProduction(Level),
}

impl Broken {
    fn new(
        rule: &'static str,
        address: Address,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            address,
            related: None,
            message: message.into(),
            help: help.into(),
            hardness: Hardness::AsRule,
        }
    }
    fn related(self, address: Address) -> Self {
        Self {
            related: Some(address),
            ..self
        }
    }
    fn hardness(self, hardness: Hardness) -> Self {
        Self { hardness, ..self }
    }
}

fn settle(strategy: &Strategy, at: AsOf, broken: Vec<Broken>) -> Vec<Finding> {
    let found = broken.into_iter();
    let mut findings: Vec<Finding> = found
        .filter_map(|broken| levels::finding(strategy, at, broken))
        .collect();
    sort(&mut findings);
    findings
}

/// The components that ccb looks after; disabled ones are left alone.
fn active(strategy: &Strategy) -> impl Iterator<Item = &Component> {
    strategy.components.iter().filter(|c| c.enabled)
}

/// The active components that have backups. A bucket that is only checked has none.
fn backed_up(strategy: &Strategy) -> impl Iterator<Item = &Component> {
    active(strategy).filter(|c| !c.store.is_empty())
}

/// `address` if the plan file has such a line; else the nearest line above it; else the `plan` line.
fn standing(strategy: &Strategy, address: Address) -> Address {
    if strategy.place(&address).is_some() || strategy.places.is_empty() {
        return address;
    }
    Address("plan".to_owned())
}
