//! Base backups of real servers: what is in one, and which servers are refused before or while one is taken.

use crate::support::postgres::{Cluster, Options, SUPERUSER};
use crate::support::restored::wait_for;
use ccb::model::tree::{Body, Found, NodeKind};
use ccb::model::wal::{BaseFacts, Lsn};
use ccb::source::cluster::{base, server};
use ccb::source::postgres::connection::Connection;
use ccb::source::{Capture, Facts, SourceError};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::time::Duration;

fn connection(cluster: &Cluster, user: &str) -> Connection {
    Connection::local(cluster.host(), user, "postgres")
}

/// Archives nowhere, successfully.
const ARCHIVES: [&str; 2] = ["archive_mode = on", "archive_command = '/bin/true'"];

fn archiving(initdb: &[&str]) -> Cluster {
    Cluster::with(&Options {
        initdb,
        settings: &ARCHIVES,
        listen: None,
    })
}

fn start(cluster: &Cluster, user: &str, has_archive: bool) -> Result<Capture, SourceError> {
    let connection = connection(cluster, user);
    let server = server::ask(&connection)?;
    let request = base::Request {
        connection,
        label: "a test".to_owned(),
        is_fast: true,
        has_archive,
        patience: Duration::from_millis(300),
    };
    base::start(request, server)
}

/// Reads all of it as the repository does: each file before the next is asked for.
fn read(capture: Capture) -> Result<(BTreeMap<String, Vec<u8>>, Facts), String> {
    let mut files = BTreeMap::new();
    for found in capture.walk {
        let Found { path, node, body } = found.map_err(|e| e.to_string())?;
        let path = String::from_utf8(path).unwrap();
        let mut bytes = Vec::new();
        if let Body::Stream(open) = body {
            let read = open
                .open()
                .and_then(|mut from| from.read_to_end(&mut bytes));
            read.map_err(|e| e.to_string())?;
        }
        if let NodeKind::File { size, .. } = node.kind {
            assert_eq!(bytes.len() as u64, size, "{path}");
            files.insert(path, bytes);
        }
    }
    let facts = (capture.finish)().map_err(|e| e.to_string())?;
    Ok((files, facts))
}

