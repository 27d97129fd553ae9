//! Redis restores that can not be carried out, or were killed: what is there stays, and nothing half done is
//! ever where a server would find it.

use crate::source::redis::given::{request, with_files};
use crate::support::captured::chain;
use crate::support::redis::{Server, fill};
use crate::support::redis_backup::RedisBackup;
use ccb::model::strategy::Method;
use ccb::restore::redis::{Conf, Report, Request, restore};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn over(target: &Path) -> Request {
    Request {
        target: target.to_path_buf(),
        conf: Conf::default(),
        replace: true,
        dry_run: false,
    }
}

async fn tried(backup: &RedisBackup, request: &Request) -> Result<Report, String> {
    let restored = restore(&backup.manifest, &backup.reader, request).await;
    restored.map_err(|e| chain(&e))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("read");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("read").file_name().display().to_string())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_restore_left_is_removed_and_no_reason_to_refuse() {
    let server = Server::start(&[]);
    fill(&server);
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let folder = TempDir::new().expect("a folder");
    let left = folder.path().join("ccb-restoring");
    fs::create_dir_all(left.join("appendonlydir")).expect("made");
    fs::write(left.join("appendonlydir/half"), "half").expect("written");
    fs::write(left.join("dump.rdb"), "half").expect("written");
    let request = Request {
        replace: false,
        ..over(folder.path())
    };
    tried(&backup, &request).await.expect("restored");
    assert_eq!(names(folder.path()), ["dump.rdb"]);
    let restored = Server::start_on(folder.path(), &[]);
    assert_eq!(restored.digest(), server.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_restores_into_one_directory_do_not_meet() {
    let server = Server::start(&[]);
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let folder = TempDir::new().expect("a folder");
    let of_the_other = folder.path().join("ccb-restoring");
    fs::create_dir(&of_the_other).expect("made");
    fs::write(of_the_other.join("dump.rdb"), "in the middle").expect("written");
    // Held by another process: this one's own files are nobody's.
    let held = File::open(&of_the_other).expect("there");
    held.lock().expect("locked");
    let error = tried(&backup, &over(folder.path())).await;
    let error = error.expect_err("another is at work");
    assert!(error.contains("another restore is at work in"), "{error}");
    assert_eq!(names(&of_the_other), ["dump.rdb"]);
    drop(held);
    tried(&backup, &over(folder.path()))
        .await
        .expect("restored");
    assert_eq!(names(folder.path()), ["dump.rdb"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_the_recorded_names_lead_to_is_moved_aside_and_not_written_over() {
    let settings = [("appendonly", "yes"), ("appenddirname", "logs")];
    let server = Server::start(&settings);
    fill(&server);
    let digest = server.digest();
    for method in [Method::Rdb, Method::Aof] {
        let backup = RedisBackup::of(with_files(&server), method).await;
        let folder = TempDir::new().expect("a folder");
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).expect("made");
        for name in ["appendonly.aof.1.base.rdb", "appendonly.aof.manifest"] {
            fs::write(logs.join(name), "precious").expect("written");
        }
        let report = tried(&backup, &over(folder.path()))
            .await
            .expect("restored");
        let aside = report.moved_aside.expect("it was there").join("logs");
        assert_eq!(names(&aside).len(), 2);
        for name in names(&aside) {
            assert_eq!(fs::read(aside.join(name)).expect("there"), b"precious");
        }
        let restored = Server::start_on(folder.path(), &settings);
        assert_eq!(restored.digest(), digest);
    }
}

/// A process that is ended when the test is.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_a_container_that_calls_the_directory_otherwise_is_seen() {
    let server = Server::start(&[]);
    let backup = RedisBackup::of(request(&server.url()), Method::Rdb).await;
    let folder = TempDir::new().expect("a folder");
    let (volume, inside) = (folder.path().join("volume"), folder.path().join("inside"));
    for path in [&volume, &inside] {
        fs::create_dir(path).expect("made");
    }
    // As a container has it: a mount of its own, at a path that is nothing on the outside.
    let script = "mount --bind volume inside && cd inside && exec redis-server --port 0 --unixsocket ../socket --save ''";
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "setpriv"])
        .args(["--pdeathsig", "KILL", "sh", "-c", script])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare is there");
    let mut child = Ended(child);
    let started = Instant::now();
    loop {
        let cwd = format!("/proc/{}/cwd", child.0.id());
        let name = fs::read_to_string(format!("/proc/{}/comm", child.0.id()));
        let is_up = name.is_ok_and(|name| name == "redis-server\n");
        if is_up && fs::read_link(cwd).is_ok_and(|cwd| cwd.ends_with("inside")) {
            break;
        }
        let ended = child.0.try_wait().expect("asked");
        assert!(ended.is_none(), "it has ended: {ended:?}");
        assert!(started.elapsed() < Duration::from_secs(60), "it is not up");
        sleep(Duration::from_millis(10));
    }
    let error = tried(&backup, &over(&volume)).await;
    let error = error.expect_err("a server works there");
    assert!(error.contains("(`redis-server`)"), "{error}");
    assert!(names(&volume).is_empty());
    drop(child);
    tried(&backup, &over(&volume)).await.expect("restored");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_a_backup_and_what_would_drop_keys_is_said() {
    let users = TempDir::new().expect("a folder");
    let users = users.path().join("users.acl");
    File::create(&users)
        .and_then(|mut file| file.write_all(b"user default on nopass ~* &* +@all\n"))
        .expect("written");
    let settings = [
        ("aclfile", users.to_str().expect("text")),
        ("maxmemory", "100mb"),
        ("maxmemory-policy", "allkeys-lru"),
        ("databases", "40"),
    ];
    let server = Server::start(&settings);
    fill(&server);
    let backup = RedisBackup::of(with_files(&server), Method::Rdb).await;
    let folder = TempDir::new().expect("a folder");
    let said = async |backup: &RedisBackup, maxmemory: Option<u64>| {
        let request = Request {
            dry_run: true,
            conf: Conf {
                maxmemory,
                ..Conf::default()
            },
            ..over(folder.path())
        };
        let report = tried(backup, &request).await.expect("decided");
        // With fewer, a server does not start on the data.
        assert_eq!(report.settings["databases"], "40");
        report.cautions
    };
    let unknown = said(&backup, None).await;
    assert_eq!(
        unknown[0],
        "The server that was backed up had maxmemory 100 MiB and allkeys-lru: one with less drops keys as soon as it has loaded them."
    );
    assert!(
        unknown[1].contains("Users are not in a Redis backup"),
        "{unknown:?}"
    );
    assert!(unknown[1].contains("users.acl"), "{unknown:?}");
    let small = said(&backup, Some(1 << 20)).await;
    assert!(
        small[0].contains("this one has maxmemory 1.00 MiB and allkeys-lru: it drops keys"),
        "{small:?}"
    );
    assert_eq!(said(&backup, Some(1 << 30)).await.len(), 1);
    let shard = backup.with(|facts| facts.is_cluster = true);
    let shard = said(&shard, Some(0)).await;
    assert!(shard[0].contains("one shard of a cluster"), "{shard:?}");
}
