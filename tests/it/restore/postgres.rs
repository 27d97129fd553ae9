//! Dumps put back: whole and in part, into new databases and into what is there, with roles and without; and
//! nothing half made where it fails.

use crate::source::postgres::given::{LAB, SLOW, spec};
use crate::support::captured::chain;
use crate::support::postgres::{Cluster, SUPERUSER};
use crate::support::postgres_backup::{PostgresBackup, everything};
use crate::support::restored::wait_for;
use ccb::model::strategy::{DumpFormat, PostgresSource};
use ccb::restore::postgres::target::drop_made;
use ccb::restore::postgres::{Report, Request, Selection, restore};
use ccb::source::postgres::connection::Connection;

/// All of it, into a database of a server.
fn into(cluster: &Cluster, database: &str, backup: &PostgresBackup) -> Request {
    Request {
        target: Connection::new(&spec(cluster, database), None),
        facts: backup.facts(),
        selection: Selection::default(),
        overwrite: false,
        roles: false,
        no_owner: false,
        jobs: 1,
        scratch: std::env::temp_dir(),
        mark: "0f".to_owned(),
        dry_run: false,
    }
}

async fn put_back(backup: &PostgresBackup, request: Request) -> Result<Report, String> {
    let root = backup.manifest.root_node();
    let restored = restore(&backup.reader, &root, request).await;
    restored.map_err(|e| chain(&e))
}

async fn restored(backup: &PostgresBackup, request: Request) -> Report {
    put_back(backup, request).await.expect("it is restored")
}

async fn refused(backup: &PostgresBackup, request: Request) -> String {
    put_back(backup, request).await.expect_err("it is refused")
}

fn databases(cluster: &Cluster) -> String {
    let sql =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    cluster.sql("postgres", sql)
}

