//! Rules about what a plan takes away: CCB205, 213, 214, 215. The planner keeps them by itself; this is
//! the second pair of eyes, and it trusts only the steps and the inventory.

use crate::model::ids::{Address, BackupId, DestinationName};
use crate::model::inventory::{Held, Inventory};
use crate::model::strategy::{Component, Keep, KeepRule, Method, Strategy};
use crate::model::units::Period;
use crate::plan::check::verification::is_of;
use crate::plan::check::{Broken, active, standing};
use crate::plan::document::{Action, BackupRef, Plan, StepId};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

type Copy<'a> = (&'a DestinationName, &'a Held);

pub(crate) fn check(
    strategy: &Strategy,
    inventory: &Inventory,
    plan: &Plan,
    allow_forget: Option<u64>,
) -> Vec<Broken> {
    let removal = Removal::of(inventory, plan);
    let mut broken = Vec::new();
    broken.extend(match allow_forget {
        Some(limit) => beyond_allowance(strategy, plan, limit),
        None => beyond_limit(strategy, inventory, plan),
    });
    for component in &strategy.components {
        let copies = removal.copies_of(component);
        broken.extend(removal.unverified(component, &copies));
        broken.extend(removal.last_one(component, &copies));
        broken.extend(removal.orphaned_wal(component, &copies));
    }
    broken
}

/// How many backups a plan forgets; one that goes from three destinations is one backup.
pub fn forgotten(plan: &Plan) -> u64 {
    let ids: BTreeSet<BackupId> = forgets(plan).map(|(_, id, _)| id).collect();
    ids.len() as u64
}

/// CCB215 by the file alone: keep rules that keep WAL for longer than any base that it could follow.
pub(crate) fn wal_outlives_bases(strategy: &Strategy) -> Vec<Broken> {
    active(strategy)
        .filter(|c| {
            c.schedules
                .iter()
                .any(|s| s.enabled && s.method == Method::Wal)
        })
        .filter_map(|component| {
            let at = Address::component(&component.name);
            let has_base = component
                .schedules
                .iter()
                .any(|s| s.enabled && s.method == Method::Base);
            if !has_base {
                return Some(Broken::new(
                    "CCB215",
                    at.child("schedule"),
                    format!("{at} keeps WAL, and no schedule makes a base that it could follow"),
                    "schedule \"base\" on=\"sunday\" at=\"01:00\" method=\"base\"",
                ));
            }
            let wal = reach(&component.retain, Method::Wal)?;
            let base = reach(&component.retain, Method::Base)?;
            (wal > base).then(|| {
                Broken::new(
                    "CCB215",
                    at.child("retain"),
                    format!(
                        "WAL of {at} is kept for {wal} but the oldest base only reaches {base}"
                    ),
                    format!("pitr \"{wal}\""),
                )
            })
        })
        .collect()
}

/// How far back `within` lines keep a method, if nothing but them keeps it; `None` when that is unknown
/// from the text alone.
fn reach(rules: &[KeepRule], method: Method) -> Option<Period> {
    let mut reach = None;
    let selecting = rules
        .iter()
        .filter(|rule| rule.among.method.is_none_or(|m| m == method));
    for rule in selecting {
        match rule.keep {
            Keep::Within(age) => reach = reach.max(Some(age)),
            Keep::Expire(_) => {}
            _ => return None,
        }
    }
    reach
}

fn forgets(plan: &Plan) -> impl Iterator<Item = (StepId, BackupId, &DestinationName)> {
    plan.steps.iter().filter_map(|step| match &step.action {
        Action::Forget {
            backup,
            destination,
            ..
        } => Some((step.id, *backup, destination)),
        _ => None,
    })
}

/// CCB213, against the number that was given for this run.
fn beyond_allowance(strategy: &Strategy, plan: &Plan, limit: u64) -> Option<Broken> {
    let gone = forgotten(plan);
    (gone > limit).then(|| {
        Broken::new(
            "CCB213",
            standing(strategy, Address("apply.forget-limit".to_owned())),
            format!("plan forgets {gone} backups, this run may forget {limit}"),
            format!("check the keep rules; if it is meant: ccb apply --allow-forget={gone}"),
        )
    })
}

/// CCB213, against the plan file.
fn beyond_limit(strategy: &Strategy, inventory: &Inventory, plan: &Plan) -> Option<Broken> {
    let held: BTreeSet<BackupId> = inventory
        .destinations
        .values()
        .flat_map(|holding| &holding.backups)
        .map(|held| held.manifest.id)
        .collect();
    let (gone, all) = (forgotten(plan), held.len() as u64);
    let (count, percent) = (
        strategy.apply.forget_limit_count,
        strategy.apply.forget_limit_percent,
    );
    let beyond_share = gone.saturating_mul(100) > all.saturating_mul(u64::from(percent.0));
    if gone <= count && !beyond_share {
        return None;
    }
    let limit = if gone > count {
        count.to_string()
    } else {
        percent.to_string()
    };
    Some(Broken::new(
        "CCB213",
        standing(strategy, Address("apply.forget-limit".to_owned())),
        format!("plan forgets {gone} of {all} backups, limit {limit}"),
        format!("check the keep rules; if it is meant: ccb apply --allow-forget={gone}"),
    ))
}

/// What a plan takes away, against what there is.
struct Removal<'a> {
    inventory: &'a Inventory,
    plan: &'a Plan,
    gone: BTreeSet<(BackupId, &'a DestinationName)>,
}

