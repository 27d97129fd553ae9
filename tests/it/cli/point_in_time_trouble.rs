//! Recovery when something is missing: it stops rather than lose rows, what is missing is named, and what comes
//! back makes it whole.

use crate::support::archiving::Archiving;
use crate::support::postgres::{Cluster, Options};
use crate::support::restored::{Restored, moment, wait_for};
use std::fs;

#[test]
fn what_can_not_be_restored_is_refused_before_anything_is_written() {
    let given = Archiving::start();
    let cluster = &given.cluster;
    cluster.sql("postgres", "CREATE TABLE t AS SELECT 1 AS n");
    let before_all = moment(cluster);
    given.expect(
        10,
        &[
            "restore",
            "plan.kdl",
            "db",
            "--to",
            "/tmp/x",
            "--time",
            &before_all,
        ],
    );
    given.base();
    given.switch();
    let target = given.at().join("restored");
    let to = target.display().to_string();
    let refused = |code: i32, more: &[&str]| {
        let said = given.expect(
            code,
            &[&["restore", "plan.kdl", "db", "--to", &to], more].concat(),
        );
        assert!(!target.exists(), "{said}");
        said
    };
    let said = refused(10, &["--time", &before_all]);
    assert!(
        said.contains("the earliest moment that can be restored is"),
        "{said}"
    );
    let said = refused(10, &["--time", "2096-01-01T00:00:00Z"]);
    assert!(said.contains("the archive ends at"), "{said}");
    let said = refused(10, &["--timeline", "3"]);
    assert!(said.contains("timeline 3 does not go on"), "{said}");

    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "x").unwrap();
    let said = given.expect(1, &["restore", "plan.kdl", "db", "--to", &to]);
    assert!(said.contains("is not empty"), "{said}");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    fs::remove_dir_all(&target).unwrap();

    // A base without its WAL is worth nothing, and that is said.
    for destination in ["primary", "second"] {
        let _ = fs::remove_dir_all(given.at().join(destination).join("wal"));
    }
    let said = refused(10, &[]);
    assert!(
        said.contains("none of the WAL that it needs is archived"),
        "{said}"
    );
    let plan = given.expect(0, &["plan", "plan.kdl"]);
    assert!(
        plan.contains("CCB222") && plan.contains("can not be restored"),
        "{plan}"
    );
}

#[test]
fn a_segment_that_is_lost_in_the_middle_is_named_and_never_passed_over() {
    let given = Archiving::start();
    let cluster = &given.cluster;
    cluster.sql("postgres", "CREATE TABLE t (n int)");
    given.base();
    let mut middle = String::new();
    for n in 1..=4 {
        cluster.sql("postgres", &format!("INSERT INTO t VALUES ({n})"));
        let name = given.switch();
        if n == 2 {
            middle = name;
        }
    }
    // Restored while all was there, and lost before the server is started.
    let mut restored = Restored::of(&given, &[]);
    let object = given
        .waiting("primary")
        .into_iter()
        .find(|path| path.ends_with(&middle))
        .unwrap();
    let aside = given.at().join("aside");
    fs::rename(&object, &aside).unwrap();
    let log = restored
        .cluster
        .try_start()
        .expect_err("it must not open with rows lost");
    assert!(log.contains(&format!("{middle} is missing")), "{log}");
    assert!(log.contains("FATAL"), "{log}");

    let said = given.expect(10, &["restore", "plan.kdl", "db", "--to", "never"]);
    assert!(said.contains(&middle), "{said}");
    let plan = given.expect(0, &["plan", "plan.kdl"]);
    assert!(plan.contains("CCB222") && plan.contains(&middle), "{plan}");
    let status = given.expect(2, &["status", "plan.kdl"]);
    assert!(
        status.contains(&format!("its WAL lacks the segment {middle}")),
        "{status}"
    );
    let taken = given.expect(3, &["backup", "plan.kdl", "db", "--method", "wal"]);
    assert!(taken.contains(&middle), "{taken}");
    let verified = given.expect(6, &["verify", "plan.kdl", "db", "--level", "contents"]);
    assert!(verified.contains(&middle), "{verified}");

    // What comes back late makes it whole again.
    fs::rename(&aside, &object).unwrap();
    let restored = restored.started();
    assert_eq!(restored.sql("postgres", "SELECT count(*) FROM t"), "4");
}

