//! Point-in-time recovery as it is needed: rows come in all the time, a table is dropped, and the server of a
//! moment before comes back with exactly the rows that were committed by then.

use crate::support::archiving::{Archiving, said};
use crate::support::postgres::{Cluster, Options, bin};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Rows that are committed one by one until the session is ended.
struct Writer(Child);

impl Writer {
    fn start(cluster: &Cluster) -> Self {
        cluster.sql("postgres", "CREATE TABLE t (n int)");
        let rows = "DO $$ BEGIN FOR i IN 1..1000000 LOOP INSERT INTO t VALUES (i); COMMIT; \
            PERFORM pg_sleep(0.002); END LOOP; END $$";
        let mut psql = cluster.client("psql");
        psql.args(["-X", "-q", "-d", "postgres", "-c", rows]);
        psql.stdout(Stdio::null()).stderr(Stdio::null());
        let writer = Self(psql.spawn().expect("psql can be started"));
        wait_for(|| cluster.sql("postgres", "SELECT count(*) > 20 FROM t") == "t");
        writer
    }

    fn stop(mut self, cluster: &Cluster) {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
            WHERE query LIKE 'DO %' AND pid <> pg_backend_pid()";
        assert_eq!(cluster.sql("postgres", end), "1");
        self.0.wait().expect("it ends");
    }
}

fn wait_for(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The server's clock, as `--time` takes it.
fn moment(cluster: &Cluster) -> String {
    let now =
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    cluster.sql("postgres", now)
}

const ROWS: &str = "SELECT count(*), max(n), md5(string_agg(n::text, ',' ORDER BY n)) FROM t";

/// What `t` held at that moment, by the times of its commits.
fn rows_at(cluster: &Cluster, moment: &str) -> String {
    let by_then = format!("{ROWS} WHERE pg_xact_commit_timestamp(xmin) <= '{moment}'");
    cluster.sql("postgres", &by_then)
}

/// A directory that is restored by `ccb`, not yet started.
struct Restored {
    cluster: Cluster,
    said: String,
}

impl Restored {
    fn of(given: &Archiving, arguments: &[&str]) -> Self {
        let cluster = Cluster::prepared(&Options::default());
        fs::remove_dir_all(cluster.data()).unwrap();
        let to = cluster.data().display().to_string();
        let all = [&["restore", "plan.kdl", "db", "--to", &to], arguments].concat();
        let said = given.expect(0, &all);
        // Beside the original, on a socket of its own.
        let settings = cluster.data().join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).unwrap();
        text += &format!("unix_socket_directories = '{}'\n", cluster.host());
        fs::write(&settings, text).unwrap();
        Self { cluster, said }
    }

    /// Started, and recovered.
    fn started(mut self) -> Cluster {
        self.cluster.start_again();
        wait_for(|| {
            let asked = self
                .cluster
                .try_sql("postgres", "SELECT pg_is_in_recovery()");
            assert!(asked.status.success(), "{}", self.cluster.log());
            asked.stdout == b"f\n"
        });
        self.cluster
    }
}

fn drill_settings() -> Archiving {
    Archiving::with(
        &["track_commit_timestamp = on"],
        "verify {\n        contents\n    }",
    )
}

