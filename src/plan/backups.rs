//! Decides which backups of a component are to be made now, and drafts them with all that each brings: its
//! copies, its checks, its exports. What exists already is judged elsewhere.

use crate::model::ids::{Address, BackupId, DestinationName, Tag};
use crate::model::records::{Slot, StepOutcome};
use crate::model::strategy::{Method, Schedule, Tier, Timing};
use crate::model::units::Period;
use crate::model::wal::{WalFacts, WalName};
use crate::plan::document::{Action, Cause, NotDue, Reason};
use crate::plan::draft::{Draft, Drafts, Key, made_by};
use crate::plan::due::{Owes, Slots, owes, serves};
use crate::plan::request::Request;
use crate::plan::world::{View, World};
use std::collections::BTreeMap;

/// What a component owes now.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// Backups to make, one for each method.
    pub backups: BTreeMap<Method, Fresh>,
    /// Slots at which the source is looked at.
    pub looks: Vec<Slot>,
    /// Whether each of those is past its window.
    pub looks_missed: bool,
    /// Schedules that owe nothing.
    pub not_due: Vec<NotDue>,
}

/// A backup to be made.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    /// Slots it fills.
    pub slots: Vec<Slot>,
    /// Tags it gets, sorted.
    pub tags: Vec<Tag>,
    /// Whether at least one of its slots is still in time.
    pub in_time: bool,
    /// Whether somebody asked for it.
    pub requested: bool,
}

/// How often WAL that a server hands over all the time is taken over into a backup.
const TAKEN_OVER_EVERY: Period = Period::hours(1);

/// Verbs in the order of output.
pub(crate) const CHANGE: u8 = 0;
/// See [`CHANGE`].
pub(crate) const BACK_UP: u8 = 1;
/// See [`CHANGE`].
pub(crate) const COPY: u8 = 2;
/// See [`CHANGE`].
pub(crate) const VERIFY: u8 = 3;
/// See [`CHANGE`].
pub(crate) const EXPORT: u8 = 4;
/// See [`CHANGE`].
pub(crate) const FORGET: u8 = 5;

/// Asks every schedule, and joins what is due together with one method into one backup.
pub(crate) fn owed(world: &World, view: &View, request: &Request) -> Owed {
    let mut owed = Owed::default();
    for schedule in &view.spec.schedules {
        let address = view.schedule_address(&schedule.name);
        if request.exclude.iter().any(|x| address.is_within(x)) {
            continue;
        }
        match owes_now(world, view, schedule) {
            Owes::Due { slot, missed } => {
                let missed = missed && was_at_work(world, view, slot.at);
                owed.add(schedule, slot, missed);
            }
            Owes::Nothing { next, skipped } => owed.not_due.push(NotDue {
                component: view.spec.name.clone(),
                schedule: schedule.name.clone(),
                next,
                skipped,
            }),
        }
    }
    let asked = request.backups.iter();
    for asked in asked.filter(|asked| asked.component == view.spec.name) {
        let fresh = owed.backups.entry(asked.method).or_default();
        fresh.requested = true;
        fresh.tags.extend(asked.tag.clone());
    }
    owed.join_full();
    for fresh in owed.backups.values_mut() {
        fresh.slots.sort();
        fresh.tags.sort();
        fresh.tags.dedup();
    }
    owed
}

/// Whether this plan was carried out at all before `slot`: a slot from before its first time was not missed.
fn was_at_work(world: &World, view: &View, slot: jiff::Timestamp) -> bool {
    let backups = view.backups.iter().map(|copies| copies.facts);
    let mut facts = backups.chain(view.trashed.iter().map(|(_, facts)| *facts));
    facts.any(|facts| facts.started < slot) || world.runs().any(|run| run.started < slot)
}

/// What one schedule of a component owes now.
pub(crate) fn owes_now(world: &World, view: &View, schedule: &Schedule) -> Owes {
    let timing = match schedule.timing {
        Timing::Continuous if is_waiting(world, view) => &Timing::Every(TAKEN_OVER_EVERY),
        ref timing => timing,
    };
    let slots = Slots::new(timing, &world.zone);
    let is_served = |slot: &Slot, end| match schedule.method {
        Method::Check => last_look(world, view).is_some_and(|at| at >= slot.at),
        _ => has_backup(world, view, schedule, slot, end),
    };
    owes(schedule, &slots, world.at, is_served)
}

