//! `ccb prune`: what was forgotten goes, what waits is told, and what is kept comes back.

use crate::cli::{ccb, expect, given};
use std::fs;

#[test]
fn what_was_forgotten_leaves_the_trash_and_waits_for_the_grace() {
    let folder = given();
    let at = folder.path();
    expect(at, 10, &["prune", "plan.kdl"]);
    let plan = fs::read_to_string(at.join("plan.kdl")).expect("read");
    let plan = plan.replace("    last 3\n", "    last 1\n").replace(
        "encryption \"default\"",
        "apply {\n    trash \"0s\"\n}\n\nencryption \"default\"",
    );
    fs::write(at.join("plan.kdl"), plan).expect("written");
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    // Without a parent: what a session stands on stays for two hours after it. Two of them, as the newest of
    // each method stays.
    for byte in [7, 8] {
        fs::write(at.join("data/deep/er/file.bin"), [byte; 400_000]).expect("written");
        expect(at, 0, &["backup", "plan.kdl", "data", "--method", "full"]);
    }
    let nothing = expect(at, 0, &["prune", "plan.kdl", "--destination", "second"]);
    assert!(
        nothing.contains("destination.second: 0 B freed"),
        "{nothing}"
    );
    let applied = expect(
        at,
        0,
        &["apply", "plan.kdl", "--auto-approve", "--allow-forget", "1"],
    );
    assert!(applied.contains("packs condemned"), "{applied}");
    let waiting = expect(at, 0, &["prune", "plan.kdl"]);
    assert!(
        waiting.contains("destination.primary: 0 B freed"),
        "{waiting}"
    );
    assert!(waiting.contains("waiting "), "{waiting}");
    let json = ccb(at, &["prune", "plan.kdl", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    assert_eq!(json[0]["destination"], "primary");
    // A check that has just read a backup keeps it pinned for a while, so not every destination has some.
    let waits = |at: &serde_json::Value| at["waiting"]["packs"].as_u64() > Some(0);
    let all = json.as_array().expect("a list");
    assert!(all.iter().any(waits), "{json}");
    expect(at, 0, &["check", "plan.kdl", "--level", "3"]);
    let cat = ccb(at, &["cat", "plan.kdl", "latest", "deep/er/file.bin"]);
    assert_eq!(cat.stdout, [8; 400_000]);
    let listed = expect(at, 0, &["list", "plan.kdl", "--json"]);
    assert_eq!(listed.matches("\"component\"").count(), 2, "{listed}");
    let again = expect(at, 0, &["plan", "plan.kdl", "--detailed-exitcode"]);
    assert!(
        again.contains("No changes."),
        "nothing is planned before the grace is over: {again}"
    );
}
