//! Everything that goes wrong ends the backup, and says what it was.

use crate::source::postgres::given::{LAB, captured, read, request, spec};
use crate::support::captured::chain;
use crate::support::postgres::{Cluster, Options};
use crate::support::restored::wait_for;
use ccb::model::secret::Secret;
use ccb::model::strategy::PostgresSource;
use ccb::model::tree::Body;
use ccb::source::postgres::dump;
use std::io::{self, Read};
use std::time::Duration;

/// More than any pipe holds: a dump of it waits for its reader.
const BIG: &str = "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 30) AS text FROM generate_series(1, 20000) n";

fn error(spec: PostgresSource) -> String {
    captured(spec).err().expect("it can not be dumped")
}

/// A dump of `database` of which some bytes were read, and what ends it when dropped.
fn half_read(spec: PostgresSource) -> (Box<dyn Read + Send>, Box<dyn Send>) {
    let capture = dump(request(spec)).expect("it starts");
    for found in capture.walk {
        let found = found.expect("no problems");
        if let (true, Body::Stream(open)) = (found.path.ends_with(b".dump"), found.body) {
            let mut stream = open.open().expect("pg_dump starts");
            let mut some = vec![0; 1 << 20];
            stream.read_exact(&mut some).expect("it has more");
            return (stream, capture.guard);
        }
    }
    panic!("there is a dump");
}

fn rest_of(mut stream: Box<dyn Read + Send>) -> io::Error {
    stream
        .read_to_end(&mut Vec::new())
        .expect_err("it is broken")
}

/// Processes whose command line has all of these words.
fn processes(words: &[&str]) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("it is there").flatten();
    let pid = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    entries
        .filter_map(pid)
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            words.iter().all(|word| line.contains(word))
        })
        .collect()
}

#[test]
fn a_server_that_is_down_a_database_that_is_not_there_and_a_wrong_password_are_told_apart() {
    let mut cluster = Cluster::start();
    cluster.sql("postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'");
    cluster.rules(&["local all locked scram-sha-256"]);
    let said = error(spec(&cluster, "nowhere"));
    assert!(
        said.contains("database \"nowhere\" does not exist"),
        "{said}"
    );

    let mut locked = spec(&cluster, "postgres");
    locked.user = Some("locked".to_owned());
    let said = error(locked.clone());
    assert!(said.contains("no password supplied"), "{said}");
    let mut wrong = request(locked);
    wrong.password = Some(Secret::new(b"wrong".to_vec()));
    let said = chain(&dump(wrong).err().expect("it is wrong"));
    assert!(
        said.contains("password authentication failed for user \"locked\""),
        "{said}"
    );

    cluster.stop();
    let said = error(spec(&cluster, "postgres"));
    assert!(said.contains("Is the server running"), "{said}");
}

#[test]
fn what_a_role_may_not_read_is_an_error_and_never_left_out() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let reader = "CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader";
    cluster.sql("lab", reader);
    let mut by_reader = spec(&cluster, "lab");
    by_reader.user = Some("reader".to_owned());
    let said = error(by_reader.clone());
    assert!(
        said.contains("permission denied for large object"),
        "{said}"
    );

    cluster.sql("lab", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata");
    let taken = captured(by_reader.clone()).expect("it may read all tables");
    let facts = &taken.facts.source["postgres"];
    assert_eq!(facts["has_role_passwords"], false);
    let globals = String::from_utf8_lossy(&taken.files["globals.sql"]);
    assert!(globals.contains("CREATE ROLE reader"), "{globals}");
    assert!(!globals.contains("SCRAM-SHA-256$"), "{globals}");

    // With --enable-row-security pg_dump would take the rows that the role sees, and say nothing.
    cluster.sql("lab", "ALTER TABLE users ENABLE ROW LEVEL SECURITY");
    let said = error(by_reader);
    assert!(said.contains("row-level security"), "{said}");

    let mut nobody = spec(&cluster, "lab");
    cluster.sql("lab", "CREATE ROLE nobody LOGIN");
    nobody.user = Some("nobody".to_owned());
    let said = error(nobody);
    assert!(said.contains("permission denied for"), "{said}");
}

#[test]
fn a_locked_table_is_waited_for_as_long_as_said_and_no_longer() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let _holds = cluster.session("lab", "BEGIN; LOCK TABLE orders");
    let mut patient = request(spec(&cluster, "lab"));
    patient.lock_wait = Duration::from_millis(300);
    let capture = dump(patient).expect("it starts");
    let said = read(capture).err().expect("it is locked");
    assert!(
        said.contains("statement timeout") || said.contains("lock"),
        "{said}"
    );
    assert!(
        said.contains("orders") || said.contains("LOCK TABLE"),
        "{said}"
    );
}

