//! Backups that mean harm: whatever they say, nothing outside the target is touched.

use crate::restore::given::request;
use ccb::model::ids::BlobId;
use ccb::model::tree::{Content, Node, NodeKind};
use ccb::repository::RepositoryError;
use ccb::restore::files::{Overwrite, OwnersBy, Report, restore};
use ccb::restore::{Contents, Sink, Unread};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Directories and blobs as they are told, without the checks that a repository makes.
#[derive(Default)]
struct Told {
    directories: BTreeMap<BlobId, Vec<Node>>,
    blobs: BTreeMap<BlobId, (u64, Vec<u8>)>,
}

impl Contents for Told {
    fn entries<'a>(
        &'a self,
        tree: &'a BlobId,
    ) -> BoxFuture<'a, Result<Vec<Node>, RepositoryError>> {
        async move { Ok(self.directories[tree].clone()) }.boxed()
    }
    fn blobs<'a>(
        &'a self,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Vec<(BlobId, u64)>, RepositoryError>> {
        async move {
            Ok(content
                .blobs
                .iter()
                .map(|id| (*id, self.blobs[id].0))
                .collect())
        }
        .boxed()
    }
    fn read(&self, ids: Vec<BlobId>, sink: Sink) -> BoxFuture<'_, Result<Unread, RepositoryError>> {
        async move {
            ids.iter().for_each(|id| sink(id, &self.blobs[id].1));
            Ok(Vec::new())
        }
        .boxed()
    }
    fn id_of(&self, data: &[u8]) -> BlobId {
        BlobId(*blake3::hash(data).as_bytes())
    }
}

fn node(name: &[u8], kind: NodeKind) -> Node {
    Node {
        name: name.to_vec(),
        kind,
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        user: None,
        group: None,
        mtime_ns: 0,
        ctime_ns: 0,
        inode: 0,
        device: 0,
        hard_link: None,
        xattrs: Vec::new(),
        unknown: Vec::new(),
    }
}

fn file(name: &[u8], size: u64, blobs: &[u8]) -> Node {
    let blobs = blobs.iter().map(|n| BlobId([*n; 32])).collect();
    let content = Content {
        blobs,
        is_list: false,
    };
    node(
        name,
        NodeKind::File {
            size,
            content,
            extents: Vec::new(),
        },
    )
}

fn directory(name: &[u8], tree: u8) -> Node {
    node(
        name,
        NodeKind::Directory {
            tree: Some(BlobId([tree; 32])),
        },
    )
}

fn link(name: &[u8], target: &Path) -> Node {
    let target = target.as_os_str().as_encoded_bytes().to_vec();
    node(name, NodeKind::Symlink { target })
}

async fn run(told: &Told, target: &Path, overwrite: Overwrite) -> Report {
    let mut request = request(target);
    request.overwrite = overwrite;
    restore(told, &directory(b"", 0), &request, &mut |_, _| {})
        .await
        .expect("it begins")
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_out_of_a_directory_are_refused() {
    let place = TempDir::new().expect("a directory");
    let target = place.path().join("target");
    let names: [&[u8]; 8] = [
        b"..",
        b".",
        b"",
        b"../x",
        b"/x",
        b"a/../../x",
        b"x\0y",
        b"good",
    ];
    let mut told = Told::default();
    told.directories.insert(
        BlobId([0; 32]),
        names.iter().map(|name| file(name, 1, &[1])).collect(),
    );
    told.blobs.insert(BlobId([1; 32]), (1, b"x".to_vec()));
    let report = run(&told, &target, Overwrite::Always).await;
    assert_eq!((report.files, report.problem_count), (1, 7));
    let there = |path: &Path| fs::read_dir(path).expect("reads").count();
    assert_eq!((there(place.path()), there(&target)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_and_a_directory_of_one_name_do_not_lead_outside() {
    for overwrite in [Overwrite::Never, Overwrite::IfChanged, Overwrite::Always] {
        let outside = TempDir::new().expect("a directory");
        let target = TempDir::new().expect("a directory");
        let mut told = Told::default();
        let root = vec![link(b"x", outside.path()), directory(b"x", 1)];
        told.directories.insert(BlobId([0; 32]), root);
        told.directories
            .insert(BlobId([1; 32]), vec![file(b"evil", 1, &[1])]);
        told.blobs.insert(BlobId([1; 32]), (1, b"x".to_vec()));
        let report = run(&told, target.path(), overwrite).await;
        assert_eq!(fs::read_dir(outside.path()).expect("reads").count(), 0);
        assert_eq!(
            report.problem_count,
            u64::from(overwrite == Overwrite::Never)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_link_to_a_link_does_not_reach_what_that_leads_to() {
    let outside = TempDir::new().expect("a directory");
    let victim = outside.path().join("victim");
    fs::write(&victim, b"outside").expect("written");
    let target = TempDir::new().expect("a directory");
    let mut told = Told::default();
    let linked = |node: Node| Node {
        hard_link: Some(7),
        ..node
    };
    let root = vec![linked(link(b"a", &victim)), linked(file(b"b", 1, &[1]))];
    told.directories.insert(BlobId([0; 32]), root);
    told.blobs.insert(BlobId([1; 32]), (1, b"x".to_vec()));
    run(&told, target.path(), Overwrite::Always).await;
    assert_eq!(fs::read(&victim).expect("there"), b"outside");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(&victim).expect("there").nlink(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_blobs_are_not_as_long_as_it_says_is_a_problem_and_leaves_nothing() {
    // size that the node says, length that the index says, bytes that come
    for (size, len, bytes) in [(5, 3, 3), (3, 5, 5), (3, 3, 5), (3, 3, 2), (u64::MAX, 3, 3)] {
        let target = TempDir::new().expect("a directory");
        let mut told = Told::default();
        told.directories
            .insert(BlobId([0; 32]), vec![file(b"x", size, &[1])]);
        told.blobs.insert(BlobId([1; 32]), (len, vec![1; bytes]));
        let report = run(&told, target.path(), Overwrite::Never).await;
        assert_eq!(
            (report.files, report.problem_count),
            (0, 1),
            "{size} {len} {bytes}"
        );
        assert_eq!(fs::read_dir(target.path()).expect("reads").count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_are_found_by_name_or_by_number_and_setuid_goes_to_no_other() {
    use std::os::unix::fs::MetadataExt;
    for (by, user, expected) in [
        (OwnersBy::Number, "root", 54_321),
        (OwnersBy::Name, "nobody-has-this-name", 54_321),
        (OwnersBy::Name, "root", 0),
    ] {
        let mut told = Told::default();
        let (user, mode) = (Some(user.to_owned()), 0o4755);
        let node = Node {
            uid: 54_321,
            user,
            mode,
            ..file(b"a", 0, &[])
        };
        told.directories.insert(BlobId([0; 32]), vec![node]);
        let target = TempDir::new().expect("a directory");
        let mut request = request(target.path());
        request.owners = by;
        let report = restore(&told, &directory(b"", 0), &request, &mut |_, _| {}).await;
        let report = report.expect("it begins");
        assert_eq!(report.problem_count, 0, "{:?}", report.problems);
        let status = fs::metadata(target.path().join("a")).expect("there");
        if rustix::process::geteuid().is_root() {
            assert_eq!(
                (status.uid(), status.mode() & 0o7777, report.note_count),
                (expected, 0o4755, 0)
            );
        } else {
            assert_eq!((status.mode() & 0o7777, report.note_count), (0o755, 1));
        }
    }
}
