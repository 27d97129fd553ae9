//! `ccb key`: made, listed, added, removed, rotated, and never shown.

use crate::cli::{ccb, expect, given};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const OTHER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A plan file that opens everything with the key in `other.key`, which is `OTHER`.
fn with_other_key(at: &Path) {
    fs::write(at.join("other.key"), OTHER).expect("written");
    let plan = fs::read_to_string(at.join("plan.kdl")).expect("read");
    let other = plan.replace("key env=\"KEY\"", "key file=\"other.key\"");
    fs::write(at.join("other.kdl"), other).expect("written");
}

#[test]
fn a_new_key_is_random_and_never_written_over_another() {
    let folder = given();
    let at = folder.path();
    let printed = expect(at, 0, &["key", "new"]);
    let digits = printed.trim_end();
    assert!(
        digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()),
        "{printed}"
    );
    assert_ne!(printed, expect(at, 0, &["key", "new"]));
    let said = expect(at, 0, &["key", "new", "keys/one.key"]);
    assert!(said.contains("without it there is no restore"), "{said}");
    let path = at.join("keys/one.key");
    let first = fs::read(&path).expect("read");
    assert_eq!(
        (
            first.len(),
            fs::metadata(&path).expect("there").permissions().mode() & 0o777
        ),
        (65, 0o600)
    );
    expect(at, 1, &["key", "new", "keys/one.key"]);
    assert_eq!(fs::read(&path).expect("read"), first);
}

#[test]
fn a_second_key_opens_and_the_first_goes_only_when_the_second_is_at_hand() {
    let folder = given();
    let at = folder.path();
    with_other_key(at);
    expect(at, 10, &["key", "list", "plan.kdl"]);
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    expect(at, 12, &["list", "other.kdl"]);

    let typed = expect(at, 1, &["key", "add", "plan.kdl", "--key", OTHER]);
    assert!(
        typed.contains("env:NAME") && !typed.contains("never the key: "),
        "{typed}"
    );
    let added = expect(
        at,
        0,
        &["key", "add", "plan.kdl", "--key", "file:other.key"],
    );
    assert_eq!(added.matches("added `key-2`").count(), 2, "{added}");
    let again = expect(
        at,
        0,
        &["key", "add", "plan.kdl", "--key", "file:other.key"],
    );
    assert!(again.contains("opens it already, as `key-2`"), "{again}");

    let listed = expect(
        at,
        0,
        &["key", "list", "plan.kdl", "--destination", "primary"],
    );
    assert!(listed.contains("data key 1 since 20"), "{listed}");
    let rows: Vec<&str> = listed
        .lines()
        .filter(|line| line.starts_with("primary"))
        .collect();
    assert!(
        rows[0].contains("first") && rows[0].ends_with("in use now"),
        "{listed}"
    );
    assert!(
        rows[1].contains("key-2") && rows[1].contains("raw"),
        "{listed}"
    );

    let own = expect(at, 1, &["key", "remove", "plan.kdl", "first"]);
    assert!(
        own.contains("put the key that is to stay into the plan file first"),
        "{own}"
    );
    expect(at, 0, &["list", "plan.kdl"]);
    let removed = expect(at, 0, &["key", "remove", "other.kdl", "first"]);
    assert!(removed.contains("`ccb key rotate`"), "{removed}");
    expect(at, 12, &["list", "plan.kdl"]);
    expect(at, 0, &["list", "other.kdl"]);
    let last = expect(at, 1, &["key", "remove", "other.kdl", "key-2"]);
    assert!(last.contains("the last key slot"), "{last}");
    let none = expect(at, 10, &["key", "remove", "other.kdl", "third"]);
    assert!(
        none.contains("there is no key slot `third`; there are key-2"),
        "{none}"
    );
}

#[test]
fn rotated_keys_read_what_was_before_and_what_comes_after_at_every_destination() {
    let folder = given();
    let at = folder.path();
    with_other_key(at);
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    expect(
        at,
        0,
        &[
            "key",
            "add",
            "plan.kdl",
            "--key",
            "file:other.key",
            "--slot",
            "safe",
        ],
    );
    let refused = expect(at, 12, &["key", "rotate", "plan.kdl"]);
    assert!(refused.contains("nobody gave the key of safe"), "{refused}");
    let rotated = expect(
        at,
        0,
        &["key", "rotate", "plan.kdl", "--key", "file:other.key"],
    );
    assert_eq!(
        rotated
            .matches("rotated, data key 2 in first, safe")
            .count(),
        2,
        "{rotated}"
    );

    fs::write(at.join("data/readme.txt"), "after\n").expect("written");
    expect(at, 0, &["backup", "plan.kdl", "data"]);
    for plan in ["plan.kdl", "other.kdl"] {
        let cat = ccb(at, &["cat", plan, "latest", "readme.txt"]);
        assert_eq!(cat.stdout, b"after\n", "{cat:?}");
        let checked = expect(at, 0, &["check", plan, "--level", "3"]);
        assert!(checked.contains("No damage found."), "{checked}");
        let keys = expect(at, 0, &["key", "list", plan, "--json"]);
        let keys: serde_json::Value = serde_json::from_str(&keys).expect("it is JSON");
        for destination in [0, 1] {
            assert_eq!(keys[destination]["epoch"], 2);
            assert_eq!(keys[destination]["slots"][1]["name"], "safe");
        }
    }
    let restored = [
        "restore",
        "other.kdl",
        "data",
        "--from",
        "second",
        "--to",
        "back",
    ];
    expect(at, 0, &restored);
    assert_eq!(
        fs::read(at.join("back/deep/er/file.bin")).expect("read"),
        [7; 300_000]
    );
    // Nothing that was there is stored again: names of content do not change.
    let applied = expect(at, 0, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(applied.contains("No changes."), "{applied}");
}
