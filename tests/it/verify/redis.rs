//! The checks of Redis backups: passed by good ones, and failed by each fault that they are for. Nothing
//! is left of a restore test, whatever became of it.

use crate::source::redis::given::{request, snapshot, with_files};
use crate::support::redis::{Server, fill};
use crate::support::redis_backup::RedisBackup;
use crate::support::restored::wait_for;
use crate::verify::refused;
use ccb::model::secret::Secret;
use ccb::model::strategy::Method;
use ccb::model::units::Percent;
use ccb::source::redis::facts::{Form, Position};
use ccb::verify::Finding;
use ccb::verify::redis::{RedisTestRequest, contents, restore_test};
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const NONE: Percent = Percent(0);

async fn check(backup: &RedisBackup) -> Finding {
    contents(
        NONE,
        &backup.manifest,
        &backup.reader,
        Timestamp::UNIX_EPOCH,
    )
    .await
}

fn test_in(parent: &Path, live: Option<&Server>) -> RedisTestRequest {
    RedisTestRequest {
        random: 7,
        parent: parent.to_path_buf(),
        live: live.map(|server| (Secret::new(server.url().into_bytes()), Vec::new())),
        tolerance: NONE,
        limit: Duration::from_secs(60),
    }
}

async fn try_out(backup: &RedisBackup, live: Option<&Server>) -> Finding {
    let parent = TempDir::new().expect("a folder");
    let finding = restore_test(
        &backup.manifest,
        &backup.reader,
        test_in(parent.path(), live),
    )
    .await;
    let left: Vec<_> = std::fs::read_dir(parent.path()).expect("read").collect();
    assert!(left.is_empty(), "{left:?}");
    finding
}

