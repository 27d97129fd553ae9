//! Killed with SIGKILL right before a call by which something becomes durable, or gets its name.

use crate::cli::faults::{APPLY, BACKUP, Ground};

/// Which call of a kind a run is killed at, counted in each of its threads: close together where a run begins,
/// then further apart.
const AT: &[u32] = &[1, 2, 3, 4, 6, 8, 11, 15, 21, 30, 45, 70];

/// Runs `arguments` again and again from `start`, killed at one later call each time, until one run is over
/// before its call comes. Returns how often it was killed.
fn killed_at_each(
    start: &Ground,
    call: &str,
    arguments: &[&str],
    then: impl Fn(&Ground, &str),
) -> usize {
    for (killed, at) in AT.iter().enumerate() {
        let ground = start.copy();
        let inject = format!("inject={call}:signal=KILL:when={at}");
        let trace = format!("trace={call}");
        let strace = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &trace,
            "-e",
            &inject,
        ];
        let (code, said) = ground.run(&strace, arguments);
        if code == Some(0) {
            return killed;
        }
        let when = format!("killed at {call} {at}");
        // strace dies of the signal that its child died of.
        assert!(
            code.is_none() || code == Some(137),
            "{when}: {code:?} {said}"
        );
        then(&ground, &when);
    }
    AT.len()
}

#[test]
fn a_run_that_is_killed_anywhere_loses_nothing_and_the_next_one_completes_it() {
    let start = Ground::applied();
    for call in ["fsync", "renameat2"] {
        let killed = killed_at_each(&start, call, BACKUP, |ground, when| {
            ground.nothing_is_lost(when);
            ground.a_rerun_completes(when);
        });
        assert!(killed >= 3, "{call}: it was killed {killed} times only");
    }
}

#[test]
fn the_very_first_run_can_be_killed_anywhere() {
    let start = Ground::fresh();
    let killed = killed_at_each(&start, "renameat2", APPLY, |ground, when| {
        let (code, said) = ground.run(&[], APPLY);
        assert_eq!(code, Some(0), "{when}: {said}");
        for destination in ["primary", "second"] {
            assert!(
                ground.restored("latest", destination) == ground.new,
                "{when}"
            );
        }
    });
    assert!(killed >= 5, "it was killed {killed} times only");
}
