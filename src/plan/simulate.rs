//! Runs the planner over the days to come: an apply at every slot and every midnight, each step of which
//! succeeds. What is kept is the planner's own answer; the space that takes is told from what backups took so
//! far. Pure.

mod future;
mod space;

use crate::model::ids::{BackupId, ComponentName, DestinationName};
use crate::model::inventory::{Coverage, Holding, Inventory};
use crate::model::strategy::Strategy;
use crate::model::units::AsOf;
use crate::plan::document::{Action, Step};
use crate::plan::due::Slots;
use crate::plan::graph::Cycle;
use crate::plan::simulate::future::Future;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What is kept over time, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Simulation {
    /// The instant it starts from.
    pub at: AsOf,
    /// How things stand at the end of each day.
    pub days: Vec<SimulatedDay>,
    /// Each component at each destination.
    pub space: Vec<Space>,
    /// Components of which no backup says how large one is: they are counted with no bytes.
    pub unknown_size: Vec<ComponentName>,
    /// Components with one backup so far: of each further one, this share is taken to be new.
    pub assumed_change_percent: BTreeMap<ComponentName, u8>,
    /// Destinations that could not be seen, so that what they hold is not counted.
    pub unseen: Vec<DestinationName>,
}

/// What one simulated day ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SimulatedDay {
    /// The day, in the plan's timezone.
    #[schemars(with = "String")]
    pub day: Date,
    /// Backups that are kept, each counted once however many copies there are.
    pub backups: u64,
    /// Bytes that they take at all destinations, the trash included, as far as earlier backups tell.
    pub stored_bytes: u64,
    /// Backups made on that day.
    pub made: u64,
    /// Backups forgotten on that day.
    pub forgotten: u64,
}

/// One component at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Space {
    /// What.
    pub component: ComponentName,
    /// Where.
    pub destination: DestinationName,
    /// Before the first day.
    pub now: Amount,
    /// The most there is at the end of any day.
    pub peak: Amount,
    /// The first day of which that is true.
    #[schemars(with = "Option<String>")]
    pub peak_day: Option<Date>,
    /// After the last day.
    pub end: Amount,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, JsonSchema)]
pub struct Amount {
    /// Bytes, the trash included.
    pub stored_bytes: u64,
    /// Backups, without those in the trash.
    pub backups: u64,
}

/// Simulates `days` days from `at` on. Fails only where planning would.
pub fn simulate(
    strategy: &Strategy,
    inventory: &Inventory,
    at: AsOf,
    days: u32,
) -> Result<Simulation, Cycle> {
    let zone = strategy.zone();
    let (inventory, unseen) = reachable(strategy, inventory);
    let mut future = Future::new(strategy, inventory);
    let slots = all_slots(strategy, &zone);
    let mut tally = Tally::new(&future);
    let today = zone.to_datetime(at.0).date();
    let mut now = at.0;
    for offset in 0..days {
        let Ok(day) = today.checked_add(i64::from(offset).days()) else {
            break;
        };
        let end = end_of(day, &zone);
        let mut done = DayCount::default();
        while now < end {
            done.count(&future.run(now)?);
            let next = slots.iter().filter_map(|slots| slots.after(now)).min();
            now = next.map_or(end, |next| next.min(end));
        }
        tally.note(day, &done, &future);
    }
    Ok(Simulation {
        at,
        days: tally.days,
        space: tally.space,
        unknown_size: future.estimates().unknown(),
        assumed_change_percent: future.estimates().assumed(),
        unseen,
    })
}

/// What is not seen completely is taken to hold what was seen of it, and is told.
fn reachable(strategy: &Strategy, inventory: &Inventory) -> (Inventory, Vec<DestinationName>) {
    let mut seen = inventory.clone();
    let mut unseen = Vec::new();
    for destination in &strategy.destinations {
        let holding = seen.destinations.entry(destination.name.clone());
        let holding = holding.or_insert_with(|| Holding::unreachable(String::new()));
        if !holding.coverage.is_complete() {
            unseen.push(destination.name.clone());
            holding.coverage = Coverage::Complete;
        }
    }
    (seen, unseen)
}

fn all_slots(strategy: &Strategy, zone: &TimeZone) -> Vec<Slots> {
    let components = strategy.components.iter().filter(|c| c.enabled);
    let schedules = components.flat_map(|c| c.schedules.iter().filter(|s| s.enabled));
    schedules
        .map(|schedule| Slots::new(&schedule.timing, zone))
        .collect()
}

/// The first instant after `day`.
fn end_of(day: Date, zone: &TimeZone) -> Timestamp {
    let tomorrow = day.tomorrow().map(|day| day.to_datetime(Time::midnight()));
    let end = tomorrow.and_then(|midnight| zone.to_ambiguous_timestamp(midnight).compatible());
    end.unwrap_or(Timestamp::MAX)
}

/// What the applies of a day did.
#[derive(Default)]
struct DayCount {
    made: u64,
    forgotten: BTreeSet<BackupId>,
}

impl DayCount {
    fn count(&mut self, steps: &[Step]) {
        for step in steps {
            match &step.action {
                Action::BackUp { .. } => self.made += 1,
                Action::Forget { backup, .. } => {
                    self.forgotten.insert(*backup);
                }
                _ => {}
            }
        }
    }
}

/// The days that have passed, and the most there was.
struct Tally {
    days: Vec<SimulatedDay>,
    space: Vec<Space>,
}

impl Tally {
    fn new(future: &Future) -> Self {
        let amounts = future.amounts();
        let space = future.pairs().iter().zip(amounts);
        Self {
            days: Vec::new(),
            space: space
                .map(|((component, destination), now)| Space {
                    component: component.name.clone(),
                    destination: (*destination).clone(),
                    now,
                    peak: Amount::default(),
                    peak_day: None,
                    end: now,
                })
                .collect(),
        }
    }

    fn note(&mut self, day: Date, done: &DayCount, future: &Future) {
        let amounts = future.amounts();
        self.days.push(SimulatedDay {
            day,
            backups: future.backups(),
            stored_bytes: amounts.iter().map(|amount| amount.stored_bytes).sum(),
            made: done.made,
            forgotten: done.forgotten.len() as u64,
        });
        for (space, amount) in self.space.iter_mut().zip(amounts) {
            space.end = amount;
            if amount > space.peak {
                space.peak = amount;
                space.peak_day = Some(day);
            }
        }
    }
}
