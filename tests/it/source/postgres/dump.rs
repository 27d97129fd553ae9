//! What a dump captures, and what is known of it afterwards.

use crate::source::postgres::given::{Captured, LAB, LAB_ROWS, captured, spec};
use crate::support::postgres::Cluster;
use ccb::model::postgres::{DumpFacts, Schema};
use ccb::model::strategy::DumpFormat;
use std::process::Stdio;

fn facts(captured: &Captured) -> DumpFacts {
    let facts = captured.facts.source["postgres"].clone();
    serde_json::from_value(facts).expect("they are facts")
}

fn schema(captured: &Captured) -> Schema {
    serde_json::from_slice(&captured.files["lab.schema.json"]).expect("it is a schema")
}

#[test]
fn a_dump_is_a_file_that_pg_restore_reads_with_globals_schema_and_facts_beside_it() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    cluster.sql(
        "lab",
        "CREATE ROLE app LOGIN PASSWORD 'x'; GRANT SELECT ON users TO app",
    );
    let taken = captured(spec(&cluster, "lab")).expect("it is dumped");
    let names: Vec<&str> = taken.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["globals.sql", "lab.dump", "lab.schema.json"]);

    let mut pg_restore = cluster.client("pg_restore");
    let listed = crate::support::postgres::feed(pg_restore.arg("-l"), &taken.files["lab.dump"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("TABLE DATA public users postgres"),
        "{listed}"
    );
    let globals = String::from_utf8_lossy(&taken.files["globals.sql"]);
    assert!(globals.contains("CREATE ROLE app"), "{globals}");
    assert!(globals.contains("SCRAM-SHA-256$"), "{globals}");

    let known = facts(&taken);
    let counted: Vec<(&str, Option<u64>)> = known
        .tables
        .iter()
        .map(|(name, facts)| (name.as_str(), facts.rows))
        .collect();
    let expected: Vec<(&str, Option<u64>)> = LAB_ROWS
        .iter()
        .map(|(name, rows)| (*name, Some(*rows)))
        .collect();
    assert_eq!(counted, expected);
    assert_eq!(known.rows(), Some(446));
    assert_eq!(
        (known.large_objects.count, known.large_objects.bytes),
        (2, 5006)
    );
    assert_eq!(known.server.encoding, "UTF8");
    assert_eq!(known.server.collate, "C.UTF-8");
    assert_eq!(known.server.roles, ["app", "postgres"]);
    assert!(known.server.extensions.contains_key("pgcrypto"));
    assert!(known.server.database_bytes > 1_000_000);
    assert!(known.server.tls.is_none() && known.server.is_superuser);
    assert_eq!(
        (known.format.as_str(), known.file.as_str()),
        ("custom", "lab.dump")
    );
    assert!(known.left_out.is_empty() && known.has_role_passwords);
    assert!(taken.facts.tools.contains_key("pg_dump"));
    assert!(taken.facts.lacking.is_empty());

    let objects = schema(&taken).objects;
    let columns = &objects["TABLE public.users"].columns;
    assert_eq!(columns[0], ("id".to_owned(), "BIGINT NOT NULL".to_owned()));
    assert!(
        objects["FK CONSTRAINT public.orders orders_user_id_fkey"]
            .definition
            .is_some()
    );
    assert!(objects.contains_key("INDEX public.events_at_idx"));
    assert!(objects.contains_key("EXTENSION pgcrypto"));
}

#[test]
fn two_dumps_of_an_unchanged_database_have_one_content_and_one_schema() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let first = captured(spec(&cluster, "lab")).expect("it is dumped");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = captured(spec(&cluster, "lab")).expect("it is dumped");
    assert_ne!(first.files["lab.dump"], second.files["lab.dump"]);
    assert_eq!(facts(&first).content, facts(&second).content);
    assert_eq!(
        first.files["lab.schema.json"],
        second.files["lab.schema.json"]
    );

    cluster.sql(
        "lab",
        "ALTER TABLE users ADD COLUMN phone text; DELETE FROM scratch",
    );
    let third = captured(spec(&cluster, "lab")).expect("it is dumped");
    assert_ne!(facts(&first).content, facts(&third).content);
    assert_eq!(facts(&third).tables["public.scratch"].rows, Some(0));
    let columns = &schema(&third).objects["TABLE public.users"].columns;
    assert_eq!(columns.last().map(|c| c.0.as_str()), Some("phone"));
}