impl<'a> Removal<'a> {
    fn of(inventory: &'a Inventory, plan: &'a Plan) -> Self {
        Self {
            inventory,
            plan,
            gone: forgets(plan).map(|(_, id, at)| (id, at)).collect(),
        }
    }

    fn copies_of(&self, component: &Component) -> Vec<Copy<'a>> {
        let holdings = self.inventory.destinations.iter();
        holdings
            .flat_map(|(at, holding)| holding.backups.iter().map(move |held| (at, held)))
            .filter(|(_, held)| is_of(held, component))
            .collect()
    }

    fn goes(&self, (at, held): Copy<'_>) -> bool {
        self.gone.contains(&(held.manifest.id, at))
    }

    /// CCB205.
    fn unverified(&self, component: &Component, copies: &[Copy<'a>]) -> Option<Broken> {
        let started: BTreeMap<(BackupId, &DestinationName), Timestamp> = copies
            .iter()
            .map(|(at, held)| ((held.manifest.id, *at), held.manifest.started))
            .collect();
        let proven = copies
            .iter()
            .filter(|copy| self.is_proven_and_stays(**copy));
        let newest_proven = proven.map(|(_, held)| held.manifest.started).max();
        let unproven: BTreeSet<BackupId> = forgets(self.plan)
            .filter_map(|(step, id, at)| {
                let started = *started.get(&(id, at))?;
                let replaced = newest_proven.is_some_and(|proven| proven >= started);
                (!replaced && !self.waits_for_proof(step, component)).then_some(id)
            })
            .collect();
        let at = Address::component(&component.name);
        (!unproven.is_empty()).then(|| {
            let count = unproven.len();
            let (backups, have) = if count == 1 {
                ("forget", "has")
            } else {
                ("forgets", "have")
            };
            Broken::new(
                "CCB205",
                at.child("retain"),
                format!("{count} {backups} of {at} {have} no newer verified backup"),
                format!("ccb verify FILE {}", component.name),
            )
        })
    }

    /// Whether it can stand for those that are not newer: it stays, and was proven good.
    fn is_proven_and_stays(&self, copy: Copy<'_>) -> bool {
        let manifest = &copy.1.manifest;
        let newest = copy.1.evidence().max_by_key(|evidence| evidence.at);
        !self.goes(copy)
            && manifest.complete
            && manifest.started <= self.plan.at.0
            && newest.is_some_and(|evidence| evidence.passed)
    }

    /// Whether a step runs only after this plan has verified a backup of the component.
    fn waits_for_proof(&self, step: StepId, component: &Component) -> bool {
        let mut to_see = vec![step];
        let mut seen = BTreeSet::new();
        while let Some(step) = to_see.pop().and_then(|id| self.plan.step(id)) {
            if !seen.insert(step.id) {
                continue;
            }
            if let Action::Verify {
                component: of,
                backup,
                destination,
                ..
            } = &step.action
                && *of == component.name
                && !matches!(backup, BackupRef::Id(id) if self.gone.contains(&(*id, destination)))
            {
                return true;
            }
            to_see.extend(&step.needs);
        }
        false
    }

    /// CCB214.
    fn last_one(&self, component: &Component, copies: &[Copy<'a>]) -> Option<Broken> {
        let complete = || copies.iter().filter(|(_, held)| held.manifest.complete);
        let removed = complete().filter(|copy| self.goes(**copy)).count();
        let left = complete().any(|copy| !self.goes(*copy));
        let at = Address::component(&component.name);
        (removed > 0 && !left).then(|| {
            Broken::new(
                "CCB214",
                at.child("retain"),
                format!("would remove the last complete backup of {at}"),
                format!(
                    "make and verify a newer one first: ccb backup FILE {}",
                    component.name
                ),
            )
        })
    }

    /// CCB215: a base goes, and WAL that starts at it stays and has no older base left.
    fn orphaned_wal(&self, component: &Component, copies: &[Copy<'a>]) -> Option<Broken> {
        let of = |method: Method, goes: bool| {
            let made = copies
                .iter()
                .filter(move |(_, held)| held.manifest.method == method && held.manifest.complete);
            made.filter(move |copy| self.goes(**copy) == goes)
        };
        let mut oldest_base: BTreeMap<&DestinationName, Timestamp> = BTreeMap::new();
        for (at, held) in of(Method::Base, false) {
            let started = held.manifest.started;
            let oldest = oldest_base.entry(at).or_insert(started);
            *oldest = started.min(*oldest);
        }
        let mut segments: BTreeSet<(&DestinationName, Timestamp)> = BTreeSet::new();
        segments.extend(of(Method::Wal, false).map(|(at, held)| (*at, held.manifest.started)));
        let (at, base, wal) = of(Method::Base, true).find_map(|(at, base)| {
            let next = oldest_base.get(at).copied();
            let (place, orphan) = segments.range((*at, base.manifest.started)..).next()?;
            let is_orphan = place == at && next.is_none_or(|next| *orphan < next);
            is_orphan.then_some((*at, next, *orphan))
        })?;
        let age = |at: Timestamp| {
            let hours = self.plan.at.0.duration_since(at).as_hours();
            Period::hours(u64::try_from(hours).unwrap_or(0))
        };
        let reaches = base.map_or("nowhere".to_owned(), |base| age(base).to_string());
        let kept = age(wal);
        let of = Address::component(&component.name);
        Some(
            Broken::new(
                "CCB215",
                of.child("retain"),
                format!(
                    "WAL of {of} is kept for {kept} at destination.{at} but the oldest base only reaches {reaches}"
                ),
                format!("pitr \"{kept}\""),
            )
            .related(Address::destination(at)),
        )
    }
}