impl Owed {
    fn add(&mut self, schedule: &Schedule, slot: Slot, missed: bool) {
        if schedule.method.makes_backup() {
            let fresh = self.backups.entry(schedule.method).or_default();
            fresh.slots.push(slot);
            fresh.tags.extend(schedule.tag.clone());
            fresh.in_time |= !missed;
        } else {
            self.looks_missed = missed && (self.looks.is_empty() || self.looks_missed);
            self.looks.push(slot);
        }
    }

    /// A full backup serves what an incremental one would: nothing runs twice.
    fn join_full(&mut self) {
        if !self.backups.contains_key(&Method::Full) {
            return;
        }
        if let Some(incremental) = self.backups.remove(&Method::Incremental) {
            let full = self.backups.entry(Method::Full).or_default();
            full.slots.extend(incremental.slots);
            full.tags.extend(incremental.tags);
            full.in_time |= incremental.in_time;
            full.requested |= incremental.requested;
        }
    }
}

/// Whether WAL was handed over that no backup has yet.
fn is_waiting(world: &World, view: &View) -> bool {
    let names = || std::iter::once(&view.spec.name).chain(&view.spec.moved_from);
    let kept: Vec<WalFacts> = view
        .backups
        .iter()
        .flat_map(|copies| WalFacts::all_of(copies.facts))
        .collect();
    let is_kept = |system, name: &WalName| {
        kept.iter()
            .any(|facts| facts.system_identifier == system && facts.holds(name))
    };
    let waiting = world.inventory.destinations.values().flat_map(|h| &h.wal);
    waiting
        .filter(|waiting| names().any(|name| *name == waiting.component))
        .any(|waiting| {
            let facts = &waiting.facts;
            let ends = facts.runs.iter().flat_map(|run| [run.first, run.last]);
            let mut files = ends
                .map(WalName::Segment)
                .chain(facts.others.iter().copied());
            files.any(|name| !is_kept(facts.system_identifier, &name))
        })
}

fn has_backup(
    world: &World,
    view: &View,
    schedule: &Schedule,
    slot: &Slot,
    end: jiff::Timestamp,
) -> bool {
    let served = |facts| serves(facts, schedule, slot, end, world.at);
    let newest_first = view.backups.iter().rev().map(|copies| copies.facts);
    newest_first
        .take_while(|facts| facts.started >= slot.at)
        .any(served)
        || view.trashed.iter().any(|(_, facts)| served(facts))
}

/// When the source was last looked at: that leaves no backup, only the record of a run.
pub(crate) fn last_look(world: &World, view: &View) -> Option<jiff::Timestamp> {
    let address = view.address();
    world
        .runs()
        .filter(|run| run.started <= world.at)
        .filter(|run| {
            run.steps.iter().any(|step| {
                let looked = step.verb == LOOK_VERB && step.outcome == StepOutcome::Done;
                looked && step.address == address
            })
        })
        .map(|run| run.started)
        .max()
}

/// [`Action::verb`] of a look.
const LOOK_VERB: &str = "inspect";

/// Where a component's backups are written: the first of its destinations that can be.
pub(crate) fn home<'a>(world: &World, view: &View<'a>) -> Option<&'a DestinationName> {
    view.spec.store.iter().find(|name| world.is_writable(name))
}

/// Drafts the look at a source; it goes after what sets it.
pub(crate) fn draft_look(view: &View, owed: &Owed, set: Option<usize>, drafts: &mut Drafts) {
    let Some(time) = owed.looks.iter().map(|slot| slot.at).max() else {
        return;
    };
    let schedules = owed.looks.iter();
    let mut labels = vec![view.address()];
    labels.extend(schedules.map(|slot| view.schedule_address(&slot.schedule)));
    drafts.push(Draft {
        address: view.address(),
        action: Action::Inspect {
            component: view.spec.name.clone(),
        },
        needs: Vec::new(),
        after: set.into_iter().collect(),
        cause: match owed.looks_missed {
            true => Cause::Missed,
            false => Cause::Schedule,
        },
        because: Reason::LookDue,
        bytes: None,
        key: key(view, VERIFY, time),
        labels,
        made_by: None,
    });
}

/// The key of a step of a component.
pub(crate) fn key(view: &View, verb: u8, time: jiff::Timestamp) -> Key {
    Key {
        group: view.index + 1,
        verb,
        time,
        backup: None,
        detail: 0,
        destination: 0,
    }
}

