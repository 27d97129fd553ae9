//! What only a directory can show: what stands beside the objects, and what crashes leave.

use bytes::Bytes;
use ccb::store::{Backend, Key, Kind, Put, local::Local};
use std::{
    fs,
    time::{Duration, SystemTime},
};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

#[tokio::test]
async fn leftovers_of_crashed_writers_are_never_listed_and_go_when_old() {
    let folder = tempfile::tempdir().unwrap();
    let tmp = folder.path().join(".tmp");
    fs::create_dir(&tmp).unwrap();
    for name in ["1-0", "1-1"] {
        fs::write(tmp.join(name), "half").unwrap();
    }
    let old = SystemTime::now() - Duration::from_secs(25 * 3600);
    fs::File::options()
        .write(true)
        .open(tmp.join("1-0"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    let store = Local::new(folder.path());
    let listing = store.list("").await.unwrap();
    assert_eq!((listing.objects.len(), listing.strays), (0, 0));
    store.put(&key("a"), Bytes::new(), Put::New).await.unwrap();
    assert!(!tmp.join("1-0").exists() && tmp.join("1-1").exists());
}

#[tokio::test]
async fn things_whose_names_are_no_keys_are_counted_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Brief an Oma.txt"), "").unwrap();
    fs::create_dir(folder.path().join(".git")).unwrap();
    std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    let listing = Local::new(folder.path()).list("").await.unwrap();
    assert_eq!((listing.objects.len(), listing.strays), (0, 3));
}

#[tokio::test]
async fn a_put_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Local::new(folder.path());
    for how in [Put::New, Put::New, Put::Replace] {
        let _ = store.put(&key("x/y"), Bytes::from_static(b"1"), how).await;
    }
    assert_eq!(fs::read_dir(folder.path().join(".tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_below_a_mount_point_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let below = tempfile::tempdir_in("/dev/shm").unwrap();
    let root = folder.path().join("mounted");
    // A link stands for the mount: it leads to one file system or to another.
    let mount = |to: &std::path::Path| {
        let _ = fs::remove_file(&root);
        std::os::unix::fs::symlink(to, &root).unwrap();
    };
    let there = folder.path().join("there");
    fs::create_dir(&there).unwrap();
    mount(&there);
    let store = Local::new(&root);
    assert_eq!(store.list("").await.unwrap().objects.len(), 0);
    store.put(&key("a"), Bytes::new(), Put::New).await.unwrap();
    store.put(&key("b"), Bytes::new(), Put::New).await.unwrap();
    for gone in [false, true] {
        match gone {
            false => mount(below.path()),
            true => fs::remove_file(&root).unwrap(),
        }
        let put = store.put(&key("c"), Bytes::new(), Put::New).await;
        for error in [put.unwrap_err(), store.list("").await.unwrap_err()] {
            assert_eq!(error.kind, Kind::Unreachable, "{error}");
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains("another directory is there"), "{cause}");
        }
        assert!(store.get(&key("a"), None).await.is_err());
        assert!(store.delete(&key("a")).await.is_err());
        assert!(!root.exists() || !gone, "it is not made anew");
        let written = fs::read_dir(below.path()).unwrap().count();
        assert_eq!(written, 0, "nothing is written there");
    }
    mount(&there);
    assert_eq!(store.list("").await.unwrap().objects.len(), 2, "it is back");
    // A network file system that is mounted again may have another number.
    fs::create_dir(below.path().join(".tmp")).unwrap();
    fs::write(below.path().join("a"), "").unwrap();
    mount(below.path());
    assert_eq!(store.list("").await.unwrap().objects.len(), 1);
    store.put(&key("c"), Bytes::new(), Put::New).await.unwrap();
}

/// Runs `work` with a file system of the given mount options on a folder of its own. User and mount
/// namespaces make that possible without being root.
fn in_mount(script: &str, options: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-ec"])
        .arg(format!(
            "mount -t tmpfs -o {options} none '{0}'; {script}",
            folder.path().display()
        ))
        .env("CCB_TEST_STORE", folder.path())
        .env("CCB_TEST_BINARY", std::env::current_exe().unwrap())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const CHILD: &str =
    "\"$CCB_TEST_BINARY\" --exact store::local::put_in_the_folder_given --nocapture";

/// What the two tests below run inside their mount; without one it puts into a folder of its own.
#[tokio::test]
async fn put_in_the_folder_given() {
    let own = tempfile::tempdir().unwrap();
    let given = std::env::var_os("CCB_TEST_STORE").map(std::path::PathBuf::from);
    let store = Local::new(given.as_deref().unwrap_or(own.path()));
    let outcome = store
        .put(&key("a/b"), Bytes::from(vec![1; 1 << 20]), Put::New)
        .await;
    match &given {
        None => outcome.unwrap(),
        Some(_) => println!(
            "PUT: {:?}; {}",
            outcome.as_ref().map_err(|e| e.kind),
            outcome.as_ref().unwrap_err()
        ),
    }
    if let Some(given) = given {
        let left = fs::read_dir(given.join(".tmp")).map_or(0, Iterator::count);
        println!(
            "LEFT: {left}; LISTED: {}",
            store.list("").await.unwrap().objects.len()
        );
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_behind() {
    let said = in_mount(CHILD, "size=512k");
    assert!(
        said.contains(&format!("PUT: Err({:?})", Kind::Full)),
        "{said}"
    );
    assert!(said.contains("no space is left; free some there"), "{said}");
    assert!(said.contains("LEFT: 0; LISTED: 0"), "{said}");
}

#[test]
fn a_read_only_disk_is_said_and_can_still_be_listed() {
    let said = in_mount(CHILD, "ro");
    assert!(
        said.contains(&format!("PUT: Err({:?})", Kind::ReadOnly)),
        "{said}"
    );
    assert!(said.contains("mount it writable"), "{said}");
    assert!(said.contains("LISTED: 0"), "{said}");
}
