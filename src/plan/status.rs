//! Says how things stand against the plan file: how old the newest good backup of each schedule is, which
//! copies are missing, what was proved last, what keeps failing, and what is due. Pure; decides nothing.

use crate::model::bucket::{BucketSeen, Wanted};
use crate::model::ids::{BackupId, ComponentName, DestinationName, ScheduleName};
use crate::model::inventory::Inventory;
use crate::model::records::{Check, Evidence};
use crate::model::strategy::{Method, Schedule, Strategy};
use crate::model::units::{AsOf, Period};
use crate::plan::backups::owes_now;
use crate::plan::bucket::{found, seen};
use crate::plan::check::lacks;
use crate::plan::document::{Action, Plan, Reason, Summary};
use crate::plan::due::{Owes, Slots};
use crate::plan::failures::Streak;
use crate::plan::world::{Copies, View, World};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A restore test may be this much later than it is due: an apply a day makes it in time.
const TEST_GRACE: Period = Period::days(1);

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Status {
    /// Name of the plan.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// The instant it is told for.
    pub at: AsOf,
    /// Whether nothing needs attention and everything was seen.
    pub ok: bool,
    /// When the newest recorded run ended.
    pub last_apply: Option<Timestamp>,
    /// Schedules of enabled components, in the order of the file.
    pub schedules: Vec<ScheduleStatus>,
    /// Enabled components, in the order of the file.
    pub components: Vec<ComponentStatus>,
    /// Destinations that were not seen completely.
    pub unseen: BTreeMap<DestinationName, Unseen>,
    /// What an apply would do now.
    pub due: Summary,
}

/// How one schedule stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ScheduleStatus {
    /// What of.
    pub component: ComponentName,
    /// Which.
    pub schedule: ScheduleName,
    /// In a word.
    pub state: ScheduleState,
    /// The newest good backup that serves it.
    pub newest: Option<BackupId>,
    /// When that was taken; of a schedule that only looks, when it looked.
    pub taken: Option<Timestamp>,
    /// How old that is, in seconds.
    pub age_seconds: Option<u64>,
    /// Its newest slot.
    pub slot: Option<Timestamp>,
    /// Its next slot.
    pub next: Option<Timestamp>,
}

/// How a schedule stands, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleState {
    /// Its newest slot has its backup.
    Ok,
    /// Its newest slot has none yet, and there is still time.
    Due,
    /// The newest good backup is older than the newest slot whose window has passed.
    Late,
    /// There is no good backup for it.
    Missing,
    /// It owes nothing by itself: on demand, continuous, or disabled.
    OnDemand,
}

/// How one component stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ComponentStatus {
    /// Which.
    pub component: ComponentName,
    /// How many backups it has.
    pub backups: u64,
    /// Bytes of content of the newest one.
    pub newest_bytes: Option<u64>,
    /// Bytes that the newest one added to the store where it was made.
    pub newest_stored_bytes: Option<u64>,
    /// What needs attention, a few words each; empty: nothing.
    pub attention: Vec<String>,
    /// Copies that are missing, by destination.
    pub copies_missing: BTreeMap<DestinationName, u64>,
    /// The newest check of any of its backups.
    pub last_check: Option<Proof>,
    /// The newest restore test of any of its backups.
    pub restore_test: Option<Proof>,
    /// How often the plan file asks for one.
    pub restore_test_every: Option<Period>,
    /// The newest results of checks that found fault, of backups that are still there.
    pub failed_checks: Vec<Proof>,
    /// How many runs in a row failed to back it up, up to the newest.
    pub failures_in_a_row: u64,
    /// What the newest of those failures said.
    pub last_error: Option<String>,
}

/// What came out of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Proof {
    /// Which check.
    pub check: Check,
    /// Of which backup.
    pub backup: BackupId,
    /// At which destination.
    pub destination: DestinationName,
    /// When.
    pub at: Timestamp,
    /// Whether it passed.
    pub passed: bool,
    /// In words.
    pub message: String,
}

/// A destination that was not seen completely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unseen {
    /// Why.
    pub why: String,
    /// Whether the plan file says that it may be away.
    pub optional: bool,
}

