//! PostgreSQL by the program itself: planned, backed up, proven, listed, put back; and what can go wrong.

use crate::cli::{outcome, under, well_before_the_hour};
use crate::source::postgres::given::{LAB, SLOW};
use crate::support::postgres::Cluster;
use crate::support::postgres_backup::everything;
use crate::support::restored::wait_for;
use ccb::source::processes;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
"#;

const COMPONENT: &str = r#"
component "NAME" {
    source "postgres" {
        host "HOST"
        port PORT
        user "postgres"
        database "NAME"
        MORE
    }
    store "primary"
    schedule "hourly" every="1h" method="dump"
    verify {
        presence
        contents {
            tables "users"
        }
        restore-test every="30d" into="temporary-database"
        encrypted
    }
}
"#;

/// A component for the database of its name.
pub(super) fn component(host: &str, port: u16, name: &str, more: &str) -> String {
    let component = COMPONENT.replace("HOST", host).replace("NAME", name);
    let component = component.replace("PORT", &port.to_string());
    component.replace("MORE", more)
}

/// A folder with a plan file of these components. Others can get to its `tmp`, as a test server's user must.
pub(super) fn given(components: &[String]) -> TempDir {
    // The plan's slots are hours.
    well_before_the_hour();
    let mut builder = tempfile::Builder::new();
    let folder = builder.prefix("ccb-it-").tempdir_in("/tmp");
    let folder = folder.expect("a temporary folder");
    let plan = format!("{PLAN}{}", components.concat());
    fs::write(folder.path().join("plan.kdl"), plan).expect("written");
    fs::create_dir(folder.path().join("tmp")).expect("made");
    for open in [folder.path(), &folder.path().join("tmp")] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o711)).expect("set");
    }
    folder
}

pub(super) fn given_for(cluster: &Cluster, names: &[&str]) -> TempDir {
    let components = names.iter();
    let components = components.map(|name| component(cluster.host(), cluster.port(), name, ""));
    given(&components.collect::<Vec<_>>())
}

/// `ccb` in `folder`, with its own temporary files.
pub(super) fn ccb_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = under(&[], folder, arguments);
    command.env("TMPDIR", folder.join("tmp"));
    command
}

/// Its exit code and what it said.
pub(super) fn run(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let (ended, said) = outcome(&mut ccb_in(folder, arguments));
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    said
}

pub(super) const APPLY: [&str; 3] = ["apply", "plan.kdl", "--auto-approve"];

