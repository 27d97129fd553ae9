//! Redis by the program itself: planned, backed up, proven, listed, put back; and what can go wrong.

use crate::cli::{KEY, ccb, expect, outcome, under, well_before_the_hour};
use crate::support::awaited;
use crate::support::redis::{Server, certificates, fill, free_port};
use crate::support::restored::wait_for;
use ccb::source::processes;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PLAN: &str = r#"
plan "test" environment="development" format=1

encryption "default" {
    key env="KEY"
}

destination "primary" {
    local "repository"
    encrypt "default"
}

component "cache" {
    source "redis" {
        url file="url"
        DATA
    }
    store "primary"
    SCHEDULES
    verify {
        presence
        contents keys-tolerance="1%"
        restore-test every="30d" into="temporary-redis"
        encrypted
    }
}
"#;

const BOTH: &str = r#"schedule "aof" every="1h" method="aof"
    schedule "rdb" every="1h" method="rdb""#;
const RDB: &str = r#"schedule "rdb" every="1h" method="rdb""#;

/// A folder with a plan file for a server.
fn given(url: &str, data: Option<&Path>, schedules: &str) -> TempDir {
    // The plan's slots are hours.
    well_before_the_hour();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = data.map_or_else(String::new, |data| format!("data-dir {data:?}"));
    let plan = PLAN.replace("DATA", &data).replace("SCHEDULES", schedules);
    fs::write(folder.path().join("plan.kdl"), plan).expect("written");
    fs::write(folder.path().join("url"), url).expect("written");
    fs::create_dir(folder.path().join("tmp")).expect("made");
    folder
}

fn given_for(server: &Server, schedules: &str) -> TempDir {
    given(&server.url(), Some(server.data()), schedules)
}

/// Like `ccb`, and with one more variable in its environment.
fn ccb_with(folder: &Path, arguments: &[&str], change: (&str, &Path)) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ccb"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", folder.join("tmp"))
        .env("CCB_CACHE_DIR", folder.join("cache"))
        .env("KEY", "correct horse battery staple");
    awaited::output(command.env(change.0, change.1))
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

const APPLY: [&str; 3] = ["apply", "plan.kdl", "--auto-approve"];

#[test]
fn snapshots_and_append_only_files_are_made_proven_listed_and_put_back() {
    let server = Server::start(&[("appendonly", "yes")]);
    fill(&server);
    let digest = server.digest();
    let folder = given_for(&server, BOTH);
    let at = folder.path();
    let applied = expect(at, 0, &APPLY);
    assert!(applied.contains("Apply complete! 2 backed up"), "{applied}");
    assert!(applied.contains("7 verified"), "{applied}");
    assert!(
        applied.contains("a server started on it and has all 949 keys"),
        "{applied}"
    );
    assert!(expect(at, 0, &APPLY).contains("No changes."));

    let listed = ccb(at, &["list", "plan.kdl", "--json"]).stdout;
    let rows: serde_json::Value = serde_json::from_slice(&listed).expect("JSON");
    let id = |method: &str| {
        let rows = rows["backups"].as_array().expect("rows").iter();
        let row = rows
            .into_iter()
            .find(|row| row["method"] == method)
            .expect("there");
        row["id"].as_str().expect("an id").to_owned()
    };
    let (rdb, aof) = (id("rdb"), id("aof"));
    assert!(
        expect(at, 0, &["ls", "plan.kdl", &aof])
            .contains("appendonlydir/appendonly.aof.1.incr.aof")
    );
    let snapshot = ccb(at, &["cat", "plan.kdl", &rdb, "dump.rdb"]).stdout;
    fs::write(at.join("cat.rdb"), snapshot).expect("written");
    let checked = Command::new("redis-check-rdb")
        .arg(at.join("cat.rdb"))
        .output()
        .expect("it is there");
    assert!(checked.status.success(), "{checked:?}");

    let running = expect(at, 1, &["restore", "plan.kdl", "cache", "--auto-approve"]);
    assert!(running.contains("is running, and"), "{running}");
    let back = |id: &str, to: &str| {
        let said = expect(
            at,
            0,
            &["restore", "plan.kdl", "cache", "--backup", id, "--to", to],
        );
        assert!(said.contains("--appendonly yes"), "{said}");
        let settings = [("appendonly", "yes"), ("aof-load-truncated", "no")];
        Server::start_on(&at.join(to), &settings)
    };
    assert_eq!(back(&rdb, "from-rdb").digest(), digest);
    assert_eq!(back(&aof, "from-aof").digest(), digest);

    // Into place, once the server has stopped.
    let data = server.data().to_path_buf();
    let keep = server.into_folder();
    let full = expect(at, 1, &["restore", "plan.kdl", "cache", "--auto-approve"]);
    assert!(
        full.contains("is not empty: it has appendonlydir"),
        "{full}"
    );
    let replace = [
        "restore",
        "plan.kdl",
        "cache",
        "--backup",
        &rdb,
        "--auto-approve",
        "--overwrite",
    ];
    let moved = expect(at, 0, &replace);
    assert!(moved.contains("What Redis had there is now in"), "{moved}");
    assert_eq!(
        Server::start_on(&data, &[("appendonly", "yes")]).digest(),
        digest
    );
    drop(keep);
}

