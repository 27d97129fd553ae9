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
//! tells every call; `CCB_SEEDS=first..end` runs those, `CCB_TURNS=n` makes them longer, `CCB_BROKEN=WaitsForNobody`
//! breaks that rule in them.

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
mod many;
mod panics;
mod pool;
mod site;
mod trace;
mod turmoil;
mod turns;
mod weather;
mod world;

use crate::repository::simulation::alone::{Prints, beside, do_alone, job, processors};
use crate::repository::simulation::broken::Broken;
use crate::repository::simulation::calm::{Calm, own_number};
use crate::repository::simulation::many::run_all;
use crate::repository::simulation::weather::Schedule;
use crate::repository::simulation::world::World;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::process::Output;
use std::sync::atomic::Ordering::Relaxed;

/// Schedules in the normal run.
const SCHEDULES: u64 = 200;
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
#[derive(Default, Serialize, Deserialize)]
struct Outcome {
    broken: Option<String>,
    counts: BTreeMap<String, u64>,
    trace: String,
}

impl Outcome {
    /// Before an outcome, where a process tells one to another.
    const MARK: &str = "outcome: ";
}

fn run(schedule: Schedule, is_told: bool) -> Outcome {
    panics::watch();
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
        let broken = world.run().await.err().or_else(panics::seen);
        drop(stop);
        let _ = clock.await;
        Outcome {
            broken,
            counts: {
                let counts = world.ledger.counts.lock().unwrap();
                counts
                    .iter()
                    .map(|(what, count)| ((*what).to_owned(), *count))
                    .collect()
            },
            trace: world.trace.digest(),
        }
    });
    drop(local);
    outcome
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn range(text: &str) -> Option<Range<u64>> {
    let (first, end) = text.split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

/// The seeds that were asked for.
fn asked() -> Option<Range<u64>> {
    if let Some(seed) = number("CCB_SEED") {
        return Some(seed..seed + 1);
    }
    if let Some(schedules) = number("CCB_SCHEDULES") {
        return Some(0..schedules);
    }
    range(&std::env::var("CCB_SEEDS").ok()?)
}

/// The rule that was asked for to be broken.
fn asked_broken() -> Broken {
    let Ok(name) = std::env::var("CCB_BROKEN") else {
        return Broken::Nothing;
    };
    let found_out = RULES.iter().map(|(broken, _)| *broken);
    let mut rules = found_out.chain(NOT_FOUND_OUT);
    let named = rules.find(|broken| format!("{broken:?}") == name);
    named.unwrap_or_else(|| panic!("no rule is called {name}"))
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
    const NAME: &str = "every_schedule_leaves_what_was_promised";
    if let Some(seeds) = job() {
        let seeds = range(&seeds).unwrap();
        let is_told = number("CCB_SEED").is_some();
        for seed in seeds {
            let outcome = run(schedule(seed, asked_broken()), is_told);
            if is_told {
                assert_eq!(outcome.broken, None);
            }
            let outcome = serde_json::to_string(&outcome).unwrap();
            println!("{}{outcome}", Outcome::MARK);
        }
        return;
    }
    if let Some(seed) = number("CCB_SEED") {
        let seeds = format!("{seed}..{}", seed + 1);
        let told = do_alone(NAME, &seeds, processors()[0], Prints::AtOnce);
        assert!(told.status.success(), "see above");
        return;
    }
    let sum = run_all(NAME, asked().unwrap_or(0..SCHEDULES), asked().is_some());
    assert!(sum.violations.is_empty(), "{}", sum.violations.join("\n"));
    let counts = sum.counts;
    assert!(
        sum.done < SCHEDULES || SEEN.iter().all(|what| counts.get(*what) > Some(&0)),
        "{counts:?}"
    );
}

#[test]
fn a_seed_replays_call_by_call() {
    if job().is_some() {
        for seed in 0..REPLAYS {
            let trace = || run(schedule(seed, Broken::Nothing), false).trace;
            assert_eq!(trace(), trace(), "seed {seed}");
        }
        return;
    }
    let name = "a_seed_replays_call_by_call";
    succeeds(&do_alone(name, "", processors()[0], Prints::ToBeRead));
}

#[test]
fn every_broken_rule_is_found_out() {
    if let Some(rule) = job() {
        let (broken, known) = RULES[rule.parse::<usize>().unwrap()];
        // Where it was found out before, and then wherever else it may be.
        let mut seeds = [known].into_iter().chain(0..WITHIN);
        let found = seeds.find_map(|seed| {
            let what = run(schedule(seed, broken), false).broken?;
            Some((seed, what))
        });
        let (seed, what) = found.unwrap_or_else(|| panic!("{broken:?} is not found out"));
        println!("{broken:?}: seed {seed}: {what}");
        return;
    }
    beside(0..RULES.len(), |rule, processor| {
        let name = "every_broken_rule_is_found_out";
        succeeds(&do_alone(
            name,
            &rule.to_string(),
            processor,
            Prints::ToBeRead,
        ));
    });
}

fn succeeds(output: &Output) {
    let (said, failed) = (&output.stdout, &output.stderr);
    println!(
        "{}{}",
        String::from_utf8_lossy(said),
        String::from_utf8_lossy(failed)
    );
    assert!(output.status.success(), "see above");
}

/// Within so many schedules each broken rule is found out.
const WITHIN: u64 = 60;
/// So many schedules are run twice.
const REPLAYS: u64 = 6;

/// The rules, each broken, and a seed that finds it out.
const RULES: [(Broken, u64); 19] = [
    (Broken::CreatesOver, 7),
    (Broken::ManifestBeforePacks, 1),
    (Broken::ManifestBeforeIndex, 1),
    (Broken::CommitsAfterItsEnd, 7),
    (Broken::TakenForOwn, 0),
    (Broken::RefersToCondemned, 11),
    (Broken::GapInLog, 124),
    (Broken::LeasesAfterReading, 28),
    (Broken::NamesComeTwice, 88),
    (Broken::SeesNoLeases, 4),
    (Broken::EndsAfterBackups, 228),
    (Broken::WaitsForNobody, 0),
    (Broken::EndsNobody, 7),
    (Broken::RemovesWhatIsNeeded, 48),
    (Broken::CondemnsAndRemoves, 0),
    (Broken::OwnClock, 16),
    (Broken::TrashWithoutPeriod, 8),
    (Broken::LocksOver, 155),
    (Broken::LocksNotEnded, 10),
];

/// Rules that nothing was lost without in 40 schedules each: see `broken/mod.rs` for what stands behind them.
const NOT_FOUND_OUT: [Broken; 18] = [
    Broken::IndexBeforePacks,
    Broken::StartAfterLog,
    Broken::PinsAfterLooking,
    Broken::ParentNotLookedFor,
    Broken::ParentMayBeForgotten,
    Broken::TrashNotLookedFor,
    Broken::SilentOnesGoOn,
    Broken::SeesNoPins,
    Broken::SeesNoPinsOfEnded,
    Broken::LeasesGoAtOnce,
    Broken::LeasesBeforeBackups,
    Broken::EndsForAWhile,
    Broken::SurveysBeforeAsking,
    Broken::CountsOnCondemned,
    Broken::CondemnsUnread,
    Broken::RecordsGoFirst,
    Broken::NewestRecordGoes,
    Broken::NoGrace,
];
