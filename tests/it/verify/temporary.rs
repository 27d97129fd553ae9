//! Temporary directories: gone when done, and also when the run was killed.

use crate::support::redis::Server;
use ccb::verify::{TemporaryDirectory, remove_stale};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Somebody who works in a directory, until dropped.
struct Person(Child);

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("reads");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("reads")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_dropped_directory_is_gone_with_all_that_is_in_it() {
    let parent = TempDir::new().expect("a directory");
    let directory = TemporaryDirectory::new(parent.path(), 7).expect("made");
    let mode = fs::metadata(directory.path())
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    let inner = directory.path().join("a/b");
    fs::create_dir_all(&inner).expect("made");
    fs::write(inner.join("x"), b"x").expect("written");
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o000)).expect("set");
    drop(directory);
    assert!(names(parent.path()).is_empty());
}

#[test]
fn what_a_killed_run_left_is_removed_and_what_is_in_use_or_not_ours_stays() {
    let parent = TempDir::new().expect("a directory");
    let used = TemporaryDirectory::new(parent.path(), 1).expect("made");
    // What is left of a run that was killed: nobody holds the lock.
    let stale = parent.path().join("ccb-restore-test-1-0000000000000002");
    fs::create_dir_all(stale.join("restored")).expect("made");
    fs::write(
        parent
            .path()
            .join("ccb-restore-test-1-0000000000000002.lock"),
        b"",
    )
    .expect("written");
    fs::create_dir(parent.path().join("ccb-restore-test-without-lock")).expect("made");
    fs::write(parent.path().join("other.lock"), b"").expect("written");

    assert_eq!(remove_stale(parent.path()).expect("removes"), [stale]);
    let used_name = used
        .path()
        .file_name()
        .expect("named")
        .to_str()
        .expect("text")
        .to_owned();
    let mut left = vec![
        used_name.clone(),
        format!("{used_name}.lock"),
        "ccb-restore-test-without-lock".to_owned(),
        "other.lock".to_owned(),
    ];
    left.sort();
    assert_eq!(names(parent.path()), left);
    used.remove().expect("removed");
    assert_eq!(names(parent.path()).len(), 2);
}

#[test]
fn a_server_that_a_killed_run_left_is_ended_and_nothing_else_that_works_there() {
    let parent = TempDir::new().expect("a directory");
    let stale = parent.path().join("ccb-restore-test-1-0000000000000003");
    fs::create_dir(&stale).expect("made");
    fs::write(
        parent
            .path()
            .join("ccb-restore-test-1-0000000000000003.lock"),
        b"",
    )
    .expect("written");
    let server = Server::start_on(&stale, &[]);
    let process = format!("/proc/{}", server.pid());
    // With no stream of the test's, which would not end before it does.
    let person = Command::new("sleep")
        .arg("600")
        .current_dir(&stale)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut person = Person(person.expect("started"));
    let used = TemporaryDirectory::new(parent.path(), 4).expect("made");
    let in_use = Server::start_on(used.path(), &[]);

    assert_eq!(remove_stale(parent.path()).expect("removes"), [stale]);
    let state = fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
    // Its parent, which is this test, has not asked for its end yet.
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
    assert!(
        person.0.try_wait().expect("asked").is_none(),
        "who looks around is no server"
    );
    assert_eq!(in_use.call::<String>(&["PING"]), "PONG");
}
