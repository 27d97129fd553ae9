//! The commands that look: what they say of backups, with which code they end, and that their JSON keeps to its
//! schema.

use crate::cli::{ccb, expect, given};
use crate::render::schema::breaches;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A folder with two backups: of `data` as it is given, and with one file changed, one gone and one new.
fn two_backups() -> tempfile::TempDir {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    fs::write(at.join("data/readme.txt"), "hello, world\n").expect("written");
    fs::remove_file(at.join("data/empty")).expect("removed");
    fs::write(at.join("data/deep/new.txt"), "new\n").expect("written");
    expect(at, 0, &["backup", "plan.kdl", "data"]);
    folder
}

/// A committed schema.
fn schema(name: &str) -> Value {
    let path = format!("{}/schemas/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).expect("it is there")).expect("it is JSON")
}

/// The document that a command prints, which keeps to the schema of its kind.
fn document(at: &Path, code: i32, arguments: &[&str]) -> Value {
    let output = ccb(at, arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{arguments:?} {text}");
    keeping_to_its_schema(&text)
}

/// A document that keeps to the schema of its kind.
pub(super) fn keeping_to_its_schema(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).expect("it is one JSON document");
    let schema = schema("output.v1.json");
    let kinds = schema["oneOf"].as_array().expect("it is a list of kinds");
    let kind = kinds
        .iter()
        .find(|kind| kind["title"] == value["kind"])
        .unwrap_or_else(|| panic!("{} is no kind", value["kind"]));
    let wrong = breaches(&schema, kind, &value, &kind["title"].to_string());
    assert_eq!(wrong, Vec::<String>::new(), "{text}");
    value
}

#[test]
fn a_path_is_found_in_all_backups_each_version_once() {
    let folder = two_backups();
    let at = folder.path();
    let found = document(at, 0, &["find", "plan.kdl", "data", "*.txt", "--json"]);
    let told: Vec<_> = found["versions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|v| {
            (
                v["path"].as_str().unwrap(),
                v["size"].as_u64().unwrap(),
                &v["backups"],
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("deep/new.txt", 4, &Value::from(1)),
            ("readme.txt", 13, &Value::from(1)),
            ("readme.txt", 6, &Value::from(1)),
        ]
    );
    let unchanged = document(at, 0, &["find", "plan.kdl", "data", "deep/er/*", "--json"]);
    assert_eq!(unchanged["versions"][0]["backups"], 2);
    let text = expect(at, 0, &["find", "plan.kdl", "data", "readme.txt"]);
    assert!(text.contains("13 B") && text.contains("6 B"), "{text}");
    let text = expect(at, 0, &["find", "plan.kdl", "data", "*.pdf"]);
    assert_eq!(
        text,
        "No path matches `*.pdf` in 2 backups of component.data.\n"
    );
    let said = expect(at, 1, &["find", "plan.kdl", "date", "*"]);
    assert!(
        said.contains("there is no component `date`; there are data"),
        "{said}"
    );
}

#[test]
fn two_backups_differ_by_what_was_changed_between_them() {
    let folder = two_backups();
    let at = folder.path();
    let text = expect(at, 0, &["diff", "plan.kdl", "latest~1", "data"]);
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "+ deep/new.txt  (4 B)",
            "- empty",
            "~ readme.txt  (content, time: 6 B -> 13 B)",
            "1 added, 1 removed, 1 changed.",
        ]
    );
    let differences = document(at, 0, &["diff", "plan.kdl", "latest~1", "latest", "--json"]);
    assert_eq!(differences["differences"].as_array().unwrap().len(), 3);
    let same = expect(at, 0, &["diff", "plan.kdl", "latest", "latest"]);
    assert!(
        same.ends_with("\n0 added, 0 removed, 0 changed.\n"),
        "{same}"
    );
    let said = expect(at, 10, &["diff", "plan.kdl", "latest~2", "latest"]);
    assert!(said.contains("there is no backup `latest~2`"), "{said}");
}

