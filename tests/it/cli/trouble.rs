//! Bad input: each with its exit code, a message that says what to do, and nothing lost.

use crate::cli::{expect, given};
use std::fs;
use std::process::Command;

#[test]
fn a_missing_source_is_an_error_and_never_an_empty_success() {
    let folder = given();
    let at = folder.path();
    fs::rename(at.join("data"), at.join("moved")).expect("moved");
    let said = expect(at, 3, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(said.contains("open source directory"), "{said}");
    assert!(said.contains("Apply incomplete!"), "{said}");
    fs::create_dir(at.join("data")).expect("made");
    let said = expect(at, 3, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(said.contains("is empty"), "{said}");
    fs::remove_dir(at.join("data")).expect("removed");
    fs::rename(at.join("moved"), at.join("data")).expect("moved back");
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve"]);
}

#[test]
fn a_wrong_and_a_missing_key_are_told_apart_and_exit_with_12() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    let with_key = |key: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ccb"));
        command
            .args(["list", "plan.kdl"])
            .current_dir(at)
            .env_remove("KEY");
        if let Some(key) = key {
            command.env("KEY", key);
        }
        let output = command.output().expect("ccb can be started");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said) = with_key(Some("another"));
    assert_eq!(code, Some(12), "{said}");
    assert!(said.contains("does not open the repository"), "{said}");
    let (code, said) = with_key(None);
    assert_eq!(code, Some(12), "{said}");
    assert!(said.contains("`KEY` is not set"), "{said}");
}

#[test]
fn a_foreign_directory_is_not_touched() {
    let folder = given();
    let at = folder.path();
    fs::create_dir(at.join("repository")).expect("made");
    fs::write(at.join("repository/thesis.txt"), "mine").expect("written");
    let said = expect(at, 10, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(said.contains("holds no ccb repository"), "{said}");
    let names: Vec<_> = fs::read_dir(at.join("repository")).expect("read").collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_lost_pack_is_found_by_check_and_named() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    let pack = walkdir::WalkDir::new(at.join("repository/packs/d"))
        .into_iter()
        .filter_map(Result::ok)
        .find(|entry| entry.file_type().is_file())
        .expect("there is a data pack");
    fs::remove_file(pack.path()).expect("removed");
    let said = expect(at, 6, &["check", "plan.kdl", "--destination", "primary"]);
    assert!(said.contains("component.data"), "{said}");
    // The copy is whole: it restores.
    expect(
        at,
        0,
        &[
            "restore", "plan.kdl", "data", "--from", "second", "--to", "back",
        ],
    );
    assert_eq!(
        fs::read(at.join("back/readme.txt")).expect("read"),
        b"hello\n"
    );
}

#[test]
fn nobody_is_asked_where_nobody_is_and_nothing_is_done() {
    let folder = given();
    let at = folder.path();
    let said = expect(at, 7, &["apply", "plan.kdl"]);
    assert!(said.contains("--auto-approve"), "{said}");
    assert!(!at.join("repository").exists());
}

#[test]
fn garbage_is_no_plan_file_and_wrong_usage_is_exit_1() {
    let folder = given();
    let at = folder.path();
    fs::write(at.join("garbage.kdl"), [0xff, 0xfe, 0x00, 0x7b]).expect("written");
    expect(at, 1, &["validate", "garbage.kdl"]);
    fs::write(at.join("broken.kdl"), "plan {{{ url=s3://x \"").expect("written");
    expect(at, 1, &["validate", "broken.kdl"]);
    expect(at, 1, &["validate", "missing.kdl"]);
    expect(at, 1, &["no-such-command"]);
    expect(at, 10, &["list", "plan.kdl"]);
}

#[test]
fn a_repository_that_is_not_encrypted_is_not_written_to_where_encryption_is_asked_for() {
    let folder = given();
    let at = folder.path();
    let encrypted = fs::read_to_string(at.join("plan.kdl")).expect("read");
    let plain = encrypted.replace("encrypt \"default\"", "encrypt none=#true");
    fs::write(
        at.join("plain.kdl"),
        plain.replace("        encrypted\n", ""),
    )
    .expect("written");
    expect(at, 0, &["apply", "plain.kdl", "--auto-approve", "--quiet"]);
    let said = expect(at, 12, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(said.contains("is not encrypted"), "{said}");
}