/// A backup that this plan makes.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    /// How.
    pub method: Method,
    /// What for.
    pub fresh: &'a Fresh,
    /// Its draft.
    pub draft: usize,
    /// Where it is written first.
    pub home: &'a DestinationName,
    /// Every destination that it reaches, the first included, with the draft that brings it there.
    pub reaches: Vec<(&'a DestinationName, usize)>,
    /// The tiers it will be.
    pub tiers: Vec<Tier>,
}

impl Made<'_> {
    /// The instant that it stands for in lists.
    pub(crate) fn time(&self, world: &World) -> jiff::Timestamp {
        let slots = self.fresh.slots.iter().map(|slot| slot.at);
        slots.max().unwrap_or(world.at)
    }
    /// What set it off.
    pub(crate) fn cause(&self) -> Cause {
        cause(self.fresh)
    }
    /// What it and all that follows from it can be named by, but for destinations.
    pub(crate) fn labels(&self, view: &View) -> Vec<Address> {
        labels(view, self.fresh)
    }
}

fn cause(fresh: &Fresh) -> Cause {
    match (fresh.requested, fresh.in_time) {
        (true, _) => Cause::Request,
        (false, true) => Cause::Schedule,
        (false, false) => Cause::Missed,
    }
}

fn labels(view: &View, fresh: &Fresh) -> Vec<Address> {
    let schedules = fresh.slots.iter();
    std::iter::once(view.address())
        .chain(schedules.map(|slot| view.schedule_address(&slot.schedule)))
        .collect()
}

/// Drafts one backup and its copies. `ready` tells the draft that makes a destination's repository.
pub(crate) fn draft_backup<'a>(
    world: &World,
    view: &View<'a>,
    (method, fresh, tiers): (Method, &'a Fresh, Vec<Tier>),
    home: &'a DestinationName,
    ready: &BTreeMap<DestinationName, usize>,
    drafts: &mut Drafts,
) -> Made<'a> {
    let bytes = estimate(world, view, method);
    let because = match fresh.slots.is_empty() {
        true => Reason::Requested,
        false => Reason::Due {
            slots: fresh.slots.clone(),
            tiers: tiers.clone(),
        },
    };
    let mut made = Made {
        method,
        fresh,
        draft: 0,
        home,
        reaches: Vec::new(),
        tiers,
    };
    let time = made.time(world);
    let of_method = |verb, destination| Key {
        detail: method as usize,
        destination: world.order(destination),
        ..key(view, verb, time)
    };
    let with = |destination| {
        let mut all = labels(view, fresh);
        all.push(Address::destination(destination));
        all
    };
    made.draft = drafts.push(Draft {
        address: view.address(),
        action: Action::BackUp {
            component: view.spec.name.clone(),
            method,
            destination: home.clone(),
            slots: fresh.slots.clone(),
            tags: fresh.tags.clone(),
            parent: parent(world, view, method, home),
        },
        needs: ready.get(home).copied().into_iter().collect(),
        after: Vec::new(),
        cause: cause(fresh),
        because,
        bytes,
        key: of_method(BACK_UP, home),
        labels: with(home),
        made_by: None,
    });
    made.reaches.push((home, made.draft));
    let others = view.spec.store.iter().filter(|name| *name != home);
    for to in others.filter(|name| world.is_writable(name)) {
        let copy = drafts.push(Draft {
            address: view.address(),
            action: Action::Copy {
                component: view.spec.name.clone(),
                backup: made_by(made.draft),
                from: home.clone(),
                to: to.clone(),
            },
            needs: ready
                .get(to)
                .copied()
                .into_iter()
                .chain([made.draft])
                .collect(),
            after: Vec::new(),
            cause: cause(fresh),
            because: Reason::NewCopy,
            bytes,
            key: of_method(COPY, to),
            labels: with(to),
            made_by: Some(made.draft),
        });
        made.reaches.push((to, copy));
    }
    made
}

/// Unchanged files and objects are taken from the newest backup at the same destination; other methods read all.
fn parent(world: &World, view: &View, method: Method, home: &DestinationName) -> Option<BackupId> {
    let parents: &[Method] = match method {
        Method::Incremental => &[Method::Incremental, Method::Full],
        Method::Mirror => &[Method::Mirror],
        _ => &[],
    };
    view.good(world.at)
        .filter(|copies| parents.contains(&copies.facts.method))
        .find(|copies| copies.copy_at(home).is_some())
        .map(|copies| copies.facts.id)
}

/// What the newest backup of the same method took.
fn estimate(world: &World, view: &View, method: Method) -> Option<u64> {
    view.good(world.at)
        .find(|copies| copies.facts.method == method)
        .map(|copies| copies.facts.stats.stored_bytes)
}