fn refused(capture: Result<Capture, SourceError>) -> String {
    match capture {
        Ok(_) => panic!("it was not refused"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn a_base_has_every_file_and_says_which_wal_it_needs() {
    let cluster = archiving(&["--data-checksums"]);
    cluster.sql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 200000) AS n",
    );
    cluster.sql(
        "postgres",
        "CREATE UNLOGGED TABLE u AS SELECT 1 AS n; CHECKPOINT",
    );
    let path = |table: &str| {
        cluster.sql(
            "postgres",
            &format!("SELECT pg_relation_filepath('{table}')"),
        )
    };
    let (table, unlogged) = (path("t"), path("u"));
    let (files, facts) = read(start(&cluster, SUPERUSER, false).unwrap()).unwrap();
    let on_disk = fs::read(cluster.data().join(&table)).unwrap();
    assert!(on_disk.len() > 4 << 20 && files[&table] == on_disk);
    assert!(
        !files.contains_key(&unlogged),
        "it is empty after a recovery anyway"
    );
    assert!(!files.contains_key("postmaster.pid"));
    assert!(
        !files.keys().any(|path| path.starts_with("pg_wal/0")),
        "WAL is archived"
    );
    let base: BaseFacts = serde_json::from_value(facts.source["base"].clone()).unwrap();
    let system = cluster.sql(
        "postgres",
        "SELECT system_identifier FROM pg_control_system()",
    );
    assert_eq!(base.system_identifier.to_string(), system);
    assert_eq!((base.timeline, base.segment_bytes.get()), (1, 1 << 20));
    assert!(base.start_lsn > Lsn(0) && base.stop_lsn > base.start_lsn);
    assert_eq!(base.checksums_verified, Some(true));
    assert!(
        base.backup_label.contains("LABEL: a test"),
        "{}",
        base.backup_label
    );
    assert!(facts.tools["pg_basebackup"].contains('.'));
}

#[test]
fn a_server_whose_base_would_restore_nothing_is_refused() {
    let silent = Cluster::start();
    let said = refused(start(&silent, SUPERUSER, false));
    assert!(said.contains("archive_mode is off"), "{said}");
    let capture = start(&silent, SUPERUSER, true).unwrap();
    read(capture).unwrap();
}

#[test]
fn a_server_that_is_to_archive_and_has_no_command_is_refused() {
    let cluster = Cluster::with(&Options {
        initdb: &[],
        settings: &["archive_mode = on"],
        listen: None,
    });
    let said = refused(start(&cluster, SUPERUSER, false));
    assert!(
        said.contains("archive_command is empty") && said.contains("ccb wal push"),
        "{said}"
    );
    // What copies its WAL in another way does not end the wait.
    let said = refused(start(&cluster, SUPERUSER, true));
    assert!(said.contains("pg_receivewal"), "{said}");
    // It is nobody's secret.
    cluster.sql("postgres", "CREATE ROLE backup LOGIN REPLICATION");
    let said = refused(start(&cluster, "backup", false));
    assert!(said.contains("archive_command is empty"), "{said}");
}

#[test]
fn a_role_without_the_right_and_a_server_with_tablespaces_are_refused() {
    let cluster = archiving(&[]);
    cluster.sql("postgres", "CREATE ROLE plain LOGIN");
    let said = refused(start(&cluster, "plain", false));
    assert!(said.contains("REPLICATION"), "{said}");
    let elsewhere = cluster.data().join("../elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    crate::support::postgres::give_to_server_user(&elsewhere);
    let place = elsewhere.canonicalize().unwrap();
    cluster.sql(
        "postgres",
        &format!("CREATE TABLESPACE big LOCATION '{}'", place.display()),
    );
    let said = refused(start(&cluster, SUPERUSER, false));
    assert!(said.contains("tablespaces (big)"), "{said}");
}

#[test]
fn a_damaged_page_ends_the_backup_and_is_named() {
    let mut cluster = archiving(&["--data-checksums"]);
    cluster.sql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n; CHECKPOINT",
    );
    let path = cluster.sql("postgres", "SELECT pg_relation_filepath('t')");
    cluster.stop();
    let file = cluster.data().join(&path);
    let mut bytes = fs::read(&file).unwrap();
    bytes[8192 + 4000] ^= 1;
    fs::write(&file, bytes).unwrap();
    cluster.start_again();
    let said = read(start(&cluster, SUPERUSER, false).unwrap()).unwrap_err();
    assert!(
        said.contains("checksum verification failed") && said.contains(&path),
        "{said}"
    );
}

#[test]
fn a_server_that_can_not_archive_is_not_waited_for_for_ever() {
    let cluster = Cluster::with(&Options {
        initdb: &[],
        settings: &["archive_mode = on", "archive_command = '/bin/false'"],
        listen: None,
    });
    let said = read(start(&cluster, SUPERUSER, false).unwrap()).unwrap_err();
    assert!(
        said.contains("the server fails to archive 0000000100000000"),
        "{said}"
    );
    // What was given up is gone: no backup runs at the server any more.
    let running = "SELECT count(*) FROM pg_stat_progress_basebackup";
    wait_for(|| cluster.sql("postgres", running) == "0");
}

#[test]
fn a_server_whose_archiving_hangs_is_not_waited_for_for_ever() {
    let command = "archive_command = 'while test -e ../hangs; do sleep 0.1; done'";
    let cluster = Cluster::with(&Options {
        initdb: &[],
        settings: &["archive_mode = on", command],
        listen: None,
    });
    let hangs = cluster.data().join("../hangs");
    fs::write(&hangs, "").unwrap();
    let said = read(start(&cluster, SUPERUSER, false).unwrap()).unwrap_err();
    assert!(
        said.contains("has sent nothing and archived no WAL for")
            && said.contains("see whether archive_command hangs"),
        "{said}"
    );
    fs::remove_file(&hangs).unwrap();
    read(start(&cluster, SUPERUSER, false).unwrap()).unwrap();
}

#[test]
fn a_backup_that_is_not_read_for_a_while_is_not_taken_for_one_that_does_not_go_on() {
    let cluster = Cluster::with(&Options {
        initdb: &[],
        settings: &[
            "archive_mode = on",
            "archive_command = 'test ! -e ../broken'",
        ],
        listen: None,
    });
    let broken = cluster.data().join("../broken");
    fs::write(&broken, "").unwrap();
    cluster.sql("postgres", "CREATE TABLE t (n int)");
    cluster.sql("postgres", "SELECT pg_switch_wal()");
    let has_failed = "SELECT failed_count > 0 FROM pg_stat_archiver";
    wait_for(|| cluster.sql("postgres", has_failed) == "t");
    let capture = start(&cluster, SUPERUSER, false).unwrap();
    // Several looks; what comes is not stored yet, and that is not the server's fault.
    std::thread::sleep(Duration::from_secs(2));
    fs::remove_file(&broken).unwrap();
    read(capture).unwrap();
}

#[test]
fn a_backup_that_is_given_up_ends_at_the_server() {
    let cluster = archiving(&[]);
    let capture = start(&cluster, SUPERUSER, false).unwrap();
    let mut walk = capture.walk;
    for _ in 0..20 {
        walk.next();
    }
    drop(capture.guard);
    drop(walk);
    let running = "SELECT count(*) FROM pg_stat_progress_basebackup";
    wait_for(|| cluster.sql("postgres", running) == "0");
}
