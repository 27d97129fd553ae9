//! PostgreSQL by the program itself, where things take too long or are killed.

use crate::cli::postgres::{APPLY, ccb_in, component, given, given_for, run};
use crate::cli::under;
use crate::source::postgres::given::{LAB, SLOW};
use crate::support::postgres::Cluster;
use crate::support::restored::wait_for;
use std::process::Stdio;

#[test]
fn a_dump_that_takes_too_long_is_no_backup_and_its_end_is_told() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let one = component(cluster.host(), cluster.port(), "lab", "timeout \"1s\"");
    let folder = given(&[one]);
    let holds = cluster.session("lab", "BEGIN; LOCK TABLE orders");
    let said = run(folder.path(), 3, &APPLY);
    assert!(
        said.contains("the dump of lab still ran after 1s, and was ended"),
        "{said}"
    );
    assert_eq!(
        run(folder.path(), 0, &["list", "plan.kdl"]).lines().count(),
        1
    );
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ccb'";
    wait_for(|| cluster.sql("postgres", sessions) == "0");
    drop(holds);
}

#[test]
fn a_restore_test_on_a_given_server_is_made_and_what_a_killed_one_leaves_is_dropped_by_the_next() {
    let (source, other) = (Cluster::start(), Cluster::start_other());
    source.create("slow", SLOW);
    source.create("lab", LAB);
    other.sql(
        "postgres",
        "CREATE ROLE tester LOGIN CREATEDB PASSWORD 'right'",
    );
    other.rules(&["local all tester scram-sha-256"]);
    let own = "into=\"temporary-database\"";
    let server = format!(
        "{own} {{\n            server {{\n                host \"{}\"\n                user \"tester\"\n                password env=\"TESTER\"\n            }}\n        }}",
        other.host()
    );
    let components = ["slow", "lab"]
        .map(|name| component(source.host(), source.port(), name, "").replace(own, &server));
    let folder = given(&components);
    let at = folder.path();
    let apply = |name: &str| {
        let target = format!("component.{name}");
        let mut ccb = ccb_in(
            at,
            &["apply", "plan.kdl", "--auto-approve", "--target", &target],
        );
        ccb.env("TESTER", "right");
        ccb
    };
    let tested = || {
        let (code, said) = crate::cli::outcome(&mut apply("lab"));
        assert_eq!(code, Some(0), "{said}");
        let mut verify = ccb_in(
            at,
            &["verify", "plan.kdl", "lab", "--level", "restore-test"],
        );
        let (code, said) = crate::cli::outcome(verify.env("TESTER", "right"));
        assert_eq!(code, Some(0), "{said}");
        let words = format!("into a temporary database at {}", other.host());
        assert!(said.contains(&words), "{said}");
    };
    tested();
    let there = "SELECT count(*) FROM pg_database WHERE datname ~ '^ccb_verify_'";
    assert_eq!(other.sql("postgres", there), "0");

    let mut killed = apply("slow");
    let killed = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut killed = killed.expect("ccb can be started");
    let restoring =
        "SELECT count(*) FROM pg_stat_activity WHERE datname ~ '^ccb_verify_' AND query ~ '^COPY'";
    wait_for(|| {
        let ended = killed.try_wait().expect("asked");
        assert!(ended.is_none(), "it ended by itself");
        other.sql("postgres", restoring) != "0"
    });
    killed.kill().expect("killed");
    killed.wait().expect("it ended");
    assert_eq!(other.sql("postgres", there), "1");
    tested();
    assert_eq!(other.sql("postgres", there), "0");

    // Without its password no test is made, and that is no pass.
    let said = run(
        at,
        3,
        &["verify", "plan.kdl", "lab", "--level", "restore-test"],
    );
    assert!(said.contains("TESTER"), "{said}");
}

#[test]
fn a_test_server_that_does_not_start_fails_the_test_says_why_and_leaves_nothing() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let folder = given_for(&cluster, &["lab"]);
    let at = folder.path();
    run(at, 0, &["backup", "plan.kdl", "lab"]);
    let verify = ["verify", "plan.kdl", "lab", "--level", "restore-test"];
    // Enough for ccb and for initdb; a server wants to have more files open.
    let starter = ["prlimit", "--nofile=50"];
    let (code, said) =
        crate::cli::outcome(under(&starter, at, &verify).env("TMPDIR", at.join("tmp")));
    assert_eq!(code, Some(6), "{said}");
    assert!(
        said.contains("`postgres` failed") && said.contains("insufficient file descriptors"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(at.join("tmp")).expect("read").count(), 0);
    run(at, 0, &verify);
}