#[test]
fn a_dump_is_made_proven_listed_and_put_back() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let folder = given_for(&cluster, &["lab"]);
    let at = folder.path();
    let planned = run(at, 0, &["plan", "plan.kdl"]);
    assert!(planned.contains("+ back up    dump"), "{planned}");
    let applied = run(at, 0, &APPLY);
    assert!(applied.contains("Apply complete! 1 backed up"), "{applied}");
    assert!(
        applied.contains("8 tables of 446 rows, as in the source"),
        "{applied}"
    );
    assert!(
        applied.contains("restored into a temporary server: 8 tables of 446 rows"),
        "{applied}"
    );
    assert!(run(at, 0, &APPLY).contains("No changes."));
    assert!(run(at, 0, &["list", "plan.kdl"]).contains("dump"));
    let files = run(at, 0, &["ls", "plan.kdl", "latest"]);
    for file in ["globals.sql", "lab.dump", "lab.schema.json"] {
        assert!(files.contains(file), "{files}");
    }
    run(at, 0, &["verify", "plan.kdl"]);
    run(
        at,
        0,
        &["verify", "plan.kdl", "lab", "--level", "restore-test"],
    );

    // What comes out is a dump that PostgreSQL's own programs read.
    let dump = ccb_in(at, &["cat", "plan.kdl", "lab"])
        .output()
        .expect("it runs");
    assert!(dump.status.success());
    let mut pg_restore = cluster.client("pg_restore");
    let listed = crate::support::postgres::feed(pg_restore.arg("-l"), &dump.stdout);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("TABLE DATA public users"));
    let written = run(
        at,
        0,
        &["restore", "plan.kdl", "lab", "--to", "out/lab.dump"],
    );
    assert!(written.contains("to `out/lab.dump`"), "{written}");
    assert_eq!(
        fs::read(at.join("out/lab.dump")).expect("there"),
        dump.stdout
    );
    run(
        at,
        1,
        &["restore", "plan.kdl", "lab", "--to", "out/lab.dump"],
    );
    run(at, 0, &["restore", "plan.kdl", "lab", "--to", "out/all"]);
    assert_eq!(
        fs::read(at.join("out/all/lab.dump")).expect("there"),
        dump.stdout
    );

    let before = everything(&cluster, "lab");
    let copied = run(
        at,
        0,
        &[
            "restore",
            "plan.kdl",
            "lab",
            "--to",
            "database=copy",
            "--jobs",
            "2",
        ],
    );
    assert!(
        copied.contains("Restored 8 tables of 446 rows into copy"),
        "{copied}"
    );
    assert_eq!(everything(&cluster, "copy"), before);
    let url = format!("postgres:///other?host={}&user=postgres", cluster.host());
    let part = run(
        at,
        0,
        &[
            "restore", "plan.kdl", "lab", "--to", &url, "--table", "orders",
        ],
    );
    assert!(
        part.contains("Restored 1 table of 250 rows into other"),
        "{part}"
    );
    assert!(part.contains("without the foreign key"), "{part}");

    // Into place only when somebody agrees, and never over what is there without being told to.
    let asked = run(at, 7, &["restore", "plan.kdl", "lab"]);
    assert!(
        asked.contains("say where to with --to, or add --auto-approve"),
        "{asked}"
    );
    let full = run(at, 1, &["restore", "plan.kdl", "lab", "--auto-approve"]);
    assert!(full.contains("is not empty: it has"), "{full}");
    cluster.sql("lab", "TRUNCATE users CASCADE");
    let later = everything(&cluster, "lab");
    let replace = [
        "restore",
        "plan.kdl",
        "lab",
        "--auto-approve",
        "--overwrite",
    ];
    let replaced = run(at, 0, &replace);
    assert!(
        replaced.contains("What was there before is the database lab_before_"),
        "{replaced}"
    );
    assert_eq!(everything(&cluster, "lab"), before);
    let aside = cluster.sql(
        "lab",
        "SELECT datname FROM pg_database WHERE datname LIKE 'lab_before_%'",
    );
    assert_eq!(everything(&cluster, &aside), later);
}

#[test]
fn an_unchanged_database_adds_next_to_nothing_the_next_time() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let many = "INSERT INTO users (email, notes) SELECT 'm' || n || '@x', md5(n::text) FROM generate_series(1, 20000) n";
    cluster.sql("lab", many);
    let folder = given_for(&cluster, &["lab"]);
    let at = folder.path();
    run(at, 0, &APPLY);
    let packs = || -> u64 {
        let files = walkdir::WalkDir::new(at.join("repository/packs")).into_iter();
        let files = files.map(|entry| entry.expect("read").metadata().expect("there"));
        files
            .filter(|file| file.is_file())
            .map(|file| file.len())
            .sum()
    };
    let first = packs();
    run(at, 0, &["backup", "plan.kdl", "lab"]);
    let added = packs() - first;
    assert!(added < 100_000, "{added} bytes more, {first} before");
}

