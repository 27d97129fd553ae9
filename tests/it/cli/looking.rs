//! What a plan is made on: many backups to forget need consent, what others did is told, and one damaged
//! manifest hides no other backup.

use crate::cli::{ccb, expect, given};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A folder with `count` backups, and a plan file that keeps only one of them.
fn too_many(count: usize) -> tempfile::TempDir {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    for number in 1..count {
        fs::write(at.join("data/number"), number.to_string()).expect("written");
        expect(at, 0, &["backup", "plan.kdl", "data", "--quiet"]);
    }
    let plan = fs::read_to_string(at.join("plan.kdl")).expect("read");
    let plan = plan.replace("    last 3\n", "    last 1\n");
    let policy = "policy preset=\"development\" {\n    set \"forget-limit\" level=\"deny\"\n}\n";
    let plan = format!("{plan}\n{policy}");
    fs::write(at.join("plan.kdl"), plan).expect("written");
    folder
}

fn backups(at: &Path) -> usize {
    let listed = ccb(at, &["list", "plan.kdl", "--json"]).stdout;
    let listed: serde_json::Value = serde_json::from_slice(&listed).expect("it is JSON");
    listed["backups"].as_array().expect("a list").len()
}

#[test]
fn forgetting_more_than_the_limit_needs_a_number_that_covers_it() {
    let folder = too_many(6);
    let at = folder.path();
    let apply = ["apply", "plan.kdl", "--auto-approve"];
    let refused = expect(at, 4, &apply);
    assert!(refused.contains("CCB213"), "{refused}");
    assert!(refused.contains("--allow-forget"), "{refused}");
    let refused = expect(at, 4, &[&apply[..], &["--allow-forget", "1"]].concat());
    assert!(refused.contains("CCB213"), "{refused}");
    assert_eq!(backups(at), 6, "nothing was forgotten");
    let applied = expect(at, 0, &[&apply[..], &["--allow-forget", "100"]].concat());
    assert!(applied.contains("forgotten"), "{applied}");
    assert_eq!(backups(at), 1);
}

#[test]
fn what_another_machine_did_is_told_without_planning() {
    let folder = given();
    let at = folder.path();
    let look = ["plan", "plan.kdl", "--refresh-only"];
    let first = expect(at, 0, &look);
    assert!(first.contains("never looked at"), "{first}");
    expect(at, 0, &look);
    // Another machine, with a state of its own.
    let mut other = crate::cli::under(&[], at, &["apply", "plan.kdl", "--auto-approve"]);
    other.env("CCB_STATE_DIR", at.join("state-of-another"));
    assert_eq!(crate::cli::outcome(&mut other).0, Some(0));
    let told = expect(at, 2, &[&look[..], &["--detailed-exitcode"]].concat());
    assert!(told.contains("destination.primary"), "{told}");
    assert!(told.contains("made by run"), "{told}");
    let again = expect(at, 0, &[&look[..], &["--detailed-exitcode"]].concat());
    assert!(again.contains("No changes."), "{again}");
}

#[test]
fn what_was_seen_again_is_remembered_with_the_new_moment_and_not_written_anew() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    let look = || expect(at, 0, &["plan", "plan.kdl"]);
    let seen = || {
        let files = fs::read_dir(at.join("state/seen")).expect("it was looked at");
        let files = files.map(|entry| entry.expect("readable").path());
        let (moments, inventories): (Vec<_>, Vec<_>) =
            files.partition(|path| path.to_string_lossy().ends_with(".at.json"));
        let [moment] = <[PathBuf; 1]>::try_from(moments).expect("one moment");
        let [inventory] = <[PathBuf; 1]>::try_from(inventories).expect("one inventory");
        (inventory, moment)
    };
    let told = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).expect("read")).expect("it is JSON")
    };
    look();
    let (inventory, moment) = seen();
    let written = |path: &Path| fs::metadata(path).expect("there").ino();
    let (before, first) = (written(&inventory), told(&moment));
    look();
    assert_eq!(written(&inventory), before, "it is as it was");
    let second = told(&moment);
    assert_eq!(second["of"], first["of"]);
    assert!(second["at"].as_str() > first["at"].as_str(), "{second}");
    // The plan is made on the later look, and so are the stores' clocks.
    let out = at.join("inventory.json");
    let out = out.to_str().expect("it is text");
    let arguments = [
        "plan",
        "plan.kdl",
        "--refresh=false",
        "--inventory-out",
        out,
    ];
    expect(at, 0, &arguments);
    let planned_on = told(Path::new(out));
    assert_eq!(
        planned_on["destinations"]["primary"]["repository"]["server_time"],
        second["server_times"]["primary"]
    );
    // Cut, as by a power failure: the next look mends it.
    let text = fs::read(&inventory).expect("read");
    fs::write(&inventory, &text[..text.len() / 2]).expect("written");
    expect(at, 10, &["plan", "plan.kdl", "--refresh=false"]);
    look();
    expect(at, 0, &["plan", "plan.kdl", "--refresh=false"]);
    // Something else is seen.
    fs::write(at.join("data/number"), "1").expect("written");
    expect(at, 0, &["backup", "plan.kdl", "data", "--quiet"]);
    look();
    assert_ne!(told(&moment)["of"], first["of"]);
    assert_eq!(told(&inventory)["of"], told(&moment)["of"]);
}

/// The files that hold manifests.
fn manifests(at: &Path) -> Vec<PathBuf> {
    let folder = at.join("repository/backups/data");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("there are backups")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
}

#[test]
fn a_damaged_manifest_is_named_with_its_component_and_hides_no_other() {
    let folder = too_many(2);
    let at = folder.path();
    let newest = manifests(at).pop().expect("there are two");
    let mut bytes = fs::read(&newest).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&newest, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(&newest, bytes).expect("written");
    fs::remove_dir_all(at.join("cache")).expect("it is only a cache");
    let name = newest.file_name().and_then(|name| name.to_str());
    let key = format!("backups/data/{}", name.expect("it is text"));
    let checked = expect(at, 6, &["check", "plan.kdl"]);
    assert!(checked.contains(&key), "{checked}");
    let restored = expect(
        at,
        0,
        &[
            "restore", "plan.kdl", "data", "--to", "restored", "--from", "second",
        ],
    );
    assert!(restored.contains("restored"), "{restored}");
    let listed = expect(at, 0, &["list", "plan.kdl"]);
    assert_eq!(
        backups(at),
        2,
        "the copy at the other destination tells of it: {listed}"
    );
    // With a backup that can not be seen, nothing may be forgotten there.
    let plan = expect(at, 0, &["plan", "plan.kdl"]);
    assert!(
        !plan.contains("- forget data") || plan.contains("destination.primary"),
        "{plan}"
    );
}

#[test]
fn the_folder_itself_is_restored_with_what_it_had() {
    let folder = given();
    let at = folder.path();
    let data = at.join("data");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).expect("ours");
    let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let opened = fs::File::open(&data).expect("opened");
    opened.set_modified(then).expect("set");
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    expect(at, 0, &["restore", "plan.kdl", "data", "--to", "restored"]);
    let meta = fs::metadata(at.join("restored")).expect("it is there");
    assert_eq!(meta.mode() & 0o7777, 0o750);
    assert_eq!(meta.mtime(), 1_000_000_000);
}
