//! The single append-only file of before Redis 7: captured, proven and put back. The files are those that a
//! newer server writes, put together as an older one keeps them; a real server judges what comes of them.

use crate::source::redis::given::{append_only, via, with_files};
use crate::support::captured::chain;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::{Server, fill};
use crate::support::redis_backup::RedisBackup;
use ccb::model::strategy::Method;
use ccb::model::units::Percent;
use ccb::restore::redis::{Conf, Request as RestoreRequest, restore};
use ccb::source::redis::Request;
use ccb::verify::redis::{RedisTestRequest, contents, restore_test};
use jiff::Timestamp;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const STRICT: &[(&str, &str)] = &[("appendonly", "yes"), ("aof-load-truncated", "no")];

/// A server that says that it is old, and keeps its data in one file.
struct Old {
    server: Server,
    proxy: Proxy,
    folder: TempDir,
}

impl Old {
    /// `preamble`: whether its file begins with a snapshot.
    fn start(preamble: &str) -> Self {
        let settings = [("appendonly", "yes"), ("aof-use-rdb-preamble", preamble)];
        let server = Server::start(&settings);
        fill(&server);
        server.call::<()>(&["BGREWRITEAOF"]);
        server.wait_for("aof_rewrite_in_progress", "0");
        server.call::<()>(&["SET", "after", "the rewrite"]);
        let folder = TempDir::new().expect("a folder");
        let files = server.data().join("appendonlydir");
        let read = |name: &str| fs::read(files.join(name)).expect("there");
        let base = match preamble {
            "yes" => "appendonly.aof.2.base.rdb",
            _ => "appendonly.aof.2.base.aof",
        };
        let one = [read(base), read("appendonly.aof.2.incr.aof")].concat();
        fs::write(folder.path().join("appendonly.aof"), one).expect("written");
        let proxy = Proxy::start(server.socket(), Fault::Older);
        Self {
            server,
            proxy,
            folder,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("appendonly.aof")
    }

    fn request(&self) -> Request {
        Request {
            url: ccb::model::secret::Secret::new(
                format!("unix://{}", self.proxy.socket().display()).into_bytes(),
            ),
            data_dir: Some(self.folder.path().to_path_buf()),
            ..with_files(&self.server)
        }
    }
}

/// What a server has that is started where this file is all that there is.
fn started_on(bytes: &[u8]) -> String {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("appendonly.aof"), bytes).expect("written");
    Server::start_on(folder.path(), STRICT).digest()
}

#[test]
fn one_file_is_captured_with_and_without_a_snapshot_at_its_beginning_here_and_on_a_far_side() {
    for preamble in ["yes", "no"] {
        let old = Old::start(preamble);
        for via in [Vec::new(), via()] {
            let request = Request {
                via,
                ..old.request()
            };
            let (files, facts) = append_only(request).expect("captured");
            let names: Vec<&String> = files.keys().collect();
            assert_eq!(names, ["appendonly.aof"]);
            assert!(facts.server.starts_with('6'), "{}", facts.server);
            let aof = facts.aof.expect("it was read");
            assert_eq!(aof.directory, None);
            let found = &aof.files["appendonly.aof"];
            assert_eq!(found.snapshot.is_some(), preamble == "yes");
            assert_eq!(found.cut_bytes, 0);
            assert_eq!(started_on(&files["appendonly.aof"]), old.server.digest());
        }
    }
}

#[test]
fn what_is_half_written_at_its_end_is_left_out_and_damage_in_its_middle_is_an_error() {
    let old = Old::start("yes");
    let mut file = OpenOptions::new().append(true).open(old.file());
    let file = file.as_mut().expect("there");
    file.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nha")
        .expect("written");
    let (files, facts) = append_only(old.request()).expect("captured");
    let aof = facts.aof.expect("it was read");
    assert_eq!(aof.files["appendonly.aof"].cut_bytes, 26);
    assert_eq!(started_on(&files["appendonly.aof"]), old.server.digest());

    let bytes = fs::read(old.file()).expect("there");
    let text = b"value 0 ";
    let value = bytes.windows(text.len()).position(|w| w == text);
    let value = value.expect("it is so short that it is not compressed");
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        fs::write(old.file(), &bytes).expect("written");
        append_only(old.request()).expect_err("it is damaged")
    };
    let error = with(value, b'V');
    assert!(
        error.contains("`appendonly.aof`") && error.contains("its checksum is"),
        "{error}"
    );
    // A version of the snapshot that nobody knows.
    let error = with(b"REDIS00".len(), b'9');
    assert!(error.contains("RDB version 9"), "{error}");
    assert!(error.contains("method \"rdb\" stores"), "{error}");
    fs::remove_file(old.file()).expect("removed");
    let error = append_only(old.request()).expect_err("it is gone");
    assert!(error.contains("appendonly.aof`"), "{error}");
}

