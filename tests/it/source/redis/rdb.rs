//! The canonical form of an RDB: the same data to a server, the same bytes for the same data, and never
//! a guess about what is damaged or unknown.

use crate::support::redis::{Server, fill};
use ccb::source::redis::rdb::{self, Keys, Raw, RdbError, RdbFacts, SORT_BUDGET_BYTES};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;

fn canonical_with(rdb: &[u8], budget: usize) -> Result<(Vec<u8>, RdbFacts), RdbError> {
    let (mut reader, facts) = rdb::canonical(rdb, &std::env::temp_dir(), budget)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("it can be read");
    Ok((bytes, facts))
}

fn canonical(rdb: &[u8]) -> (Vec<u8>, RdbFacts) {
    canonical_with(rdb, SORT_BUDGET_BYTES).expect("it is whole")
}

#[test]
fn a_server_loads_the_canonical_form_to_the_same_data_and_the_checker_accepts_it() {
    let server = Server::start(&[("maxmemory-policy", "allkeys-lru")]);
    fill(&server);
    let before = server.digest();
    let saved = server.saved();
    let (bytes, facts) = canonical(&saved);

    let types: BTreeMap<&str, u64> = facts.types.iter().map(|(k, n)| (k.as_str(), *n)).collect();
    let wanted = [
        ("hash", 11),
        ("list", 12),
        ("set", 12),
        ("stream", 1),
        ("string", 902),
        ("zset", 11),
    ];
    assert_eq!(types, BTreeMap::from(wanted));
    let databases = [
        (
            0,
            Keys {
                keys: 948,
                expires: 300,
            },
        ),
        (
            3,
            Keys {
                keys: 1,
                expires: 0,
            },
        ),
    ];
    assert_eq!(facts.databases, BTreeMap::from(databases));
    assert_eq!(format!("{:04}", facts.version).as_bytes(), &saved[5..9]);
    assert_eq!((facts.functions, facts.has_checksum), (1, true));
    assert_eq!(facts.server, Some(server.info("redis_version")));

    server.load(&bytes);
    assert_eq!(server.digest(), before);
    let doubled: u64 = server.call(&["FCALL", "twice", "0", "21"]);
    assert_eq!(doubled, 42);
    let file = server.data().join("canonical.rdb");
    std::fs::write(&file, &bytes).expect("written");
    let checked = Command::new("redis-check-rdb").arg(&file).output();
    let checked = checked.expect("redis-check-rdb is there");
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn two_servers_with_the_same_data_and_one_before_and_after_a_restart_give_the_same_bytes() {
    // With a policy by last use, Redis stores a time for each key; the hash seed is another in each
    // process, and strings are compressed.
    let server = Server::start(&[("maxmemory-policy", "allkeys-lru")]);
    fill(&server);
    let first = server.saved();
    let (bytes, facts) = canonical(&first);
    let other = Server::start(&[
        ("maxmemory-policy", "allkeys-lfu"),
        ("rdbcompression", "no"),
    ]);
    other.load(&first);
    let second = other.saved();
    assert_ne!(first, second);
    let (again, _) = canonical(&second);
    assert!(again == bytes, "the same data give other bytes");
    let (twice, facts_of_canonical) = canonical(&bytes);
    assert!(
        twice == bytes,
        "a canonical form is not its own canonical form"
    );
    assert_eq!(
        facts_of_canonical,
        RdbFacts {
            written_at: None,
            ..facts
        }
    );
}

#[test]
fn elements_of_sets_and_hashes_that_do_not_fit_into_memory_are_sorted_too() {
    let server = Server::start(&[]);
    let mut pipe = redis::pipe();
    for number in 0..400_000_u32 {
        let (field, value) = (format!("field:{number}"), "v".repeat(number as usize % 200));
        pipe.cmd("HSET").arg("hash").arg(&field).arg(value);
        pipe.cmd("SADD").arg("set").arg(field);
        if number % 20_000 == 0 {
            server.pipe(&pipe);
            pipe.clear();
        }
    }
    server.pipe(&pipe);
    let saved = server.saved();
    let (bytes, _) = canonical(&saved);
    let other = Server::start(&[]);
    other.load(&saved);
    let again = other.saved();
    assert_ne!(again, saved);
    assert!(
        canonical(&again).0 == bytes,
        "the same data give other bytes"
    );
    let digest = server.digest();
    server.load(&bytes);
    assert_eq!(server.digest(), digest);
}

#[test]
fn an_element_that_is_long_itself_keeps_its_place_and_nothing_is_lost() {
    let server = Server::start(&[("rdbcompression", "no")]);
    let mut pipe = redis::pipe();
    for number in 0..60_000_u32 {
        let field = format!("field:{number}");
        pipe.cmd("HSET")
            .arg("hash")
            .arg(&field)
            .arg("v".repeat(100));
        pipe.cmd("SADD").arg("set").arg(field);
    }
    for number in 0..3_u32 {
        let long = number.to_string().repeat(6 << 20);
        pipe.cmd("HSET")
            .arg("hash")
            .arg(format!("long:{number}"))
            .arg(&long);
        pipe.cmd("SADD").arg("set").arg(&long);
        pipe.cmd("SADD").arg("only long").arg(&long);
        pipe.cmd("SET").arg(format!("string:{number}")).arg(&long);
    }
    server.pipe(&pipe);
    let digest = server.digest();
    let saved = server.saved();
    let (bytes, facts) = canonical(&saved);
    assert_eq!(facts.keys(), 6);
    assert_eq!(bytes.len(), canonical(&bytes).0.len());
    server.load(&bytes);
    assert_eq!(server.digest(), digest);
}

#[test]
fn sorting_in_little_memory_through_files_gives_the_same_bytes() {
    let server = Server::start(&[]);
    fill(&server);
    let saved = server.saved();
    let (bytes, facts) = canonical(&saved);
    for budget in [1, 1000, 300_000] {
        let (spilled, of_spilled) = canonical_with(&saved, budget).expect("it is whole");
        assert!(spilled == bytes, "with {budget} bytes of memory");
        assert_eq!(of_spilled, facts);
    }
}

#[test]
fn an_empty_server_has_a_canonical_form_too() {
    let server = Server::start(&[]);
    let (bytes, facts) = canonical(&server.saved());
    assert_eq!(facts.keys(), 0);
    server.load(&bytes);
    assert_eq!(server.call::<u64>(&["DBSIZE"]), 0);
}

#[test]
fn what_expires_is_counted_at_the_time_that_is_asked_for() {
    let server = Server::start(&[]);
    server.call::<()>(&["SET", "a", "1", "PXAT", "4000000000000"]);
    server.call::<()>(&["SET", "b", "1", "PXAT", "4000000001000"]);
    server.call::<()>(&["SET", "c", "1"]);
    let saved = server.saved();
    for (at, expired) in [
        (3_999_999_999_999, 0),
        (4_000_000_000_000, 1),
        (i64::MAX, 2),
    ] {
        let (facts, counted) = rdb::count(saved.as_slice(), at).expect("it is whole");
        assert_eq!((facts.keys(), counted), (3, expired));
    }
}

#[test]
fn every_truncation_and_every_flipped_bit_is_noticed() {
    let server = Server::start(&[]);
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg("key").arg("text ".repeat(20));
    pipe.cmd("HSET").arg(&["hash", "a", "1", "b", "2"]);
    pipe.cmd("XADD").arg(&["stream", "1-1", "a", "b"]);
    pipe.cmd("ZADD").arg(&["zset", "1.5", "a"]);
    server.pipe(&pipe);
    let saved = server.saved();
    let raw = |bytes: &[u8]| std::io::copy(&mut Raw::new(bytes), &mut std::io::sink());
    assert_eq!(raw(&saved).expect("it is whole"), saved.len() as u64);
    canonical(&saved);
    for len in 0..saved.len() {
        assert!(
            canonical_with(&saved[..len], 1 << 20).is_err(),
            "cut to {len} bytes"
        );
        assert!(raw(&saved[..len]).is_err(), "cut to {len} bytes, raw");
    }
    for bit in 0..saved.len() * 8 {
        let mut flipped = saved.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let read = canonical_with(&flipped, 1 << 20);
        assert!(read.is_err(), "bit {bit} flipped");
    }
}

#[test]
fn a_wrong_checksum_says_so_and_a_missing_one_is_known() {
    let server = Server::start(&[("rdbchecksum", "no")]);
    server.call::<()>(&["SET", "a", "1"]);
    let saved = server.saved();
    let (bytes, facts) = canonical(&saved);
    assert!(!facts.has_checksum);
    let (_, facts) = canonical(&bytes);
    assert!(facts.has_checksum, "the canonical form always has one");
    let mut wrong = bytes;
    *wrong.last_mut().expect("not empty") ^= 1;
    let error = canonical_with(&wrong, 1 << 20).expect_err("it is noticed");
    assert!(error.to_string().contains("its checksum is"), "{error}");
}

#[test]
fn another_version_a_module_and_entries_among_the_keys_are_not_understood_rather_than_guessed() {
    let of = |head: &str, rest: &[u8]| {
        let bytes = [head.as_bytes(), rest, &[0xff], &[0; 8]].concat();
        let error = canonical_with(&bytes, 1 << 20).expect_err("it is not known");
        let words = error.to_string();
        assert!(matches!(error, RdbError::Unknown { .. }), "{words}");
        let passed = std::io::copy(&mut Raw::new(bytes.as_slice()), &mut std::io::sink());
        assert!(passed.is_ok(), "the raw form needs no knowledge of it");
        words
    };
    assert!(of("REDIS0080", b"").contains("RDB version 80"));
    assert!(of("REDIS0010", b"\x07\x01a\x81").contains("a module's data"));
    assert!(of("REDIS0010", b"\xf7\x81").contains("a module's data"));
    assert!(of("REDIS0010", b"\x00\x01a\x01b\xfa\x01x\x01y\x00\x01c\x01d").contains("entry `x`"));
    assert!(of("REDIS0010", b"\x1e\x01a").contains("type 30"));
}

#[test]
fn what_is_no_rdb_at_all_is_told_apart() {
    for bytes in [&b""[..], b"*2\r\n$6\r\nSELECT\r\n", b"REDISxxxx", b"RED"] {
        let error = canonical_with(bytes, 1 << 20).expect_err("it is none");
        assert!(matches!(error, RdbError::NotAnRdb), "{error}");
    }
}

#[test]
fn a_length_that_lies_takes_no_memory() {
    // A string that claims 2^60 bytes, plain and compressed; a list of 2^60 elements.
    let claims: [&[u8]; 3] = [
        b"\x00\x01a\x81\x10\0\0\0\0\0\0\0abc",
        b"\x00\x01a\xc3\x81\x10\0\0\0\0\0\0\0\x81\x10\0\0\0\0\0\0\0\x00a",
        b"\x01\x01a\x81\x10\0\0\0\0\0\0\0\x01a",
    ];
    for claim in claims {
        let bytes = [b"REDIS0010", claim].concat();
        let error = canonical_with(&bytes, 1 << 20).expect_err("it is noticed");
        assert!(matches!(error, RdbError::Ends { .. }), "{error}");
    }
}

/// One command of a random data set.
fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let key =
        |prefix: &'static str| (0..6_u8).prop_map(move |n| format!("{prefix}{n}").into_bytes());
    let text = || {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (any::<u8>(), 1..400_usize).prop_map(|(byte, len)| vec![byte; len]),
            prop::collection::vec(any::<u8>(), 0..100),
        ]
    };
    let member = || {
        prop_oneof![
            text(),
            (0..2000_u32).prop_map(|n| n.to_string().into_bytes())
        ]
    };
    let number = || any::<i16>().prop_map(|n| (f64::from(n) / 8.0).to_string().into_bytes());
    let word = |word: &str| Just(word.as_bytes().to_vec());
    prop_oneof![
        (word("SET"), key("string"), text()).prop_map(|(a, b, c)| vec![a, b, c]),
        (word("APPEND"), key("string"), text()).prop_map(|(a, b, c)| vec![a, b, c]),
        (word("RPUSH"), key("list"), text()).prop_map(|(a, b, c)| vec![a, b, c]),
        (word("SADD"), key("set"), member()).prop_map(|(a, b, c)| vec![a, b, c]),
        (word("SREM"), key("set"), member()).prop_map(|(a, b, c)| vec![a, b, c]),
        (word("HSET"), key("hash"), member(), text()).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
        (word("ZADD"), key("zset"), number(), member()).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
        (word("XADD"), key("stream"), word("*"), text(), text())
            .prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e]),
        (word("PEXPIRE"), key("string"), 1_000_000..9_000_000_u32).prop_map(|(a, b, c)| vec![
            a,
            b,
            c.to_string().into_bytes()
        ]),
        (word("SELECT"), 0..3_u8).prop_map(|(a, b)| vec![a, b.to_string().into_bytes()]),
    ]
}

#[test]
fn any_data_set_comes_back_equal_from_its_canonical_form() {
    let server = Server::start(&[
        ("set-max-intset-entries", "20"),
        ("hash-max-listpack-entries", "20"),
    ]);
    let mut runner = TestRunner::new(Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    });
    let commands = prop::collection::vec(command(), 0..1500);
    let outcome = runner.run(&commands, |commands| {
        server.call::<()>(&["FLUSHALL"]);
        let mut pipe = redis::pipe();
        for words in &commands {
            let mut command = redis::Cmd::new();
            for word in words {
                command.arg(word.as_slice());
            }
            pipe.add_command(command);
        }
        server.pipe(&pipe);
        let digest = server.digest();
        let (bytes, _) = canonical(&server.saved());
        server.load(&bytes);
        prop_assert_eq!(server.digest(), digest);
        prop_assert_eq!(canonical(&bytes).0, bytes);
        Ok(())
    });
    outcome.expect("it holds");
}