#[test]
fn a_repository_that_is_away_stops_recovery_until_it_is_back() {
    let given = Archiving::start();
    given.cluster.sql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 100) AS n",
    );
    given.base();
    given
        .cluster
        .sql("postgres", "INSERT INTO t SELECT generate_series(101, 200)");
    given.switch();
    let mut restored = Restored::of(&given, &[]);
    let away = |from: &str, to: &str| {
        for destination in ["primary", "second"] {
            let at = given.at().join(destination);
            let (from, to) = (at.with_extension(from), at.with_extension(to));
            fs::rename(from, to).unwrap();
        }
    };
    away("", "away");
    let log = restored
        .cluster
        .try_start()
        .expect_err("it must not open with rows lost");
    assert!(log.contains("not all could be looked at"), "{log}");
    away("away", "");
    let restored = restored.started();
    assert_eq!(restored.sql("postgres", "SELECT count(*) FROM t"), "200");
}

#[test]
fn the_first_destination_may_be_gone_for_good() {
    let given = Archiving::start();
    let cluster = &given.cluster;
    cluster.sql("postgres", "CREATE TABLE t AS SELECT 1 AS n");
    given.base();
    cluster.sql("postgres", "INSERT INTO t VALUES (2)");
    given.switch();
    given.take_wal_over();
    fs::rename(given.at().join("primary"), given.at().join("gone")).unwrap();
    // Only the other one is asked for WAL: the first would never say that there is no more.
    let restored = Restored::of(&given, &[]);
    assert!(
        restored.said.contains("It looks for WAL at second alone"),
        "{}",
        restored.said
    );
    let restored = restored.started();
    assert_eq!(restored.sql("postgres", "SELECT count(*) FROM t"), "2");
}

#[test]
fn a_server_in_the_place_of_another_is_archived_after_a_base_of_it() {
    let given = Archiving::start();
    given.base();
    given.switch();
    // The new server of an upgrade, with the archive_command of the old one.
    let command = crate::support::archiving::archive_command(given.at());
    let new = Cluster::with(&Options {
        initdb: &["--data-checksums", "--no-sync"],
        settings: &["archive_mode = on", &command],
        listen: None,
    });
    let write = "SELECT pg_logical_emit_message(false, 'test', 'something')";
    new.sql("postgres", write);
    new.sql("postgres", "SELECT pg_switch_wal()");
    wait_for(|| new.sql("postgres", "SELECT failed_count > 0 FROM pg_stat_archiver") == "t");
    assert!(
        new.log()
            .contains("another server archives under this component"),
        "{}",
        new.log()
    );

    let text = fs::read_to_string(given.at().join("plan.kdl")).unwrap();
    fs::write(
        given.at().join("plan.kdl"),
        text.replace(given.cluster.host(), new.host()),
    )
    .unwrap();
    given.base();
    let again = given.end_segment();
    wait_for(|| {
        given
            .cluster
            .log()
            .contains("another server archives under this component")
    });
    assert!(
        !given
            .waiting("primary")
            .iter()
            .any(|path| path.ends_with(&again))
    );
    let restored = Restored::of(&given, &[]).started();
    let system = "SELECT system_identifier FROM pg_control_system()";
    assert_eq!(
        restored.sql("postgres", system),
        new.sql("postgres", system)
    );
}

#[test]
fn a_replication_slot_is_refused_and_none_is_made() {
    let given = Archiving::start();
    let path = given.at().join("plan.kdl");
    let plan = fs::read_to_string(&path).unwrap();
    let host = "user \"postgres\"";
    let with = plan.replace(host, &format!("{host}\n        wal slot=\"ccb\""));
    assert_ne!(with, plan);
    fs::write(&path, with).unwrap();
    given.base();
    let said = given.expect(3, &["backup", "plan.kdl", "db", "--method", "wal"]);
    assert!(
        said.contains("does not read WAL from a replication slot"),
        "{said}"
    );
    // One that nobody reads would keep the server's WAL until its disk is full.
    let slots = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(given.cluster.sql("postgres", slots), "0");
}
