//! Restore tests on a server that is there for them: passed by good dumps and failed by others, refused by the server
//! that was backed up, and nothing of them stays.

use crate::source::postgres::given::{LAB, SLOW, spec};
use crate::support::postgres::Cluster;
use crate::support::postgres_backup::PostgresBackup;
use crate::support::restored::wait_for;
use crate::verify::refused;
use ccb::model::strategy::{SslMode, TestServer};
use ccb::source::postgres::connection::Connection;
use ccb::verify::Finding;
use ccb::verify::postgres::{DumpTest, restore_test};

/// A role that may make databases and nothing else, and how it reaches the server.
fn tester(cluster: &Cluster) -> Connection {
    cluster.sql("postgres", "CREATE ROLE tester LOGIN CREATEDB");
    connection(cluster, "tester")
}

fn connection(cluster: &Cluster, user: &str) -> Connection {
    let server = TestServer {
        host: cluster.host().to_owned(),
        port: cluster.port(),
        user: Some(user.to_owned()),
        password: None,
        sslmode: SslMode::Prefer,
    };
    Connection::to_test_server(&server, None)
}

async fn try_out(backup: &PostgresBackup, server: Connection) -> Finding {
    let parent = tempfile::tempdir().expect("a folder");
    let request = DumpTest {
        random: 0xfeed,
        parent: parent.path().to_path_buf(),
        server: Some(server),
    };
    restore_test(&backup.manifest, &backup.reader, &request).await
}

fn databases(cluster: &Cluster) -> String {
    let sql =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    cluster.sql("postgres", sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_restored_beside_what_is_there_and_nothing_of_it_stays() {
    let (source, other) = (Cluster::start(), Cluster::start_other());
    source.create("lab", LAB);
    source.sql("lab", "CREATE ROLE app; ALTER TABLE users OWNER TO app");
    let backup = PostgresBackup::of(&source, "lab").await;
    let server = tester(&other);
    let finding = try_out(&backup, server.clone()).await;
    assert!(finding.passed, "{finding:?}");
    let place = format!("restored into a temporary database at {}", other.host());
    let message = format!("{place}: 8 tables of 446 rows");
    assert!(finding.message.starts_with(&message), "{}", finding.message);
    assert_eq!(finding.facts["large_objects"], 2);
    assert_eq!(databases(&other), "postgres");
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname = 'app'";
    assert_eq!(other.sql("postgres", roles), "0");

    // A dump that differs from what it says of itself, and one that can not be restored there.
    let differs = PostgresBackup::of(&source, "lab").await.with(|facts| {
        facts.tables.get_mut("public.orders").expect("there").rows = Some(251);
    });
    refused(
        &try_out(&differs, server.clone()).await,
        "public.orders has 250 rows, and had 251 when it was dumped",
    );
    source.sql("lab", "CREATE EXTENSION file_fdw");
    let backup = PostgresBackup::of(&source, "lab").await;
    refused(&try_out(&backup, server).await, "file_fdw");
    assert_eq!(databases(&other), "postgres");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_that_was_backed_up_is_refused_and_so_is_one_that_can_not_be_told_from_it() {
    let (source, other) = (Cluster::start(), Cluster::start_other());
    source.create("lab", LAB);
    let backup = PostgresBackup::of(&source, "lab").await;
    refused(
        &try_out(&backup, tester(&source)).await,
        "is the one that was backed up, or a copy of it",
    );
    assert_eq!(databases(&source), "lab postgres");
    let backup = backup.with(|facts| facts.server.system_identifier = None);
    refused(
        &try_out(&backup, tester(&other)).await,
        "does not say which server it is of",
    );
    let backup = PostgresBackup::of(&source, "lab").await;
    other.sql("postgres", "CREATE ROLE poor LOGIN");
    refused(
        &try_out(&backup, connection(&other, "poor")).await,
        "the role may not make databases",
    );
    let newer = backup.with(|facts| facts.server.version_number = 990_001);
    refused(
        &try_out(&newer, connection(&other, "tester")).await,
        "and the dump is of 99",
    );
    assert_eq!(databases(&other), "postgres");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_says_which_server_its_dump_is_of() {
    let source = Cluster::start();
    source.create("lab", "CREATE TABLE t (n int)");
    source.sql(
        "lab",
        "CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader",
    );
    let mut asked = spec(&source, "lab");
    asked.user = Some("reader".to_owned());
    let backup = PostgresBackup::as_asked(asked).await;
    let system = "SELECT system_identifier FROM pg_control_system()";
    let known = backup.facts().server.system_identifier.expect("it is told");
    assert_eq!(known.to_string(), source.sql("postgres", system));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_killed_runs_left_is_dropped_and_what_is_in_use_or_not_ours_stays() {
    let (source, other) = (Cluster::start(), Cluster::start_other());
    source.create("lab", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    let backup = PostgresBackup::of(&source, "lab").await;
    other.sql("postgres", "CREATE ROLE tester LOGIN CREATEDB");
    let server = connection(&other, "postgres");
    for (name, owner) in [
        ("ccb_verify_00000000000000aa", "postgres"),
        ("ccb_verify_00000000000000bb", "postgres"),
        ("ccb_verify_00000000000000cc", "tester"),
        ("ccb_verify_mine", "postgres"),
    ] {
        let made = format!("CREATE DATABASE {name} OWNER {owner}");
        other.sql("postgres", &made);
    }
    // The first is still worked in, by what a killed run has left there.
    let _left = other.session("ccb_verify_00000000000000aa", "SELECT 1");
    let _in_use = other.session("postgres", "SELECT pg_advisory_lock(x'bb'::int)");
    let finding = try_out(&backup, server).await;
    assert!(finding.passed, "{finding:?}");
    assert_eq!(
        databases(&other),
        "ccb_verify_00000000000000bb ccb_verify_00000000000000cc ccb_verify_mine postgres"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_is_given_up_in_the_middle_leaves_no_database() {
    let (source, other) = (Cluster::start(), Cluster::start_other());
    source.create("slow", SLOW);
    let backup = PostgresBackup::of(&source, "slow").await;
    let server = tester(&other);
    let test = tokio::spawn(async move { try_out(&backup, server).await });
    let restoring = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'ccb_verify_%' AND query LIKE 'COPY%'";
    wait_for(|| {
        assert!(!test.is_finished(), "it ended by itself");
        other.sql("postgres", restoring) == "1"
    });
    test.abort();
    wait_for(|| databases(&other) == "postgres");
}