#[test]
fn the_only_file_of_a_backup_needs_no_path() {
    let (many, one) = (given(), given());
    expect(
        many.path(),
        0,
        &["apply", "plan.kdl", "--auto-approve", "--quiet"],
    );
    let said = expect(many.path(), 1, &["cat", "plan.kdl", "latest"]);
    assert!(said.contains("more than one file"), "{said}");
    let at = one.path();
    fs::remove_dir_all(at.join("data/deep")).expect("removed");
    fs::remove_file(at.join("data/empty")).expect("removed");
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    for backup in ["latest", "data"] {
        assert_eq!(ccb(at, &["cat", "plan.kdl", backup]).stdout, b"hello\n");
    }
}

#[test]
fn status_is_for_monitors_its_code_tells_how_things_stand() {
    let folder = given();
    let at = folder.path();
    let before = document(at, 2, &["status", "plan.kdl", "--json"]);
    assert_eq!(before["schedules"][0]["state"], "missing");
    assert_eq!(before["ok"], false);
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    let after = document(at, 0, &["status", "plan.kdl", "--json"]);
    assert_eq!(after["ok"], true);
    assert_eq!(after["components"][0]["restore_test"]["passed"], true);
    let text = expect(at, 0, &["status", "plan.kdl"]);
    assert!(text.contains("OK: everything is as new"), "{text}");

    fs::remove_dir_all(at.join("second")).expect("removed");
    let text = expect(at, 2, &["status", "plan.kdl"]);
    assert!(text.contains("1 copy is missing at second"), "{text}");
    fs::create_dir(at.join("second")).expect("made");
    fs::write(at.join("second/thesis.txt"), "mine").expect("written");
    let text = expect(at, 10, &["status", "plan.kdl"]);
    assert!(text.contains("destination.second was not seen"), "{text}");
}

#[test]
fn verify_proves_each_copy_and_tells_damage_from_what_could_not_be_checked() {
    let folder = given();
    let at = folder.path();
    expect(at, 3, &["verify", "plan.kdl"]);
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    let all = document(at, 0, &["verify", "plan.kdl", "--json"]);
    let checks = all["checks"].as_array().expect("a list");
    // Presence, contents, integrity, a restore test and encryption, at two destinations.
    assert_eq!(checks.len(), 10, "{all:#}");
    assert_eq!(all["ok"], true);
    let evidence = document(at, 0, &["explain", "plan.kdl", "latest", "--json"]);
    let stored = evidence["evidence"].as_array().expect("a list").len();
    // Those of the apply, and those of now.
    assert!(stored >= 10 + 6, "{stored}");

    let one = [
        "verify",
        "plan.kdl",
        "data",
        "--backup",
        "latest",
        "--level",
        "integrity",
        "--json",
    ];
    let one = document(at, 0, &one);
    assert_eq!(one["checks"].as_array().expect("a list").len(), 2);

    let pack = walkdir::WalkDir::new(at.join("repository/packs/d"))
        .into_iter()
        .filter_map(Result::ok)
        .find(|entry| entry.file_type().is_file())
        .expect("there is a data pack");
    fs::remove_file(pack.path()).expect("removed");
    fs::remove_dir_all(at.join("second")).expect("removed");
    let hurt = document(
        at,
        6,
        &["verify", "plan.kdl", "--level", "integrity", "--json"],
    );
    assert_eq!(hurt["checks"][0]["passed"], false, "{hurt:#}");
    assert_eq!(hurt["not_checked"][0]["destination"], "second");
    // What came out is kept, and found by who asks how things stand.
    let text = expect(at, 6, &["status", "plan.kdl"]);
    assert!(text.contains("integrity of"), "{text}");
}

#[test]
fn a_missing_copy_is_not_a_success() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    fs::remove_dir_all(at.join("second")).expect("removed");
    let text = expect(at, 3, &["verify", "plan.kdl", "--level", "presence"]);
    assert!(text.contains("at second: there is no copy"), "{text}");
    assert!(
        text.contains("1 check passed, 0 failed, 1 could not be made."),
        "{text}"
    );
}

