//! The inventory as the planner needs it: the backups of each component with all their copies in one place,
//! and how far each destination can be relied on. Facts only, looked up once, so that nothing is searched twice.

use crate::model::ids::{Address, BackupId, ComponentName, DestinationName, ScheduleName};
use crate::model::inventory::{Coverage, Held, Holding, Inventory};
use crate::model::records::{Check, Evidence, Manifest, RunRecord};
use crate::model::strategy::{Component, Strategy};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that a decision is made on.
#[derive(Debug)]
pub(crate) struct World<'a> {
    /// What is asked for.
    pub strategy: &'a Strategy,
    /// What exists.
    pub inventory: &'a Inventory,
    /// Now.
    pub at: Timestamp,
    /// The zone of schedules and calendar rules.
    pub zone: TimeZone,
    /// Enabled components in the order of the file.
    pub views: Vec<View<'a>>,
    /// Backups that are nobody's, of disabled components or of another environment, oldest first.
    pub unmanaged: Vec<&'a Manifest>,
}

/// A component and its backups.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// What is asked for.
    pub spec: &'a Component,
    /// Its place in the file.
    pub index: usize,
    /// Its live backups, oldest first, then by id.
    pub backups: Vec<Copies<'a>>,
    /// Its forgotten backups, and where.
    pub trashed: Vec<(&'a DestinationName, &'a Manifest)>,
    /// The same by id.
    forgotten: BTreeSet<(BackupId, &'a DestinationName)>,
}

/// A backup and where it is.
#[derive(Debug)]
pub(crate) struct Copies<'a> {
    /// What it is.
    pub facts: &'a Manifest,
    /// Its copies, in the order of the file's destinations.
    pub at: Vec<(&'a DestinationName, &'a Held)>,
}

impl<'a> World<'a> {
    /// Sorts the inventory by component.
    pub(crate) fn new(strategy: &'a Strategy, inventory: &'a Inventory, at: Timestamp) -> Self {
        let names = names_of(strategy);
        let mut found: Vec<(Option<usize>, Timestamp, BackupId, usize, Copy1<'a>)> = Vec::new();
        let mut trashed: BTreeMap<usize, Vec<(&DestinationName, &Manifest)>> = BTreeMap::new();
        for (destination, holding) in &inventory.destinations {
            let order = order_of(strategy, destination);
            for held in &holding.backups {
                let m = &held.manifest;
                let component = owner(strategy, &names, m);
                found.push((component, m.started, m.id, order, (destination, held)));
            }
            for gone in &holding.trashed {
                if let Some(component) = owner(strategy, &names, &gone.manifest) {
                    let list = trashed.entry(component).or_default();
                    list.push((destination, &gone.manifest));
                }
            }
        }
        found.sort_by_key(|(component, started, id, order, _)| (*component, *started, *id, *order));
        let mut unmanaged: Vec<&Manifest> = Vec::new();
        let mut backups: BTreeMap<usize, Vec<Copies>> = BTreeMap::new();
        for (component, _, id, _, copy) in found {
            match component {
                None if unmanaged.last().is_none_or(|m| m.id != id) => {
                    unmanaged.push(&copy.1.manifest);
                }
                None => {}
                Some(component) => add_copy(backups.entry(component).or_default(), copy),
            }
        }
        let views = strategy
            .components
            .iter()
            .enumerate()
            .filter(|(_, spec)| spec.enabled)
            .map(|(index, spec)| {
                let trashed = trashed.remove(&index).unwrap_or_default();
                View {
                    spec,
                    index,
                    backups: backups.remove(&index).unwrap_or_default(),
                    forgotten: trashed.iter().map(|(at, m)| (m.id, *at)).collect(),
                    trashed,
                }
            })
            .collect();
        Self {
            strategy,
            inventory,
            at,
            zone: strategy.zone(),
            views,
            unmanaged,
        }
    }

    /// What a destination holds, if it was looked at.
    pub(crate) fn holding(&self, destination: &DestinationName) -> Option<&'a Holding> {
        self.inventory.destinations.get(destination)
    }

    /// Records of runs of this plan, as often as they are kept.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &'a RunRecord> {
        let (name, environment) = (&self.strategy.name, &self.strategy.environment);
        let holdings = self.inventory.destinations.values();
        let runs = holdings.flat_map(|holding| &holding.runs);
        runs.filter(move |run| run.plan == *name && run.environment == *environment)
    }

    /// Why a destination was not seen completely; `None` when it was.
    pub(crate) fn why_unseen(&self, destination: &DestinationName) -> Option<String> {
        match self.holding(destination).map(|holding| &holding.coverage) {
            Some(Coverage::Complete) => None,
            Some(Coverage::Partial { why } | Coverage::Unreachable { why }) => Some(why.clone()),
            None => Some("it was not looked at".to_owned()),
        }
    }

    /// Whether absence at the destination is proof of absence.
    pub(crate) fn is_seen(&self, destination: &DestinationName) -> bool {
        self.holding(destination)
            .is_some_and(|holding| holding.coverage.is_complete())
    }

    /// Whether steps can write there: it was reached, and has a repository or surely has none.
    pub(crate) fn is_writable(&self, destination: &DestinationName) -> bool {
        self.holding(destination).is_some_and(|holding| {
            let reached = !matches!(holding.coverage, Coverage::Unreachable { .. });
            reached && (holding.repository.is_some() || holding.coverage.is_complete())
        })
    }

    /// The place of a destination in the file.
    pub(crate) fn order(&self, destination: &DestinationName) -> usize {
        order_of(self.strategy, destination)
    }
}