#[test]
fn an_unchanged_server_adds_next_to_nothing_the_next_time() {
    let server = Server::start(&[("maxmemory-policy", "allkeys-lru")]);
    fill(&server);
    let folder = given_for(&server, RDB);
    let at = folder.path();
    expect(at, 0, &APPLY);
    let packs = |at: &Path| -> u64 {
        let files = walkdir::WalkDir::new(at.join("repository/packs")).into_iter();
        let files = files
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file());
        files
            .map(|entry| entry.metadata().expect("there").len())
            .sum()
    };
    let first = packs(at);
    expect(at, 0, &["backup", "plan.kdl", "cache"]);
    let added = packs(at) - first;
    assert!(added < 30_000, "{added} bytes more");
}

#[test]
fn two_snapshots_are_compared_by_their_keys() {
    let server = Server::start(&[]);
    fill(&server);
    let folder = given_for(&server, RDB);
    let at = folder.path();
    expect(at, 0, &["backup", "plan.kdl", "cache"]);
    server.call::<()>(&["DEL", "hash:1", "key:1"]);
    expect(at, 0, &["backup", "plan.kdl", "cache"]);
    let diff = ["diff", "plan.kdl", "latest~1", "latest"];
    let text = expect(at, 0, &diff);
    for line in [
        "In the keys:",
        "~ database 0: 948 -> 946 keys",
        "~ type hash: 11 -> 10 keys",
        "~ type string: 902 -> 901 keys",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let json = expect(at, 0, &[&diff[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["keys"][0]["of"], "database 0");
    assert_eq!(json["keys"][0]["after"], 946);
    assert_eq!(json["keys"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_wrong_password_a_server_that_is_down_and_one_without_append_only_end_the_step_and_leave_no_backup()
 {
    let server = Server::start(&[("requirepass", "right")]);
    let folder = given(
        &format!("unix://{}?pass=hunter2", server.socket().display()),
        None,
        RDB,
    );
    let wrong = expect(folder.path(), 3, &APPLY);
    assert!(wrong.contains("user or password is not right"), "{wrong}");
    assert!(!wrong.contains("hunter2"), "{wrong}");
    let folder = given("redis://127.0.0.1:1", None, RDB);
    let down = expect(folder.path(), 3, &APPLY);
    assert!(
        down.contains("connect to Redis at `127.0.0.1:1`: is it running?"),
        "{down}"
    );
    let server = Server::start(&[]);
    let folder = given_for(&server, BOTH);
    let without = expect(folder.path(), 3, &APPLY);
    assert!(without.contains("has `appendonly no`"), "{without}");
    let listed = expect(folder.path(), 0, &["list", "plan.kdl", "--json"]);
    assert!(
        listed.contains("\"rdb\"") && !listed.contains("\"aof\""),
        "{listed}"
    );
    let folder = given_for(&server, RDB);
    fs::remove_file(folder.path().join("url")).expect("removed");
    let unknown = expect(folder.path(), 3, &APPLY);
    assert!(
        unknown.contains("read the secret of component `cache`"),
        "{unknown}"
    );
}

#[test]
fn over_tls_the_certificate_is_checked_for_commands_and_for_the_stream() {
    let certificates = certificates();
    let port = free_port().to_string();
    let path = |name: &str| certificates.path().join(name).display().to_string();
    let server = Server::start(&[
        ("tls-port", &port),
        ("tls-cert-file", &path("server.pem")),
        ("tls-key-file", &path("server.key")),
        ("tls-ca-cert-file", &path("ca.pem")),
        ("tls-auth-clients", "no"),
        ("requirepass", "secret"),
    ]);
    let mut server = server;
    server.log_in("?pass=secret");
    fill(&server);
    let folder = given(&format!("rediss://:secret@localhost:{port}"), None, RDB);
    let trusting = |ca: &str| {
        let ca = certificates.path().join(ca);
        ccb_with(folder.path(), &APPLY, ("SSL_CERT_FILE", &ca))
    };
    let other = trusting("other.pem");
    assert_eq!(other.status.code(), Some(3), "{}", said(&other));
    assert!(
        said(&other).contains("invalid peer certificate"),
        "{}",
        said(&other)
    );
    let good = trusting("ca.pem");
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    assert!(said(&good).contains("1 backed up"), "{}", said(&good));
}

#[test]
fn a_full_disk_at_the_destination_is_an_error_and_leaves_no_backup() {
    let server = Server::start(&[]);
    fill(&server);
    for number in 0..40_u64 {
        let noise = crate::repository::given::noise(&number.to_string(), 200_000);
        let mut connection = server.connect();
        redis::cmd("SET")
            .arg(number)
            .arg(noise)
            .exec(&mut connection)
            .expect("set");
    }
    let folder = given_for(&server, RDB);
    fs::create_dir(folder.path().join("repository")).expect("made");
    let script = "mount -t tmpfs -o size=3m none repository && \"$0\" apply plan.kdl --auto-approve; code=$?; \"$0\" list plan.kdl --json; exit $code";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_ccb"))
        .current_dir(folder.path())
        .env("KEY", "correct horse battery staple")
        .env("CCB_CACHE_DIR", folder.path().join("cache"))
        .output()
        .expect("unshare is there");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("No space left on device"), "{text}");
    assert!(text.contains("[]"), "no backup is listed: {text}");
    let mut tempfiles = fs::read_dir(folder.path().join("tmp")).expect("read");
    assert!(tempfiles.next().is_none());
}

#[test]
fn whoever_may_not_read_the_files_of_the_server_gets_them_streamed() {
    let server = Server::start(&[]);
    fill(&server);
    let folder = given_for(&server, RDB);
    let at = folder.path();
    // What Redis saves from now on, nobody may read but root, and here not even root.
    let set = Command::new("setfacl")
        .args(["-d", "-m", "u::---,g::---,o::---"])
        .arg(server.data())
        .status();
    assert!(set.expect("setfacl is there").success());
    let starter = ["unshare", "--user"];
    let (code, text) = outcome(&mut under(&starter, at, &["backup", "plan.kdl", "cache"]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("streamed instead: read `"), "{text}");
    assert!(text.contains("Permission denied"), "{text}");
    expect(at, 0, &["verify", "plan.kdl", "cache"]);
}

#[test]
fn plan_with_sources_tells_what_a_backup_would_fail_at_and_changes_nothing_there() {
    let server = Server::start(&[]);
    fill(&server);
    let folder = given_for(&server, BOTH);
    let at = folder.path();
    let look = ["plan", "plan.kdl", "--sources"];
    let without = expect(at, 0, &look);
    assert!(without.contains("CCB224"), "{without}");
    assert!(
        without.contains("by method aof now: Redis at") && without.contains("has `appendonly no`"),
        "{without}"
    );
    assert!(!without.contains("by method rdb"), "{without}");
    assert!(
        !expect(at, 0, &["plan", "plan.kdl"]).contains("CCB224"),
        "nobody asked"
    );
    server.call::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    server.wait_for("aof_rewrite_in_progress", "0");
    let with = expect(at, 0, &look);
    assert!(!with.contains("CCB224"), "{with}");
    assert_eq!(server.info("rdb_saves"), "0", "looking saves nothing");
    drop(server);
    let down = expect(at, 0, &look);
    assert!(down.contains("is it running?"), "{down}");
}

#[test]
fn a_full_disk_at_the_target_of_a_restore_leaves_everything_there_as_it_was() {
    let server = Server::start(&[]);
    fill(&server);
    let folder = given_for(&server, RDB);
    let at = folder.path();
    expect(at, 0, &["backup", "plan.kdl", "cache"]);
    fs::create_dir(at.join("data")).expect("made");
    // The data are larger than that.
    let script = "mount -t tmpfs -o size=3m none data && echo precious > data/dump.rdb && \"$0\" restore plan.kdl cache --to data --overwrite; code=$?; echo data has $(ls data): $(cat data/dump.rdb); exit $code";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_ccb"))
        .current_dir(at)
        .env("KEY", KEY)
        .env("CCB_CACHE_DIR", at.join("cache"))
        .output()
        .expect("unshare is there");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("No space left on device"), "{text}");
    assert!(text.contains("data has dump.rdb: precious"), "{text}");
}

#[test]
fn a_restore_that_is_killed_at_any_step_of_the_exchange_loses_nothing_and_can_be_done_again() {
    let server = Server::start(&[]);
    fill(&server);
    let digest = server.digest();
    let folder = given_for(&server, RDB);
    let at = folder.path();
    expect(at, 0, &["backup", "plan.kdl", "cache"]);
    let restore = [
        "restore",
        "plan.kdl",
        "cache",
        "--to",
        "data",
        "--overwrite",
    ];
    for when in 1..=2 {
        fs::create_dir(at.join("data")).expect("made");
        fs::write(at.join("data/dump.rdb"), "precious").expect("written");
        let inject = format!("inject=renameat2:signal=KILL:when={when}");
        let strace = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=renameat2",
            "-e",
            &inject,
        ];
        let (code, text) = outcome(&mut under(&strace, at, &restore));
        assert_eq!(code, None, "{text}");
        expect(at, 0, &restore);
        let files = walkdir::WalkDir::new(at.join("data")).into_iter();
        let kept = files
            .filter_map(Result::ok)
            .any(|entry| fs::read(entry.path()).is_ok_and(|bytes| bytes == b"precious"));
        assert!(kept, "what was there is lost");
        assert!(!at.join("data/ccb-restoring").exists());
        assert_eq!(Server::start_on(&at.join("data"), &[]).digest(), digest);
        fs::remove_dir_all(at.join("data")).expect("removed");
    }
}

#[test]
fn where_there_is_no_redis_server_the_backup_stands_and_its_restore_test_says_what_is_missing() {
    let server = Server::start(&[]);
    fill(&server);
    let folder = given_for(&server, RDB);
    let none = folder.path().join("none");
    fs::create_dir(&none).expect("made");
    let output = ccb_with(folder.path(), &APPLY, ("PATH", &none));
    let text = said(&output);
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(
        text.contains("a restore test needs Redis on this machine"),
        "{text}"
    );
    assert!(text.contains("1 backed up"), "{text}");
    // With it, the same backup passes.
    let output = ccb_with(folder.path(), &APPLY, ("CCB_USER", Path::new("ana")));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_run_that_is_killed_in_a_restore_test_takes_its_server_along_and_the_next_one_removes_the_rest()
{
    let server = Server::start(&[]);
    fill(&server);
    let folder = given_for(&server, RDB);
    let at = folder.path();
    // A server that takes for ever to load: a second for each key.
    let slow = at.join("bin/redis-server");
    fs::create_dir(at.join("bin")).expect("made");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exec {real} --version\nexec {real} \"$@\" --key-load-delay 1000000\n",
        real = "/usr/bin/redis-server"
    );
    fs::write(&slow, script).expect("written");
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).expect("set");
    let path = format!(
        "{}:{}",
        at.join("bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut run = Command::new(env!("CARGO_BIN_EXE_ccb"))
        .args(APPLY)
        .current_dir(at)
        .env("PATH", path)
        .env("TMPDIR", at.join("tmp"))
        .env("CCB_CACHE_DIR", at.join("cache"))
        .env("KEY", "correct horse battery staple")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("ccb can be started");
    let server_of = |test: &PathBuf| {
        processes::using(test)
            .ok()?
            .into_iter()
            .find(|p| p.name == "redis-server")
    };
    let started = Instant::now();
    let (test, left) = loop {
        let found = restore_tests(at)
            .into_iter()
            .find_map(|test| Some((test.clone(), server_of(&test)?)));
        if let Some(found) = found {
            break found;
        }
        assert!(
            run.try_wait().expect("asked").is_none(),
            "it ended by itself"
        );
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "no server was started"
        );
        sleep(Duration::from_millis(20));
    };
    run.kill().expect("killed");
    run.wait().expect("it ended");
    wait_for(|| server_of(&test).is_none());
    assert!(test.exists(), "there is something to clean up");

    let output = ccb_with(at, &APPLY, ("CCB_USER", Path::new("ana")));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(restore_tests(at).is_empty());
    // One that has ended is there until whoever adopted it has looked: `Z`.
    let state = fs::read_to_string(format!("/proc/{}/stat", left.id)).unwrap_or_default();
    let runs = state.contains("redis-server") && !state.contains(") Z ");
    assert!(!runs, "the server was left: {state}");
}

fn restore_tests(at: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(at.join("tmp")).expect("read");
    let paths = entries.map(|entry| entry.expect("read").path());
    paths.filter(|path| path.is_dir()).collect()
}