#[test]
fn a_password_is_in_no_argument_of_any_program_and_in_nothing_that_is_said() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    cluster.sql(
        "postgres",
        "CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'hunter2hunter2'",
    );
    cluster.rules(&["local all keeper scram-sha-256"]);
    let more = "password file=\"password\"";
    let by_keeper = component(cluster.host(), cluster.port(), "lab", more);
    let folder = given(&[by_keeper.replace(
        "\"postgres\"\n        database",
        "\"keeper\"\n        database",
    )]);
    let at = folder.path();
    fs::write(at.join("password"), "hunter2hunter2\n").expect("written");
    for arguments in [
        &APPLY[..],
        &[
            "restore",
            "plan.kdl",
            "lab",
            "--to",
            "database=copy",
            "--roles",
        ],
    ] {
        let log = at.join("log").display().to_string();
        let starter = [
            "strace",
            "-f",
            "-qq",
            "-s",
            "100000",
            "-e",
            "trace=execve",
            "-o",
            &log,
        ];
        let mut command = under(&starter, at, arguments);
        let (code, said) = outcome(command.env("TMPDIR", at.join("tmp")));
        assert_eq!(code, Some(0), "{said}");
        let log = fs::read_to_string(at.join("log")).expect("written");
        let client = if arguments == APPLY {
            "pg_dump"
        } else {
            "pg_restore"
        };
        assert!(log.contains(client), "{log}");
        assert!(
            !log.contains("hunter2") && !said.contains("hunter2"),
            "{said}\n{log}"
        );
    }
    fs::write(at.join("password"), "wrong").expect("written");
    let wrong = run(at, 3, &["backup", "plan.kdl", "lab"]);
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    let shown = "postgres://postgres:hunter2hunter2@127.0.0.1/x";
    let refused = run(at, 1, &["restore", "plan.kdl", "lab", "--to", shown]);
    assert!(
        refused.contains("has a password in it") && !refused.contains("hunter2"),
        "{refused}"
    );
}

#[test]
fn over_tls_the_servers_certificate_and_its_name_are_checked() {
    let (cluster, certificates) = Cluster::over_tls(&[]);
    cluster.create("lab", LAB);
    let backup = |host: &str, mode: &str, ca: &str| {
        let more = format!("sslmode \"{mode}\"");
        let folder = given(&[component(host, cluster.port(), "lab", &more)]);
        let at = folder.path();
        let ca = certificates.path().join(ca);
        let (code, said) =
            outcome(ccb_in(at, &["backup", "plan.kdl", "lab"]).env("PGSSLROOTCERT", &ca));
        let json = run(at, 0, &["list", "plan.kdl", "--json"]);
        (code, said, json.contains("\"dump\""))
    };
    let (code, said, is_there) = backup("localhost", "verify-full", "ca.pem");
    assert!(code == Some(0) && is_there, "{said}");
    // Another authority, another name, and no TLS at all.
    for (host, mode, ca, why) in [
        (
            "localhost",
            "verify-full",
            "other.pem",
            "certificate verify failed",
        ),
        (
            "127.0.0.1",
            "verify-full",
            "ca.pem",
            "does not match host name",
        ),
        (
            "localhost",
            "disable",
            "ca.pem",
            "pg_hba.conf rejects connection",
        ),
    ] {
        let (code, said, is_there) = backup(host, mode, ca);
        assert!(code == Some(3) && !is_there, "{said}");
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn a_full_disk_ends_a_backup_and_a_restore_and_leaves_nothing_half_made() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let noise = "CREATE EXTENSION IF NOT EXISTS pgcrypto;
        INSERT INTO users (email, avatar) SELECT 'n' || n || '@x', gen_random_bytes(1000) FROM generate_series(1, 8000) n";
    cluster.sql("lab", noise);
    let folder = given_for(&cluster, &["lab"]);
    let at = folder.path();
    let with_full = |what: &str, arguments: &[&str]| {
        fs::create_dir_all(at.join(what)).expect("made");
        let script = format!("mount -t tmpfs -o size=3m none {what} && \"$@\"");
        let starter = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &script,
            "sh",
        ];
        outcome(under(&starter, at, arguments).env("TMPDIR", at.join("tmp")))
    };
    let (code, said) = with_full("repository", &APPLY);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ccb'";
    wait_for(|| cluster.sql("postgres", sessions) == "0");

    run(at, 0, &["backup", "plan.kdl", "lab"]);
    let copy = [
        "restore",
        "plan.kdl",
        "lab",
        "--to",
        "database=copy",
        "--jobs",
        "2",
    ];
    let (code, said) = with_full("tmp", &copy);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    let there = "SELECT count(*) FROM pg_database WHERE datname LIKE 'copy%'";
    assert_eq!(cluster.sql("postgres", there), "0");
    assert_eq!(fs::read_dir(at.join("tmp")).expect("read").count(), 0);
    run(at, 0, &copy);
}