type Copy1<'a> = (&'a DestinationName, &'a Held);

fn add_copy<'a>(backups: &mut Vec<Copies<'a>>, copy: Copy1<'a>) {
    match backups.last_mut() {
        Some(last) if last.facts.id == copy.1.manifest.id => last.at.push(copy),
        _ => backups.push(Copies {
            facts: &copy.1.manifest,
            at: vec![copy],
        }),
    }
}

/// Names that lead to an enabled component: its own, and earlier ones that no component has now.
fn names_of(strategy: &Strategy) -> BTreeMap<&ComponentName, usize> {
    let own: BTreeSet<&ComponentName> = strategy.components.iter().map(|c| &c.name).collect();
    let mut names = BTreeMap::new();
    for (index, component) in strategy.components.iter().enumerate() {
        if component.enabled {
            names.insert(&component.name, index);
            for earlier in component.moved_from.iter().filter(|n| !own.contains(n)) {
                names.insert(earlier, index);
            }
        }
    }
    names
}

/// A repository can be shared by environments: another's backups are not this plan's to judge.
fn owner(
    strategy: &Strategy,
    names: &BTreeMap<&ComponentName, usize>,
    backup: &Manifest,
) -> Option<usize> {
    names
        .get(&backup.component)
        .copied()
        .filter(|_| backup.environment == strategy.environment)
}

fn order_of(strategy: &Strategy, destination: &DestinationName) -> usize {
    let place = |d: &crate::model::strategy::Destination| d.name == *destination;
    strategy
        .destinations
        .iter()
        .position(place)
        .unwrap_or(strategy.destinations.len())
}

impl<'a> View<'a> {
    /// `component.NAME`.
    pub(crate) fn address(&self) -> Address {
        Address::component(&self.spec.name)
    }
    /// `component.NAME.schedule.SCHEDULE`.
    pub(crate) fn schedule_address(&self, schedule: &ScheduleName) -> Address {
        self.address().child("schedule").child(schedule)
    }
    /// Whether the backup lies in the trash of that destination.
    pub(crate) fn was_forgotten(&self, backup: &BackupId, at: &'a DestinationName) -> bool {
        self.forgotten.contains(&(*backup, at))
    }
    /// Complete backups that are not dated after `at`, newest first.
    pub(crate) fn good(&self, at: Timestamp) -> impl Iterator<Item = &Copies<'a>> {
        self.backups
            .iter()
            .rev()
            .filter(move |copies| copies.facts.complete && copies.facts.started <= at)
    }
}

impl<'a> Copies<'a> {
    /// The copy at a destination.
    pub(crate) fn copy_at(&self, destination: &DestinationName) -> Option<&'a Held> {
        self.at
            .iter()
            .find(|(name, _)| *name == destination)
            .map(|(_, held)| *held)
    }
    /// Who holds it and why, at any destination.
    pub(crate) fn hold(&self) -> Option<(&'a str, &'a str)> {
        self.at.iter().find_map(|(_, held)| held.hold())
    }
    /// Whether somebody released it, and nobody holds it anywhere.
    pub(crate) fn is_released(&self) -> bool {
        self.hold().is_none() && self.at.iter().any(|(_, held)| held.is_released())
    }
    /// Whether a restore test or contents check passed.
    pub(crate) fn is_tested(&self) -> bool {
        self.evidence()
            .any(|e| e.passed && matches!(e.check, Check::Contents | Check::RestoreTest))
    }
    /// Whether a check passed, and no check failed since it last passed.
    pub(crate) fn is_verified(&self) -> bool {
        let mut newest: BTreeMap<(Check, &DestinationName), &Evidence> = BTreeMap::new();
        for evidence in self.evidence() {
            let last = newest
                .entry((evidence.check, &evidence.destination))
                .or_insert(evidence);
            if evidence.at >= last.at {
                *last = evidence;
            }
        }
        !newest.is_empty() && newest.values().all(|e| e.passed)
    }
    /// Whether that check was made of any copy, whatever came out.
    pub(crate) fn was_checked(&self, check: Check) -> bool {
        self.evidence().any(|e| e.check == check)
    }
    /// Every result of a check, of any copy.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = &'a Evidence> {
        self.at.iter().flat_map(|(_, held)| held.evidence())
    }
}
