//! What a killed run leaves: the next one says so, once, goes on, and records what the killed one could not.

use crate::cli::started::{Started, with_waiting_hook};
use crate::cli::{expect, given};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::Path;

const APPLY: &[&str] = &["apply", "plan.kdl", "--auto-approve"];

fn runs(at: &Path) -> Vec<Value> {
    expect(
        at,
        0,
        &["plan", "plan.kdl", "--inventory-out", "inventory.json"],
    );
    let text = fs::read(at.join("inventory.json")).expect("it was written");
    let inventory: Value = serde_json::from_slice(&text).expect("it is JSON");
    let runs = &inventory["destinations"]["primary"]["runs"];
    runs.as_array().expect("a list").clone()
}

#[test]
fn a_killed_run_is_told_of_once_and_recorded_at_the_destinations() {
    let folder = given();
    let at = folder.path();
    with_waiting_hook(at);
    let killed = Started::waiting(at, APPLY);
    killed.signal(Signal::KILL);
    let killed = killed.end();
    assert_eq!(killed.code, None, "{}", killed.said);

    fs::write(at.join("go"), "").expect("written");
    let said = expect(at, 0, APPLY);
    assert!(said.contains("was ended in the middle: "), "{said}");
    assert!(
        said.contains("back up data incremental -> primary"),
        "{said}"
    );
    assert!(
        said.contains("Apply complete! 1 backed up, 1 copied"),
        "{said}"
    );
    let runs = runs(at);
    assert_eq!(runs.len(), 2, "{runs:?}");
    let of_killed = runs
        .iter()
        .flat_map(|run| run["steps"].as_array().expect("a list"))
        .find(|step| step["outcome"] == "failed" && step["verb"] == "back up");
    assert!(of_killed.is_some(), "the step that was under way: {runs:?}");

    let again = expect(at, 0, APPLY);
    assert!(!again.contains("ended in the middle"), "{again}");
}

#[test]
fn a_run_that_is_still_going_on_is_not_taken_for_a_killed_one() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    with_waiting_hook(at);
    let first = Started::waiting(at, &["backup", "plan.kdl", "data"]);
    let said = expect(at, 0, APPLY);
    assert!(!said.contains("ended in the middle"), "{said}");
    first.go();
    assert_eq!(first.end().code, Some(0));
    let said = expect(at, 0, APPLY);
    assert!(!said.contains("ended in the middle"), "{said}");
}

#[test]
fn a_run_that_can_not_keep_a_journal_says_so_and_goes_on() {
    let folder = given();
    let at = folder.path();
    fs::write(at.join("state"), "no folder").expect("written");
    let said = expect(at, 0, APPLY);
    assert_eq!(
        said.matches("Warning: write the journal").count(),
        1,
        "{said}"
    );
    assert!(said.contains("Apply complete!"), "{said}");
}

#[test]
fn a_damaged_journal_is_in_nobody_s_way() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, APPLY);
    let runs = at.join("state/runs");
    let plan = fs::read_dir(&runs)
        .expect("there")
        .next()
        .expect("one")
        .expect("read");
    for (name, bytes) in [
        ("0-a.jsonl", &b"\xff\x00{"[..]),
        ("0-b.jsonl", b""),
        ("0-c.jsonl", b"{}\n"),
    ] {
        fs::write(plan.path().join(name), bytes).expect("written");
    }
    assert!(expect(at, 0, APPLY).contains("No changes."));
}

#[test]
fn a_second_signal_ends_the_run_at_once_and_the_next_one_goes_on() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    with_waiting_hook(at);
    let run = Started::waiting(at, &["backup", "plan.kdl", "data"]);
    run.signal(Signal::TERM);
    // The first one may have ended it already: then there is nobody to hear the second.
    let pid = rustix::process::Pid::from_raw(i32::try_from(run.pid()).expect("a number"));
    let _ = rustix::process::kill_process(pid.expect("not zero"), Signal::TERM);
    assert_eq!(run.end().code, Some(143));
    fs::write(at.join("go"), "").expect("written");
    expect(at, 0, &["backup", "plan.kdl", "data"]);
}