#[test]
fn a_file_that_a_rewrite_replaces_while_it_is_opened_on_the_far_side_is_whole_all_the_same() {
    let old = Old::start("yes");
    let at = |name: &str| old.folder.path().join(name);
    // A rewrite ends between the opening of the file and the look at its length.
    fs::write(at("rewritten"), b"*1\r\n$4\r\nPING\r\n").expect("written");
    fs::create_dir(at("bin")).expect("made");
    let script = format!(
        "#!/bin/sh\nmv -f {} {} 2>/dev/null\nexec /usr/bin/stat \"$@\"\n",
        at("rewritten").display(),
        old.file().display()
    );
    fs::write(at("bin/stat"), script).expect("written");
    fs::set_permissions(at("bin/stat"), fs::Permissions::from_mode(0o755)).expect("set");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("PATH={}:{path}", at("bin").display());
    let request = Request {
        via: vec!["env".to_owned(), path],
        ..old.request()
    };
    let (files, facts) = append_only(request).expect("captured");
    assert!(!at("rewritten").exists(), "it was replaced meanwhile");
    let aof = facts.aof.expect("it was read");
    assert_eq!(aof.files["appendonly.aof"].cut_bytes, 0);
    assert_eq!(started_on(&files["appendonly.aof"]), old.server.digest());
}

fn into(target: &Path) -> RestoreRequest {
    RestoreRequest {
        target: target.to_path_buf(),
        conf: Conf::default(),
        replace: false,
        dry_run: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_proven_and_put_back_for_an_old_server_and_a_newer_one_takes_it_over() {
    let old = Old::start("yes");
    let backup = RedisBackup::of(old.request(), Method::Aof).await;
    let (manifest, reader) = (&backup.manifest, &backup.reader);
    let finding = contents(Percent(0), manifest, reader, Timestamp::UNIX_EPOCH).await;
    assert!(finding.passed, "{finding:?}");
    let parent = TempDir::new().expect("a folder");
    let test = RedisTestRequest {
        random: 7,
        parent: parent.path().to_path_buf(),
        live: None,
        tolerance: Percent(0),
        limit: Duration::from_secs(600),
    };
    let finding = restore_test(manifest, reader, test).await;
    assert!(finding.passed, "{finding:?}");
    assert_eq!(finding.facts["digest"], old.server.digest());

    let folder = TempDir::new().expect("a folder");
    let report = restore(manifest, reader, &into(folder.path())).await;
    let report = report.map_err(|e| chain(&e)).expect("restored");
    assert_eq!(report.files, ["appendonly.aof"]);
    assert!(report.appendonly && report.settings.is_empty());
    let newer = Server::start_on(folder.path(), STRICT);
    assert_eq!(newer.digest(), old.server.digest());
    assert!(folder.path().join("appendonlydir").exists(), "taken over");
    newer.stop();

    // Put back there once more: beside a directory of Redis 7, it would not even be looked at.
    let replace = RestoreRequest {
        replace: true,
        ..into(folder.path())
    };
    let report = restore(manifest, reader, &replace).await;
    let report = report.map_err(|e| chain(&e)).expect("restored");
    let aside = report.moved_aside.expect("it was there");
    assert!(aside.join("appendonlydir").exists());
    let again = Server::start_on(folder.path(), STRICT);
    assert_eq!(again.digest(), old.server.digest());

    let named = RestoreRequest {
        conf: Conf {
            appendonly: Some(true),
            appendfilename: Some("log.aof".to_owned()),
            ..Conf::default()
        },
        ..into(&folder.path().join("named"))
    };
    let report = restore(manifest, reader, &named).await;
    let report = report.map_err(|e| chain(&e)).expect("restored");
    assert_eq!(report.files, ["log.aof"]);
}
