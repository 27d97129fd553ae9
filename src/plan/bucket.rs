//! Decides what is to be done about buckets whose settings are not as the plan file says: nothing where that is
//! only to be reported, or where nobody can tell.

use crate::model::bucket::{BucketSeen, Difference, Wanted, differences};
use crate::model::ids::{Address, ComponentName};
use crate::model::inventory::Inventory;
use crate::model::strategy::{BucketSource, Component, SourceSpec, Strategy};
use crate::plan::backups::{CHANGE, key};
use crate::plan::document::{Action, Cause, Change, Reason};
use crate::plan::draft::{Draft, Drafts};
use crate::plan::world::View;
use std::collections::BTreeMap;

/// What a component's bucket was found to be, where it is one and was looked at.
pub(crate) fn seen<'a>(
    component: &'a Component,
    inventory: &'a Inventory,
) -> Option<(&'a BucketSource, &'a BucketSeen)> {
    match &component.source {
        SourceSpec::S3(bucket) => Some((bucket, inventory.sources.get(&component.name)?)),
        _ => None,
    }
}

/// What differs, where the bucket answered.
pub(crate) fn found(component: &Component, inventory: &Inventory) -> Vec<Difference> {
    match seen(component, inventory) {
        Some((asked, BucketSeen::Bucket(facts))) => differences(asked, facts),
        _ => Vec::new(),
    }
}

/// A difference as a change of a setting of that component.
pub(crate) fn change(component: &ComponentName, difference: &Difference) -> Change {
    let source = Address::component(component).child("source");
    let steps = difference.path.iter();
    Change {
        address: steps.fold(source, |at, node| at.child(node)),
        before: difference.before.clone(),
        after: difference.after.clone(),
    }
}

/// Drafts the step that sets the bucket of a component as the plan file says.
pub(crate) fn draft_settings(
    view: &View,
    inventory: &Inventory,
    at: jiff::Timestamp,
    drafts: &mut Drafts,
) -> Option<usize> {
    let (asked, _) = seen(view.spec, inventory)?;
    let settings: Vec<Change> = found(view.spec, inventory)
        .iter()
        .filter(|difference| asked.fix_drift && is_settable(difference))
        .map(|difference| change(&view.spec.name, difference))
        .collect();
    let removes = found(view.spec, inventory)
        .iter()
        .any(|difference| matches!(difference.wanted, Wanted::Set { removes: true }));
    (!settings.is_empty()).then(|| {
        drafts.push(Draft {
            address: view.address(),
            action: Action::Configure {
                component: view.spec.name.clone(),
                settings,
                removes,
            },
            needs: Vec::new(),
            after: Vec::new(),
            cause: Cause::Drift,
            because: Reason::Differs,
            bytes: None,
            key: key(view, CHANGE, at),
            labels: vec![view.address()],
            made_by: None,
        })
    })
}

/// Whether ccb could set it.
pub(crate) fn is_settable(difference: &Difference) -> bool {
    matches!(difference.wanted, Wanted::Set { .. })
}

/// Settings that differ and are left alone.
pub(crate) fn left_alone(strategy: &Strategy, inventory: &Inventory) -> Vec<Change> {
    let enabled = strategy.components.iter().filter(|c| c.enabled);
    let of = |component: &Component| {
        let fixes = match &component.source {
            SourceSpec::S3(bucket) => bucket.fix_drift,
            _ => false,
        };
        let all = found(component, inventory).into_iter();
        let left = all.filter(|difference| match difference.wanted {
            Wanted::Set { .. } => !fixes,
            Wanted::Foreign { .. } => true,
            Wanted::Unknown { .. } => false,
        });
        left.map(|difference| change(&component.name, &difference))
            .collect::<Vec<_>>()
    };
    enabled.flat_map(of).collect()
}

/// Buckets that did not answer, with why.
pub(crate) fn unseen(
    strategy: &Strategy,
    inventory: &Inventory,
) -> BTreeMap<ComponentName, String> {
    let enabled = strategy.components.iter().filter(|c| c.enabled);
    let unseen = enabled.filter_map(|component| match seen(component, inventory)? {
        (_, BucketSeen::Unreachable { why }) => Some((component.name.clone(), why.clone())),
        _ => None,
    });
    unseen.collect()
}
