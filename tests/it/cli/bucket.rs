//! A bucket as a destination: what a person does with a local directory works there too.

use crate::cli::{RESTORE, given, is_back, outcome, under};
use crate::support::s3::{ACCESS_KEY, BUCKET, Fault, Quirks, SECRET_KEY, Server};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A folder whose plan file keeps its first copy in a bucket and its second beside.
pub(super) fn in_bucket(server: &Server) -> tempfile::TempDir {
    primary_in(&format!(
        "s3 \"s3://{BUCKET}/production\" endpoint=\"{}\" path-style=#true storage-class=\"STANDARD_IA\"",
        server.endpoint()
    ))
}

/// A folder whose plan file has its first copy in this bucket, and its second beside.
pub(super) fn primary_in(bucket: &str) -> tempfile::TempDir {
    let folder = given();
    let plan = folder.path().join("plan.kdl");
    let text = fs::read_to_string(&plan).expect("read");
    let bucket = format!("{bucket}\n    credentials env-prefix=\"OFFSITE_\"");
    let text = text.replace("local \"repository\"", &bucket);
    fs::write(&plan, text).expect("written");
    folder
}

pub(super) fn run(at: &Path, secret: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = under(&[], at, arguments);
    with_access(&mut command).env("OFFSITE_SECRET_ACCESS_KEY", secret);
    outcome(&mut command)
}

/// Lets a command ask the bucket.
pub(super) fn with_access(command: &mut Command) -> &mut Command {
    command
        .env("OFFSITE_ACCESS_KEY_ID", ACCESS_KEY)
        .env("OFFSITE_SECRET_ACCESS_KEY", SECRET_KEY)
}

pub(super) fn expect(at: &Path, code: i32, arguments: &[&str]) -> String {
    let (ended, said) = run(at, SECRET_KEY, arguments);
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    said
}

#[test]
fn what_goes_into_a_bucket_is_listed_checked_and_comes_back() {
    let server = Server::start();
    let folder = in_bucket(&server);
    let at = folder.path();
    let applied = expect(at, 0, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(applied.contains("1 backed up, 1 copied"), "{applied}");
    assert!(applied.contains("0 failed"), "{applied}");
    let again = expect(at, 0, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(again.contains("No changes."), "{again}");
    let objects = server.objects();
    assert!(objects.keys().all(|key| key.starts_with("production/")));
    let classes: Vec<_> = objects
        .iter()
        .filter(|(_, stored)| stored.class.is_some())
        .map(|(key, _)| key.as_str())
        .collect();
    assert!(!classes.is_empty());
    assert!(
        classes
            .iter()
            .all(|key| key.starts_with("production/packs/d/")),
        "{classes:?}"
    );
    assert!(
        !objects.values().any(|stored| holds(&stored.body, b"hello")),
        "it is encrypted"
    );

    expect(at, 0, &RESTORE);
    is_back(at);
    let checked = expect(at, 0, &["check", "plan.kdl", "--level", "3"]);
    assert!(checked.contains("No damage found."), "{checked}");
    expect(at, 0, &["list", "plan.kdl"]);
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|part| part == word)
}

#[test]
fn planning_an_unchanged_bucket_asks_little() {
    let server = Server::start();
    let folder = in_bucket(&server);
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    expect(at, 0, &["plan", "plan.kdl"]);
    let before = server.asked().len();
    expect(at, 0, &["plan", "plan.kdl"]);
    let asked = server.asked().split_off(before);
    assert!(
        asked.iter().all(|one| one.starts_with("GET ")),
        "a plan only reads: {asked:?}"
    );
    // A request for each kind of object, and one for each page of a listing.
    let objects = server.objects().len();
    assert!(
        asked.len() <= 20 + objects / 7,
        "{objects} objects, {asked:#?}"
    );
}

#[test]
fn who_is_not_let_in_loses_nothing_and_is_told_which_credentials() {
    let server = Server::start();
    let folder = in_bucket(&server);
    let at = folder.path();
    let (code, said) = run(
        at,
        "not-the-secret-of-this-bucket",
        &["apply", "plan.kdl", "--auto-approve"],
    );
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");
    assert!(server.objects().is_empty());
    let (code, said) = outcome(&mut under(
        &[],
        at,
        &["apply", "plan.kdl", "--auto-approve"],
    ));
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("OFFSITE_ACCESS_KEY_ID"), "{said}");
}

#[test]
fn a_writer_that_may_not_delete_backs_up_and_a_careless_server_is_said() {
    let keeping = Server::with(Quirks {
        denies_deletes: true,
        ..Quirks::default()
    });
    let folder = in_bucket(&keeping);
    let applied = expect(folder.path(), 0, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(applied.contains("1 backed up, 1 copied"), "{applied}");
    expect(folder.path(), 0, &["check", "plan.kdl", "--level", "3"]);

    let careless = Server::with(Quirks {
        ignores_conditions: true,
        ..Quirks::default()
    });
    let folder = in_bucket(&careless);
    expect(
        folder.path(),
        0,
        &["apply", "plan.kdl", "--auto-approve", "--quiet"],
    );
    let plan = expect(folder.path(), 0, &["plan", "plan.kdl"]);
    assert!(
        plan.contains("let no two runs write"),
        "one writer at a time is said: {plan}"
    );
}

#[test]
fn a_bucket_that_is_down_for_a_moment_or_damaged_is_no_loss() {
    let server = Server::start();
    let folder = in_bucket(&server);
    let at = folder.path();
    let mut count = 0;
    // Every fifth request fails, in turn before and after it was carried out.
    server.fail(move |_, _| {
        count += 1;
        match count % 10 {
            0 => Some(Fault::AnswerLost),
            5 => Some(Fault::Refused(503, "<Error><Code>SlowDown</Code></Error>")),
            _ => None,
        }
    });
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    server.fail(|_, _| None);
    expect(at, 0, &["check", "plan.kdl", "--level", "3"]);
    let to = [
        "restore", "plan.kdl", "data", "--from", "primary", "--to", "restored",
    ];
    expect(at, 0, &to);
    assert_eq!(
        fs::read(at.join("restored/readme.txt")).expect("restored"),
        b"hello\n"
    );
}
