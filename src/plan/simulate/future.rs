//! The inventory as it goes on: one apply after another, each planned by the planner and played as if every
//! step had succeeded.

use crate::model::ids::{
    BackupId, BlobId, DestinationName, Digest, RepositoryId, RunId, SessionId,
};
use crate::model::inventory::{Inventory, RepositoryFacts};
use crate::model::records::{Manifest, PlanRef, Shape, Version};
use crate::model::strategy::{Component, Strategy};
use crate::plan::document::{Action, Step};
use crate::plan::graph::Cycle;
use crate::plan::make::decide;
use crate::plan::play::{Making, play, record};
use crate::plan::request::Request;
use crate::plan::simulate::Amount;
use crate::plan::simulate::space::Estimates;
use crate::plan::world::World;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Records of runs that are kept: enough for the planner to know when it looked at a source last.
const RUNS_KEPT: usize = 64;

/// The destinations as they will be.
pub(crate) struct Future<'a> {
    strategy: &'a Strategy,
    pairs: Vec<(&'a Component, &'a DestinationName)>,
    estimates: Estimates,
    inventory: Inventory,
    made: u64,
}

impl<'a> Future<'a> {
    /// From what there is now.
    pub(crate) fn new(strategy: &'a Strategy, inventory: Inventory) -> Self {
        let estimates = Estimates::new(strategy, &inventory);
        let pair = |component: &'a Component| {
            let destinations = strategy.destinations.iter().map(|d| &d.name);
            destinations.map(move |destination| (component, destination))
        };
        let is_used = |(component, destination): &(&Component, &DestinationName)| {
            let holding = inventory.destinations.get(*destination);
            component.store.contains(destination)
                || holding.is_some_and(|h| estimates.amount(component, h) != Amount::default())
        };
        let enabled = strategy.components.iter().filter(|c| c.enabled);
        Self {
            strategy,
            pairs: enabled.flat_map(pair).filter(is_used).collect(),
            estimates,
            inventory,
            made: 0,
        }
    }

    /// Which component is kept where.
    pub(crate) fn pairs(&self) -> &[(&'a Component, &'a DestinationName)] {
        &self.pairs
    }
    /// How sizes are told.
    pub(crate) fn estimates(&self) -> &Estimates {
        &self.estimates
    }

    /// One apply that succeeds.
    pub(crate) fn run(&mut self, at: Timestamp) -> Result<Vec<Step>, Cycle> {
        let world = World::new(self.strategy, &self.inventory, at);
        let steps = decide(&world, &Request::default())?.steps;
        let (strategy, estimates, made) = (self.strategy, &self.estimates, &mut self.made);
        let mut make = |making: Making<'_>| {
            *made += 1;
            Manifest {
                stats: estimates.next(making.component, making.method),
                ..manifest(*made, &making, at, strategy)
            }
        };
        play(&steps, at, &mut self.inventory, &mut make, &|_| {
            repository(at)
        });
        let looked = |step: &Step| matches!(step.action, Action::Inspect { .. });
        if steps.iter().any(looked) {
            let record = record(&steps, at, &strategy.name, &strategy.environment);
            for holding in self.inventory.destinations.values_mut() {
                holding.runs.insert(0, record.clone());
                holding.runs.truncate(RUNS_KEPT);
            }
        }
        Ok(steps)
    }

    /// Backups that are not in the trash, each counted once.
    pub(crate) fn backups(&self) -> u64 {
        let holdings = self.inventory.destinations.values();
        let ids: BTreeSet<BackupId> = holdings
            .flat_map(|holding| holding.backups.iter().map(|held| held.manifest.id))
            .collect();
        ids.len() as u64
    }

    /// What each of the pairs takes now.
    pub(crate) fn amounts(&self) -> Vec<Amount> {
        let amount = |(component, destination): &(&Component, &DestinationName)| {
            let holding = self.inventory.destinations.get(*destination);
            holding.map_or(Amount::default(), |h| self.estimates.amount(component, h))
        };
        self.pairs.iter().map(amount).collect()
    }
}

fn manifest(number: u64, making: &Making<'_>, at: Timestamp, strategy: &Strategy) -> Manifest {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    Manifest {
        v: Version,
        id: BackupId(id),
        component: making.component.clone(),
        method: making.method,
        shape: Shape::Tree,
        slots: making.slots.to_vec(),
        tags: making.tags.to_vec(),
        parent: None,
        restored_from: None,
        run: RunId([0; 16]),
        plan: PlanRef {
            name: strategy.name.clone(),
            digest: Digest([0; 32]),
        },
        environment: strategy.environment.clone(),
        host: String::new(),
        started: at,
        finished: at,
        server_time: at,
        root: BlobId([0; 32]),
        session: SessionId([0; 16]),
        epoch: 0,
        stats: Default::default(),
        directories: BTreeMap::new(),
        source: BTreeMap::new(),
        tools: BTreeMap::new(),
        content: None,
        complete: true,
        errors: Vec::new(),
        error_count: 0,
        retain_until: None,
    }
}

fn repository(at: Timestamp) -> RepositoryFacts {
    RepositoryFacts {
        id: RepositoryId([0; 16]),
        created: at,
        cipher: None,
        key_since: None,
        single_writer: false,
        server_time: at,
        stored_bytes: 0,
        last_prune: None,
        condemned_bytes: 0,
    }
}
