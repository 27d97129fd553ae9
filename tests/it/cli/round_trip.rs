//! What a new user does: plan, apply, plan again, change something, apply, restore, compare.

use crate::cli::{ccb, expect, given, outcome, under};
use std::fs;

#[test]
fn what_was_applied_is_not_planned_again_and_comes_back_byte_for_byte() {
    let folder = given();
    let at = folder.path();
    let plan = expect(at, 0, &["plan", "plan.kdl"]);
    assert!(plan.contains("Plan: 1 to back up, 1 to copy"), "{plan}");
    expect(at, 2, &["plan", "plan.kdl", "--detailed-exitcode"]);

    let applied = expect(at, 0, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(
        applied.contains("Apply complete! 1 backed up, 1 copied"),
        "{applied}"
    );
    let again = expect(at, 0, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(again.contains("No changes."), "{again}");
    expect(at, 0, &["plan", "plan.kdl", "--detailed-exitcode"]);

    let readme = ccb(at, &["cat", "plan.kdl", "latest", "readme.txt"]);
    assert_eq!(readme.stdout, b"hello\n");
    let listed = expect(at, 0, &["ls", "plan.kdl", "latest"]);
    assert!(listed.contains("deep/er/file.bin"), "{listed}");

    for destination in ["primary", "second"] {
        let target = format!("restored-{destination}");
        let to = [
            "restore",
            "plan.kdl",
            "data",
            "--from",
            destination,
            "--to",
            &target,
        ];
        expect(at, 0, &to);
        let same = |path: &str| {
            let restored = fs::read(at.join(&target).join(path)).expect("it was restored");
            assert_eq!(
                restored,
                fs::read(at.join("data").join(path)).expect("it is there")
            );
        };
        same("readme.txt");
        same("deep/er/file.bin");
        same("empty");
    }
    let checked = expect(at, 0, &["check", "plan.kdl", "--level", "3"]);
    assert!(checked.contains("No damage found."), "{checked}");
}

#[test]
fn a_passphrase_is_as_good_a_key_as_32_bytes() {
    let folder = given();
    let with = |arguments: &[&str]| {
        let mut command = under(&[], folder.path(), arguments);
        outcome(command.env("KEY", "correct horse battery staple"))
    };
    let (code, said) = with(&["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        with(&["cat", "plan.kdl", "latest", "readme.txt"]).1,
        "hello\n"
    );
}

#[test]
fn a_backup_on_demand_holds_the_change_and_the_older_one_still_has_the_old_bytes() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    let first = id_of_latest(at);
    fs::write(at.join("data/readme.txt"), "changed\n").expect("written");
    expect(
        at,
        0,
        &["backup", "plan.kdl", "data", "--tag", "pre-deploy"],
    );
    assert_eq!(
        ccb(at, &["cat", "plan.kdl", "latest", "readme.txt"]).stdout,
        b"changed\n"
    );
    assert_eq!(
        ccb(at, &["cat", "plan.kdl", &first, "readme.txt"]).stdout,
        b"hello\n"
    );
}

#[test]
fn a_hold_is_shown_and_ends_with_a_release() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    let id = id_of_latest(at);
    expect(
        at,
        0,
        &["hold", "plan.kdl", &id, "--reason", "incident 4711"],
    );
    let listed = expect(at, 0, &["list", "plan.kdl"]);
    assert!(listed.contains("held by ana: incident 4711"), "{listed}");
    expect(at, 0, &["release", "plan.kdl", &id]);
    assert!(!expect(at, 0, &["list", "plan.kdl"]).contains("held by"));
}

#[test]
fn a_saved_plan_is_carried_out_once_and_then_nothing_of_it_is_needed() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["plan", "plan.kdl", "--out", "plan.json"]);
    let applied = expect(at, 0, &["apply", "plan.json"]);
    assert!(applied.contains("Apply complete! 1 backed up"), "{applied}");
    // The first run gave the destinations an identity, which the saved plan did not know: it is stale.
    let output = ccb(at, &["apply", "plan.json"]);
    assert!(
        [Some(0), Some(5)].contains(&output.status.code()),
        "{output:?}"
    );
    let listed = expect(at, 0, &["list", "plan.kdl", "--json"]);
    assert_eq!(listed.matches("\"component\"").count(), 1, "{listed}");
}

fn id_of_latest(at: &std::path::Path) -> String {
    let listed = ccb(at, &["list", "plan.kdl", "--json"]).stdout;
    let rows: serde_json::Value = serde_json::from_slice(&listed).expect("it is JSON");
    rows["backups"][0]["id"].as_str().expect("an id").to_owned()
}
