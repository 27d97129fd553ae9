//! Plays the steps of a plan on an inventory, as if every one had succeeded, and holds that to what must be so.

use crate::support::facts::{backup_id, manifest, repository};
use ccb::model::inventory::Inventory;
use ccb::model::records::Manifest;
use ccb::plan::play::{Making, play as play_steps, record};
use ccb::plan::{Action, Plan};
use std::collections::BTreeSet;

/// The inventory after the plan. New backups get ids from `first_id` on.
pub(crate) fn play(plan: &Plan, before: &Inventory, first_id: u32) -> Inventory {
    let mut after = before.clone();
    for step in &plan.steps {
        if let Action::Initialize { destination } = &step.action {
            let holding = &before.destinations[destination];
            assert!(holding.repository.is_none(), "made twice: {destination}");
        }
    }
    let at = plan.at.0;
    let mut make = |making: Making<'_>| Manifest {
        slots: making.slots.to_vec(),
        tags: making.tags.to_vec(),
        finished: at,
        environment: plan.environment.clone(),
        ..manifest(
            backup_id(first_id + making.step.0),
            making.component.as_str(),
            making.method,
            &at.to_string(),
        )
    };
    play_steps(&plan.steps, at, &mut after, &mut make, &|_| repository(9));
    let record = record(&plan.steps, at, &plan.name, &plan.environment);
    for (name, holding) in &mut after.destinations {
        holding.runs.insert(0, record.clone());
        let ids: BTreeSet<_> = holding.backups.iter().map(|h| h.manifest.id).collect();
        assert_eq!(ids.len(), holding.backups.len(), "twice at {name}");
        assert!(
            holding.backups.is_empty() || holding.repository.is_some(),
            "no repository at {name}"
        );
    }
    after
}