fn tables(names: &[&str]) -> Selection {
    Selection {
        tables: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Selection::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_comes_back_as_it_was_in_another_database_and_on_another_server() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    cluster.sql("lab", "ALTER DATABASE lab SET work_mem TO '7MB'");
    let backup = PostgresBackup::of(&cluster, "lab").await;
    let lab = everything(&cluster, "lab");

    let report = restored(&backup, into(&cluster, "one", &backup)).await;
    assert_eq!((report.tables, report.rows), (8, 446));
    assert_eq!(report.notes, [""; 0]);
    assert_eq!(everything(&cluster, "one"), lab);
    // Settings of the database itself, which pg_restore leaves out.
    assert_eq!(cluster.sql("one", "SHOW work_mem"), "7MB");

    let other = Cluster::start();
    let several = Request {
        jobs: 3,
        ..into(&other, "two", &backup)
    };
    restored(&backup, several).await;
    assert_eq!(everything(&other, "two"), lab);
    // Made empty before, by somebody who may make databases where the restoring role may not.
    other.sql("postgres", "CREATE DATABASE three");
    restored(&backup, into(&other, "three", &backup)).await;
    assert_eq!(everything(&other, "three"), lab);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_encodings_and_plain_dumps_come_back() {
    let cluster = Cluster::start();
    let odd = "CREATE DATABASE \"Odd 'x' \\ \"\"name\"\"\" TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    cluster.sql("postgres", odd);
    let name = "Odd 'x' \\ \"name\"";
    cluster.sql(name, LAB);
    cluster.sql(
        name,
        "INSERT INTO users (email) VALUES (U&'\\00e4\\00df@x')",
    );
    let backup = PostgresBackup::of(&cluster, name).await;
    restored(&backup, into(&cluster, "we ird; \"'", &backup)).await;
    assert_eq!(
        everything(&cluster, "we ird; \"'"),
        everything(&cluster, name)
    );
    assert_eq!(cluster.sql("we ird; \"'", "SHOW server_encoding"), "LATIN1");

    let plain = PostgresSource {
        format: DumpFormat::Plain,
        ..spec(&cluster, name)
    };
    let backup = PostgresBackup::as_asked(plain).await;
    restored(&backup, into(&cluster, "plain", &backup)).await;
    assert_eq!(everything(&cluster, "plain"), everything(&cluster, name));
    let part = Request {
        selection: tables(&["users"]),
        ..into(&cluster, "part", &backup)
    };
    assert!(
        refused(&backup, part)
            .await
            .contains("a plain dump is restored whole")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_database_stays_unless_it_may_be_replaced_and_is_kept_even_then() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let backup = PostgresBackup::of(&cluster, "lab").await;
    let before = everything(&cluster, "lab");
    cluster.sql(
        "lab",
        "DROP TABLE orders CASCADE; CREATE TABLE newer (a int)",
    );
    let later = everything(&cluster, "lab");

    let said = refused(&backup, into(&cluster, "lab", &backup)).await;
    assert!(said.contains("is not empty: it has"), "{said}");
    assert!(said.contains("add --overwrite"), "{said}");
    assert_eq!(everything(&cluster, "lab"), later);

    let replacing = || Request {
        overwrite: true,
        ..into(&cluster, "lab", &backup)
    };
    // The server may need a moment to notice that somebody has gone.
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'lab'";
    let until_idle = || wait_for(|| cluster.sql("postgres", idle) == "0");
    until_idle();
    let session = cluster.session("lab", "SELECT 1");
    let said = refused(&backup, replacing()).await;
    assert!(said.contains("1 sessions use lab"), "{said}");
    drop(session);
    until_idle();
    let looked = Request {
        dry_run: true,
        ..replacing()
    };
    let report = restored(&backup, looked).await;
    assert!(
        report.notes[0].contains("keep what is there as lab_before_0f"),
        "{report:?}"
    );
    assert_eq!(everything(&cluster, "lab"), later);

    until_idle();
    let report = restored(&backup, replacing()).await;
    assert_eq!(report.aside.as_deref(), Some("lab_before_0f"));
    assert_eq!(everything(&cluster, "lab"), before);
    assert_eq!(everything(&cluster, "lab_before_0f"), later);
    assert_eq!(databases(&cluster), "lab lab_before_0f postgres");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_comes_back_with_all_that_belongs_to_it_beside_what_is_there() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let backup = PostgresBackup::of(&cluster, "lab").await;
    let before = everything(&cluster, "lab");
    cluster.sql(
        "lab",
        "DROP TABLE orders CASCADE; INSERT INTO users (email) VALUES ('new@x')",
    );
    let only = |names: &[&str]| Request {
        selection: tables(names),
        ..into(&cluster, "lab", &backup)
    };
    let said = refused(&backup, only(&["public.nothing"])).await;
    assert!(
        said.contains("the backup has no public.nothing; it has"),
        "{said}"
    );
    let report = restored(&backup, only(&["orders"])).await;
    assert_eq!((report.tables, report.rows), (1, 250));
    // Its key to users is left out, as that table is not restored with it: and said.
    assert!(
        report.notes[0].contains("without the foreign key orders orders_user_id_fkey"),
        "{report:?}"
    );
    cluster.sql("lab", "INSERT INTO orders (user_id, total) VALUES (1, 1)");
    assert_eq!(cluster.sql("lab", "SELECT max(id) FROM orders"), "251");
    let keys = "SELECT count(*) FROM pg_constraint WHERE conrelid = 'orders'::regclass";
    assert_eq!(cluster.sql("lab", keys), "2");
    assert_eq!(cluster.sql("lab", "SELECT count(*) FROM users"), "101");

    // What is there of it already is in the way, and is replaced only when asked.
    let said = refused(&backup, only(&["users", "orders"])).await;
    assert!(
        said.contains("has public.orders, public.users already"),
        "{said}"
    );
    let both = Request {
        overwrite: true,
        ..only(&["users", "orders"])
    };
    let said = refused(&backup, both).await;
    assert!(said.contains("other objects depend on it"), "{said}");
    assert_eq!(cluster.sql("lab", "SELECT count(*) FROM users"), "101");
    cluster.sql("lab", "DROP VIEW happy");
    let both = Request {
        overwrite: true,
        ..only(&["users", "orders"])
    };
    restored(&backup, both).await;
    assert_eq!(cluster.sql("lab", "SELECT count(*) FROM users"), "100");
    let view = "CREATE VIEW happy AS SELECT email FROM users WHERE feels = 'happy' WITH LOCAL CHECK OPTION";
    cluster.sql("lab", view);
    cluster.sql("lab", "DROP MATERIALIZED VIEW IF EXISTS totals");
    let totals = "CREATE MATERIALIZED VIEW totals AS SELECT user_id, sum(total) FROM orders GROUP BY user_id WITH NO DATA";
    cluster.sql("lab", totals);
    let rows = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(rows(&everything(&cluster, "lab")), rows(&before));

    // Into a database that is not there: with the types and functions that it needs.
    let alone = Request {
        selection: tables(&["users", "orders"]),
        ..into(&cluster, "alone", &backup)
    };
    let report = restored(&backup, alone).await;
    assert_eq!((report.tables, report.rows), (2, 350));
    let triggers = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal";
    assert_eq!(cluster.sql("alone", triggers), "1");
    let schema = Request {
        selection: Selection {
            schemas: vec!["Odd schema".to_owned()],
            ..Selection::default()
        },
        ..into(&cluster, "schema", &backup)
    };
    assert_eq!(restored(&backup, schema).await.rows, 2);
    assert_eq!(databases(&cluster), "alone lab postgres schema");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_made_when_asked_and_done_without_when_asked() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let roles =
        "CREATE ROLE app LOGIN PASSWORD 'x'; CREATE ROLE \"Read er\"; GRANT \"Read er\" TO app;
        ALTER TABLE users OWNER TO app; GRANT SELECT ON orders TO \"Read er\"";
    cluster.sql("lab", roles);
    let backup = PostgresBackup::of(&cluster, "lab").await;

    let other = Cluster::start();
    let said = refused(&backup, into(&other, "lab", &backup)).await;
    assert!(
        said.contains("does not have the roles Read er, app: add --roles"),
        "{said}"
    );
    assert_eq!(databases(&other), "postgres");

    let without = Request {
        no_owner: true,
        ..into(&other, "without", &backup)
    };
    restored(&backup, without).await;
    let owner = "SELECT relowner::regrole FROM pg_class WHERE relname = 'users'";
    assert_eq!(other.sql("without", owner), SUPERUSER);

    let with = Request {
        roles: true,
        ..into(&other, "lab", &backup)
    };
    let report = restored(&backup, with).await;
    assert_eq!(report.notes, ["made the roles Read er, app"]);
    assert_eq!(everything(&other, "lab"), everything(&cluster, "lab"));
    let password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
    let same = |cluster: &Cluster| cluster.sql("postgres", password);
    assert_eq!(same(&other), same(&cluster));
    assert_eq!(
        other.sql("postgres", "SELECT pg_has_role('app', 'Read er', 'MEMBER')"),
        "t"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_out_is_not_pointed_to_and_a_tablespace_that_is_not_there_is_done_without() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let place = tempfile::tempdir_in("/tmp").expect("a folder");
    crate::support::postgres::give_to_server_user(place.path());
    let fast = format!(
        "CREATE TABLESPACE fast LOCATION '{}'",
        place.path().display()
    );
    cluster.sql("lab", &fast);
    cluster.sql("lab", "ALTER TABLE orders SET TABLESPACE fast");
    let part = PostgresSource {
        exclude_tables: vec!["users".to_owned(), "happy".to_owned()],
        ..spec(&cluster, "lab")
    };
    let backup = PostgresBackup::as_asked(part).await;
    let other = Cluster::start();
    for jobs in [1, 2] {
        let name = format!("part{jobs}");
        let request = Request {
            jobs,
            ..into(&other, &name, &backup)
        };
        let report = restored(&backup, request).await;
        assert_eq!(report.rows, 346);
        assert_eq!(
            report.notes,
            [
                "without the foreign key orders orders_user_id_fkey: what it points to is not restored with it",
                "the server does not have the tablespaces fast: what was in them is in its default one",
            ]
        );
    }
    // At the source's own server it lies where it lay.
    restored(&backup, into(&cluster, "again", &backup)).await;
    let lies = "SELECT spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE relname = 'orders'";
    assert_eq!(cluster.sql("again", lies), "fast");
    cluster.sql("postgres", "DROP DATABASE again");
    cluster.sql("postgres", "DROP DATABASE lab");
    cluster.sql("postgres", "DROP TABLESPACE fast");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_a_newer_server_is_refused_before_anything_is_made() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let backup = PostgresBackup::of(&cluster, "lab").await;
    let newer = backup.with(|facts| facts.server.version_number = 990_001);
    let said = refused(&newer, into(&cluster, "new", &newer)).await;
    assert!(
        said.contains("and the dump is of 99: restore into 99 or newer"),
        "{said}"
    );
    assert_eq!(databases(&cluster), "lab postgres");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_in_the_middle_leaves_nothing_behind() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    // Holds for the rows that are there, and for none that are put in.
    let strange = "CREATE FUNCTION never(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
        CREATE TABLE strange (a text); INSERT INTO strange VALUES ('1');
        ALTER TABLE strange ADD CONSTRAINT never CHECK (never(a));
        CREATE OR REPLACE FUNCTION never(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';";
    cluster.sql("lab", strange);
    let backup = PostgresBackup::of(&cluster, "lab").await;
    for jobs in [1, 2] {
        let request = Request {
            jobs,
            ..into(&cluster, "new", &backup)
        };
        let said = refused(&backup, request).await;
        assert!(said.contains("restore into new at"), "{said}");
        assert!(
            said.contains("violates check constraint \"never\""),
            "{said}"
        );
        assert_eq!(databases(&cluster), "lab postgres");
    }
    let replacing = Request {
        overwrite: true,
        ..into(&cluster, "lab", &backup)
    };
    let before = everything(&cluster, "lab");
    refused(&backup, replacing).await;
    assert_eq!(databases(&cluster), "lab postgres");
    assert_eq!(everything(&cluster, "lab"), before);
    // Who still looks at what was half made, such as who counts its rows early, does not keep it there.
    cluster.sql("postgres", "CREATE DATABASE made");
    let _looking = cluster.session("made", "SELECT 1");
    drop_made(&Connection::new(&spec(&cluster, "made"), None)).expect("it can be dropped");
    assert_eq!(databases(&cluster), "lab postgres");
    // Into an empty database that was there: it is empty again.
    cluster.sql("postgres", "CREATE DATABASE empty");
    let blank = everything(&cluster, "empty");
    refused(&backup, into(&cluster, "empty", &backup)).await;
    assert_eq!(everything(&cluster, "empty"), blank);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_in_the_middle_leaves_no_database_of_that_name_and_what_it_left_is_told()
 {
    let cluster = Cluster::start();
    cluster.create("slow", SLOW);
    let backup = PostgresBackup::of(&cluster, "slow").await;
    let mut target = Cluster::start();
    let request = into(&target, "new", &backup);
    let restoring = tokio::spawn(async move { put_back(&backup, request).await });
    let copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%'";
    wait_for(|| {
        assert!(!restoring.is_finished(), "it ended by itself");
        target.sql("postgres", copying) != "0"
    });
    target.crash();
    let said = restoring.await.expect("it ran").expect_err("it is broken");
    assert!(
        said.contains("what was half restored is still there, in new_ccb_0f at"),
        "{said}"
    );
    target.start_again();
    assert_eq!(databases(&target), "new_ccb_0f postgres");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_not_whole_and_one_that_differs_from_its_facts_are_no_restored_database() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let backup = PostgresBackup::of(&cluster, "lab").await;
    let facts = backup.facts();
    let taken = crate::source::postgres::given::captured(spec(&cluster, "lab")).expect("dumped");
    let dump = &taken.files["lab.dump"];
    let cut = &dump[..dump.len() - 40];
    let truncated = PostgresBackup::made_of(&[("lab.dump", cut)], &facts).await;
    for jobs in [1, 2] {
        let request = Request {
            jobs,
            ..into(&cluster, "new", &truncated)
        };
        refused(&truncated, request).await;
        assert_eq!(databases(&cluster), "lab postgres");
    }
    let other = PostgresBackup::of(&cluster, "lab").await.with(|facts| {
        facts.tables.get_mut("public.users").expect("there").rows = Some(7);
    });
    let said = refused(&other, into(&cluster, "new", &other)).await;
    assert!(
        said.contains("public.users has 100 rows, and had 7 when it was dumped"),
        "{said}"
    );
    assert_eq!(databases(&cluster), "lab postgres");
    let nowhere = PostgresBackup::made_of(&[("other", b"")], &facts).await;
    let said = refused(&nowhere, into(&cluster, "new", &nowhere)).await;
    assert!(said.contains("`lab.dump` is not in the backup"), "{said}");
    let lacking = PostgresBackup::of(&cluster, "lab").await;
    cluster.sql("postgres", "CREATE ROLE small LOGIN");
    let small = Request {
        target: Connection::new(
            &PostgresSource {
                user: Some("small".to_owned()),
                ..spec(&cluster, "new")
            },
            None,
        ),
        ..into(&cluster, "new", &lacking)
    };
    let said = refused(&lacking, small).await;
    assert!(said.contains("the role may not make one"), "{said}");
}
