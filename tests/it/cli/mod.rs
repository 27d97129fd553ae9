//! Tests of `cli`: the program itself, as a person runs it.

mod base_test;
mod bucket;
mod bucket_drift;
mod bucket_source;
mod bucket_trouble;
mod ceph;
mod events;
mod export;
mod faults;
mod healing;
mod hosts;
mod key;
mod locks;
mod looking;
mod mirror;
mod mirror_trouble;
mod notify;
mod point_in_time;
mod point_in_time_trouble;
mod postgres;
mod postgres_trouble;
mod production;
mod prune;
mod reading;
mod readme;
mod readme_bucket;
mod readme_redis;
mod redis;
mod requests;
mod resume;
mod round_trip;
mod second_day;
mod server;
mod started;
mod trouble;
mod wal;
mod wal_trouble;

use crate::support::awaited;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

/// A key of 32 bytes: the program is started often here, and a passphrase is slow on purpose.
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Runs `ccb` in `folder`, with nothing of this machine's settings.
fn ccb(folder: &Path, arguments: &[&str]) -> Output {
    awaited::output(&mut under(&[], folder, arguments))
}

/// `ccb` in `folder`, started by `starter`: `strace -f …`, `unshare -m …`.
fn under(starter: &[&str], folder: &Path, arguments: &[&str]) -> Command {
    let mut words = starter.iter().chain([&env!("CARGO_BIN_EXE_ccb")]);
    let mut command = Command::new(words.next().expect("there is at least ccb"));
    command
        .args(words)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CCB_CACHE_DIR", folder.join("cache"))
        .env("CCB_STATE_DIR", folder.join("state"))
        .env("CCB_USER", "ana")
        .env("KEY", KEY);
    command
}

/// Runs a command: its exit code, none when it was killed, and what it said on both streams.
fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let output = awaited::output(command);
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Runs `ccb`, which must end with `code`, and gives what it printed on both streams.
fn expect(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let (ended, said) = outcome(&mut under(&[], folder, arguments));
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    said
}

/// Restores what [`given`] gives, from its first destination.
const RESTORE: [&str; 7] = [
    "restore", "plan.kdl", "data", "--from", "primary", "--to", "restored",
];

/// What [`given`] gives was restored.
fn is_back(folder: &Path) {
    let same = |path: &str| std::fs::read(folder.join("restored").join(path)).expect("restored");
    assert_eq!(same("readme.txt"), b"hello\n");
    assert_eq!(same("deep/er/file.bin"), [7; 300_000]);
}

/// A slot of `every="1h"` begins on the hour, UTC: where one would begin between a backup and the command after it,
/// which then finds a backup due, this waits until it has begun.
pub(crate) fn well_before_the_hour() {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock");
    let left = 3600 - now.as_secs() % 3600;
    if left < 90 {
        std::thread::sleep(Duration::from_secs(left + 1));
    }
}

/// A folder with a tree to protect and a plan file for it.
fn given() -> tempfile::TempDir {
    // The plan's slots are hours.
    well_before_the_hour();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    };
    write("data/readme.txt", b"hello\n");
    write("data/deep/er/file.bin", &[7; 300_000]);
    write("data/empty", b"");
    write("plan.kdl", PLAN.as_bytes());
    folder
}

const PLAN: &str = r#"
plan "test" environment="development" format=1

encryption "default" {
    key env="KEY"
}

destination "primary" {
    local "repository"
    encrypt "default"
}

destination "second" {
    local "second"
    encrypt "default"
}

component "data" {
    source "files" {
        path "data"
    }
    store "primary" "second"
    schedule "hourly" every="1h" method="incremental"
    retain {
        last 3
    }
    verify {
        presence
        contents
        integrity every="7d"
        restore-test every="30d" into="temporary-directory"
        encrypted
    }
}
"#;
