//! Tells of one backup what the plan says of it: why it stays or goes, where its copies are, what was proved
//! of it. Gathers what was decided elsewhere; decides nothing.

use crate::model::ids::{BackupId, DestinationName};
use crate::model::inventory::Inventory;
use crate::model::records::{Evidence, Manifest, Note};
use crate::model::strategy::Tier;
use crate::model::units::Period;
use crate::plan::document::{Action, BackupRef, KeptBecause, Plan, Reason, Step};
use crate::plan::keep::tier_of;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Everything that is known of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained<'a> {
    /// What it is.
    pub manifest: &'a Manifest,
    /// Where it can be read.
    pub copies: Vec<&'a DestinationName>,
    /// Where copies are to be made.
    pub missing: Vec<&'a DestinationName>,
    /// Every rule and hold that keeps it.
    pub kept: Vec<&'a KeptBecause>,
    /// What calendar rules call it, finest first.
    pub tiers: Vec<Tier>,
    /// What holds it back although no rule keeps it.
    pub held_back: Option<&'a KeptBecause>,
    /// Where this plan forgets it, why, and what must be done before.
    pub forgets: Vec<Forget<'a>>,
    /// Where it is in the trash.
    pub trash: Vec<InTrash<'a>>,
    /// Every result of a check, oldest first.
    pub evidence: Vec<&'a Evidence>,
    /// Holds and releases, oldest first: when, who, why, and whether it is a hold.
    pub holds: Vec<(Timestamp, &'a str, &'a str, bool)>,
}

/// A copy that this plan forgets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forget<'a> {
    /// Where.
    pub destination: &'a DestinationName,
    /// Why.
    pub because: &'a Reason,
    /// What must succeed before.
    pub needs: Vec<&'a Step>,
}

/// A copy in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTrash<'a> {
    /// Where.
    pub destination: &'a DestinationName,
    /// When it was forgotten.
    pub since: Timestamp,
    /// Until when it can surely be brought back.
    pub until: Timestamp,
    /// Why it was forgotten.
    pub reason: &'a str,
}

/// Tells of the backup with that id; `None` when no destination holds it, not even in the trash. `trash` is how
/// long forgotten backups can be brought back.
pub fn explain<'a>(
    plan: &'a Plan,
    inventory: &'a Inventory,
    trash: Period,
    id: &BackupId,
) -> Option<Explained<'a>> {
    let each = || inventory.destinations.iter();
    let held: Vec<_> = each()
        .filter_map(|(name, holding)| Some((name, holding.backup(id)?)))
        .collect();
    let trashed: Vec<_> = each()
        .flat_map(|(name, holding)| holding.trashed.iter().map(move |gone| (name, gone)))
        .filter(|(_, gone)| gone.manifest.id == *id)
        .collect();
    let manifest = match (held.first(), trashed.first()) {
        (Some((_, held)), _) => &held.manifest,
        (None, Some((_, gone))) => &gone.manifest,
        (None, None) => return None,
    };
    let kept = plan.kept.iter().find(|kept| kept.backup == *id);
    let kept: Vec<&KeptBecause> = kept.iter().flat_map(|kept| &kept.because).collect();
    let mut tiers: Vec<Tier> = kept.iter().filter_map(|because| tier_of(because)).collect();
    tiers.sort_unstable();
    tiers.dedup();
    let held_back = plan.held.iter().find(|held| held.backup == *id);
    // What people and checks say of a backup is said at each copy.
    let mut said = BTreeMap::new();
    for annotation in held.iter().flat_map(|(_, held)| &held.annotations) {
        said.insert(
            (annotation.at, format!("{:?}", annotation.note)),
            annotation,
        );
    }
    let notes = || {
        said.values()
            .map(|annotation| (annotation.at, &annotation.note))
    };
    Some(Explained {
        manifest,
        copies: held.iter().map(|(name, _)| *name).collect(),
        missing: missing(plan, id),
        kept,
        tiers,
        held_back: held_back.map(|held| &held.because),
        forgets: forgets(plan, id),
        trash: trashed
            .iter()
            .map(|(destination, gone)| InTrash {
                destination,
                since: gone.tomb.at,
                until: trash.after(gone.tomb.at),
                reason: &gone.tomb.reason,
            })
            .collect(),
        evidence: notes()
            .filter_map(|(_, note)| match note {
                Note::Verified(evidence) => Some(evidence),
                _ => None,
            })
            .collect(),
        holds: notes()
            .filter_map(|(at, note)| match note {
                Note::Hold { by, reason } => Some((at, by.as_str(), reason.as_str(), true)),
                Note::Release { by, reason } => Some((at, by.as_str(), reason.as_str(), false)),
                _ => None,
            })
            .collect(),
    })
}

fn missing<'a>(plan: &'a Plan, id: &BackupId) -> Vec<&'a DestinationName> {
    let copies = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Copy { backup, to, .. } if *backup == BackupRef::Id(*id) => Some(to),
        _ => None,
    });
    copies.collect()
}

fn forgets<'a>(plan: &'a Plan, id: &BackupId) -> Vec<Forget<'a>> {
    let forgets = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Forget {
            backup,
            destination,
            ..
        } if backup == id => Some(Forget {
            destination,
            because: &step.because,
            needs: step.needs.iter().filter_map(|id| plan.step(*id)).collect(),
        }),
        _ => None,
    });
    forgets.collect()
}