#[test]
fn a_dump_that_takes_too_long_is_ended_and_nothing_of_it_stays_at_the_server() {
    let cluster = Cluster::start();
    cluster.create("big", BIG);
    let mut short = spec(&cluster, "big");
    // Enough to read some of it, on a slow machine as well.
    short.timeout = "5s".parse().expect("a time");
    // Nobody reads on: the server is let go all the same.
    let (stream, _guard) = half_read(short.clone());
    // A server needs a moment to see that its client has gone.
    let until_gone = || {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ccb'";
        wait_for(|| cluster.sql("postgres", sessions) == "0");
    };
    until_gone();
    let said = rest_of(stream).to_string();
    assert!(
        said.starts_with("the dump of big still ran after 5s, and was ended:"),
        "{said}"
    );
    assert!(said.contains("`timeout`"), "{said}");

    let _holds = cluster.session("big", "BEGIN; LOCK TABLE big");
    let said = error(short);
    assert!(said.contains("still ran after 5s"), "{said}");
    until_gone();
}

#[test]
fn a_table_can_not_be_dropped_while_it_is_dumped() {
    let cluster = Cluster::start();
    cluster.create("big", BIG);
    let (mut stream, _guard) = half_read(spec(&cluster, "big"));
    let drop = cluster.try_sql("big", "SET lock_timeout = '100ms'; DROP TABLE big");
    assert!(!drop.status.success());
    let rest = stream.read_to_end(&mut Vec::new());
    assert!(rest.is_ok(), "{rest:?}");
    cluster.sql("big", "DROP TABLE big");
}

#[test]
fn a_session_that_is_ended_in_the_middle_ends_the_backup() {
    let cluster = Cluster::start();
    cluster.create("big", BIG);
    let (stream, _guard) = half_read(spec(&cluster, "big"));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name = 'ccb' AND datname = 'big'";
    assert_eq!(cluster.sql("postgres", end), "t");
    let said = rest_of(stream).to_string();
    assert!(said.contains("exited with 1"), "{said}");
    assert!(
        said.contains("Dumping the contents of table \"big\" failed"),
        "{said}"
    );
}

#[test]
fn a_server_that_crashes_in_the_middle_ends_the_backup() {
    let mut cluster = Cluster::start();
    cluster.create("big", BIG);
    let (stream, _guard) = half_read(spec(&cluster, "big"));
    cluster.crash();
    let said = rest_of(stream).to_string();
    assert!(said.contains("exited with 1"), "{said}");
}

#[test]
fn a_pg_dump_that_is_killed_ends_the_backup() {
    let cluster = Cluster::start();
    cluster.create("big", BIG);
    let (stream, _guard) = half_read(spec(&cluster, "big"));
    let pids = processes(&["pg_dump", cluster.host()]);
    assert_eq!(pids.len(), 1);
    let mut kill = std::process::Command::new("kill");
    let killed = kill.args(["-KILL", &pids[0].to_string()]).status();
    assert!(killed.expect("it runs").success());
    let said = rest_of(stream).to_string();
    assert!(said.contains("killed by signal 9"), "{said}");
}

#[test]
fn a_capture_that_is_given_up_leaves_no_pg_dump_and_no_session() {
    let cluster = Cluster::start();
    cluster.create("big", BIG);
    let (stream, guard) = half_read(spec(&cluster, "big"));
    drop(guard);
    let said = rest_of(stream).to_string();
    assert!(said.contains("terminated by user"), "{said}");
    assert_eq!(processes(&["pg_dump", cluster.host()]), [0; 0]);
}

#[test]
fn a_connection_that_breaks_in_the_middle_ends_the_backup() {
    let cluster = Cluster::with(&Options {
        listen: Some("127.0.0.1"),
        ..Options::default()
    });
    cluster.create("big", BIG);
    let proxy = crate::support::tcp::cut_after(cluster.port(), 3 << 20);
    let mut through = spec(&cluster, "big");
    through.host = Some("127.0.0.1".to_owned());
    through.port = proxy;
    let said = error(through);
    assert!(said.contains("exited with 1"), "{said}");
    assert!(
        said.contains("connection") || said.contains("terminated"),
        "{said}"
    );
}

#[test]
fn a_pooler_that_takes_no_settings_is_refused() {
    let port = crate::support::tcp::pooler_without_options();
    let cluster = Cluster::start();
    let mut through = spec(&cluster, "postgres");
    through.host = Some("127.0.0.1".to_owned());
    through.port = port;
    let said = error(through);
    assert!(
        said.contains("a pooler such as pgbouncer stands between"),
        "{said}"
    );
}

#[test]
fn client_programs_that_are_older_than_the_server_are_refused() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let via = folder.path().join("via");
    // A far side whose pg_dump is of another age.
    let script = "#!/bin/sh\nfor word do [ \"$word\" = --version ] && echo 'pg_dump (PostgreSQL) 9.6.24' && exit; done\nexec \"$@\"\n";
    std::fs::write(&via, script).expect("written");
    let mut chmod = std::process::Command::new("chmod");
    assert!(
        chmod
            .arg("755")
            .arg(&via)
            .status()
            .expect("it runs")
            .success()
    );
    let mut far = spec(&cluster, "postgres");
    far.via = vec![via.to_str().expect("text").to_owned()];
    let said = error(far);
    assert!(
        said.contains("`pg_dump` 9.6.24 is older than the server"),
        "{said}"
    );
}