#[test]
fn what_a_run_leaves_that_is_killed_in_a_restore_test_is_ended_and_removed_by_the_next() {
    let cluster = Cluster::start();
    cluster.create("slow", SLOW);
    cluster.create("lab", LAB);
    let folder = given_for(&cluster, &["slow", "lab"]);
    let at = folder.path();
    run(
        at,
        0,
        &[
            "apply",
            "plan.kdl",
            "--auto-approve",
            "--target",
            "component.lab",
        ],
    );
    let apply = [
        "apply",
        "plan.kdl",
        "--auto-approve",
        "--target",
        "component.slow",
    ];
    for with_its_keeper in [true, false] {
        let mut killed = ccb_in(at, &apply);
        let killed = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut killed = killed.expect("ccb can be started");
        let mut busy = None;
        wait_for(|| {
            busy = restore_tests(at).into_iter().find(|test| restores(test));
            let ended = killed.try_wait().expect("asked");
            assert!(busy.is_some() || ended.is_none(), "it ended by itself");
            busy.is_some()
        });
        let test = busy.expect("it came");
        if with_its_keeper {
            // What would end the server when its run is gone.
            for shell in named(&test, "sh") {
                let mut kill = Command::new("kill");
                kill.args(["-KILL", &shell.to_string()])
                    .status()
                    .expect("it runs");
            }
        }
        killed.kill().expect("killed");
        killed.wait().expect("it ended");
        match with_its_keeper {
            true => assert_ne!(
                named(&test, "postgres"),
                [0; 0],
                "the server outlives its run"
            ),
            false => wait_for(|| named(&test, "postgres").is_empty()),
        }
        run(
            at,
            0,
            &["verify", "plan.kdl", "lab", "--level", "restore-test"],
        );
        assert!(restore_tests(at).is_empty());
        assert_eq!(fs::read_dir(at.join("tmp")).expect("read").count(), 0);
    }
}

/// Directories of restore tests.
fn restore_tests(at: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(at.join("tmp")).expect("read");
    let paths = entries.map(|entry| entry.expect("read").path());
    paths.filter(|path| path.is_dir()).collect()
}

/// Processes of a name that work in a directory.
fn named(directory: &Path, name: &str) -> Vec<i32> {
    let found = processes::using(directory).unwrap_or_default().into_iter();
    let found = found.filter(|process| process.name == name && process.open.is_none());
    found.map(|process| process.id).collect()
}

/// Whether a session of the server in `test` puts rows in.
fn restores(test: &Path) -> bool {
    let sessions = named(test, "postgres").into_iter();
    let title = |id: i32| fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    sessions
        .map(title)
        .any(|title| String::from_utf8_lossy(&title).contains("COPY"))
}

