//! Append-only files of live servers: one state of the data whatever the server does meanwhile, and cut
//! where a command ends.

use crate::source::redis::given::{append_only, request, via, with_files};
use crate::support::captured::drained;
use crate::support::on_drop::OnDrop;
use crate::support::redis::{Server, fill};
use crate::support::restored::wait_for;
use ccb::source::redis::Request;
use ccb::source::redis::aof::{AofBody, AofManifest, End, count_aof};
use ccb::source::redis::facts::{Form, Transfer};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const ON: &[(&str, &str)] = &[("appendonly", "yes")];
/// A restored server must not repair anything.
const STRICT: &[(&str, &str)] = &[("appendonly", "yes"), ("aof-load-truncated", "no")];

/// A server that was started on captured files.
fn restored(files: &BTreeMap<String, Vec<u8>>) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(path, bytes).expect("written");
    }
    (Server::start_on(folder.path(), STRICT), folder)
}

#[test]
fn a_server_starts_on_the_files_with_the_same_data() {
    let server = Server::start(ON);
    fill(&server);
    let digest = server.digest();
    for request in [
        with_files(&server),
        Request {
            via: via(),
            ..request(&server.url())
        },
    ] {
        let (files, facts) = append_only(request).expect("captured");
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        let wanted = [
            "appendonlydir/appendonly.aof.1.base.rdb",
            "appendonlydir/appendonly.aof.1.incr.aof",
            "appendonlydir/appendonly.aof.manifest",
        ];
        assert_eq!(names, wanted);
        assert_eq!(
            (facts.transfer, facts.form),
            (Transfer::Files, Form::Canonical)
        );
        let aof = facts.aof.expect("they were read");
        let increment = &aof.files["appendonly.aof.1.incr.aof"];
        assert!(
            increment.commands > 3900 && increment.cut_bytes == 0,
            "{increment:?}"
        );
        assert_eq!(facts.keys_before[&0].keys, 948);
        assert_eq!(facts.keys_after, facts.keys_before);
        assert!(facts.position.is_some(), "nothing changed meanwhile");
        assert_eq!(restored(&files).0.digest(), digest);
    }
}

#[test]
fn while_it_writes_and_rewrites_all_that_was_acknowledged_before_is_there_and_no_half_transaction()
{
    let server = Server::start(&[("appendonly", "yes"), ("rdb-key-save-delay", "20")]);
    fill(&server);
    let (done, server) = (AtomicBool::new(false), &server);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = server.connect();
            while !done.load(Ordering::Relaxed) {
                let mut pipe = redis::pipe();
                pipe.atomic()
                    .cmd("INCR")
                    .arg("left")
                    .cmd("INCR")
                    .arg("right");
                pipe.query::<(u64, u64)>(&mut connection).expect("written");
            }
        });
        scope.spawn(|| {
            let mut connection = server.connect();
            while !done.load(Ordering::Relaxed) {
                // It may be at it already.
                let _ = redis::cmd("BGREWRITEAOF").query::<String>(&mut connection);
                thread::sleep(std::time::Duration::from_millis(100));
            }
        });
        // Also when an assertion fails: the scope waits for those who write.
        let _end = OnDrop(|| done.store(true, Ordering::Relaxed));
        wait_for(|| server.call::<Option<u64>>(&["GET", "left"]).is_some());
        for far in [Vec::new(), via(), Vec::new()] {
            let acknowledged: u64 = server.call(&["GET", "left"]);
            let request = Request {
                via: far,
                ..with_files(server)
            };
            let (files, _) = append_only(request).expect("captured");
            let (copy, _folder) = restored(&files);
            let left: u64 = copy.call(&["GET", "left"]);
            let right: u64 = copy.call(&["GET", "right"]);
            assert_eq!(left, right, "half a transaction");
            assert!(left >= acknowledged, "{left} < {acknowledged}");
            assert_eq!(copy.call::<u64>(&["DBSIZE"]), 950);
        }
    });
}

