//! The scanner against what the real `pg_dump` writes.

use crate::source::postgres::given::{LAB, LAB_ROWS};
use crate::support::postgres::Cluster;
use ccb::model::postgres::table_name;
use ccb::source::postgres::archive::{Archive, ArchiveError, Scanner};
use std::collections::BTreeMap;

fn archive(cluster: &Cluster, database: &str, arguments: &[&str]) -> Vec<u8> {
    let mut pg_dump = cluster.client("pg_dump");
    pg_dump.args(["-Fc", "-d", database]).args(arguments);
    let output = pg_dump.output().expect("pg_dump can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output.stdout
}

fn scan(bytes: &[u8], at_once: usize) -> Result<Archive, ArchiveError> {
    let mut scanner = Scanner::default();
    for piece in bytes.chunks(at_once) {
        scanner.feed(piece)?;
    }
    scanner.finish()
}

fn rows(archive: &Archive) -> BTreeMap<String, Option<u64>> {
    let tables = archive.tables();
    tables
        .map(|(entry, data)| (table_name(&entry.schema, &entry.name), data.rows))
        .collect()
}

#[test]
fn every_table_is_counted_and_two_dumps_of_the_same_are_known_to_be_the_same() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let bytes = archive(&cluster, "lab", &["-Z0"]);
    let whole = scan(&bytes, usize::MAX).expect("it is whole");
    let expected: BTreeMap<String, Option<u64>> = LAB_ROWS
        .iter()
        .map(|(name, rows)| ((*name).to_owned(), Some(*rows)))
        .collect();
    assert_eq!(rows(&whole), expected);
    assert_eq!(whole.large_objects.count, 2);
    assert_eq!(whole.large_objects.bytes, 5006);
    assert_eq!(whole.header.database, "lab");
    assert_eq!(whole.len_bytes, bytes.len() as u64);
    for at_once in [1, 2, 3, 7, 64, 4096] {
        assert_eq!(scan(&bytes, at_once).as_ref(), Ok(&whole), "{at_once}");
    }

    std::thread::sleep(std::time::Duration::from_millis(1100));
    let again = archive(&cluster, "lab", &["-Z0"]);
    assert_ne!(again, bytes, "the time is in it");
    let again = scan(&again, 4096).expect("it is whole");
    assert_eq!(again.content, whole.content);
    cluster.sql("lab", "UPDATE users SET notes = 'x' WHERE id = 7");
    let changed = scan(&archive(&cluster, "lab", &["-Z0"]), 4096).expect("it is whole");
    assert_ne!(changed.content, whole.content);
    assert_eq!(rows(&changed), rows(&whole));

    let compressed = scan(&archive(&cluster, "lab", &["-Z6"]), 4096).expect("it is whole");
    assert!(compressed.header.is_compressed);
    assert!(rows(&compressed).values().all(Option::is_none));
    let schema = scan(&archive(&cluster, "lab", &["-s"]), 4096).expect("it is whole");
    assert_eq!(schema.tables().count(), 0);
}

#[test]
fn an_archive_cut_off_anywhere_is_not_whole_whatever_pg_restore_list_says() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let bytes = archive(&cluster, "lab", &["-Z0"]);
    // Every place in the table of contents and the first blocks would take long byte by byte.
    for cut in (0..bytes.len()).filter(|cut| cut % 7 == 0 || bytes.len() - cut < 300) {
        let error = scan(&bytes[..cut], 8192).expect_err("it is cut off");
        let is_told = matches!(
            error,
            ArchiveError::Truncated { .. } | ArchiveError::NoData(_)
        );
        assert!(is_told, "{cut}: {error}");
    }
    // The trap: the list is there although the last table's data is not.
    let cut = cluster.data().with_file_name("cut.dump");
    std::fs::write(&cut, &bytes[..bytes.len() - 1000]).expect("written");
    let listed = cluster
        .client("pg_restore")
        .arg("--list")
        .arg(&cut)
        .output();
    assert!(listed.expect("pg_restore can be started").status.success());
}

#[test]
fn what_is_no_archive_and_what_is_damaged_is_refused_and_never_believed() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let bytes = archive(&cluster, "lab", &["-Z0"]);
    assert_eq!(
        scan(b"--\n-- PostgreSQL", 3),
        Err(ArchiveError::NotAnArchive)
    );
    assert_eq!(scan(b"PGDMX", 9), Err(ArchiveError::NotAnArchive));
    let mut newer = bytes.clone();
    newer[6] = 99;
    assert_eq!(scan(&newer, 9), Err(ArchiveError::Version((1, 99))));
    let longer = [&bytes[..], b"\0"].concat();
    assert!(scan(&longer, 4096).is_err());
    let twice = [&bytes[..], &bytes[..]].concat();
    assert!(scan(&twice, 4096).is_err());
    // Damage is an error or another content; never a panic, and never taken for the same.
    let whole = scan(&bytes, 4096).expect("it is whole");
    for place in (11..bytes.len()).step_by(13) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x11;
        if let Ok(archive) = scan(&damaged, 4096) {
            let same = archive.content == whole.content;
            // Only when it was made, and by what, is not content.
            assert!(!same || place < 200, "{place}");
        }
    }
}