#[tokio::test(flavor = "multi_thread")]
async fn good_backups_of_both_methods_pass_and_say_what_they_hold() {
    let server = Server::start(&[("appendonly", "yes")]);
    fill(&server);
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let finding = check(&backup).await;
    assert!(finding.passed, "{finding:?}");
    assert_eq!(
        finding.message,
        "949 keys, 0 of them expired by now, and its checksum is right"
    );
    assert_eq!(finding.facts["types"]["zset"], 11);
    let later: Timestamp = "2200-01-01T00:00:00Z".parse().expect("a time");
    let finding = contents(NONE, &backup.manifest, &backup.reader, later).await;
    assert_eq!(finding.facts["expired"], 300);

    let backup = RedisBackup::of(with_files(&server), Method::Aof).await;
    let finding = check(&backup).await;
    assert!(finding.passed, "{finding:?}");
    assert!(
        finding.message.ends_with("commands, all whole"),
        "{}",
        finding.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_test_starts_a_server_counts_and_compares_with_the_live_one() {
    let server = Server::start(&[("appendonly", "yes"), ("databases", "40")]);
    fill(&server);
    for method in [Method::Rdb, Method::Aof] {
        let backup = RedisBackup::of(with_files(&server), method).await;
        let finding = try_out(&backup, Some(&server)).await;
        assert!(finding.passed, "{finding:?}");
        assert_eq!(finding.facts["digest"], server.digest(), "{method}");
        assert!(
            finding.facts["compared_with_source"].as_u64() > Some(90),
            "{finding:?}"
        );
        assert_eq!(finding.facts["differ_from_source"], 0);
        // The tests' servers are set to give a digest.
        assert_eq!(finding.facts["same_digest_as_source"], true);
    }
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    server.call::<()>(&["SET", "a", "changed since"]);
    let finding = try_out(&backup, Some(&server)).await;
    assert!(finding.passed, "{finding:?}");
    assert_eq!(
        finding.facts["not_compared_because"],
        "the server has changed since the backup"
    );
    drop(server);
    let finding = try_out(&backup, None).await;
    assert!(finding.passed, "{finding:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_expire_before_or_during_a_test_count_as_restored() {
    let server = Server::start(&[]);
    fill(&server);
    let count = || server.call::<u64>(&["DBSIZE"]);
    let lasting = count();
    // Long enough for a slow machine to save them.
    for number in 0..50_u32 {
        server.call::<()>(&["SET", &format!("short:{number}"), "1", "PX", "10000"]);
    }
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let keys = backup.facts().rdb.expect("counted");
    assert_eq!(keys.databases[&0].keys, lasting + 50, "they were saved");
    let keys = keys.keys();
    wait_for(|| count() <= lasting);
    let finding = try_out(&backup, Some(&server)).await;
    assert!(finding.passed, "{finding:?}");
    assert_eq!(finding.facts["keys"], keys);
    // They are gone there and still here: a digest would tell nothing.
    assert!(
        finding.facts["same_digest_as_source"].is_null(),
        "{finding:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_counts_than_recorded_and_missing_files_are_found() {
    let server = Server::start(&[("appendonly", "yes")]);
    fill(&server);
    let one_more = |keys: &mut ccb::source::redis::rdb::Keys| keys.keys += 1;
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let backup = backup.with(|facts| {
        let rdb = facts.rdb.as_mut().expect("counted");
        one_more(rdb.databases.get_mut(&0).expect("there"));
    });
    refused(
        &check(&backup).await,
        "`dump.rdb` had 950 keys when it was made, and has 949",
    );
    refused(&try_out(&backup, None).await, "database 0 has 948 keys");

    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let backup = backup.with(|facts| {
        *facts
            .rdb
            .as_mut()
            .expect("counted")
            .types
            .get_mut("hash")
            .expect("there") += 2;
    });
    refused(
        &check(&backup).await,
        "had 13 keys of type hash when it was made, and has 11",
    );

    // The server itself counted more than were captured.
    let backup = RedisBackup::of(with_files(&server), Method::Aof).await;
    let backup = backup.with(|facts| {
        for counts in [&mut facts.keys_before, &mut facts.keys_after] {
            counts.get_mut(&0).expect("there").keys += 20;
        }
    });
    refused(
        &try_out(&backup, None).await,
        "database 0 has 948 keys, and the server counted 968 to 968",
    );
    let tolerant = RedisTestRequest {
        tolerance: Percent(3),
        ..test_in(&std::env::temp_dir(), None)
    };
    let finding = restore_test(&backup.manifest, &backup.reader, tolerant).await;
    assert!(finding.passed, "{finding:?}");

    let (bytes, mut facts) = snapshot(with_files(&server)).expect("captured");
    let elsewhere = RedisBackup::made_of(&[("other.rdb", &bytes)], &facts).await;
    refused(&check(&elsewhere).await, "`dump.rdb` is not in it");
    facts.aof = backup.facts().aof;
    let without_manifest = RedisBackup::made_of(&[("appendonlydir/x", b"")], &facts).await;
    refused(
        &check(&without_manifest).await,
        "`appendonlydir/x` is not in its manifest",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_found_and_the_throwaway_server_says_why_it_does_not_start() {
    let server = Server::start(&[]);
    fill(&server);
    let (bytes, facts) = snapshot(with_files(&server)).expect("captured");
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let backup = RedisBackup::made_of(&[("dump.rdb", &flipped)], &facts).await;
    refused(&check(&backup).await, "it is damaged");
    refused(
        &try_out(&backup, None).await,
        "did not start on the restored files",
    );
    let truncated = RedisBackup::made_of(&[("dump.rdb", &bytes[..middle])], &facts).await;
    refused(&check(&truncated).await, "it ends in the middle");
    refused(
        &try_out(&truncated, None).await,
        "did not start on the restored files",
    );
    // What `redis-cli --rdb -` writes: an RDB with a mark behind it.
    let trailing = [bytes.as_slice(), &[b'e'; 40]].concat();
    let marked = RedisBackup::made_of(&[("dump.rdb", &trailing)], &facts).await;
    refused(&check(&marked).await, "more behind its end");

    let raw = facts.clone();
    let raw = ccb::source::redis::facts::RedisFacts {
        form: Form::Raw,
        rdb: None,
        ..raw
    };
    let backup = RedisBackup::made_of(&[("dump.rdb", &bytes)], &raw).await;
    let finding = check(&backup).await;
    assert!(
        finding.passed && finding.message.contains("can not be counted"),
        "{finding:?}"
    );
    assert!(try_out(&backup, None).await.passed);
    let backup = RedisBackup::made_of(&[("dump.rdb", &flipped)], &raw).await;
    refused(&check(&backup).await, "its checksum is");
    // A server with `rdbchecksum no` writes none.
    let (body, _) = bytes.split_at(bytes.len() - 8);
    let without = RedisBackup::made_of(&[("dump.rdb", &[body, &[0; 8]].concat())], &raw).await;
    let finding = check(&without).await;
    assert!(
        finding.passed && finding.message.contains("without a checksum"),
        "{finding:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn append_only_files_that_are_not_understood_are_read_all_the_same() {
    let server = Server::start(&[("appendonly", "yes")]);
    fill(&server);
    let (files, mut facts) =
        crate::source::redis::given::append_only(with_files(&server)).expect("captured");
    let base = "appendonlydir/appendonly.aof.1.base.rdb";
    facts.form = Form::Raw;
    let aof = facts.aof.as_mut().expect("read");
    aof.files.remove("appendonly.aof.1.base.rdb");
    let with_base = |bytes: Vec<u8>| {
        let mut files = files.clone();
        files.insert(base.to_owned(), bytes);
        let facts = facts.clone();
        async move {
            let files: Vec<(&str, &[u8])> = files
                .iter()
                .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
                .collect();
            RedisBackup::made_of(&files, &facts).await
        }
    };
    let whole = with_base(files[base].clone()).await;
    let finding = check(&whole).await;
    assert!(
        finding.passed && finding.message.contains("its checksum is right"),
        "{finding:?}"
    );
    assert!(try_out(&whole, None).await.passed);
    let mut flipped = files[base].clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    refused(&check(&with_base(flipped).await).await, "its checksum is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_append_only_file_is_found_by_shape_and_by_starting_on_it() {
    let server = Server::start(&[("appendonly", "yes")]);
    fill(&server);
    let (files, facts) =
        crate::source::redis::given::append_only(with_files(&server)).expect("captured");
    let with = |change: &dyn Fn(&str, &[u8]) -> Vec<u8>| {
        let changed: Vec<(String, Vec<u8>)> = files
            .iter()
            .map(|(path, bytes)| (path.clone(), change(path, bytes)))
            .collect();
        let facts = facts.clone();
        async move {
            let files: Vec<(&str, &[u8])> = changed
                .iter()
                .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
                .collect();
            RedisBackup::made_of(&files, &facts).await
        }
    };
    let cut = with(&|path, bytes| match path.ends_with("incr.aof") {
        true => bytes[..bytes.len() - 3].to_vec(),
        false => bytes.to_vec(),
    });
    let cut = cut.await;
    refused(&check(&cut).await, "are no whole one");
    refused(
        &try_out(&cut, None).await,
        "did not start on the restored files",
    );
    let garbage = with(&|path, bytes| match path.ends_with("incr.aof") {
        true => [
            &bytes[..bytes.len() / 2],
            b"garbage",
            &bytes[bytes.len() / 2..],
        ]
        .concat(),
        false => bytes.to_vec(),
    });
    let garbage = garbage.await;
    refused(&check(&garbage).await, "it is damaged");
    refused(
        &try_out(&garbage, None).await,
        "did not start on the restored files",
    );
    let fewer = with(&|path, bytes| match path.ends_with("incr.aof") {
        true => b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n".to_vec(),
        false => bytes.to_vec(),
    });
    let fewer = fewer.await;
    refused(&check(&fewer).await, "commands when it was made, and has 1");
    refused(
        &try_out(&fewer, None).await,
        "has 0 keys, and the server counted 948",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_differ_from_a_server_that_has_not_changed_are_found() {
    let server = Server::start(&[]);
    fill(&server);
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let mut pipe = redis::pipe();
    for number in 0..300 {
        pipe.cmd("APPEND").arg(format!("key:{number}")).arg("!");
    }
    server.pipe(&pipe);
    // As if it had not changed since.
    let info = ccb::source::redis::Target::socket(server.socket())
        .connect()
        .and_then(|mut s| s.info());
    let position = Position::of(&info.expect("it answers"));
    let backup = backup.with(|facts| facts.position = position);
    refused(
        &try_out(&backup, Some(&server)).await,
        "sampled keys differ from the live server",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_server_that_can_not_be_compared_with_is_said_and_no_fault() {
    let server = Server::start(&[]);
    fill(&server);
    let backup = RedisBackup::of(request(&server.url()), Method::Rdb).await;
    server.call::<()>(&["ACL", "SETUSER", "few", "on", ">word", "+info", "+select"]);
    let parent = TempDir::new().expect("a folder");
    let live = |url: String| RedisTestRequest {
        live: Some((Secret::new(url.into_bytes()), Vec::new())),
        ..test_in(parent.path(), None)
    };
    let few = live(format!(
        "unix://{}?user=few&pass=word",
        server.socket().display()
    ));
    let down = live("unix:///nowhere/s".to_owned());
    for (request, why) in [(few, "ask Redis"), (down, "is it running?")] {
        let finding = restore_test(&backup.manifest, &backup.reader, request).await;
        assert!(finding.passed, "{finding:?}");
        let said = finding.facts["not_compared_because"]
            .as_str()
            .expect("text");
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_from_a_newer_server_than_is_here_is_told_apart_from_a_bad_one() {
    let server = Server::start(&[]);
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let backup = backup.with(|facts| facts.server = "99.1.0".to_owned());
    refused(
        &try_out(&backup, None).await,
        "install Redis 99.1.0 or newer",
    );
    // The same format, some repairs later.
    let here = server.info("redis_version");
    let (format, _) = here.rsplit_once('.').expect("three numbers");
    let backup = backup.with(|facts| facts.server = format!("{format}.999"));
    let finding = try_out(&backup, None).await;
    assert!(finding.passed, "{finding:?}");
}