#[test]
fn a_rewrite_that_takes_the_files_away_before_they_are_opened_on_the_far_side_is_no_failure() {
    let server = Server::start(ON);
    fill(&server);
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    // The first shell that is to open them waits until they are gone.
    let script = format!(
        "#!/bin/sh\ncd {} && [ \"$1\" = sh ] && mkdir asked 2>/dev/null && \
         for i in $(seq 600); do [ -e gone ] && break; sleep 0.1; done\nexec \"$@\"\n",
        folder.path().display()
    );
    fs::write(at("far"), script).expect("written");
    let request = Request {
        via: vec!["sh".to_owned(), at("far").display().to_string()],
        ..with_files(&server)
    };
    let old = server
        .data()
        .join("appendonlydir/appendonly.aof.1.base.rdb");
    assert!(old.exists(), "what the manifest names before the rewrite");
    let capturing = thread::spawn(move || append_only(request));
    wait_for(|| at("asked").exists());
    server.call::<()>(&["BGREWRITEAOF"]);
    wait_for(|| !old.exists());
    server.wait_for("aof_rewrite_in_progress", "0");
    fs::write(at("gone"), "").expect("written");
    let (files, _) = capturing.join().expect("it ends").expect("captured");
    assert!(files.contains_key("appendonlydir/appendonly.aof.2.base.rdb"));
    assert_eq!(restored(&files).0.digest(), server.digest());
}

