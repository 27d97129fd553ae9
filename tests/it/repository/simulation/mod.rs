//! The protocol under every order of events: backups of files and of streams, forgetting and bringing back, copies
//! in both directions, prunes and restores, all as the program does them, over two stores in memory. A seed
//! decides whose call is next and what becomes of it: it fails, its answer is lost, it arrives late or
//! twice, a listing misses what is written meanwhile; hosts are killed, cut off, asleep, slow, and their clocks are
//! wrong. Whenever one gets done, what was reported as made and not forgotten is there byte for byte; in the end
//! every host gets done, and prunes leave nothing over.
//!
//! A seed replays call by call: one thread decides, and only when nothing else moves (`calm.rs`); the calls that a
//! host makes at the same time are ordered by what they are, not by when they came; time stands still between
//! decisions; whatever is random is of the seed.
//!
//! `CCB_SCHEDULES=100000 tests/run simulation` runs as many schedules, as at night; `CCB_SEED=n` replays one and
//! tells every call; `CCB_SEEDS=first..end` runs those, `CCB_TURNS=n` makes them longer.

#![allow(
    clippy::print_stdout,
    reason = "a schedule that is replayed tells what happens"
)]

mod alone;
mod broken;
mod calls;
mod calm;
mod dice;
mod hosts;
mod ledger;
mod pool;
mod site;
mod trace;
mod turmoil;
mod turns;
mod weather;
mod world;

use crate::repository::simulation::alone::is_alone;
use crate::repository::simulation::broken::Broken;
use crate::repository::simulation::calm::{Calm, own_number};
use crate::repository::simulation::weather::Schedule;
use crate::repository::simulation::world::World;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

/// Schedules in the normal run.
const SCHEDULES: u64 = 40;
const TURNS: u32 = 300;
/// Where a rule is broken, it takes longer until it does harm.
const TURNS_BROKEN: u32 = 900;

/// What many schedules must have seen together, so that ones in which nothing happens are not taken for
/// good ones.
const SEEN: [&str; 13] = [
    "backed up",
    "streamed",
    "deltas stored",
    "deltas copied",
    "locked",
    "forgotten",
    "brought back",
    "copied",
    "pruned",
    "packs removed",
    "packs repacked",
    "restored",
    "killed",
];

/// What came of a schedule.
struct Outcome {
    broken: Option<String>,
    counts: BTreeMap<&'static str, u64>,
    trace: String,
}

fn run(schedule: Schedule, is_told: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    // While a thread of the runtime is busy its clock does not move by itself.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let local = tokio::task::LocalSet::new();
    let outcome = local.block_on(&runtime, async {
        let (tell, number) = tokio::sync::oneshot::channel();
        let clock = tokio::task::spawn_blocking(move || {
            let _ = tell.send(own_number());
            stopped.recv()
        });
        let calm = Calm::new(number.await.unwrap());
        let mut world = World::new(schedule, calm).await;
        world.trace.is_told.store(is_told, Relaxed);
        let broken = world.run().await.err();
        drop(stop);
        let _ = clock.await;
        Outcome {
            broken,
            counts: world.ledger.counts.lock().unwrap().clone(),
            trace: world.trace.digest(),
        }
    });
    drop(local);
    outcome
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seeds that were asked for.
fn asked() -> Option<Range<u64>> {
    if let Some(seed) = number("CCB_SEED") {
        return Some(seed..seed + 1);
    }
    if let Some(schedules) = number("CCB_SCHEDULES") {
        return Some(0..schedules);
    }
    let range = std::env::var("CCB_SEEDS").ok()?;
    let (first, end) = range.split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

fn schedule(seed: u64, broken: Broken) -> Schedule {
    let usual = match broken {
        Broken::Nothing => TURNS,
        _ => TURNS_BROKEN,
    };
    let turns = number("CCB_TURNS").map_or(usual, |turns| turns as u32);
    Schedule {
        seed,
        broken,
        turns,
    }
}

#[test]
fn every_schedule_leaves_what_was_promised() {
    let is_told = asked().is_some();
    if !is_alone("every_schedule_leaves_what_was_promised", is_told) {
        return;
    }
    let seeds = asked().unwrap_or(0..SCHEDULES);
    let many = seeds.end - seeds.start;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (seed, done) in seeds.zip(1..) {
        let outcome = run(schedule(seed, Broken::Nothing), many == 1);
        if let Some(what) = outcome.broken {
            panic!("seed {seed}: {what}; replay with CCB_SEED={seed} tests/run simulation");
        }
        for (what, count) in outcome.counts {
            *counts.entry(what).or_default() += count;
        }
        if done == many || (is_told && done % 1000 == 0) {
            println!("{done} schedules, the last of seed {seed}: {counts:?}");
        }
    }
    assert!(
        many < SCHEDULES || SEEN.iter().all(|what| counts.get(what) > Some(&0)),
        "{counts:?}"
    );
}

#[test]
fn a_seed_replays_call_by_call() {
    if !is_alone("a_seed_replays_call_by_call", false) {
        return;
    }
    for seed in 0..REPLAYS {
        let trace = || run(schedule(seed, Broken::Nothing), false).trace;
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}

#[test]
fn every_broken_rule_is_found_out() {
    if !is_alone("every_broken_rule_is_found_out", false) {
        return;
    }
    for (broken, known) in RULES {
        // Where it was found out before, and then wherever else it may be.
        let mut seeds = [known].into_iter().chain(0..WITHIN);
        let found = seeds.find_map(|seed| {
            let what = run(schedule(seed, broken), false).broken?;
            Some((seed, what))
        });
        let (seed, what) = found.unwrap_or_else(|| panic!("{broken:?} is not found out"));
        println!("{broken:?}: seed {seed}: {what}");
    }
}

/// Within so many schedules each broken rule is found out.
const WITHIN: u64 = 60;
/// So many schedules are run twice.
const REPLAYS: u64 = 6;

/// The rules, each broken, and a seed that finds it out.
const RULES: [(Broken, u64); 10] = [
    (Broken::CreatesOver, 23),
    (Broken::ManifestBeforePacks, 2),
    (Broken::ManifestBeforeIndex, 2),
    (Broken::CommitsAfterItsEnd, 23),
    (Broken::RefersToCondemned, 3),
    (Broken::LeasesAfterReading, 20),
    (Broken::SeesNoLeases, 11),
    (Broken::WaitsForNobody, 3),
    (Broken::RemovesWhatIsNeeded, 6),
    (Broken::CondemnsAndRemoves, 0),
];
