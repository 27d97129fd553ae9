//! What the destinations would hold after a plan, if every step of it succeeded: steps are played on an
//! inventory. Pure; nothing is read or written anywhere.

use crate::model::ids::{BackupId, ComponentName, DestinationName, Digest, RunId, Tag};
use crate::model::inventory::{Held, Inventory, RepositoryFacts, Trashed};
use crate::model::records::{
    Annotation, Evidence, ExportRecord, Manifest, Note, RunRecord, Slot, StepOutcome, StepRecord,
    Tomb, Version,
};
use crate::model::strategy::Method;
use crate::plan::document::{Action, BackupRef, Step, StepId};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A backup that a played step makes.
#[derive(Debug, Clone, Copy)]
pub struct Making<'a> {
    /// The step.
    pub step: StepId,
    /// What of.
    pub component: &'a ComponentName,
    /// How.
    pub method: Method,
    /// Where it is written first.
    pub destination: &'a DestinationName,
    /// The slots that it fills.
    pub slots: &'a [Slot],
    /// Its tags.
    pub tags: &'a [Tag],
}

/// Plays the steps of a plan made at `at` on `inventory`. `make` gives the manifests of new backups and `ready`
/// the facts of new repositories. A step about something that is not there changes nothing.
pub fn play(
    steps: &[Step],
    at: Timestamp,
    inventory: &mut Inventory,
    make: &mut dyn FnMut(Making<'_>) -> Manifest,
    ready: &dyn Fn(&DestinationName) -> RepositoryFacts,
) {
    let mut made: BTreeMap<StepId, BackupId> = BTreeMap::new();
    for step in steps {
        let id = |backup: &BackupRef| match backup {
            BackupRef::Id(id) => Some(*id),
            BackupRef::Of(step) => made.get(step).copied(),
        };
        match &step.action {
            Action::Initialize { destination } => {
                if let Some(holding) = inventory.destinations.get_mut(destination) {
                    holding.repository = Some(ready(destination));
                }
            }
            Action::BackUp {
                component,
                method,
                destination,
                slots,
                tags,
                ..
            } => {
                let manifest = make(Making {
                    step: step.id,
                    component,
                    method: *method,
                    destination,
                    slots,
                    tags,
                });
                made.insert(step.id, manifest.id);
                let held = Held {
                    manifest,
                    annotations: Vec::new(),
                };
                put(inventory, destination, held);
            }
            Action::Copy {
                backup, from, to, ..
            } => {
                let holding = inventory.destinations.get(from);
                let copy = id(backup).and_then(|id| holding?.backup(&id).cloned());
                if let Some(copy) = copy {
                    put(inventory, to, copy);
                }
            }
            Action::Verify {
                backup,
                destination,
                check,
                ..
            } => {
                let holding = inventory.destinations.get_mut(destination);
                if let (Some(id), Some(holding)) = (id(backup), holding)
                    && let Some(held) = holding.backups.iter_mut().find(|h| h.manifest.id == id)
                {
                    let evidence = Evidence {
                        check: check.check(),
                        at,
                        destination: destination.clone(),
                        passed: true,
                        facts: BTreeMap::new(),
                        message: String::new(),
                    };
                    held.annotations.push(Annotation {
                        v: Version,
                        backup: id,
                        at,
                        note: Note::Verified(evidence),
                    });
                }
            }
            Action::Forget {
                backup,
                destination,
                ..
            } => {
                if let Some(holding) = inventory.destinations.get_mut(destination)
                    && let Some(place) = holding
                        .backups
                        .iter()
                        .position(|h| h.manifest.id == *backup)
                {
                    let held = holding.backups.remove(place);
                    holding.trashed.push(Trashed {
                        manifest: held.manifest,
                        tomb: Tomb {
                            v: Version,
                            backup: *backup,
                            at,
                            run: None,
                            reason: String::new(),
                        },
                        since: at,
                    });
                }
            }
            Action::Prune { destination, trash } => {
                if let Some(holding) = inventory.destinations.get_mut(destination) {
                    holding.trashed.retain(|gone| trash.after(gone.since) > at);
                    if let Some(repository) = &mut holding.repository {
                        repository.condemned_bytes = 0;
                        repository.last_prune = Some(at);
                    }
                }
            }
            // What it is now is seen when it is looked at.
            Action::Configure { component, .. } => {
                inventory.sources.remove(component);
            }
            Action::Export {
                component,
                backup,
                from,
                to,
                name,
                key,
                tiers,
                removes,
                ..
            } => {
                let lists = inventory.destinations.values_mut().map(|h| &mut h.exports);
                lists.for_each(|exports| {
                    exports.retain(|e| e.destination != *to || !removes.contains(&e.key));
                });
                let taken = id(backup).and_then(|id| {
                    let held = inventory.destinations.get(from)?.backup(&id)?;
                    Some((id, held.manifest.method, held.manifest.started))
                });
                if let (Some((backup, method, started)), Some(holding)) =
                    (taken, inventory.destinations.get_mut(from))
                {
                    holding.exports.push(ExportRecord {
                        v: Version,
                        component: component.clone(),
                        backup,
                        method,
                        started,
                        name: name.clone(),
                        tiers: tiers.clone(),
                        destination: to.clone(),
                        key: key.clone(),
                        at,
                        bytes: 0,
                        digest: Digest([0; 32]),
                    });
                }
            }
            Action::Inspect { .. } => {}
        }
    }
}

/// The record that a run of these steps leaves when all of them succeed.
pub fn record(steps: &[Step], at: Timestamp, plan: &str, environment: &str) -> RunRecord {
    RunRecord {
        v: Version,
        run: RunId([0; 16]),
        started: at,
        finished: at,
        plan: plan.to_owned(),
        environment: environment.to_owned(),
        config: Digest([0; 32]),
        files: Vec::new(),
        steps: steps
            .iter()
            .map(|step| StepRecord {
                address: step.address.clone(),
                verb: step.action.verb().to_owned(),
                outcome: StepOutcome::Done,
                message: None,
                backup: None,
            })
            .collect(),
    }
}

fn put(inventory: &mut Inventory, at: &DestinationName, held: Held) {
    if let Some(holding) = inventory.destinations.get_mut(at) {
        let key = (held.manifest.started, held.manifest.id);
        let place = holding
            .backups
            .partition_point(|h| (h.manifest.started, h.manifest.id) < key);
        holding.backups.insert(place, held);
    }
}
