//! Finds the same step in two plans. Step numbers differ from plan to plan, so a step that speaks of
//! "the backup that step 3 makes" is the same as one that speaks of its counterpart.

use crate::model::ids::{BackupId, ComponentName};
use crate::plan::document::{Action, BackupRef, Kept, Plan, Step, StepId};
use std::collections::{BTreeMap, BTreeSet};

/// For each step of `plan` that `other` has too: its id there.
pub(crate) fn counterparts(plan: &Plan, other: &Plan) -> BTreeMap<StepId, StepId> {
    let both = Both {
        other,
        kept: plan.kept.iter().map(|kept| (kept.backup, kept)).collect(),
    };
    let mut candidates: BTreeMap<Trait<'_>, Vec<&Step>> = BTreeMap::new();
    for step in &other.steps {
        let list = candidates.entry(trait_of(&step.action)).or_default();
        list.push(step);
    }
    let mut pairs = BTreeMap::new();
    let mut taken = BTreeSet::new();
    // `steps` stand in an order that respects `needs`: what a step speaks of is paired before it.
    for step in &plan.steps {
        let known = trait_of(&step.action);
        // What the other plan speaks of as "of this run" may have an id by now.
        let either = [Some(known), known.2.map(|_| (known.0, known.1, None))];
        let lists = either.into_iter().flatten();
        let twin = lists
            .filter_map(|looks| candidates.get(&looks))
            .flatten()
            .filter(|candidate| {
                !taken.contains(&candidate.id)
                    && same(&step.action, &candidate.action, &|ours, theirs| {
                        both.same_backup(&pairs, ours, theirs)
                    })
            })
            .min_by_key(|candidate| candidate.id);
        if let Some(twin) = twin {
            taken.insert(twin.id);
            pairs.insert(step.id, twin.id);
        }
    }
    pairs
}

/// What steps that are the same have in common, so that only few are compared: verb, component, and the
/// backup, where it has an id.
type Trait<'a> = (&'static str, Option<&'a ComponentName>, Option<BackupId>);

fn trait_of(action: &Action) -> Trait<'_> {
    let backup = match action {
        Action::Copy { backup, .. }
        | Action::Verify { backup, .. }
        | Action::Export { backup, .. } => match backup {
            BackupRef::Id(id) => Some(*id),
            BackupRef::Of(_) => None,
        },
        Action::Forget { backup, .. } => Some(*backup),
        _ => None,
    };
    (action.verb(), action.component(), backup)
}

/// What is looked up in the two plans.
struct Both<'a> {
    other: &'a Plan,
    /// Backups that the first one keeps.
    kept: BTreeMap<BackupId, &'a Kept>,
}

impl Both<'_> {
    fn same_backup(
        &self,
        pairs: &BTreeMap<StepId, StepId>,
        ours: BackupRef,
        theirs: BackupRef,
    ) -> bool {
        match (ours, theirs) {
            (BackupRef::Id(a), BackupRef::Id(b)) => a == b,
            (BackupRef::Of(a), BackupRef::Of(b)) => pairs.get(&a) == Some(&b),
            // What the other plan was to make has been made since.
            (BackupRef::Id(made), BackupRef::Of(maker)) => {
                let Some(Action::BackUp {
                    component, method, ..
                }) = self.other.step(maker).map(|step| &step.action)
                else {
                    return false;
                };
                self.kept.get(&made).is_some_and(|kept| {
                    kept.component == *component
                        && kept.method == *method
                        && kept.started >= self.other.at.0
                })
            }
            (BackupRef::Of(_), BackupRef::Id(_)) => false,
        }
    }
}

/// Whether two actions do the same. What is taken away must be equal to the letter; a backup is the same
/// when it serves one of the same schedules, though its slot is a later one by now.
fn same(
    ours: &Action,
    theirs: &Action,
    same_backup: &dyn Fn(BackupRef, BackupRef) -> bool,
) -> bool {
    match (ours, theirs) {
        (
            Action::BackUp {
                component: a,
                method: method_a,
                destination: to_a,
                slots: slots_a,
                tags: tags_a,
                ..
            },
            Action::BackUp {
                component: b,
                method: method_b,
                destination: to_b,
                slots: slots_b,
                tags: tags_b,
                ..
            },
        ) => {
            let schedules: BTreeSet<_> = slots_a.iter().map(|slot| &slot.schedule).collect();
            let serves = if slots_a.is_empty() && slots_b.is_empty() {
                tags_a == tags_b
            } else {
                slots_b
                    .iter()
                    .any(|slot| schedules.contains(&slot.schedule))
            };
            (a, method_a, to_a) == (b, method_b, to_b) && serves
        }
        (
            Action::Copy {
                component: a,
                backup: backup_a,
                to: to_a,
                ..
            },
            Action::Copy {
                component: b,
                backup: backup_b,
                to: to_b,
                ..
            },
        ) => (a, to_a) == (b, to_b) && same_backup(*backup_a, *backup_b),
        (
            Action::Verify {
                component: a,
                backup: backup_a,
                destination: at_a,
                check: check_a,
            },
            Action::Verify {
                component: b,
                backup: backup_b,
                destination: at_b,
                check: check_b,
            },
        ) => (a, at_a, check_a) == (b, at_b, check_b) && same_backup(*backup_a, *backup_b),
        (
            Action::Export {
                component: a,
                backup: backup_a,
                to: to_a,
                name: name_a,
                tiers: tiers_a,
                ..
            },
            Action::Export {
                component: b,
                backup: backup_b,
                to: to_b,
                name: name_b,
                tiers: tiers_b,
                ..
            },
        ) => {
            (a, to_a, name_a, tiers_a) == (b, to_b, name_b, tiers_b)
                && same_backup(*backup_a, *backup_b)
        }
        // What was set meanwhile needs no setting any more.
        (
            Action::Configure {
                component: a,
                settings: settings_a,
                ..
            },
            Action::Configure {
                component: b,
                settings: settings_b,
                ..
            },
        ) => {
            a == b
                && settings_a
                    .iter()
                    .all(|setting| settings_b.contains(setting))
        }
        _ => ours == theirs,
    }
}
