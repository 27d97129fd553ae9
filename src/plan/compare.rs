//! What changed from one plan file to another, and which steps are there because of it.

use crate::model::ids::Address;
use crate::model::strategy::Strategy;
use crate::plan::document::{Action, Cause, Change, KeptBecause, Plan, Reason};
use crate::plan::matching::counterparts;
use crate::plan::settings::{Setting, settings};
use std::collections::{BTreeMap, BTreeSet};

/// Every setting that differs, by address, in the order of the newer file; what is gone stands where it
/// stood. Values are the text of a plan file.
pub fn changes(base: &Strategy, now: &Strategy) -> Vec<Change> {
    let (before, after) = (settings(base), settings(now));
    let old: BTreeMap<_, _> = before.iter().map(|s| (s.key(), s)).collect();
    let new: BTreeMap<_, _> = after.iter().map(|s| (s.key(), s)).collect();
    let differing = in_file_order(&before, &after, &new)
        .into_iter()
        .filter_map(|setting| difference(old.get(&setting.key()), new.get(&setting.key())))
        .collect();
    one_per_replacement(differing)
}

/// Marks the steps of `plan` that `base_plan`, made of the older plan file at the same instant, does not
/// have: they are there because the file changed. What such a step forgets was kept by a rule of the
/// older file, and that rule is named.
pub fn mark_config_causes(plan: &mut Plan, base_plan: &Plan) {
    let pairs = counterparts(plan, base_plan);
    let kept_before: BTreeMap<_, _> = base_plan
        .kept
        .iter()
        .map(|kept| (kept.backup, &kept.because))
        .collect();
    for step in &mut plan.steps {
        if pairs.contains_key(&step.id) || step.cause == Cause::Request {
            continue;
        }
        step.cause = Cause::Config;
        if let (Action::Forget { backup, .. }, Reason::NotKept { was, .. }) =
            (&step.action, &mut step.because)
            && was.is_none()
        {
            *was = kept_before.get(backup).and_then(|because| {
                because.iter().find_map(|because| match because {
                    KeptBecause::Rule { keep, .. } => Some(*keep),
                    _ => None,
                })
            });
        }
    }
}

fn in_file_order<'a>(
    before: &'a [Setting],
    after: &'a [Setting],
    new: &BTreeMap<(&Address, &str), &Setting>,
) -> Vec<&'a Setting> {
    let mut gone_after: BTreeMap<Option<(&Address, &str)>, Vec<&Setting>> = BTreeMap::new();
    let mut last_common = None;
    for setting in before {
        if new.contains_key(&setting.key()) {
            last_common = Some(setting.key());
        } else {
            gone_after.entry(last_common).or_default().push(setting);
        }
    }
    let mut order = gone_after.remove(&None).unwrap_or_default();
    for setting in after {
        order.push(setting);
        order.extend(gone_after.remove(&Some(setting.key())).unwrap_or_default());
    }
    order
}

fn difference(old: Option<&&Setting>, new: Option<&&Setting>) -> Option<Change> {
    let (address, before, after) = match (old, new) {
        (Some(old), Some(new)) if old.full == new.full => return None,
        (Some(old), Some(new)) => (&new.address, Some(&old.short), Some(&new.short)),
        (Some(old), None) => (&old.address, Some(&old.full), None),
        (None, Some(new)) => (&new.address, None, Some(&new.full)),
        (None, None) => return None,
    };
    Some(Change {
        address: address.clone(),
        before: before.cloned(),
        after: after.cloned(),
    })
}

/// One line went and one came under the same address: that is one change.
fn one_per_replacement(changes: Vec<Change>) -> Vec<Change> {
    let at = |address: &Address, wanted: fn(&Change) -> bool| {
        let mut found = changes
            .iter()
            .filter(|c| c.address == *address && wanted(c));
        found.next().filter(|_| found.next().is_none())
    };
    let mut told = BTreeSet::new();
    let mut merged = Vec::new();
    for change in &changes {
        let pair = (
            at(&change.address, |c| c.after.is_none()),
            at(&change.address, |c| c.before.is_none()),
        );
        match pair {
            (Some(gone), Some(came)) if change == gone || change == came => {
                if told.insert(&change.address) {
                    merged.push(Change {
                        after: came.after.clone(),
                        ..gone.clone()
                    });
                }
            }
            _ => merged.push(change.clone()),
        }
    }
    merged
}
