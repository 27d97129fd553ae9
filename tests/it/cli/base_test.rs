//! A restore test of a base backup: a server of its own recovers from it and from its WAL alone, and nothing of
//! it is left. What it proves, it proves of the backup: without its WAL, or with a file damaged, it fails.

use crate::support::archiving::Archiving;
use std::fs;

const TESTED: &str = "verify {\n        contents\n        restore-test every=\"30d\" into=\"temporary-database\"\n    }";

#[test]
fn a_base_is_restored_with_its_wal_and_every_row_is_counted() {
    let given = Archiving::with(&[], TESTED);
    let cluster = &given.cluster;
    cluster.create(
        "shop",
        "CREATE TABLE orders AS SELECT generate_series(1, 1000) AS n",
    );
    cluster.sql("shop", "CREATE UNLOGGED TABLE cache AS SELECT 1 AS n");
    // Settings that are the original's own must not keep the test server from starting.
    cluster.sql(
        "postgres",
        "ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'",
    );
    given.base();
    let counted =
        "restored and recovered in a temporary server: 2 databases, 2 tables of 1000 rows";
    let said = given.expect(0, &["verify", "plan.kdl", "db", "--level", "restore-test"]);
    assert!(said.contains(counted), "{said}");
    assert!(
        said.contains("at primary") && said.contains("at second"),
        "{said}"
    );
    let listed = given.expect(0, &["status", "plan.kdl"]);
    assert!(listed.contains("passed"), "{listed}");

    // A base without its WAL restores nothing, and that is said.
    let waiting = given.waiting("primary");
    let label = waiting
        .iter()
        .find(|path| path.extension().is_some_and(|e| e == "backup"));
    let needed = label.unwrap().file_name().unwrap().to_string_lossy()[..24].to_owned();
    let object = waiting.iter().find(|path| path.ends_with(&needed)).unwrap();
    let aside = given.at().join("aside");
    fs::rename(object, &aside).unwrap();
    let said = given.expect(6, &["verify", "plan.kdl", "db", "--level", "restore-test"]);
    let why = format!("the segment {needed} was found nowhere");
    assert!(said.contains(&why), "{said}");
    fs::rename(&aside, object).unwrap();
    given.expect(0, &["verify", "plan.kdl", "db", "--level", "restore-test"]);
}
