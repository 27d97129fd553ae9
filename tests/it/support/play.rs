//! Plays the steps of a plan on an inventory, as if every one had succeeded.

use crate::support::facts::{backup_id, held, manifest, repository, verified};
use ccb::model::ids::{BackupId, DestinationName, Digest, RunId};
use ccb::model::inventory::{Held, Inventory, Trashed};
use ccb::model::records::{RunRecord, StepOutcome, StepRecord, Tomb, Version};
use ccb::plan::{Action, BackupRef, Plan, StepId};
use std::collections::BTreeMap;

/// The inventory after the plan. New backups get ids from `first_id` on.
pub(crate) fn play(plan: &Plan, before: &Inventory, first_id: u32) -> Inventory {
    let mut after = before.clone();
    let mut ids: BTreeMap<StepId, BackupId> = BTreeMap::new();
    let at = plan.at.0;
    for step in &plan.steps {
        let id = |backup: &BackupRef| match backup {
            BackupRef::Id(id) => *id,
            BackupRef::Of(step) => ids[step],
        };
        match &step.action {
            Action::Initialize { destination } => {
                let holding = after.destinations.get_mut(destination).unwrap();
                assert!(holding.repository.is_none(), "made twice: {destination}");
                holding.repository = Some(repository(9));
            }
            Action::BackUp {
                component,
                method,
                destination,
                slots,
                tags,
                ..
            } => {
                let id = backup_id(first_id + step.id.0);
                ids.insert(step.id, id);
                let mut made = manifest(id, component.as_str(), *method, &at.to_string());
                made.slots.clone_from(slots);
                made.tags.clone_from(tags);
                made.finished = at;
                put(&mut after, destination, held(made));
            }
            Action::Copy {
                backup, from, to, ..
            } => {
                let copy = after.destinations[from]
                    .backup(&id(backup))
                    .unwrap()
                    .clone();
                put(&mut after, to, copy);
            }
            Action::Verify {
                backup,
                destination,
                check,
                ..
            } => {
                let id = id(backup);
                let holding = after.destinations.get_mut(destination).unwrap();
                let held = holding
                    .backups
                    .iter_mut()
                    .find(|held| held.manifest.id == id);
                let note = verified(id, check.check(), destination.as_str(), at, true);
                held.unwrap().annotations.push(note);
            }
            Action::Forget {
                backup,
                destination,
                ..
            } => {
                let holding = after.destinations.get_mut(destination).unwrap();
                let place = holding
                    .backups
                    .iter()
                    .position(|h| h.manifest.id == *backup);
                let held = holding.backups.remove(place.unwrap());
                holding.trashed.push(Trashed {
                    manifest: held.manifest,
                    tomb: Tomb {
                        v: Version,
                        backup: *backup,
                        at,
                        run: None,
                        reason: "played".into(),
                    },
                    since: at,
                });
            }
            Action::Prune { destination, trash } => {
                let holding = after.destinations.get_mut(destination).unwrap();
                holding.trashed.retain(|gone| trash.after(gone.since) > at);
                let repository = holding.repository.as_mut().unwrap();
                repository.condemned_bytes = 0;
                repository.last_prune = Some(at);
            }
            Action::Export { .. } | Action::Configure { .. } => {}
        }
    }
    let record = record(plan);
    for holding in after.destinations.values_mut() {
        holding.runs.insert(0, record.clone());
    }
    after
}

fn put(inventory: &mut Inventory, at: &DestinationName, held: Held) {
    let holding = inventory.destinations.get_mut(at).unwrap();
    assert!(holding.repository.is_some(), "no repository at {at}");
    assert!(holding.backup(&held.manifest.id).is_none(), "twice at {at}");
    holding.backups.push(held);
    holding
        .backups
        .sort_by_key(|held| (held.manifest.started, held.manifest.id));
}

fn record(plan: &Plan) -> RunRecord {
    RunRecord {
        v: Version,
        run: RunId([1; 16]),
        started: plan.at.0,
        finished: plan.at.0,
        plan: plan.name.clone(),
        environment: plan.environment.clone(),
        config: Digest([0; 32]),
        files: Vec::new(),
        steps: plan
            .steps
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
