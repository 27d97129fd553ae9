//! The checks of PostgreSQL dumps: passed by good ones, and failed by each fault that they are for. Nothing is
//! left of a restore test, whatever became of it, and nothing of it happens at the source.

use crate::source::postgres::given::{LAB, captured, spec};
use crate::support::postgres::Cluster;
use crate::support::postgres_backup::PostgresBackup;
use crate::verify::refused;
use ccb::model::postgres::DumpFacts;
use ccb::model::strategy::{ContentsCheck, DumpFormat, PostgresSource};
use ccb::model::units::Percent;
use ccb::verify::Finding;
use ccb::verify::postgres::{DumpTest, contents, restore_test};
use tempfile::TempDir;

fn wants(tables: &[&str]) -> ContentsCheck {
    ContentsCheck {
        counts: true,
        sizes: true,
        keys_tolerance: Percent(0),
        tables: tables.iter().map(|name| (*name).to_owned()).collect(),
    }
}

async fn check(backup: &PostgresBackup, tables: &[&str], earlier: &[DumpFacts]) -> Finding {
    contents(&wants(tables), &backup.manifest, earlier, &backup.reader).await
}

/// A folder that a server's user can get to, whoever runs the tests.
fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    let folder = builder
        .prefix("ccb-it-")
        .permissions(all)
        .tempdir_in("/tmp");
    folder.expect("a folder")
}