#[test]
fn a_plain_dump_is_counted_too_and_psql_takes_it() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let mut plain = spec(&cluster, "lab");
    plain.format = DumpFormat::Plain;
    let taken = captured(plain).expect("it is dumped");
    let known = facts(&taken);
    assert_eq!(known.rows(), Some(446));
    assert_eq!(known.large_objects.count, 2);
    assert!(schema(&taken).objects.contains_key("TABLE public.users"));
    cluster.create("copy", "");
    let text = String::from_utf8(taken.files["lab.dump.sql"].clone()).expect("text");
    cluster.sql("copy", &text);
    assert_eq!(cluster.sql("copy", "SELECT count(*) FROM users"), "100");
}

#[test]
fn a_compressed_dump_is_proven_whole_and_its_rows_are_not_known() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let mut compressed = spec(&cluster, "lab");
    compressed.compress = 6;
    let known = facts(&captured(compressed).expect("it is dumped"));
    assert_eq!(known.rows(), None);
    assert_eq!(known.tables.len(), LAB_ROWS.len());
}

#[test]
fn what_the_plan_file_leaves_out_is_left_out_and_said() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let mut part = spec(&cluster, "lab");
    part.schemas = vec!["public".to_owned()];
    part.exclude_tables = vec!["events*".to_owned(), "scratch".to_owned()];
    let known = facts(&captured(part).expect("it is dumped"));
    let tables: Vec<&str> = known.tables.keys().map(String::as_str).collect();
    assert_eq!(
        tables,
        [
            "public.bare",
            "public.empty",
            "public.orders",
            "public.users"
        ]
    );
    assert_eq!(
        known.left_out,
        ["schemas public", "exclude-tables events* scratch"]
    );
    // They are in no schema, and pg_dump alone would drop them silently.
    assert_eq!(known.large_objects.count, 2);
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let mut wrong = spec(&cluster, "lab");
    wrong.schemas = vec!["public".to_owned(), "pubilc".to_owned()];
    let error = captured(wrong).err().expect("one matches nothing");
    assert!(
        error.contains("`schemas`: no matching schemas were found for pattern \"pubilc\""),
        "{error}"
    );
    let mut wrong = spec(&cluster, "lab");
    wrong.exclude_tables = vec!["sesions".to_owned()];
    let error = captured(wrong).err().expect("it matches nothing");
    assert!(
        error.contains("`exclude-tables`: no matching tables were found"),
        "{error}"
    );
}

#[test]
fn a_database_may_be_named_as_no_file_can_be() {
    let cluster = Cluster::start();
    for name in ["a/b", "zoo", "with ' quote\\", "globals"] {
        cluster.create(name, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
        for format in [DumpFormat::Custom, DumpFormat::Plain] {
            let mut odd = spec(&cluster, name);
            odd.format = format;
            let taken = captured(odd).expect("it is dumped");
            assert_eq!(taken.files.len(), 3, "{:?}", taken.files.keys());
            assert_eq!(facts(&taken).server.database, name);
            assert_eq!(facts(&taken).rows(), Some(1));
        }
    }
}

#[test]
fn programs_of_the_far_side_are_given_the_password_and_nobody_sees_it() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    cluster.sql(
        "lab",
        "CREATE ROLE locked SUPERUSER LOGIN PASSWORD 'tr1cky''$x'",
    );
    cluster.rules(&["local all locked scram-sha-256"]);
    // The far side writes down how it was called, and calls it.
    let folder = tempfile::tempdir().expect("a folder");
    let via = folder.path().join("via");
    let said = folder.path().join("said");
    let script = format!("#!/bin/sh\necho \"$@\" >>{}\nexec \"$@\"\n", said.display());
    std::fs::write(&via, script).expect("written");
    let mut chmod = std::process::Command::new("chmod");
    assert!(
        chmod
            .arg("755")
            .arg(&via)
            .stdin(Stdio::null())
            .status()
            .expect("it runs")
            .success()
    );
    let mut far = spec(&cluster, "lab");
    far.user = Some("locked".to_owned());
    far.via = vec![via.to_str().expect("text").to_owned()];
    let mut request = crate::source::postgres::given::request(far);
    request.password = Some(ccb::model::secret::Secret::new(b"tr1cky'$x".to_vec()));
    let capture = ccb::source::postgres::dump(request).expect("it starts");
    let taken = crate::source::postgres::given::read(capture).expect("it is dumped");
    assert_eq!(facts(&taken).rows(), Some(446));
    let said = std::fs::read_to_string(said).expect("written");
    assert!(
        said.contains("pg_dump") && said.contains("pg_dumpall"),
        "{said}"
    );
    assert!(!said.contains("tr1cky"), "{said}");
}
