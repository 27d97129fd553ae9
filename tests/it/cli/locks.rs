//! Two runs at once: one does the work, the other says whose it is; a dead one is in nobody's way.

use crate::cli::started::{Started, with_waiting_hook};
use crate::cli::{expect, given};
use crate::support::restored::wait_for;
use rustix::process::Signal;
use std::path::Path;

const APPLY: &[&str] = &["apply", "plan.kdl", "--auto-approve"];

fn backups(at: &Path) -> usize {
    let listed = expect(at, 0, &["list", "plan.kdl", "--json"]);
    listed.matches("\"component\"").count()
}

/// A folder that was applied once, so that there are repositories, and whose next run waits in a hook.
fn applied_once() -> tempfile::TempDir {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    with_waiting_hook(at);
    folder
}

const BACKUP: &[&str] = &["backup", "plan.kdl", "data"];

#[test]
fn the_second_run_does_nothing_says_who_has_the_lock_and_exits_with_11() {
    let folder = applied_once();
    let at = folder.path();
    let first = Started::waiting(at, BACKUP);
    let said = expect(at, 11, BACKUP);
    assert!(said.contains(" is locked by run "), "{said}");
    assert!(said.contains("of ana on "), "{said}");
    assert!(
        said.contains(&format!("(pid {}, test / development)", first.pid())),
        "{said}"
    );
    assert!(said.contains("--lock-timeout"), "{said}");
    // Nothing is to be done for the plan itself: that takes no lock, and so is not in the way of any.
    assert!(expect(at, 0, APPLY).contains("No changes."));
    first.go();
    let ended = first.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(backups(at), 2);
}

#[test]
fn who_waits_for_the_lock_finds_the_work_done() {
    let folder = given();
    let at = folder.path();
    with_waiting_hook(at);
    let first = Started::waiting(at, APPLY);
    // Before it is made, nobody has its lock, and then the second run would have it.
    wait_for(|| at.join("second/locks").is_dir());
    let arguments = [
        "apply",
        "plan.kdl",
        "--auto-approve",
        "--lock-timeout",
        "10m",
    ];
    let second = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| expect(at, 0, &arguments));
        std::thread::sleep(std::time::Duration::from_millis(300));
        first.go();
        waiting.join().expect("it ends well")
    });
    assert!(second.contains("No changes."), "{second}");
    assert_eq!(first.end().code, Some(0));
    assert_eq!(backups(at), 1, "one backup, not two");
}

#[test]
fn a_killed_run_is_in_nobody_s_way() {
    let folder = applied_once();
    let at = folder.path();
    let killed = Started::waiting(at, BACKUP);
    killed.signal(Signal::KILL);
    assert_eq!(killed.end().code, None);
    let next = Started::waiting(at, BACKUP);
    next.go();
    let ended = next.end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}

#[test]
fn a_lock_is_removed_by_hand_after_asking_and_its_run_ends() {
    let folder = applied_once();
    let at = folder.path();
    assert!(expect(at, 0, &["unlock", "plan.kdl"]).contains("Nothing is locked."));
    let first = Started::waiting(at, BACKUP);
    let said = expect(at, 7, &["unlock", "plan.kdl"]);
    assert!(said.contains("Its process is alive"), "{said}");
    expect(at, 11, BACKUP);
    let said = expect(at, 0, &["unlock", "plan.kdl", "--auto-approve"]);
    assert!(
        said.contains("destination.primary is unlocked; it was locked by run "),
        "{said}"
    );
    assert!(said.contains("destination.second is unlocked"), "{said}");
    assert!(expect(at, 0, &["unlock", "plan.kdl"]).contains("Nothing is locked."));
    drop(first);
}

#[test]
fn without_locks_two_runs_go_side_by_side_and_both_backups_are_whole() {
    let folder = applied_once();
    let at = folder.path();
    let first = Started::waiting(at, BACKUP);
    let unlocked = ["backup", "plan.kdl", "data", "--lock=false"];
    let second = Started::waiting(at, &unlocked);
    second.go();
    for run in [first, second] {
        let ended = run.end();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
    }
    assert_eq!(backups(at), 3);
    let checked = expect(at, 0, &["check", "plan.kdl", "--level", "3"]);
    assert!(checked.contains("No damage found."), "{checked}");
}

#[test]
fn a_signal_ends_a_run_with_its_code_and_gives_the_lock_back() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let folder = applied_once();
        let at = folder.path();
        let run = Started::waiting(at, BACKUP);
        run.signal(signal);
        let ended = run.end();
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        assert!(
            ended.said.contains("the run was interrupted"),
            "{}",
            ended.said
        );
        assert!(expect(at, 0, &["unlock", "plan.kdl"]).contains("Nothing is locked."));
        assert_eq!(backups(at), 1);
    }
}