#[test]
fn a_file_that_the_manifest_names_and_that_is_not_there_is_said_at_once() {
    let server = Server::start(ON);
    fill(&server);
    let name = "appendonly.aof.1.base.rdb";
    fs::remove_file(server.data().join("appendonlydir").join(name)).expect("removed");
    for via in [Vec::new(), via()] {
        // Without patience for rewrites: none is waited for.
        let request = Request {
            via,
            patience: std::time::Duration::ZERO,
            ..with_files(&server)
        };
        let error = append_only(request).expect_err("it is gone");
        assert!(
            error.contains(name) && error.contains("No such file"),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_whole_command_at_the_end_is_left_out_and_counted() {
    let server = Server::start(ON);
    fill(&server);
    let digest = server.digest();
    let mut increment = OpenOptions::new();
    let increment = increment.append(true).open(
        server
            .data()
            .join("appendonlydir/appendonly.aof.1.incr.aof"),
    );
    increment
        .expect("there")
        .write_all(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nha")
        .expect("written");
    let (files, facts) = append_only(with_files(&server)).expect("captured");
    let aof = facts.aof.expect("they were read");
    assert_eq!(aof.files["appendonly.aof.1.incr.aof"].cut_bytes, 26);
    assert_eq!(restored(&files).0.digest(), digest);
}

#[test]
fn damage_in_the_middle_is_an_error_that_names_file_and_place() {
    let server = Server::start(ON);
    fill(&server);
    let path = server
        .data()
        .join("appendonlydir/appendonly.aof.1.incr.aof");
    let mut bytes = fs::read(&path).expect("read");
    // The head of some argument in the middle.
    let at = 1000
        + bytes[1000..]
            .windows(2)
            .position(|w| w == b"\n$")
            .expect("one")
        + 1;
    bytes[at] = b'!';
    fs::write(&path, &bytes).expect("written");
    let error = append_only(with_files(&server)).expect_err("it is damaged");
    assert!(error.contains("`appendonly.aof.1.incr.aof`"), "{error}");
    assert!(
        error.contains(&format!("no beginning of a command at byte {at}")),
        "{error}"
    );
}

#[test]
fn a_base_with_a_wrong_checksum_and_an_older_increment_that_is_cut_are_errors() {
    let server = Server::start(ON);
    fill(&server);
    server.call::<()>(&["BGREWRITEAOF"]);
    server.wait_for("aof_rewrite_in_progress", "0");
    let folder = server.data().join("appendonlydir");
    let base = folder.join("appendonly.aof.2.base.rdb");
    let good = fs::read(&base).expect("read");
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&base, &bad).expect("written");
    let error = append_only(with_files(&server)).expect_err("it is damaged");
    assert!(
        error.contains("`appendonly.aof.2.base.rdb` > the snapshot at its beginning"),
        "{error}"
    );
    fs::write(&base, &good).expect("written");

    // As after a rewrite that failed: an increment that the server no longer writes to.
    fs::write(
        folder.join("appendonly.aof.1.incr.aof"),
        b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI",
    )
    .expect("written");
    let manifest = fs::read_to_string(folder.join("appendonly.aof.manifest")).expect("read");
    let (first, rest) = manifest.split_once('\n').expect("two lines");
    let with_older = format!("{first}\nfile appendonly.aof.1.incr.aof seq 1 type i\n{rest}");
    fs::write(folder.join("appendonly.aof.manifest"), with_older).expect("written");
    let error = append_only(with_files(&server)).expect_err("it is cut");
    assert!(
        error.contains("its last 10 bytes are no whole one, and other files follow it"),
        "{error}"
    );
}

#[test]
fn a_server_without_append_only_and_one_whose_files_are_not_known_are_told_apart() {
    let server = Server::start(&[]);
    let error = append_only(with_files(&server)).expect_err("there are none");
    assert!(
        error.contains("has `appendonly no`") && error.contains("use method \"rdb\""),
        "{error}"
    );
    let server = Server::start(ON);
    let error = append_only(request(&server.url())).expect_err("nobody says where");
    assert!(
        error.contains("say where they lie with `data-dir`"),
        "{error}"
    );
    let elsewhere = Request {
        data_dir: Some("/nowhere".into()),
        ..request(&server.url())
    };
    let error = append_only(elsewhere).expect_err("they are not there");
    assert!(
        error.contains("/nowhere/appendonlydir/appendonly.aof.manifest"),
        "{error}"
    );
}

#[test]
fn commands_are_cut_after_the_last_whole_one_wherever_the_file_ends() {
    let set = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n";
    let multi = b"*1\r\n$5\r\nMULTI\r\n";
    let exec = b"*1\r\n$4\r\nexec\r\n";
    let parts: [&[u8]; 7] = [set, b"#TS:1800000000\r\n", set, multi, set, set, exec];
    let whole = parts.concat();
    // Where it may end: after each part, but not within the transaction.
    let mut ends = vec![0];
    for part in parts {
        ends.push(ends.last().expect("one") + part.len());
    }
    let before_multi = ends[3];
    ends.retain(|end| *end <= before_multi || *end == whole.len());
    for len in 0..=whole.len() {
        let mut body = AofBody::new(&whole[..len], End::MayBeCut, &std::env::temp_dir());
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes)
            .expect("it may be cut anywhere");
        let wanted = ends
            .iter()
            .filter(|end| **end <= len)
            .max()
            .expect("0 at least");
        assert_eq!(bytes.len(), *wanted, "of {len}");
        assert_eq!(body.facts().cut_bytes, (len - wanted) as u64);
        let counted = count_aof(&whole[..len], End::MayBeCut, 0).expect("likewise");
        assert_eq!(&counted, body.facts());
        let strict = count_aof(&whole[..len], End::Whole, 0);
        assert_eq!(strict.is_ok(), ends.contains(&len), "{len}");
    }
    let facts = count_aof(whole.as_slice(), End::Whole, 0).expect("whole");
    assert_eq!(facts.commands, 6);
}

#[test]
fn a_command_that_is_longer_than_memory_allows_passes_through_a_file() {
    let long = vec![b'x'; 20 << 20];
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n", long.len());
    let command = [head.as_bytes(), &long, b"\r\n"].concat();
    let whole = [
        b"*1\r\n$4\r\nPING\r\n",
        command.as_slice(),
        command.as_slice(),
    ]
    .concat();
    let mut body = AofBody::new(whole.as_slice(), End::Whole, &std::env::temp_dir());
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).expect("whole");
    assert!(bytes == whole);
    assert_eq!(body.facts().commands, 3);
    let cut = &whole[..whole.len() - 1];
    let kept =
        drained(AofBody::new(cut, End::MayBeCut, &std::env::temp_dir())).expect("it may be cut");
    assert_eq!(kept, (whole.len() - command.len()) as u64);
}

#[test]
fn manifests_are_read_as_redis_writes_them() {
    let text = "file appendonly.aof.2.base.rdb seq 2 type b\n\
                file appendonly.aof.1.incr.aof seq 1 type h\n\
                file \"with space.3.incr.aof\" seq 3 type i\n\
                file appendonly.aof.4.incr.aof seq 4 type i startoffset 12\n";
    let manifest = AofManifest::parse(text).expect("it is one");
    let names: Vec<&str> = manifest.files().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "appendonly.aof.2.base.rdb",
            "with space.3.incr.aof",
            "appendonly.aof.4.incr.aof"
        ]
    );
    assert_eq!(AofManifest::parse(&manifest.text()), Ok(manifest.clone()));
    let wrong = [
        (
            "file a seq 1 type b\nfile b seq 2 type b",
            "line 2 of the append-only manifest: there is a second base",
        ),
        (
            "file ../a seq 1 type i",
            "its file is not in the directory itself",
        ),
        ("file a seq x type i", "its `seq` is no number"),
        ("file a type i", "it has no `seq`"),
        ("file a seq 1 type z", "its `type` is not known"),
        (
            "file a seq 2 type i\nfile b seq 1 type i",
            "its `seq` does not grow",
        ),
        ("file \"a seq 1 type i", "a quote is not closed"),
    ];
    for (text, why) in wrong {
        let error = AofManifest::parse(text).expect_err(text).to_string();
        assert!(error.contains(why), "{error}");
    }
}