#[test]
fn a_backup_and_a_rule_are_explained_and_the_future_is_told() {
    let folder = two_backups();
    let at = folder.path();
    let page = expect(at, 0, &["explain", "plan.kdl", "latest"]);
    assert!(page.contains("stays: `last 3`"), "{page}");
    let kept = document(at, 0, &["explain", "plan.kdl", "latest", "--json"]);
    assert_eq!(kept["fate"], "kept");
    assert_eq!(kept["copies"], serde_json::json!(["primary", "second"]));
    let rule = document(at, 0, &["explain", "ccb202", "--json"]);
    assert_eq!(rule["name"], "copies");
    expect(at, 1, &["explain", "no-such-rule"]);

    let future = ["simulate", "plan.kdl", "--days", "40", "--json"];
    let future = document(at, 0, &future);
    let last = &future["days"][39];
    assert_eq!(last["backups"], 3);
    assert!(last["stored_bytes"].as_u64().unwrap() > 0);
    let text = expect(at, 0, &["simulate", "plan.kdl", "--days", "40"]);
    assert!(text.contains("\npeak: 3 backups, about "), "{text}");
}

#[test]
fn every_listing_has_a_form_for_programs() {
    let folder = two_backups();
    let at = folder.path();
    let all = document(at, 0, &["list", "plan.kdl", "--json"]);
    assert_eq!(all["backups"].as_array().unwrap().len(), 2);
    assert_eq!(all["backups"][1]["kept_as"], serde_json::json!(["last"]));
    let trash = document(at, 0, &["list", "plan.kdl", "--deleted", "--json"]);
    assert_eq!(trash["backups"], serde_json::json!([]));
    let entries = document(at, 0, &["ls", "plan.kdl", "latest", "deep", "--json"]);
    let paths: Vec<&str> = entries["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        ["deep", "deep/er", "deep/er/file.bin", "deep/new.txt"]
    );
    let checked = document(at, 0, &["check", "plan.kdl", "--json"]);
    assert_eq!(checked["clean"], true);
}

#[test]
fn an_inventory_is_saved_as_its_schema_says_and_planned_with() {
    let folder = two_backups();
    let at = folder.path();
    let save = ["plan", "plan.kdl", "--inventory-out", "inventory.json"];
    let planned = expect(at, 0, &save);
    let text = fs::read_to_string(at.join("inventory.json")).expect("it was saved");
    let value: Value = serde_json::from_str(&text).expect("it is JSON");
    let schema = schema("inventory.v1.json");
    assert_eq!(
        breaches(&schema, &schema, &value, "inventory"),
        Vec::<String>::new()
    );
    let from_it = expect(
        at,
        0,
        &["plan", "plan.kdl", "--inventory", "inventory.json"],
    );
    let last = |text: &str| text.lines().last().map(str::to_owned);
    assert_eq!(last(&planned), last(&from_it));
    let later = text.replace("\"format_version\":\"1.0\"", "\"format_version\":\"2.0\"");
    fs::write(at.join("later.json"), later).expect("written");
    let said = expect(at, 1, &["plan", "plan.kdl", "--inventory", "later.json"]);
    assert!(said.contains("it has format 2.0"), "{said}");
}

#[test]
fn a_plan_file_is_shown_resolved_and_a_saved_plan_as_it_was() {
    let folder = given();
    let at = folder.path();
    let resolved = expect(at, 0, &["show", "--resolved", "plan.kdl"]);
    assert!(resolved.contains("// plan.kdl:2"), "{resolved}");
    assert_eq!(resolved, expect(at, 0, &["show", "plan.kdl"]));
    expect(at, 0, &["plan", "plan.kdl", "--out", "plan.json"]);
    let shown = expect(at, 0, &["show", "plan.json"]);
    assert!(shown.contains("Plan: 1 to back up"), "{shown}");
    expect(at, 1, &["show", "--resolved", "plan.json"]);
}
