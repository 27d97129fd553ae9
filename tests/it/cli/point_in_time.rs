//! Point-in-time recovery as it is needed: rows come in all the time, a table is dropped, and the server of a
//! moment before comes back with exactly the rows that were committed by then.

use crate::support::archiving::{Archiving, said};
use crate::support::postgres::{Cluster, Options, bin};
use crate::support::restored::{Restored, moment, wait_for};
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

const ROWS: &str = "SELECT count(*), max(n), md5(string_agg(n::text, ',' ORDER BY n)) FROM t";

/// What `t` held at that moment, by the times of its commits.
fn rows_at(cluster: &Cluster, moment: &str) -> String {
    let by_then = format!("{ROWS} WHERE pg_xact_commit_timestamp(xmin) <= '{moment}'");
    cluster.sql("postgres", &by_then)
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
    // By the moment there are more than there were before, however many came until then.
    let rows = cluster.sql("postgres", "SELECT max(n) FROM t");
    let more = format!("SELECT max(n) > greatest(300, {rows} + 50) FROM t");
    wait_for(|| cluster.sql("postgres", &more) == "t");
    let moment = moment(cluster);
    // Some come after it.
    std::thread::sleep(Duration::from_millis(50));
    given.switch();
    writer.stop(cluster);
    // Now all that was committed by then is also seen.
    let want = rows_at(cluster, &moment);
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
