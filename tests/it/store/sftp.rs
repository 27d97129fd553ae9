//! SFTP: what only a server over SSH can do wrong, and what is left in its folder.

use crate::store::{chain, key, quick};
use crate::support::ssh::Server;
use crate::support::tcp::cut_after;
use bytes::Bytes;
use ccb::store::sftp::{Settings, Sftp};
use ccb::store::{Kind, Put, Store};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What the server's owner would write.
pub(super) fn settings(server: &Server, folder: &Path) -> Settings {
    Settings {
        address: server.url(folder).parse().expect("an address"),
        program: server.ssh().into(),
    }
}

fn store(settings: Settings) -> Store {
    Store::with_retries(Arc::new(Sftp::new(settings)), 8, quick())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_is_made_anew() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let store = store(settings(&server, folder.path()));
    let body = Bytes::from(vec![7; 3 << 20]);
    for round in 0..3 {
        let name = key(&format!("packs/{round}"));
        store.put(&name, body.clone(), Put::New).await.unwrap();
        server.kill_all();
        assert_eq!(store.get(&name, None).await.unwrap(), body);
        server.kill_all();
        assert_eq!(store.list("").await.unwrap().objects.len(), round + 1);
    }
    assert!(server.connections() > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_always_breaks_is_given_up_and_nothing_half_is_seen() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let body = Bytes::from(vec![7; 3 << 20]);
    let good = store(settings(&server, folder.path()));
    good.put(&key("whole"), body.clone(), Put::New)
        .await
        .unwrap();
    let cut = cut_after(server.port(), 1 << 20);
    let mut broken = settings(&server, folder.path());
    broken.address = Server::url_at(cut, folder.path()).parse().unwrap();
    let broken = store(broken);
    let gone = broken.get(&key("whole"), None).await.unwrap_err();
    assert_eq!(gone.kind, Kind::Unreachable, "{}", chain(&gone));
    // What fits through is right.
    assert_eq!(
        broken.get(&key("whole"), Some(5..9)).await.unwrap(),
        [7; 4].as_slice()
    );
    assert_eq!(good.get(&key("whole"), None).await.unwrap(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_hears_what_ssh_said_and_what_to_do() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    for (program, words) in [
        (server.ssh_with_other_key(), "Permission denied"),
        (server.ssh_that_knows_nobody(), "connect once by hand"),
    ] {
        let mut settings = settings(&server, folder.path());
        settings.program = program.into();
        let refused = store(settings).put(&key("a"), Bytes::new(), Put::New).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind, Kind::Denied);
        assert!(chain(&refused).contains(words), "{}", chain(&refused));
    }
    let mut settings = settings(&server, folder.path());
    settings.program = "/nowhere/ssh".into();
    let missing = store(settings).list("").await.unwrap_err();
    assert!(
        chain(&missing).contains("not installed"),
        "{}",
        chain(&missing)
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_out_of_reach() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&server, folder.path());
    // Bound, and never answered: taken by nobody else meanwhile.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    settings.address.port = Some(port);
    let gone = store(settings).list("").await.unwrap_err();
    assert_eq!(gone.kind, Kind::Unreachable, "{}", chain(&gone));
    assert!(
        chain(&gone).contains("Connection refused"),
        "{}",
        chain(&gone)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_crashed_writers_left_goes_after_a_day_and_only_then() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let tmp = folder.path().join(".tmp");
    fs::create_dir(&tmp).unwrap();
    let age = |name: &str, hours: u64| {
        let file = File::create(tmp.join(name)).unwrap();
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        file.set_modified(then).unwrap();
    };
    age("old", 25);
    age("young", 23);
    let store = store(settings(&server, folder.path()));
    store.put(&key("a"), Bytes::new(), Put::New).await.unwrap();
    let left: Vec<_> = fs::read_dir(&tmp)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["young"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_reads_what_is_stored() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("below/this");
    let store = store(settings(&server, &root));
    store
        .put(&key("a/b"), Bytes::new(), Put::New)
        .await
        .unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root.join("a/b")), 0o600);
    assert_eq!(mode(&root.join("a")), 0o700);
    assert_eq!(mode(&root), 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_no_keys_are_counted_and_a_file_in_the_place_of_the_store_is_no_empty_one() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let here = store(settings(&server, &root));
    here.put(&key("a"), Bytes::new(), Put::New).await.unwrap();
    fs::write(root.join("not a key"), "").unwrap();
    fs::write(root.join(".hidden"), "").unwrap();
    std::os::unix::fs::symlink("a", root.join("link")).unwrap();
    let listing = here.list("").await.unwrap();
    assert_eq!((listing.objects.len(), listing.strays), (1, 3));

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let there = store(settings(&server, &file));
    for refused in [
        there.list("").await.map(|_| ()),
        there.put(&key("a"), Bytes::new(), Put::New).await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind, Kind::Other);
        assert!(
            chain(&refused).contains("is no directory"),
            "{}",
            chain(&refused)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_read_only_disk_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    for (options, kind) in [("size=1m", Kind::Full), ("ro", Kind::ReadOnly)] {
        let script = folder.path().join(options);
        let own = format!(
            "mount -t tmpfs -o {options} none \"{}\" && exec /usr/lib/openssh/sftp-server",
            root.display()
        );
        fs::write(&script, format!("exec unshare -rm sh -c '{own}'\n")).unwrap();
        let server = Server::start_with(&format!("/bin/sh {}", script.display()));
        let store = store(settings(&server, &root));
        let body = Bytes::from(vec![7; 3 << 20]);
        let refused = store.put(&key("big"), body, Put::New).await.unwrap_err();
        assert_eq!(refused.kind, kind, "{options}: {}", chain(&refused));
        assert_eq!(store.list("").await.unwrap().objects, []);
    }
}
