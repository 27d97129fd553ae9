//! Incremental backups of real directories: whatever changed, their tree is the one that a full backup makes.

use crate::repository::given::{created_in, draft, memory, newest, surroundings};
use ccb::model::strategy::{FilesSource, Symlinks};
use ccb::model::tree::{Body, Found};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::manifest::Manifest;
use ccb::repository::{Commit, ListedBackup, Repository, Surroundings};
use ccb::source::files::{Request, walk};
use ccb::store::{Backend, memory::Memory};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;

/// A repository of a machine whose clock is years ahead: what is written now counts as old.
async fn repository_of_later(memory: &Memory) -> Repository {
    let surroundings = Surroundings {
        now: {
            let seconds = AtomicI64::new(4_922_899_200);
            let next = move || seconds.fetch_add(1, Ordering::Relaxed);
            Arc::new(move || jiff::Timestamp::from_second(next()).expect("a time"))
        },
        ..surroundings("later")
    };
    created_in(memory, (CipherSuite::Aes256Gcm, None), &surroundings).await
}

/// A backup, and how many directories were taken over as a whole.
struct Made {
    manifest: Manifest,
    wholes: i64,
}

async fn back_up(repository: &Repository, root: &Path, parent: Option<&ListedBackup>) -> Made {
    let session = repository.begin(draft("files"), parent).await;
    let mut session = session.expect("begun");
    let request = Request {
        spec: FilesSource {
            path: String::new(),
            subdirectories: Vec::new(),
            exclude: Vec::new(),
            symlinks: Symlinks::Keep,
        },
        root: root.to_path_buf(),
        previous: session.parent_tree().map(|tree| Box::new(tree) as Box<_>),
        leave_out: Vec::new(),
    };
    let wholes = Arc::new(AtomicI64::new(0));
    let counted = wholes.clone();
    let found = walk(request).expect("it is there").inspect(move |found| {
        let is_whole = matches!(
            found,
            Ok(Found {
                body: Body::Whole(_),
                ..
            })
        );
        counted.fetch_add(is_whole.into(), Ordering::Relaxed);
    });
    let written = session.write_tree(Box::new(found), Arc::new(())).await;
    let written = written.expect("written");
    assert!(written.errors.is_empty(), "{:?}", written.errors);
    let manifest = session.commit(Commit::default()).await.expect("committed");
    Made {
        manifest,
        wholes: wholes.load(Ordering::Relaxed),
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("it has one")).expect("made");
    fs::write(path, bytes).expect("written");
}

/// Directories of every size: one is listed in several blobs, one holds nothing.
fn fill(root: &Path) {
    for number in 0..1500 {
        write(
            &root.join(format!("many/{number:04}")),
            format!("{number}").as_bytes(),
        );
    }
    for directory in 0..40 {
        for file in 0..8 {
            let path = format!("few/{directory:02}/{}/{file}", directory % 3);
            write(&root.join(path), format!("{directory} {file}").as_bytes());
        }
    }
    write(&root.join("top"), b"top");
    write(&root.join("links/file"), b"file");
    symlink("file", root.join("links/link")).expect("linked");
    fs::hard_link(root.join("links/file"), root.join("links/twin")).expect("linked");
    fs::create_dir(root.join("links/none")).expect("made");
}

/// Does something to a tree.
type Change = fn(&Path);

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_backup_has_the_tree_of_a_full_one() {
    // What is read again, and how many directories are taken over as a whole: there are 3 below the root, `few` has 40
    // with one each, and `links` one.
    let changes: [(&str, (u64, i64), Change); 10] = [
        ("nothing", (0, 3), |_| ()),
        ("one of many", (1, 2), |at| {
            write(&at.join("many/0777"), b"other")
        }),
        ("the last of many", (1, 2), |at| {
            write(&at.join("many/1499"), b"other")
        }),
        ("one more of many", (1, 2), |at| {
            write(&at.join("many/0777a"), b"new")
        }),
        ("one less of many", (0, 2), |at| {
            fs::remove_file(at.join("many/1234")).expect("gone")
        }),
        ("one of few", (1, 2 + 39), |at| {
            write(&at.join("few/17/2/3"), b"other")
        }),
        ("a new directory", (1, 2 + 39 + 1), |at| {
            write(&at.join("few/17/new/3"), b"new")
        }),
        ("a directory less", (0, 2 + 39), |at| {
            fs::remove_dir_all(at.join("few/39")).expect("gone")
        }),
        ("another mode", (0, 2 + 39), |at| {
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(at.join("few/05"), private).expect("set");
        }),
        // The other name of the file counts one link less.
        ("one name of a file less", (1, 2 + 1), |at| {
            fs::remove_file(at.join("links/twin")).expect("gone")
        }),
    ];
    let root = TempDir::new().expect("a directory");
    fill(root.path());
    let repository = repository_of_later(&memory()).await;
    let mut last = back_up(&repository, root.path(), None).await.manifest;
    for (what, (read, wholes), change) in changes {
        change(root.path());
        let parent = newest(&repository).await;
        assert_eq!(parent.manifest.started, last.started, "{what}");
        let incremental = back_up(&repository, root.path(), Some(&parent)).await;
        assert_eq!(incremental.wholes, wholes, "{what}");
        let incremental = incremental.manifest;
        assert_eq!(incremental.stats.changed_files, read, "{what}");
        let full = back_up(&repository, root.path(), None).await.manifest;
        assert_eq!(incremental.root, full.root, "{what}");
        assert_eq!(full.stats.new_bytes, 0, "{what}: all of it had been stored");
        let counted = |of: &Manifest| {
            let stats = &of.stats;
            (
                (stats.files, stats.bytes, stats.directories),
                (stats.symlinks, stats.specials),
                of.directories.clone(),
            )
        };
        assert_eq!(counted(&incremental), counted(&full), "{what}");
        assert_eq!(full.root == last.root, what == "nothing", "{what}");
        last = full;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_a_damaged_leaf_is_read_again_and_no_more_than_that() {
    let root = TempDir::new().expect("a directory");
    for number in 0..3000 {
        write(&root.path().join(format!("many/{number:04}")), b"content");
    }
    let memory = memory();
    let repository = repository_of_later(&memory).await;
    let first = back_up(&repository, root.path(), None).await.manifest;
    let parent = newest(&repository).await;
    let packs = memory.list("packs/m/").await.expect("listed").objects;
    assert!(!packs.is_empty());
    let mut reads = Vec::new();
    for tenth in 1..10 {
        let flip = || {
            for pack in &packs {
                memory.damage(&pack.key, |bytes| {
                    let at = bytes.len() * tenth / 10;
                    bytes[at] ^= 1;
                });
            }
        };
        flip();
        let again = back_up(&repository, root.path(), Some(&parent))
            .await
            .manifest;
        flip();
        assert_eq!(again.root, first.root);
        reads.push(again.stats.changed_files);
    }
    assert!(
        reads.iter().any(|read| (1..2500).contains(read)),
        "{reads:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_counts_each_directory_only_where_there_are_few() {
    let repository = repository_of_later(&memory()).await;
    for (count, counted) in [(128, 128), (129, 0)] {
        let root = TempDir::new().expect("a directory");
        for number in 0..count {
            write(&root.path().join(format!("{number}/file")), b"content");
        }
        let manifest = back_up(&repository, root.path(), None).await.manifest;
        assert_eq!(manifest.stats.files, count);
        assert_eq!(manifest.directories.len(), counted);
        let parent = newest(&repository).await;
        let again = back_up(&repository, root.path(), Some(&parent))
            .await
            .manifest;
        assert_eq!(again.directories, manifest.directories);
    }
}
