//! Power cuts, for real: on a disk that loses all that was not flushed, at a moment that a seed decides: right after a
//! run has said that it is done, or when it comes to one of its calls. What was reported as made comes back byte for
//! byte, nothing is damaged, and the next runs complete what is missing.
//! For longer: `CCB_ROUNDS=300 tests/run cli::faults::power`; `CCB_SEED=n` begins elsewhere, or replays.

use crate::cli::faults::machine::{APPLY, BACKUP, FULL, Machine};
use crate::support::disk::{Disk, FileSystem, with_own_mounts};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

/// In the normal run.
const ROUNDS: u64 = 12;
/// How often one machine loses its power.
const CUTS: u64 = 6;

const PRUNE: &[&str] = &["prune", "plan.kdl"];
/// The calls by which something becomes durable, gets a name or loses it, and how often a run may come to them in one
/// of its threads.
const CALLS: [(&str, u64); 6] = [
    ("fsync", 4),
    ("renameat2", 4),
    ("?rename,?renameat", 2),
    ("?mkdir,mkdirat", 3),
    ("?unlink,unlinkat", 2),
    ("write", 10),
];
/// A seed that makes a machine with ext4.
const EXT4: u64 = 2;
const STRACE: [&str; 5] = ["strace", "-f", "-qq", "-o", "/dev/null"];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_was_reported_survives_power_cuts_at_any_moment() {
    with_own_mounts(
        "cli::faults::power::what_was_reported_survives_power_cuts_at_any_moment",
        || {
            let first = number("CCB_SEED").unwrap_or(1);
            let machines = number("CCB_ROUNDS").unwrap_or(ROUNDS).div_ceil(CUTS);
            for seed in first..first + machines {
                lives_through_cuts(seed);
            }
        },
    );
}

fn lives_through_cuts(seed: u64) {
    let mut machine = Machine::new(seed);
    machine.disk.cut();
    let none = Vec::<String>::new();
    assert_eq!(machine.losses(), none, "seed {seed}: after the first apply");
    for cut in 1..=CUTS {
        let when = format!("seed {seed}, cut {cut}: {}", round(&mut machine));
        assert_eq!(machine.losses(), none, "{when}");
        if cut == CUTS || machine.dice.below(2) == 0 {
            assert_eq!(machine.completed(), none, "{when}, and the next runs");
        }
    }
    assert_eq!(machine.leftovers(), Vec::<PathBuf>::new(), "seed {seed}");
    assert_eq!(machine.losses(), none, "seed {seed}: at the end");
}

/// Changes something, runs one command, and cuts the power. Says when.
fn round(machine: &mut Machine) -> String {
    machine.change();
    let arguments = [BACKUP, BACKUP, FULL, APPLY, APPLY, PRUNE][machine.dice.below(6) as usize];
    if arguments == PRUNE {
        machine.age(&["gc", "leases"]);
    }
    let (call, most) = CALLS[machine.dice.below(CALLS.len() as u64) as usize];
    let at = 1 + machine.dice.below(most);
    let when = match machine.dice.below(4) {
        0 => {
            let (code, said) = machine.run(&[], arguments);
            assert_eq!(code, Some(0), "ccb {arguments:?}\n{said}");
            "after".to_owned()
        }
        _ => match killed_at(machine, call, at, arguments) {
            true => format!("at {call} {at} of"),
            false => "after".to_owned(),
        },
    };
    machine.disk.cut();
    format!("{when} ccb {arguments:?}")
}

/// Whether the run came to its `at`-th call.
fn killed_at(machine: &mut Machine, call: &str, at: u64, arguments: &[&str]) -> bool {
    let (trace, inject) = (
        format!("trace={call}"),
        format!("inject={call}:signal=KILL:when={at}"),
    );
    let strace = [&STRACE[..], &["-e", &trace, "-e", &inject]].concat();
    let (code, said) = machine.run(&strace, arguments);
    // strace dies of the signal that its child died of.
    let killed = code.is_none() || code == Some(137);
    assert!(
        killed || code == Some(0),
        "ccb {arguments:?}: {code:?}\n{said}"
    );
    killed
}

/// The power really goes: this is what the other test would see.
#[test]
fn what_was_not_flushed_is_gone_after_a_power_cut() {
    with_own_mounts(
        "cli::faults::power::what_was_not_flushed_is_gone_after_a_power_cut",
        || {
            for is in [FileSystem::Ext4, FileSystem::Xfs] {
                let folder = tempfile::tempdir().expect("a folder");
                let disk = Disk::new(folder.path(), is);
                let at = |name: &str| disk.at().join(name);
                let mut flushed = File::create(at("flushed")).expect("made");
                flushed.write_all(b"is here").expect("written");
                flushed.sync_all().expect("flushed");
                drop(flushed);
                fs::write(at("written"), "only").expect("written");
                fs::rename(at("flushed"), at("renamed")).expect("renamed");
                disk.cut();
                assert_eq!(fs::read(at("flushed")).expect("read"), b"is here", "{is:?}");
                assert!(!at("renamed").exists() && !at("written").exists(), "{is:?}");
            }
        },
    );
}

/// A disk that says it has flushed, and has not, is found out: so would a program be that forgot to ask. Not on XFS,
/// which flushes by itself after half a minute.
#[test]
fn a_backup_that_was_never_flushed_is_seen_to_be_lost() {
    with_own_mounts(
        "cli::faults::power::a_backup_that_was_never_flushed_is_seen_to_be_lost",
        || {
            let mut machine = Machine::new(EXT4);
            machine.disk.cut();
            machine.change();
            let lies = [
                "-e",
                "trace=fsync,fdatasync",
                "-e",
                "inject=fsync,fdatasync:retval=0",
            ];
            let strace = [&STRACE[..], &lies].concat();
            let (code, said) = machine.run(&strace, BACKUP);
            assert_eq!(code, Some(0), "{said}");
            machine.disk.cut();
            let losses = machine.losses();
            assert!(
                losses.iter().any(|it| it.contains("is not listed")),
                "{losses:?}"
            );
            assert_eq!(machine.known.len(), 2, "the first, and the lost one");
        },
    );
}