#[test]
fn two_dumps_and_the_live_database_are_compared_down_to_columns() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let folder = given_for(&cluster, &["lab"]);
    let at = folder.path();
    run(at, 0, &["backup", "plan.kdl", "lab"]);
    let sources = ["plan", "plan.kdl", "--sources"];
    let same = run(at, 0, &sources);
    assert!(
        !same.contains("CCB223") && !same.contains("CCB220"),
        "{same}"
    );

    let changes = "DROP MATERIALIZED VIEW totals;
        ALTER TABLE orders ADD COLUMN paid boolean NOT NULL DEFAULT false, ALTER COLUMN total TYPE numeric(14, 2);
        DROP TABLE empty; CREATE TABLE products (id int PRIMARY KEY, name text);
        DELETE FROM scratch; INSERT INTO bare SELECT; UPDATE users SET feels = 'sad' WHERE id = 7";
    cluster.sql("lab", changes);
    let drift = run(at, 0, &sources);
    for line in [
        "+ TABLE public.products (2 columns)",
        "- TABLE public.empty (1 column)",
        "~ TABLE public.orders: ~ total: NUMERIC(12,2) -> NUMERIC(14,2); + paid BOOLEAN DEFAULT false NOT NULL",
    ] {
        assert!(drift.contains(line), "{line}\n{drift}");
    }
    let json = run(at, 0, &[&sources[..], &["--json"]].concat());
    assert!(
        json.contains("ccb restore FILE lab --table public.empty"),
        "{json}"
    );
    // Looking is asked for, every time.
    let unasked = run(at, 0, &["plan", "plan.kdl"]);
    assert!(!unasked.contains("CCB223"), "{unasked}");

    run(at, 0, &["backup", "plan.kdl", "lab"]);
    let diff = run(at, 0, &["diff", "plan.kdl", "latest~1", "latest"]);
    for line in [
        "In the schema:",
        "+ TABLE public.products (2 columns)",
        "- TABLE public.empty (1 column)",
        "In the rows:",
        "~ public.bare: 3 -> 4 rows",
        "~ public.scratch: 1 -> 0 rows",
        "~ public.users: 100 rows, others than before",
    ] {
        assert!(diff.lines().any(|found| found == line), "{line}\n{diff}");
    }
    let json = run(at, 0, &["diff", "plan.kdl", "latest~1", "latest", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let orders = json["schema"].as_array().expect("a list").iter();
    let mut orders = orders.filter(|one| one["object"] == "TABLE public.orders");
    let orders = orders.next().expect("it changed");
    assert_eq!(orders["how"], "changed");
    assert_eq!(
        orders["columns"][1]["after"],
        "BOOLEAN DEFAULT false NOT NULL"
    );
    assert!(!run(at, 0, &sources).contains("CCB223"));
}

#[test]
fn a_table_that_is_expected_and_absent_is_found_before_the_backup_and_only_when_asked_to_look() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    cluster.sql("lab", "ALTER TABLE users RENAME TO people");
    let folder = given_for(&cluster, &["lab"]);
    let at = folder.path();
    let plan = fs::read_to_string(at.join("plan.kdl")).expect("read");
    // Whatever the server is reached through leaves a mark.
    let via = at.join("via");
    fs::write(&via, "#!/bin/sh\n: > \"${0%/*}/mark\"\nexec \"$@\"\n").expect("written");
    fs::set_permissions(&via, fs::Permissions::from_mode(0o755)).expect("set");
    let through = format!("database \"lab\"\n        via {via:?}");
    let plan = plan
        .replace("database \"lab\"", &through)
        .replace("\"development\"", "\"staging\"");
    fs::write(at.join("plan.kdl"), plan).expect("written");
    let mark = at.join("mark");
    let (_, unasked) = outcome(&mut ccb_in(at, &["plan", "plan.kdl"]));
    assert!(!mark.exists() && !unasked.contains("CCB220"), "{unasked}");
    let (code, asked) = outcome(&mut ccb_in(at, &["plan", "plan.kdl", "--sources"]));
    assert!(mark.exists(), "{asked}");
    assert_eq!(code, Some(4), "{asked}");
    let missing = "component.lab lacks table \"users\", before the backup is made";
    assert!(
        asked.contains("CCB220 tables-missing") && asked.contains(missing),
        "{asked}"
    );
    let stopped = run(at, 4, &["apply", "plan.kdl", "--auto-approve", "--sources"]);
    assert!(
        stopped.contains(missing) && !at.join("repository").exists(),
        "{stopped}"
    );
    // What is made all the same fails its check, so that nothing older is forgotten for it.
    let made = run(at, 6, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(made.contains("the dump lacks table \"users\""), "{made}");

    drop(cluster);
    let (code, down) = outcome(&mut ccb_in(at, &["plan", "plan.kdl", "--sources"]));
    assert!(
        down.contains("Warning: component.lab could not be looked at"),
        "{down}"
    );
    assert_ne!(code, Some(1), "the plan stands without: {down}");
}