#[test]
fn a_dropped_table_comes_back_with_exactly_the_rows_of_the_moment() {
    let given = drill_settings();
    let cluster = &given.cluster;
    let writer = Writer::start(cluster);
    given.base();
    given.switch();
    given.take_wal_over();
    let before = moment(cluster);
    wait_for(|| cluster.sql("postgres", "SELECT max(n) > 300 FROM t") == "t");
    let moment = moment(cluster);
    std::thread::sleep(Duration::from_millis(50));
    let want = rows_at(cluster, &moment);
    given.switch();
    writer.stop(cluster);
    cluster.sql("postgres", "DROP TABLE t; CREATE TABLE later (n int)");
    given.switch();

    // Some of it is in a backup, some was only handed over.
    let restored = Restored::of(&given, &["--time", &moment]);
    assert!(
        restored.said.contains("it recovers by itself, to 20"),
        "{}",
        restored.said
    );
    let data = restored.cluster.data();
    let verified = Command::new(bin().join("pg_verifybackup"))
        .arg("--no-parse-wal")
        .arg(&data)
        .output();
    let verified = verified.expect("pg_verifybackup can be started");
    assert!(verified.status.success(), "{}", said(&verified));
    let settings = fs::read_to_string(data.join("postgresql.auto.conf")).unwrap();
    assert!(settings.contains("archive_mode = 'off'"), "{settings}");
    let restored = restored.started();
    assert_eq!(restored.sql("postgres", ROWS), want);
    assert_eq!(restored.sql("postgres", "SHOW archive_mode"), "off");
    assert_eq!(
        restored.sql("postgres", "SELECT to_regclass('later') IS NULL"),
        "t"
    );
    drop(restored);

    // Another moment, from the copy at the other destination alone.
    given.take_wal_over();
    let restored = Restored::of(&given, &["--time", &before, "--from", "second"]).started();
    let rows = restored
        .sql("postgres", "SELECT count(*) FROM t")
        .parse::<u64>()
        .unwrap();
    assert!(rows > 20 && rows < want.split('|').next().unwrap().parse().unwrap());
    drop(restored);

    // Without a moment: to the end.
    let restored = Restored::of(&given, &[]).started();
    assert_eq!(
        restored.sql(
            "postgres",
            "SELECT to_regclass('t') IS NULL, count(*) FROM later"
        ),
        "t|0"
    );
}

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
fn a_restored_server_that_archives_goes_on_on_a_timeline_of_its_own() {
    let given = Archiving::start();
    let cluster = &given.cluster;
    cluster.sql("postgres", "CREATE TABLE t (n int)");
    given.base();
    cluster.sql("postgres", "INSERT INTO t VALUES (1)");
    given.switch();
    let fork = moment(cluster);
    cluster.sql("postgres", "INSERT INTO t VALUES (2)");
    given.switch();
    given.take_wal_over();

    let restored = Restored::of(&given, &["--time", &fork]).started();
    assert_eq!(restored.sql("postgres", "SELECT max(n) FROM t"), "1");
    // The operator makes it the new primary.
    restored.sql("postgres", "ALTER SYSTEM SET archive_mode = on");
    let mut restored = restored;
    restored.stop();
    restored.start_again();
    restored.sql("postgres", "INSERT INTO t VALUES (30)");
    let name = restored.sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
    assert!(name.starts_with("00000002"), "{name}");
    wait_for(|| {
        let last = "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver";
        restored.sql("postgres", last) >= name
    });
    // The old one goes on too.
    cluster.sql("postgres", "INSERT INTO t VALUES (3)");
    given.switch();
    given.take_wal_over();

    let newest = Restored::of(&given, &[]).started();
    assert_eq!(
        newest.sql(
            "postgres",
            "SELECT string_agg(n::text, ',' ORDER BY n) FROM t"
        ),
        "1,30"
    );
    let old = Restored::of(&given, &["--timeline", "1"]).started();
    assert_eq!(
        old.sql(
            "postgres",
            "SELECT string_agg(n::text, ',' ORDER BY n) FROM t"
        ),
        "1,2,3"
    );
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
    let again = given
        .cluster
        .sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
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
fn an_archive_directory_serves_as_well() {
    let folder = crate::support::archiving::folder();
    let archive = folder.path().join("archive");
    fs::create_dir(&archive).unwrap();
    crate::support::postgres::give_to_server_user(&archive);
    let copy = format!(
        "archive_command = 'test ! -f {0}/%f && cp %p {0}/%f'",
        archive.display()
    );
    let cluster = Cluster::with(&Options {
        initdb: &[],
        settings: &["archive_mode = on", &copy],
        listen: None,
    });
    let more = "verify {\n        contents\n    }";
    let text = crate::support::archiving::plan(folder.path(), cluster.host(), more);
    let text = text.replace(
        "sslmode \"disable\"\n",
        &format!(
            "sslmode \"disable\"\n        wal archive-dir=\"{}\"\n",
            archive.display()
        ),
    );
    fs::write(folder.path().join("plan.kdl"), text).unwrap();
    let given = Archiving { cluster, folder };
    given
        .cluster
        .sql("postgres", "CREATE TABLE t AS SELECT 1 AS n");
    given.base();
    // Its WAL is in the directory, and in no backup yet.
    let tested = given.expect(0, &["verify", "plan.kdl", "db", "--level", "restore-test"]);
    assert!(tested.contains("1 tables of 1 rows"), "{tested}");
    given.cluster.sql("postgres", "INSERT INTO t VALUES (2)");
    given.switch();
    // One that is still being copied is not taken.
    let half: PathBuf = archive.join("0000000100000000000000F0");
    let any = fs::read_dir(&archive)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = fs::read(any).unwrap();
    fs::write(&half, &whole[..5000]).unwrap();
    given.take_wal_over();
    let restored = Restored::of(&given, &[]).started();
    assert_eq!(restored.sql("postgres", "SELECT count(*) FROM t"), "2");
    assert!(
        Path::new(&half).exists(),
        "nothing is taken away from the directory"
    );
}