impl Status {
    /// Whether a check found fault with a backup that is still there.
    pub fn is_damaged(&self) -> bool {
        let mut components = self.components.iter();
        components.any(|component| !component.failed_checks.is_empty())
    }
    /// Whether a destination that must be there was not seen completely.
    pub fn is_blind(&self) -> bool {
        self.unseen.values().any(|unseen| !unseen.optional)
    }
    /// How many rows need attention.
    pub fn attention(&self) -> usize {
        let late = |s: &&ScheduleStatus| s.state.is_late();
        self.schedules.iter().filter(late).count()
            + self
                .components
                .iter()
                .filter(|c| !c.attention.is_empty())
                .count()
    }
}

impl ScheduleState {
    /// The word that people read.
    pub fn as_str(self) -> &'static str {
        ["ok", "due", "late", "missing", "on demand"][self as usize]
    }
    /// Whether somebody should look.
    pub fn is_late(self) -> bool {
        matches!(self, Self::Late | Self::Missing)
    }
}

/// Tells how things stand; `plan` is what was planned of the same values.
pub fn status(strategy: &Strategy, inventory: &Inventory, plan: &Plan) -> Status {
    let world = World::new(strategy, inventory, plan.at.0);
    let views = || world.views.iter();
    let schedules = views().flat_map(|view| {
        let each = view.spec.schedules.iter();
        each.map(|schedule| schedule_status(&world, view, schedule))
    });
    let schedules: Vec<ScheduleStatus> = schedules.collect();
    let components: Vec<ComponentStatus> = views()
        .map(|view| component_status(&world, view, plan))
        .collect();
    let unseen = plan.unseen.iter().map(|(name, why)| {
        let optional = strategy.destination(name).is_some_and(|d| d.optional);
        let why = why.clone();
        (name.clone(), Unseen { why, optional })
    });
    let mut status = Status {
        name: plan.name.clone(),
        environment: plan.environment.clone(),
        at: plan.at,
        ok: false,
        last_apply: plan.last_apply,
        schedules,
        components,
        unseen: unseen.collect(),
        due: plan.summary,
    };
    status.ok = status.attention() == 0 && !status.is_blind();
    status
}

fn schedule_status(world: &World, view: &View, schedule: &Schedule) -> ScheduleStatus {
    let slots = Slots::new(&schedule.timing, &world.zone);
    let newest = view
        .good(world.at)
        .find(|copies| copies.facts.method.satisfies(schedule.method));
    let newest = newest.map(|copies| (copies.facts.id, copies.facts.started));
    let taken = match schedule.method {
        Method::Check => crate::plan::backups::last_look(world, view),
        _ => newest.map(|(_, started)| started),
    };
    let slot = slots.at_or_before(world.at);
    // The newest slot whose window has passed: with short intervals there are newer ones by then.
    let owed = slots.at_or_before(schedule.window.before(world.at));
    let state = match (owes_now(world, view, schedule), taken) {
        _ if slot.is_none() || !schedule.enabled => ScheduleState::OnDemand,
        (_, None) => ScheduleState::Missing,
        (_, Some(taken)) if owed.is_some_and(|owed| taken < owed) => ScheduleState::Late,
        (Owes::Due { .. }, _) => ScheduleState::Due,
        (Owes::Nothing { .. }, _) => ScheduleState::Ok,
    };
    ScheduleStatus {
        component: view.spec.name.clone(),
        schedule: schedule.name.clone(),
        state,
        newest: newest.map(|(id, _)| id),
        taken,
        age_seconds: taken.map(|taken| seconds_since(taken, world.at)),
        slot,
        next: slots.after(world.at).filter(|_| schedule.enabled),
    }
}

fn component_status(world: &World, view: &View, plan: &Plan) -> ComponentStatus {
    let proofs = proofs(view);
    let newest = |wanted: fn(Check) -> bool| {
        let of = proofs.iter().filter(|proof| wanted(proof.check));
        of.max_by_key(|proof| proof.at).cloned()
    };
    let streak = Streak::of(world.strategy, world.inventory, view.spec);
    let backups = view.backups.iter().map(|copies| copies.facts);
    let stats = backups.max_by_key(|facts| facts.started);
    let stats = stats.map(|facts| &facts.stats);
    let mut status = ComponentStatus {
        component: view.spec.name.clone(),
        backups: view.backups.len() as u64,
        newest_bytes: stats.map(|stats| stats.bytes),
        newest_stored_bytes: stats.map(|stats| stats.stored_bytes),
        attention: Vec::new(),
        copies_missing: copies_missing(view, plan),
        last_check: newest(|_| true),
        restore_test: newest(|check| check == Check::RestoreTest),
        restore_test_every: view.spec.verify.restore_test.as_ref().map(|t| t.every),
        failed_checks: proofs
            .iter()
            .filter(|proof| !proof.passed)
            .cloned()
            .collect(),
        failures_in_a_row: streak.failures,
        last_error: streak.last_error,
    };
    status.attention = attention(world, view, &status);
    status
}

