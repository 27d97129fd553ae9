//! How much space backups will take, told from what they took so far. Backups of one kind share what did not
//! change: together they take one of them in full, and of each further one what was new in it.

use crate::model::ids::{BackupId, ComponentName};
use crate::model::inventory::{Holding, Inventory};
use crate::model::records::{Manifest, Stats};
use crate::model::strategy::{Component, Method, Strategy};
use crate::plan::simulate::Amount;
use std::collections::BTreeMap;

/// With one backup nobody knows how much changes from one to the next: so much is taken to be new.
const ASSUMED_CHANGE_PERCENT: u8 = 5;
/// So many of the newest backups tell how much changes.
const TELLING: usize = 30;

/// What is expected of each kind of backup of each component.
#[derive(Debug)]
pub(crate) struct Estimates {
    by_kind: BTreeMap<(ComponentName, Kind), Estimate>,
    /// Components with no backup that tells a size.
    unknown: Vec<ComponentName>,
    assumed: BTreeMap<ComponentName, u8>,
}

#[derive(Debug, Clone, Default)]
struct Estimate {
    /// One backup in full, as it is stored.
    full: u64,
    /// What a further one adds.
    change: u64,
    /// What it reads.
    stats: Stats,
}

/// Methods whose backups share content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind(Method);

impl Kind {
    fn of(method: Method) -> Self {
        Self(match method {
            Method::Incremental => Method::Full,
            other => other,
        })
    }
}

impl Estimates {
    pub(crate) fn new(strategy: &Strategy, inventory: &Inventory) -> Self {
        let mut estimates = Self {
            by_kind: BTreeMap::new(),
            unknown: Vec::new(),
            assumed: BTreeMap::new(),
        };
        for component in strategy.components.iter().filter(|c| c.enabled) {
            estimates.learn(component, inventory);
        }
        estimates
    }

    fn learn(&mut self, component: &Component, inventory: &Inventory) {
        let mut backups: BTreeMap<BackupId, &Manifest> = BTreeMap::new();
        for holding in inventory.destinations.values() {
            for manifest in of(component, holding).filter(|m| m.complete) {
                backups.entry(manifest.id).or_insert(manifest);
            }
        }
        let mut kinds: BTreeMap<Kind, Vec<&Manifest>> = BTreeMap::new();
        for manifest in backups.into_values() {
            kinds
                .entry(Kind::of(manifest.method))
                .or_default()
                .push(manifest);
        }
        for (kind, mut backups) in kinds {
            backups.sort_by_key(|manifest| (manifest.started, manifest.id));
            let is_alone = backups.len() == 1 && kind.0 != Method::Wal;
            if is_alone {
                self.assumed
                    .insert(component.name.clone(), ASSUMED_CHANGE_PERCENT);
            }
            if let Some(estimate) = Estimate::of(&backups, is_alone) {
                self.by_kind
                    .insert((component.name.clone(), kind), estimate);
            }
        }
        let makes = |s: &&crate::model::strategy::Schedule| s.enabled && s.method.makes_backup();
        let mut made = component.schedules.iter().filter(makes);
        let is_known = |method| self.estimate(&component.name, method).is_some();
        if made.any(|schedule| !is_known(schedule.method)) {
            self.unknown.push(component.name.clone());
        }
    }

    fn estimate(&self, component: &ComponentName, method: Method) -> Option<&Estimate> {
        self.by_kind.get(&(component.clone(), Kind::of(method)))
    }

    /// What the next backup will take.
    pub(crate) fn next(&self, component: &ComponentName, method: Method) -> Stats {
        let Some(estimate) = self.estimate(component, method) else {
            return Stats::default();
        };
        Stats {
            stored_bytes: estimate.change,
            ..estimate.stats.clone()
        }
    }

    /// What a component takes at a destination.
    pub(crate) fn amount(&self, component: &Component, holding: &Holding) -> Amount {
        let mut kinds: BTreeMap<Kind, Vec<&Manifest>> = BTreeMap::new();
        for manifest in of(component, holding) {
            kinds
                .entry(Kind::of(manifest.method))
                .or_default()
                .push(manifest);
        }
        let mut stored_bytes = 0u64;
        for (kind, mut backups) in kinds {
            backups.sort_by_key(|manifest| (manifest.started, manifest.id));
            let each = backups.iter().map(|manifest| manifest.stats.stored_bytes);
            let further: u64 = each.clone().skip(1).fold(0, u64::saturating_add);
            let first = each.take(1).sum();
            let full = self.estimate(&component.name, kind.0);
            let full = full.map_or(first, |estimate| estimate.full);
            stored_bytes = stored_bytes.saturating_add(full).saturating_add(further);
        }
        let is_of = |manifest: &Manifest| is_of(component, manifest);
        let live = holding.backups.iter().filter(|held| is_of(&held.manifest));
        Amount {
            stored_bytes,
            backups: live.count() as u64,
        }
    }

    /// Components of which some kind of backup has never been made.
    pub(crate) fn unknown(&self) -> Vec<ComponentName> {
        self.unknown.clone()
    }
    /// Components whose change is taken to be so much.
    pub(crate) fn assumed(&self) -> BTreeMap<ComponentName, u8> {
        self.assumed.clone()
    }
}

impl Estimate {
    /// Of backups of one kind, oldest first.
    fn of(backups: &[&Manifest], is_alone: bool) -> Option<Self> {
        let newest = backups.last()?;
        let total = |part: fn(&Stats) -> u64| -> u128 {
            backups.iter().map(|m| u128::from(part(&m.stats))).sum()
        };
        let (stored, new) = (total(|s| s.stored_bytes), total(|s| s.new_bytes));
        // As well packed as all that was ever stored of it.
        let full = match new {
            0 => u128::from(newest.stats.bytes),
            new => u128::from(newest.stats.bytes) * stored / new,
        };
        let full = u64::try_from(full).unwrap_or(u64::MAX);
        let mut changes: Vec<u64> = backups[1..]
            .iter()
            .rev()
            .take(TELLING)
            .map(|manifest| manifest.stats.stored_bytes)
            .collect();
        changes.sort_unstable();
        let change = match changes.get(changes.len() / 2) {
            Some(median) => *median,
            None if is_alone => share(full, ASSUMED_CHANGE_PERCENT),
            None => full,
        };
        Some(Self {
            full,
            change,
            stats: newest.stats.clone(),
        })
    }
}

fn share(of: u64, percent: u8) -> u64 {
    let share = u128::from(of) * u128::from(percent) / 100;
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// Everything that a destination holds of a component, the trash included.
fn of<'a>(component: &'a Component, holding: &'a Holding) -> impl Iterator<Item = &'a Manifest> {
    let live = holding.backups.iter().map(|held| &held.manifest);
    let trashed = holding.trashed.iter().map(|gone| &gone.manifest);
    live.chain(trashed)
        .filter(|manifest| is_of(component, manifest))
}

fn is_of(component: &Component, manifest: &Manifest) -> bool {
    let name = &manifest.component;
    *name == component.name || component.moved_from.contains(name)
}