async fn try_out(backup: &PostgresBackup) -> Finding {
    let parent = folder();
    let request = DumpTest {
        random: 7,
        parent: parent.path().to_path_buf(),
        server: None,
    };
    let finding = restore_test(&backup.manifest, &backup.reader, &request).await;
    let left: Vec<_> = std::fs::read_dir(parent.path()).expect("read").collect();
    assert!(left.is_empty(), "{left:?}");
    finding
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_dump_passes_and_its_source_is_not_written_to() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    // Neither may reach out from where it is tested.
    let logical = "CREATE PUBLICATION p FOR ALL TABLES;
        CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p
            WITH (connect = false, enabled = false, slot_name = NONE)";
    cluster.sql("lab", logical);
    cluster.sql(
        "lab",
        "CREATE ROLE app; ALTER TABLE users OWNER TO app; CHECKPOINT",
    );
    let backup = PostgresBackup::of(&cluster, "lab").await;
    let before = cluster.sql("postgres", "SELECT pg_current_wal_lsn()");
    let finding = check(&backup, &["users", "public.orders"], &[]).await;
    assert!(finding.passed, "{finding:?}");
    assert_eq!(finding.message, "8 tables of 446 rows, as in the source");
    let finding = try_out(&backup).await;
    assert!(finding.passed, "{finding:?}");
    assert_eq!(finding.facts["rows"], 446);
    assert_eq!(finding.facts["tables"], 8);
    assert_eq!(finding.facts["large_objects"], 2);
    assert!(
        finding
            .message
            .starts_with("restored into a temporary server: 8 tables of 446 rows"),
        "{}",
        finding.message
    );
    // Less than a new database there would write; the server itself may note this and that.
    let written = format!("SELECT pg_current_wal_lsn() - '{before}' < 1000000");
    assert_eq!(cluster.sql("postgres", &written), "t");
    assert_eq!(
        cluster.sql("postgres", "SELECT count(*) FROM pg_database"),
        "4"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_compressed_and_partial_dumps_and_other_encodings_pass() {
    let cluster = Cluster::start();
    let latin = "CREATE DATABASE lab TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    cluster.sql("postgres", latin);
    cluster.sql("lab", LAB);
    let asked = |change: fn(&mut PostgresSource)| {
        let mut spec = spec(&cluster, "lab");
        change(&mut spec);
        PostgresBackup::as_asked(spec)
    };
    let plain = asked(|spec| spec.format = DumpFormat::Plain).await;
    let compressed = asked(|spec| spec.compress = 5).await;
    let part = asked(|spec| spec.exclude_tables = vec!["events*".to_owned()]).await;
    // What is left out is pointed to by a foreign key.
    let without = |spec: &mut PostgresSource| {
        spec.exclude_tables = vec!["users".to_owned(), "happy".to_owned()];
    };
    let pointed_to = asked(without).await;
    for (backup, rows) in [
        (plain, 446),
        (compressed, 446),
        (part, 356),
        (pointed_to, 346),
    ] {
        let finding = check(&backup, &["orders"], &[]).await;
        assert!(finding.passed, "{finding:?}");
        let finding = try_out(&backup).await;
        assert!(finding.passed, "{finding:?}");
        assert_eq!(finding.facts["rows"], rows);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_expected_are_missed_when_they_are_absent_or_have_become_empty() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let earlier = PostgresBackup::of(&cluster, "lab").await;
    refused(
        &check(&earlier, &["users", "invoices", "app.users"], &[]).await,
        "the dump lacks table \"invoices\"",
    );
    // One that never had rows, and one in partitions, which has none of its own.
    assert!(
        check(&earlier, &["empty", "events"], &[earlier.facts()])
            .await
            .passed
    );
    cluster.sql("lab", "TRUNCATE users, orders");
    let backup = PostgresBackup::of(&cluster, "lab").await;
    assert!(check(&backup, &["users"], &[]).await.passed);
    // What was emptied long ago is empty in the last dump too: the one before still counts.
    let between = PostgresBackup::of(&cluster, "lab").await;
    refused(
        &check(&backup, &["users"], &[between.facts(), earlier.facts()]).await,
        "table \"users\" is empty, and an earlier backup has rows of it",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_cut_off_or_another_one_is_found_whatever_pg_restore_list_says() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let taken = captured(spec(&cluster, "lab")).expect("it is dumped");
    let facts: DumpFacts =
        serde_json::from_value(taken.facts.source["postgres"].clone()).expect("facts");
    let file = |name: &str| taken.files[name].as_slice();
    let with = |dump: Vec<u8>| {
        let facts = facts.clone();
        let (globals, schema) = (
            file("globals.sql").to_vec(),
            file("lab.schema.json").to_vec(),
        );
        async move {
            let files: [(&str, &[u8]); 3] = [
                ("globals.sql", &globals),
                ("lab.dump", &dump),
                ("lab.schema.json", &schema),
            ];
            PostgresBackup::made_of(&files, &facts).await
        }
    };
    let whole = file("lab.dump");
    let at = whole.windows(14).position(|part| part == b"u99@example.co");
    let at = at.expect("the row is there");
    let cut = whole[..at].to_vec();
    let mut list = cluster.client("pg_restore");
    let listed = crate::support::postgres::feed(list.arg("-l"), &cut);
    assert!(
        listed.status.success(),
        "pg_restore takes the list for a proof"
    );
    let cut = with(cut).await;
    refused(
        &check(&cut, &[], &[]).await,
        "within TABLE DATA public.users",
    );
    refused(&try_out(&cut).await, "pg_restore");

    let mut changed = whole.to_vec();
    changed[at + 1] = b'8';
    changed[at + 2] = b'0';
    let changed = with(changed).await;
    refused(
        &check(&changed, &[], &[]).await,
        "public.users holds other bytes",
    );

    let backup = PostgresBackup::of(&cluster, "lab").await.with(|facts| {
        facts.tables.get_mut("public.orders").expect("there").rows = Some(251);
        facts.large_objects.count = 3;
    });
    refused(
        &check(&backup, &[], &[]).await,
        "public.orders has 250 rows in the dump, and had 251",
    );
    refused(
        &try_out(&backup).await,
        "public.orders has 250 rows, and had 251 when it was dumped",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_machine_can_not_test_is_told_apart_from_a_bad_dump() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let backup = PostgresBackup::of(&cluster, "lab").await;
    let newer = backup.with(|facts| facts.server.version_number = 990_001);
    refused(
        &try_out(&newer).await,
        "PostgreSQL's server is not installed here, in version 99 or newer",
    );
    let backup = PostgresBackup::of(&cluster, "lab").await.with(|facts| {
        let extensions = &mut facts.server.extensions;
        extensions.insert("timescaledb".to_owned(), "2.1".to_owned());
    });
    refused(
        &try_out(&backup).await,
        "not tested: this machine's PostgreSQL lacks the extensions timescaledb",
    );
    let backup = PostgresBackup::of(&cluster, "lab").await.with(|facts| {
        facts.server.database_bytes = 1 << 60;
    });
    refused(&try_out(&backup).await, "needs more room than the");
    let backup = PostgresBackup::of(&cluster, "lab").await.with(|facts| {
        facts.server.encoding = "NONE".to_owned();
    });
    refused(&try_out(&backup).await, "`initdb` failed");
    let parent = folder();
    let deep = parent.path().join("d".repeat(80));
    std::fs::create_dir(&deep).expect("made");
    let backup = PostgresBackup::of(&cluster, "lab").await;
    let request = DumpTest {
        random: 7,
        parent: deep,
        server: None,
    };
    let finding = restore_test(&backup.manifest, &backup.reader, &request).await;
    refused(&finding, "is too long for a socket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_is_behind_its_rows_is_told() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    cluster.sql("lab", "SELECT setval('orders_id_seq', 10)");
    let backup = PostgresBackup::of(&cluster, "lab").await;
    let finding = try_out(&backup).await;
    assert!(finding.passed, "{finding:?}");
    let behind = &finding.facts["sequences_behind"];
    assert_eq!(*behind, serde_json::json!(["public.orders_id_seq"]));
}