/// The newest result of each check of each copy.
fn proofs(view: &View) -> Vec<Proof> {
    let of = |copies: &Copies| {
        let mut newest: BTreeMap<(Check, &DestinationName), &Evidence> = BTreeMap::new();
        for evidence in copies.evidence() {
            let key = (evidence.check, &evidence.destination);
            let last = newest.entry(key).or_insert(evidence);
            if evidence.at >= last.at {
                *last = evidence;
            }
        }
        let backup = copies.facts.id;
        let proof = move |evidence: &Evidence| Proof {
            check: evidence.check,
            backup,
            destination: evidence.destination.clone(),
            at: evidence.at,
            passed: evidence.passed,
            message: evidence.message.clone(),
        };
        newest.into_values().map(proof).collect::<Vec<_>>()
    };
    view.backups.iter().flat_map(of).collect()
}

fn copies_missing(view: &View, plan: &Plan) -> BTreeMap<DestinationName, u64> {
    let mut missing = BTreeMap::new();
    for step in &plan.steps {
        if let (Action::Copy { component, to, .. }, Reason::CopyMissing { .. }) =
            (&step.action, &step.because)
            && *component == view.spec.name
        {
            *missing.entry(to.clone()).or_default() += 1;
        }
    }
    missing
}

fn attention(world: &World, view: &View, status: &ComponentStatus) -> Vec<String> {
    let mut words = Vec::new();
    for (destination, count) in &status.copies_missing {
        let noun = if *count == 1 { "copy is" } else { "copies are" };
        words.push(format!("{count} {noun} missing at {destination}"));
    }
    for proof in &status.failed_checks {
        let (check, backup, at) = (proof.check, proof.backup.short(), &proof.destination);
        let check = check.as_str();
        words.push(format!(
            "{check} of {backup} at {at} failed: {}",
            proof.message
        ));
    }
    if let (Some(every), Some(first)) = (status.restore_test_every, view.backups.first()) {
        let passed = status.restore_test.as_ref().filter(|test| test.passed);
        let since = passed.map_or(first.facts.started, |test| test.at);
        if TEST_GRACE.after(every.after(since)) < world.at {
            let days = seconds_since(since, world.at) / 86_400;
            words.push(match passed {
                Some(_) => {
                    format!("last restored as a test {days} days ago, asked for every {every}")
                }
                None => format!("never restored as a test in {days} days"),
            });
        }
    }
    words.extend(bucket(view, world));
    for lack in lacks(view.spec, world.inventory) {
        words.push(format!("its WAL {}", lack.words));
    }
    match status.failures_in_a_row {
        0 => {}
        1 => words.push("the last run failed to back it up".to_owned()),
        n => words.push(format!("the last {n} runs failed to back it up")),
    }
    words
}

/// What is to be said of a component's bucket.
fn bucket(view: &View, world: &World) -> Vec<String> {
    let mut words = Vec::new();
    if let Some((_, BucketSeen::Unreachable { why })) = seen(view.spec, world.inventory) {
        words.push(format!("its bucket could not be looked at: {why}"));
    }
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    for difference in found(view.spec, world.inventory) {
        let what = difference.path.last().copied().unwrap_or_default();
        words.push(match &difference.wanted {
            Wanted::Unknown { why } => format!("{what} of its bucket is not known: {why}"),
            _ => {
                let (before, after) = (word(&difference.before), word(&difference.after));
                format!("{what} of its bucket: {before} -> {after}")
            }
        });
    }
    let looks = Streak::of_verb("inspect", world.strategy, world.inventory, view.spec);
    if let Some(error) = looks.last_error {
        words.push(format!("the last look at it failed: {error}"));
    }
    words
}

fn seconds_since(then: Timestamp, at: Timestamp) -> u64 {
    u64::try_from(at.duration_since(then).as_secs()).unwrap_or(0)
}
