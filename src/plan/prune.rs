//! Decides where garbage is removed: where forgotten backups have waited long enough, condemned packs have
//! waited out their grace, or this run forgets. Never where not all was seen.

use crate::model::ids::{Address, DestinationName};
use crate::model::inventory::{Holding, Trashed};
use crate::model::units::Period;
use crate::plan::document::{Action, Cause, Reason};
use crate::plan::draft::{Draft, Drafts, Key};
use crate::plan::world::World;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Condemned packs wait this long before they go (schemas/repository.md).
const GRACE: Period = Period::hours(24);

/// Drafts a prune for each destination that has something to remove; it comes after all its forgets.
pub(crate) fn draft_prunes(
    world: &World,
    forgets: &BTreeMap<DestinationName, Vec<usize>>,
    drafts: &mut Drafts,
) {
    let trash = world.strategy.apply.trash;
    for (order, destination) in world.strategy.destinations.iter().enumerate() {
        let name = &destination.name;
        let of_run = forgets.get(name).cloned().unwrap_or_default();
        let Some(holding) = world.holding(name).filter(|h| h.coverage.is_complete()) else {
            continue;
        };
        if of_run.is_empty() && !has_garbage(holding, trash, world.at) {
            continue;
        }
        let address = Address::destination(name);
        drafts.push(Draft {
            address: address.clone(),
            action: Action::Prune {
                destination: name.clone(),
                trash,
            },
            needs: of_run,
            after: Vec::new(),
            cause: Cause::Schedule,
            because: Reason::Garbage,
            bytes: holding.repository.as_ref().map(|r| r.condemned_bytes),
            key: Key {
                group: world.strategy.components.len() + 1,
                verb: 0,
                time: Timestamp::MIN,
                backup: None,
                detail: 0,
                destination: order,
            },
            labels: vec![address],
            made_by: None,
        });
    }
}

fn has_garbage(holding: &Holding, trash: Period, at: Timestamp) -> bool {
    let Some(repository) = &holding.repository else {
        return false;
    };
    let mut trashed = holding.trashed.iter();
    let waited = repository
        .last_prune
        .is_none_or(|last| GRACE.after(last) <= at);
    let is_locked = |gone: &Trashed| gone.manifest.retain_until.is_some_and(|until| until > at);
    trashed.any(|gone| trash.after(gone.since) <= at && !is_locked(gone))
        || (repository.condemned_bytes > 0 && waited)
}
