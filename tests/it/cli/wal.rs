//! `ccb wal push` and `ccb wal fetch` as a server runs them: what is durable, what is refused, and that a hole
//! is never taken for the end.

use crate::support::archiving::expect;
use crate::support::pushing::{Given, MIB, SYSTEM, data_directory};
use std::fs;

#[test]
fn what_was_pushed_comes_back_and_may_be_pushed_again() {
    let given = Given::new();
    let first = given.segment(1, 7);
    assert_eq!(given.push(0, &first), "");
    // The server was stopped before it knew.
    given.push(0, &first);
    given.fetch_same(&first);
    let label = format!("{first}.00000028.backup");
    given.put(
        &label,
        b"START WAL LOCATION: 0/100028 (file 000000010000000000000001)\n",
    );
    given.put(
        "00000002.history",
        b"1\t0/1A00000\tno recovery target specified\n",
    );
    let partial = format!("{}.partial", given.segment(2, 9));
    fs::rename(given.wal().join(&partial[..24]), given.wal().join(&partial)).unwrap();
    for name in [label.as_str(), "00000002.history", partial.as_str()] {
        given.push(0, name);
        given.fetch_same(name);
    }
    assert!(given.object("primary", &first).exists());
    assert!(
        !given.object("second", &first).exists(),
        "one durable write is enough"
    );
}

#[test]
fn other_bytes_under_a_name_are_refused_and_replace_nothing() {
    let given = Given::new();
    let name = given.segment(1, 7);
    let before = fs::read(given.wal().join(&name)).unwrap();
    given.push(0, &name);
    given.segment(1, 8);
    let said = given.push(1, &name);
    assert!(said.contains("is there already with other bytes"), "{said}");
    given.put("00000002.history", b"1\t0/1A00000\tone\n");
    given.push(0, "00000002.history");
    given.put("00000002.history", b"1\t0/1B00000\tanother\n");
    given.push(1, "00000002.history");
    given.put(&name, &before);
    given.fetch_same(&name);
}

#[test]
fn what_is_no_segment_of_this_cluster_is_refused() {
    let given = Given::new();
    given.push(0, &given.segment(1, 7));
    let foreign = given.segment_of(SYSTEM + 1, 1, 2, 7);
    let said = given.push(1, &foreign);
    assert!(
        said.contains("another server archives under this component"),
        "{said}"
    );

    let third = given.segment(3, 7);
    let whole = fs::read(given.wal().join(&third)).unwrap();
    let cases: [(&str, &str, Vec<u8>); 5] = [
        (&third, "cut short", whole[..MIB - 1].to_vec()),
        (&third, "which no such file has", Vec::new()),
        (&third, "its magic number", [&[0; 8], &whole[8..]].concat()),
        (
            "000000010000000000000004",
            "another segment under this name",
            whole.clone(),
        ),
        (
            "000000010000000000000003.tmp",
            "no file that PostgreSQL archives",
            whole.clone(),
        ),
    ];
    for (name, words, content) in cases {
        given.put(name, &content);
        let said = given.push(1, name);
        assert!(said.contains(words), "{name}: {said}");
    }
    let said = given.push(1, "000000010000000000000009");
    assert!(said.contains("No such file"), "{said}");
}

#[test]
fn only_the_true_end_is_an_end() {
    let given = Given::new();
    for number in [1, 2, 4] {
        given.push(0, &given.segment(number, 7));
    }
    let said = given.fetch(200, "000000010000000000000003");
    assert!(
        said.contains("000000010000000000000003 is missing"),
        "{said}"
    );
    given.fetch(1, "000000010000000000000005");
    given.fetch(1, "00000002.history");
    // Everything that goes wrong must stop recovery, not end it.
    given.fetch(200, "nonsense");
    let wrong: [&[&str]; 3] = [
        &[
            "wal",
            "fetch",
            "missing.kdl",
            "db",
            "000000010000000000000005",
            "data/pg_wal/x",
        ],
        &[
            "wal",
            "fetch",
            "plan.kdl",
            "other",
            "000000010000000000000005",
            "data/pg_wal/x",
        ],
        &["wal", "fetch", "plan.kdl", "db", "000000010000000000000005"],
    ];
    for arguments in wrong {
        expect(given.at(), 200, arguments);
    }
    expect(
        given.at(),
        200,
        &[
            "wal",
            "fetch",
            "plan.kdl",
            "db",
            "00000002.history",
            "elsewhere/x",
        ],
    );
    // Another cluster's WAL is never handed out, however it is asked for.
    data_directory(&given.at().join("other"), SYSTEM + 1);
    let foreign = [
        "wal",
        "fetch",
        "plan.kdl",
        "db",
        "000000010000000000000001",
        "other/pg_wal/x",
    ];
    expect(given.at(), 1, &foreign);
}

#[test]
fn a_wal_backup_takes_over_what_was_pushed_and_names_what_is_missing() {
    let given = Given::new();
    for number in [1, 2] {
        given.push(0, &given.segment(number, 7));
    }
    let wal = ["backup", "plan.kdl", "db", "--method", "wal"];
    expect(given.at(), 0, &wal);
    for number in [3, 5] {
        given.push(0, &given.segment(number, 7));
    }
    given.put("00000002.history", b"1\t0/1A00000\tone\n");
    given.push(0, "00000002.history");
    let said = expect(given.at(), 3, &wal);
    assert!(said.contains("000000010000000000000004"), "{said}");
    assert!(said.contains("never archived"), "{said}");
    // From the backups alone, at either destination.
    for destination in ["primary", "second"] {
        fs::remove_dir_all(
            given
                .at()
                .join(destination)
                .join("wal/db")
                .join(SYSTEM.to_string()),
        )
        .ok();
    }
    for number in [1, 2, 3, 5] {
        given.fetch_same(
            &format!("{number:024X}").replace("00000000000000000000000", "00000001000000000000000"),
        );
    }
    given.fetch_same("00000002.history");
    given.fetch(200, "000000010000000000000004");
    // What comes late closes the gap.
    given.push(0, &given.segment(4, 7));
    expect(given.at(), 0, &wal);
    given.fetch_same("000000010000000000000004");
    fs::rename(given.at().join("primary"), given.at().join("away")).unwrap();
    given.fetch_same("000000010000000000000005");
}
