//! Steps before they have their numbers: drafts name each other by index, and are put in order, filtered and
//! numbered once all are there.

use crate::model::ids::{Address, BackupId};
use crate::plan::document::{Action, BackupRef, Cause, Reason, Step, StepId};
use crate::plan::graph::{Cycle, order};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// A step to be. Until numbered, [`BackupRef::Of`] holds the index of a draft.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What it is about.
    pub address: Address,
    /// What is done.
    pub action: Action,
    /// Drafts without which it is not done.
    pub needs: Vec<usize>,
    /// Drafts that go first if they are there.
    pub after: Vec<usize>,
    /// What set it off.
    pub cause: Cause,
    /// Why.
    pub because: Reason,
    /// Estimate.
    pub bytes: Option<u64>,
    /// Its place among those that are free to go.
    pub key: Key,
    /// Everything that `--target` and `--exclude` can name it by.
    pub labels: Vec<Address>,
    /// The draft whose backup it copies, checks or exports because that backup is made.
    pub made_by: Option<usize>,
}

/// Order of steps: components in the order of the file, inside by verb, then time, then the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Repositories first, then components in the order of the file, pruning last.
    pub group: usize,
    /// `~ + > ? -`.
    pub verb: u8,
    /// Slot, or start of the backup.
    pub time: Timestamp,
    /// Which backup.
    pub backup: Option<BackupId>,
    /// Method, check or kind, as a number.
    pub detail: usize,
    /// Place of the destination in the file.
    pub destination: usize,
}

/// All drafts of a plan.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    drafts: Vec<Draft>,
}

/// Which steps somebody wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Only these, and what they need; empty: all.
    pub target: &'a [Address],
    /// All but these, and what needs them.
    pub exclude: &'a [Address],
    /// Only backups that were asked for, with what follows from them.
    pub only_requested: bool,
}

impl Drafts {
    /// Adds one and returns its index.
    pub(crate) fn push(&mut self, draft: Draft) -> usize {
        self.drafts.push(draft);
        self.drafts.len() - 1
    }
    /// All with their indexes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Draft)> {
        self.drafts.iter().enumerate()
    }
    /// Lets `index` go after the others.
    pub(crate) fn go_after(&mut self, index: usize, others: Vec<usize>) {
        self.drafts[index].after.extend(others);
    }

    /// The wanted ones as steps: ordered, numbered from 1.
    pub(crate) fn into_steps(self, wanted: Wanted) -> Result<Vec<Step>, Cycle> {
        let keep = self.selected(wanted);
        let new_index: Vec<Option<usize>> = keep
            .iter()
            .scan(0, |next, kept| {
                Some(kept.then(|| {
                    *next += 1;
                    *next - 1
                }))
            })
            .collect();
        let left: Vec<Draft> = self
            .drafts
            .into_iter()
            .zip(&keep)
            .filter_map(|(draft, kept)| kept.then_some(draft))
            .collect();
        let needs: Vec<Vec<usize>> = left
            .iter()
            .map(|draft| {
                let both: BTreeSet<usize> = draft
                    .needs
                    .iter()
                    .chain(&draft.after)
                    .filter_map(|i| new_index[*i])
                    .collect();
                both.into_iter().collect()
            })
            .collect();
        let keys: Vec<&Key> = left.iter().map(|draft| &draft.key).collect();
        let ordered = order(&keys, &needs, |i| name(&left[i].action))?;
        let mut numbers = vec![StepId(0); left.len()];
        for (position, i) in ordered.iter().enumerate() {
            numbers[*i] = number(position);
        }
        let renumber = |draft: usize| new_index[draft].map_or(StepId(0), |i| numbers[i]);
        let mut steps: Vec<Step> = left
            .into_iter()
            .zip(needs)
            .enumerate()
            .map(|(i, (draft, needs))| step(draft, i, needs, &numbers, renumber))
            .collect();
        steps.sort_unstable_by_key(|step| step.id);
        Ok(steps)
    }

    /// Whether each draft is wanted.
    fn selected(&self, wanted: Wanted) -> Vec<bool> {
        let mut keep: Vec<bool> = (0..self.drafts.len())
            .map(|i| self.is_wanted(i, wanted))
            .collect();
        let mut open: Vec<usize> = (0..keep.len()).filter(|i| keep[*i]).collect();
        while let Some(i) = open.pop() {
            let draft = &self.drafts[i];
            for need in draft.needs.iter().chain(&draft.after) {
                if !keep[*need] {
                    keep[*need] = true;
                    open.push(*need);
                }
            }
        }
        // What is excluded goes, and with it what needs it.
        let mut dropped: Vec<bool> = self
            .drafts
            .iter()
            .map(|draft| draft.is_any_of(wanted.exclude))
            .collect();
        let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); self.drafts.len()];
        for (i, draft) in self.iter() {
            for need in &draft.needs {
                dependents[*need].push(i);
            }
        }
        let mut open: Vec<usize> = (0..dropped.len()).filter(|i| dropped[*i]).collect();
        while let Some(i) = open.pop() {
            for dependent in &dependents[i] {
                if !dropped[*dependent] {
                    dropped[*dependent] = true;
                    open.push(*dependent);
                }
            }
        }
        keep.iter().zip(dropped).map(|(k, d)| *k && !d).collect()
    }

    fn is_wanted(&self, index: usize, wanted: Wanted) -> bool {
        let draft = &self.drafts[index];
        let of_request = || {
            let maker = &self.drafts[draft.made_by.unwrap_or(index)];
            maker.cause == Cause::Request
        };
        (wanted.target.is_empty() || draft.is_any_of(wanted.target))
            && (!wanted.only_requested || of_request())
    }
}

impl Draft {
    fn is_any_of(&self, addresses: &[Address]) -> bool {
        addresses
            .iter()
            .any(|wanted| self.labels.iter().any(|label| label.is_within(wanted)))
    }
}

fn step(
    draft: Draft,
    index: usize,
    needs: Vec<usize>,
    numbers: &[StepId],
    renumber: impl Fn(usize) -> StepId,
) -> Step {
    let mut needs: Vec<StepId> = needs.into_iter().map(|i| numbers[i]).collect();
    needs.sort_unstable();
    let mut action = draft.action;
    if let Action::Copy { backup, .. }
    | Action::Verify { backup, .. }
    | Action::Export { backup, .. } = &mut action
        && let BackupRef::Of(StepId(of)) = *backup
    {
        *backup = BackupRef::Of(renumber(of as usize));
    }
    Step {
        id: numbers[index],
        address: draft.address,
        action,
        needs,
        cause: draft.cause,
        because: draft.because,
        bytes: draft.bytes,
    }
}

/// The backup that a draft makes, until it has its number.
pub(crate) fn made_by(draft: usize) -> BackupRef {
    BackupRef::Of(StepId(u32::try_from(draft).unwrap_or(u32::MAX)))
}

fn number(position: usize) -> StepId {
    StepId(u32::try_from(position + 1).unwrap_or(u32::MAX))
}

fn name(action: &Action) -> String {
    match action {
        Action::Initialize { destination } | Action::Prune { destination, .. } => {
            destination.to_string()
        }
        _ => action
            .component()
            .map_or_else(String::new, ToString::to_string),
    }
}
