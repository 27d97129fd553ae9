//! Decides which copies of existing backups are missing. Only what stays is copied, and only to destinations
//! that were seen completely: elsewhere a missing backup proves nothing.

use crate::model::ids::{Address, BackupId, DestinationName};
use crate::model::records::{RunRecord, StepOutcome};
use crate::plan::backups::{COPY, key};
use crate::plan::document::{Action, BackupRef, Cause, Reason};
use crate::plan::draft::{Draft, Drafts, Key};
use crate::plan::world::{Copies, View, World};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Copies that failed before: the newest run that tried, its tries in the order of the plan.
#[derive(Debug)]
pub(crate) struct Failures<'a>(BTreeMap<BackupId, (Timestamp, Vec<&'a str>)>);

impl<'a> Failures<'a> {
    /// Reads the records of runs.
    pub(crate) fn new(world: &World<'a>) -> Self {
        let mut failures = BTreeMap::new();
        let mut runs: BTreeMap<_, &RunRecord> = BTreeMap::new();
        for holding in world.inventory.destinations.values() {
            runs.extend(holding.runs.iter().map(|run| ((run.started, run.run), run)));
        }
        for run in runs.into_values() {
            let failed = |step: &&crate::model::records::StepRecord| {
                step.verb == "copy" && step.outcome == StepOutcome::Failed
            };
            let mut of_run: BTreeMap<BackupId, Vec<&str>> = BTreeMap::new();
            for step in run.steps.iter().filter(failed) {
                if let Some(backup) = step.backup {
                    let message = step.message.as_deref().unwrap_or("it failed");
                    of_run.entry(backup).or_default().push(message);
                }
            }
            for (backup, messages) in of_run {
                failures.insert(backup, (run.finished, messages));
            }
        }
        Self(failures)
    }

    /// A record does not say where the copy was to go. With one failure for each missing copy, their order does;
    /// otherwise it is not guessed.
    fn of(
        &self,
        backup: BackupId,
        missing: usize,
        of_missing: usize,
    ) -> Option<(Timestamp, String)> {
        let (at, messages) = self.0.get(&backup)?;
        let message = messages
            .get(missing)
            .filter(|_| messages.len() == of_missing)?;
        Some((*at, (*message).to_owned()))
    }
}

/// Drafts the missing copies of one backup that stays.
pub(crate) fn draft_missing(
    world: &World,
    view: &View,
    copies: &Copies,
    failures: &Failures,
    ready: &BTreeMap<DestinationName, usize>,
    drafts: &mut Drafts,
) {
    let id = copies.facts.id;
    let missing: Vec<&DestinationName> = view
        .spec
        .store
        .iter()
        .filter(|to| copies.copy_at(to).is_none() && !view.was_forgotten(&id, to))
        .filter(|to| world.is_seen(to) && world.is_writable(to))
        .collect();
    let in_order = view
        .spec
        .store
        .iter()
        .find(|from| copies.copy_at(from).is_some());
    let Some(from) = in_order.or(copies.at.first().map(|(name, _)| *name)) else {
        return;
    };
    for (position, to) in missing.iter().enumerate() {
        drafts.push(Draft {
            address: view.address(),
            action: Action::Copy {
                component: view.spec.name.clone(),
                backup: BackupRef::Id(id),
                from: from.clone(),
                to: (*to).clone(),
            },
            needs: ready.get(*to).copied().into_iter().collect(),
            after: Vec::new(),
            cause: Cause::Drift,
            because: Reason::CopyMissing {
                last_error: failures.of(id, position, missing.len()),
            },
            bytes: Some(copies.facts.stats.stored_bytes),
            key: Key {
                backup: Some(id),
                destination: world.order(to),
                ..key(view, COPY, copies.facts.started)
            },
            labels: vec![
                view.address(),
                Address::destination(to),
                Address::backup(&id),
            ],
            made_by: None,
        });
    }
}
