//! Redis backups put back: a server that is started there, as it will be, has all the data; and nothing
//! that is there is ever lost or written over.

use crate::source::redis::given::{append_only, request, snapshot, with_files};
use crate::support::captured::chain;
use crate::support::redis::{Server, fill};
use crate::support::redis_backup::RedisBackup;
use ccb::model::strategy::Method;
use ccb::restore::redis::{Conf, RedisRestoreError, Report, Request, answers, restore};
use ccb::source::redis::Target;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

const OFF: &[(&str, &str)] = &[];
const ON: &[(&str, &str)] = &[("appendonly", "yes"), ("aof-load-truncated", "no")];

fn into(target: &Path) -> Request {
    Request {
        target: target.to_path_buf(),
        conf: Conf::default(),
        replace: false,
        dry_run: false,
    }
}

async fn well(backup: &RedisBackup, request: &Request) -> Report {
    let restored = restore(&backup.manifest, &backup.reader, request).await;
    restored.map_err(|e| chain(&e)).expect("restored")
}

async fn refused(backup: &RedisBackup, request: &Request) -> RedisRestoreError {
    let restored = restore(&backup.manifest, &backup.reader, request).await;
    restored.expect_err("it is refused")
}

fn set_to(appendonly: bool) -> Conf {
    Conf {
        appendonly: Some(appendonly),
        ..Conf::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_put_where_the_server_looks_for_it_with_and_without_append_only() {
    let server = Server::start(&[]);
    fill(&server);
    let digest = server.digest();
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let folder = TempDir::new().expect("a folder");

    let off = folder.path().join("new/off");
    let report = well(&backup, &into(&off)).await;
    assert_eq!(
        (report.files, report.appendonly, report.keys),
        (vec!["dump.rdb".to_owned()], false, Some(949))
    );
    assert_eq!(
        fs::metadata(&off).expect("made").permissions().mode() & 0o777,
        0o700
    );
    let file = fs::metadata(off.join("dump.rdb")).expect("there");
    assert_eq!((file.mode() & 0o777, file.len()), (0o600, report.bytes));
    assert_eq!(Server::start_on(&off, OFF).digest(), digest);

    let on = folder.path().join("on");
    let request = Request {
        conf: set_to(true),
        ..into(&on)
    };
    let report = well(&backup, &request).await;
    let wanted = [
        "appendonlydir/appendonly.aof.1.base.rdb",
        "appendonlydir/appendonly.aof.manifest",
    ];
    assert_eq!(report.files, wanted);
    assert!(report.appendonly && report.settings.is_empty());
    let restored = Server::start_on(&on, ON);
    assert_eq!(restored.digest(), digest);
    // It goes on from there: writes, rewrites, and starts again.
    restored.call::<()>(&["SET", "more", "1"]);
    restored.stop();
    assert_eq!(Server::start_on(&on, ON).call::<u64>(&["DBSIZE"]), 949);
}

#[test]
fn a_server_with_append_only_does_not_look_at_a_snapshot_which_is_why_it_gets_something_else() {
    let server = Server::start(&[]);
    fill(&server);
    let (bytes, _) = snapshot(with_files(&server)).expect("captured");
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("dump.rdb"), &bytes).expect("written");
    let started = Server::start_on(folder.path(), ON);
    assert_eq!(
        started.call::<u64>(&["DBSIZE"]),
        0,
        "Redis has become wiser: so can the restore"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn append_only_files_come_back_under_their_names() {
    let names = [
        ("appendonly", "yes"),
        ("appenddirname", "logs"),
        ("appendfilename", "log.aof"),
    ];
    let server = Server::start(&names);
    fill(&server);
    let digest = server.digest();
    let backup = RedisBackup::of(with_files(&server), Method::Aof).await;
    let folder = TempDir::new().expect("a folder");
    let report = well(&backup, &into(folder.path())).await;
    let files = [
        "logs/log.aof.1.base.rdb",
        "logs/log.aof.1.incr.aof",
        "logs/log.aof.manifest",
    ];
    assert_eq!(report.files, files);
    let settings: Vec<(&str, &str)> = report
        .settings
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        settings,
        [("appenddirname", "logs"), ("appendfilename", "log.aof")]
    );
    assert_eq!(
        Server::start_on(folder.path(), &[&names[..], &ON[1..]].concat()).digest(),
        digest
    );

    // A server with other names looks for those.
    let others = [
        ("appendonly", "yes"),
        ("appenddirname", "other"),
        ("appendfilename", "other.aof"),
    ];
    let request = Request {
        conf: Conf {
            appenddirname: Some("other".to_owned()),
            appendfilename: Some("other.aof".to_owned()),
            ..set_to(true)
        },
        ..into(&folder.path().join("renamed"))
    };
    well(&backup, &request).await;
    let renamed = Server::start_on(&request.target, &[&others[..], &ON[1..]].concat());
    assert_eq!(renamed.digest(), digest);

    let elsewhere = Request {
        conf: set_to(false),
        ..into(&folder.path().join("other"))
    };
    let error = refused(&backup, &elsewhere).await;
    assert!(matches!(error, RedisRestoreError::AppendOnlyOff), "{error}");
    assert!(!folder.path().join("other").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn before_redis_7_there_was_one_file_which_may_begin_with_a_snapshot() {
    let server = Server::start(&[]);
    fill(&server);
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let backup = backup.with(|facts| facts.server = "6.2.14".to_owned());
    let folder = TempDir::new().expect("a folder");
    let request = Request {
        conf: set_to(true),
        ..into(folder.path())
    };
    assert_eq!(well(&backup, &request).await.files, ["appendonly.aof"]);
    // A newer server takes it over.
    assert_eq!(
        Server::start_on(folder.path(), ON).digest(),
        server.digest()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_a_server_works_in_is_not_touched() {
    let server = Server::start(&[]);
    fill(&server);
    let backup = RedisBackup::of(request(&server.url()), Method::Rdb).await;
    for replace in [false, true] {
        let request = Request {
            replace,
            ..into(server.data())
        };
        let error = refused(&backup, &request).await.to_string();
        let process = format!("is in use by process {} (`redis-server`)", server.pid());
        assert!(error.contains(&process), "{error}");
    }
    assert_eq!(fs::read_dir(server.data()).expect("read").count(), 0);
    let target = Target::socket(server.socket());
    assert!(
        answers(&target, server.data(), false).is_some(),
        "it says itself where it works"
    );
    let other = TempDir::new().expect("a folder");
    assert!(answers(&target, other.path(), false).is_none());
    assert!(
        answers(&target, other.path(), true).is_some(),
        "the plan file says so"
    );
    let locked = Server::start(&[("requirepass", "x")]);
    let target = Target::socket(locked.socket());
    assert!(
        answers(&target, other.path(), true).is_some(),
        "who refuses a password is running"
    );
    locked.stop();
    assert!(answers(&target, other.path(), true).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_has_open_there_is_a_reason_to_refuse() {
    let server = Server::start(&[]);
    let backup = RedisBackup::of(request(&server.url()), Method::Rdb).await;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("dump.rdb");
    let open = File::create(&path).expect("made");
    let request = Request {
        replace: true,
        ..into(folder.path())
    };
    let error = refused(&backup, &request).await.to_string();
    assert!(error.contains("dump.rdb` open"), "{error}");
    drop(open);
    well(&backup, &request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_a_reason_to_refuse_or_moved_aside_and_never_lost() {
    let server = Server::start(&[]);
    fill(&server);
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let folder = TempDir::new().expect("a folder");
    let at = folder.path();
    let write = |path: &str| fs::write(at.join(path), path).expect("written");
    write("dump.rdb");
    write("notes.txt");
    let error = refused(&backup, &into(at)).await.to_string();
    assert!(error.contains("it has dump.rdb, notes.txt"), "{error}");
    assert_eq!(fs::read(at.join("dump.rdb")).expect("there"), b"dump.rdb");

    let replace = Request {
        replace: true,
        ..into(at)
    };
    let dry = Request {
        dry_run: true,
        ..replace.clone()
    };
    let report = well(&backup, &dry).await;
    assert!(report.moved_aside.is_some() && report.bytes == 0);
    assert_eq!(fs::read(at.join("dump.rdb")).expect("there"), b"dump.rdb");

    let first = well(&backup, &replace)
        .await
        .moved_aside
        .expect("it was there");
    assert_eq!(
        fs::read(first.join("dump.rdb")).expect("moved"),
        b"dump.rdb"
    );
    assert!(at.join("notes.txt").exists(), "that is none of Redis's");
    let second = well(&backup, &replace)
        .await
        .moved_aside
        .expect("it was there");
    assert_ne!(first, second);
    assert_eq!(Server::start_on(at, OFF).digest(), server.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_not_clear_how_the_server_will_run_nothing_is_guessed() {
    let server = Server::start(&[]);
    fill(&server);
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let folder = TempDir::new().expect("a folder");
    // The server here has been running with `appendonly yes`.
    fs::create_dir(folder.path().join("appendonlydir")).expect("made");
    let replace = Request {
        replace: true,
        ..into(folder.path())
    };
    let error = refused(&backup, &replace).await;
    assert!(
        matches!(error, RedisRestoreError::AppendOnlyThere { .. }),
        "{error}"
    );
    let said = Request {
        conf: set_to(true),
        ..replace
    };
    well(&backup, &said).await;
    assert_eq!(
        Server::start_on(folder.path(), ON).digest(),
        server.digest()
    );

    let unknown = backup.with(|facts| facts.config.clear());
    let error = refused(&unknown, &into(&folder.path().join("b"))).await;
    assert!(
        matches!(error, RedisRestoreError::AppendOnlyUnknown),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_a_manifest_lead_nowhere_but_into_the_target() {
    let server = Server::start(&[]);
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let backup = backup.with(|facts| {
        facts
            .config
            .insert("dbfilename".to_owned(), "../escaped".to_owned());
        facts
            .config
            .insert("appenddirname".to_owned(), "..".to_owned());
        facts
            .config
            .insert("appendfilename".to_owned(), "/tmp/escaped".to_owned());
    });
    let folder = TempDir::new().expect("a folder");
    for (name, appendonly) in [("off", false), ("on", true)] {
        let target = folder.path().join(name);
        let request = Request {
            conf: set_to(appendonly),
            ..into(&target)
        };
        let report = well(&backup, &request).await;
        for file in &report.files {
            assert!(target.join(file).exists() && !file.contains(".."), "{file}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 2);
}

#[test]
fn a_configuration_is_read_with_what_it_includes_and_later_lines_win() {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    write("extra.conf", "AppendOnly yes\nappenddirname \"logs\"\n");
    let path = write(
        "redis.conf",
        "# appendonly no\nappendonly no\ndbfilename here.rdb\ninclude extra.conf\n",
    );
    let conf = Conf::read(&path).expect("read");
    let wanted = Conf {
        appendonly: Some(true),
        dbfilename: Some("here.rdb".to_owned()),
        appendfilename: Some("appendonly.aof".to_owned()),
        appenddirname: Some("logs".to_owned()),
        maxmemory: Some(0),
        maxmemory_policy: Some("noeviction".to_owned()),
    };
    assert_eq!(conf, wanted);
    let silent = write("silent.conf", "port 0\n");
    let defaults = Conf {
        appendonly: Some(false),
        dbfilename: Some("dump.rdb".to_owned()),
        appenddirname: Some("appendonlydir".to_owned()),
        ..wanted
    };
    assert_eq!(Conf::read(&silent).expect("read"), defaults);
    for (text, bytes) in [
        ("1", Some(1)),
        ("2k", Some(2000)),
        ("2KB", Some(2048)),
        ("3mb", Some(3 << 20)),
        ("1gb", Some(1 << 30)),
        ("much", None),
    ] {
        let path = write("memory.conf", &format!("maxmemory {text}\n"));
        assert_eq!(Conf::read(&path).expect("read").maxmemory, bytes, "{text}");
    }
    let circle = write("circle.conf", "include circle.conf\n");
    assert!(Conf::read(&circle).is_err());
    assert!(Conf::read(&folder.path().join("none.conf")).is_err());
}

#[test]
fn a_base_that_was_rewritten_and_more_increments_come_back() {
    let server = Server::start(&[("appendonly", "yes")]);
    fill(&server);
    server.call::<()>(&["BGREWRITEAOF"]);
    server.wait_for("aof_rewrite_in_progress", "0");
    server.call::<()>(&["SET", "after", "the rewrite"]);
    let (files, _) = append_only(with_files(&server)).expect("captured");
    let folder = TempDir::new().expect("a folder");
    for (path, bytes) in &files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("one")).expect("made");
        fs::write(path, bytes).expect("written");
    }
    assert_eq!(
        Server::start_on(folder.path(), ON).digest(),
        server.digest()
    );
}
