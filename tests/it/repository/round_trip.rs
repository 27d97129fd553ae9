//! What goes in comes out, byte by byte, through memory and through a directory.

use crate::repository::given::{
    Files, back_up, draft, files, generated, memory, newest, noise, odd_file, read_back,
    read_content, reopened, repository, stream, walk, walk_since, write,
};
use ccb::model::tree::{NodeKind, OpenBody, Problem, ReadBody};
use ccb::repository::format::manifest::Shape;
use ccb::repository::{Commit, RepositoryError};
use ccb::store::local::Local;
use std::{
    io::{self, Read},
    sync::Arc,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_comes_back_from_memory() {
    let memory = memory();
    let tree = generated();
    let manifest = back_up(&repository(&memory).await, &tree).await.unwrap();
    assert!(manifest.complete);
    assert_eq!(manifest.stats.files, tree.len() as u64);
    assert_eq!(
        manifest.stats.bytes,
        tree.values().map(|bytes| bytes.len() as u64).sum::<u64>()
    );
    let reader = reopened(&memory, "reader").await.reader().await.unwrap();
    assert!(read_back(&reader, &manifest).await.unwrap() == tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_comes_back_from_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let local = Local::new(folder.path());
    let tree = generated();
    back_up(&repository(&local).await, &tree).await.unwrap();
    let again = reopened(&local, "reader").await;
    let backup = newest(&again).await;
    let reader = again.reader().await.unwrap();
    assert!(read_back(&reader, &backup.manifest).await.unwrap() == tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_is_not_stored_again() {
    let memory = memory();
    let repository = repository(&memory).await;
    let tree = generated();
    let first = back_up(&repository, &tree).await.unwrap();
    let distinct: std::collections::BTreeSet<_> = tree.values().collect();
    let at_most: usize = distinct.iter().map(|bytes| bytes.len()).sum();
    assert!(
        first.stats.new_bytes <= at_most as u64 + 400_000,
        "{:?}",
        first.stats
    );
    let second = back_up(&repository, &tree).await.unwrap();
    assert_eq!((second.stats.new_bytes, second.root), (0, first.root));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_tree_is_taken_over_without_reading() {
    let memory = memory();
    let repository = repository(&memory).await;
    let mut tree = generated();
    back_up(&repository, &tree).await.unwrap();
    let parent = newest(&repository).await;
    tree.insert("many/new".to_owned(), b"new".to_vec());
    let mut session = repository
        .begin(draft("files"), Some(&parent))
        .await
        .unwrap();
    let previous = session.parent_tree().unwrap();
    let given = tree.clone();
    let walk = std::thread::spawn(move || walk_since(&given, Some(Box::new(previous))));
    // The parent is read by tasks of this runtime, while the walk waits on its own thread.
    let walk = tokio::task::spawn_blocking(move || walk.join().unwrap())
        .await
        .unwrap();
    let stats = write(&mut session, walk).await.unwrap().stats;
    assert_eq!(stats.changed_files, 1);
    let manifest = session.commit(Commit::default()).await.unwrap();
    assert_eq!(manifest.parent, Some(parent.manifest.id));
    let reader = repository.reader().await.unwrap();
    assert!(read_back(&reader, &manifest).await.unwrap() == tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_over_without_a_pinned_parent() {
    let memory = memory();
    let repository = repository(&memory).await;
    let tree = files(&[("a", b"1".to_vec())]);
    back_up(&repository, &tree).await.unwrap();
    let parent = newest(&repository).await;
    let reader = repository.reader().await.unwrap();
    let previous = reader.parent_tree(&parent);
    let walk = tokio::task::spawn_blocking(move || walk_since(&tree, Some(Box::new(previous))));
    let walk = walk.await.unwrap();
    let mut session = repository.begin(draft("files"), None).await.unwrap();
    let refused = write(&mut session, walk).await.unwrap_err();
    assert!(matches!(refused, RepositoryError::NotPinned), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_comes_back_and_its_next_day_stores_little() {
    let memory = memory();
    let repository = repository(&memory).await;
    let mut dump: Vec<u8> = (0..400_000)
        .flat_map(|n| format!("INSERT INTO t VALUES ({n});\n").into_bytes())
        .collect();
    let mut stored = Vec::new();
    for _ in 0..2 {
        let mut session = repository.begin(draft("db"), None).await.unwrap();
        let bytes = dump.clone();
        let walk = stream("db.sql", move || Ok(Box::new(io::Cursor::new(bytes))));
        session.write_tree(walk, Arc::new(())).await.unwrap();
        let manifest = session.commit(Commit::default()).await.unwrap();
        assert_eq!(manifest.shape, Shape::Stream);
        assert_eq!(manifest.content.unwrap().0, *blake3::hash(&dump).as_bytes());
        stored.push(manifest.stats.new_bytes);
        let reader = repository.reader().await.unwrap();
        let node = reader
            .lookup(&manifest.root, b"db.sql")
            .await
            .unwrap()
            .unwrap();
        let NodeKind::File { content, .. } = node.kind else {
            panic!()
        };
        assert!(content.is_list);
        assert!(read_content(&reader, &content).await.unwrap() == dump);
        dump[5_000_000] ^= 1;
    }
    assert!(stored[1] < 300_000, "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_leads_to_its_node() {
    let memory = memory();
    let repository = repository(&memory).await;
    let manifest = back_up(&repository, &generated()).await.unwrap();
    let reader = repository.reader().await.unwrap();
    for (path, found) in [
        ("many/1234", true),
        ("many/2000", false),
        ("a/deep/er/leaf", true),
        ("a/deep", true),
        ("a.b", true),
        ("a.b/c", false),
        ("nothing", false),
        ("many/", false),
        ("", false),
    ] {
        let node = reader
            .lookup(&manifest.root, path.as_bytes())
            .await
            .unwrap();
        assert_eq!(node.is_some(), found, "{path}");
    }
}

/// Fails, grows or changes, as files do while they are read.
enum Odd {
    Unopenable,
    Gone,
    BreaksAfter(Vec<u8>),
    Changes(Vec<u8>),
}

impl OpenBody for Odd {
    fn open(self: Box<Self>) -> io::Result<Box<dyn ReadBody>> {
        let (bytes, breaks, changes) = match *self {
            Self::Unopenable => return Err(io::ErrorKind::PermissionDenied.into()),
            Self::Gone => return Err(io::ErrorKind::NotFound.into()),
            Self::BreaksAfter(bytes) => (bytes, true, false),
            Self::Changes(bytes) => (bytes, false, true),
        };
        Ok(Box::new(OddBody {
            bytes: io::Cursor::new(bytes),
            breaks,
            changes,
        }))
    }
}

struct OddBody {
    bytes: io::Cursor<Vec<u8>>,
    breaks: bool,
    changes: bool,
}

impl Read for OddBody {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.bytes.read(into)? {
            0 if self.breaks => Err(io::Error::other("disk on fire")),
            n => Ok(n),
        }
    }
}

impl ReadBody for OddBody {
    fn changed_while_reading(&self) -> io::Result<bool> {
        Ok(self.changes)
    }

    fn data_now(&self) -> Option<Vec<(u64, u64)>> {
        let len = self.bytes.get_ref().len() as u64;
        Some(vec![(len / 2, len - len / 2)])
    }
}

/// What was claimed for a file that breaks is stored all the same: the next one may name it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_like_one_that_broke_is_whole() {
    for round in 0..8 {
        let memory = memory();
        let repository = repository(&memory).await;
        let bytes = noise(&format!("round {round}"), 15 << 20);
        let tree = files(&[("b", bytes.clone())]);
        let mut walk = walk(&tree);
        let broken = odd_file("a", 30 << 20, Odd::BreaksAfter(bytes));
        walk.insert(1, Ok(broken));
        let mut session = repository.begin(draft("files"), None).await.unwrap();
        write(&mut session, walk).await.unwrap();
        let manifest = session.commit(Commit::default()).await.unwrap();
        assert_eq!(manifest.errors[0].path, "a");
        let reader = repository.reader().await.unwrap();
        assert!(read_back(&reader, &manifest).await.unwrap() == tree);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_read_is_left_out_and_said() {
    let memory = memory();
    let repository = repository(&memory).await;
    let mut walk = walk(&files(&[("good", b"good".to_vec())]));
    let long = noise("changes", 12 << 20);
    let odd = [
        ("h-unopenable", 1, Odd::Unopenable),
        ("i-gone", 1, Odd::Gone),
        ("j-breaks", 10, Odd::BreaksAfter(vec![1; 5])),
        (
            "k-breaks-long",
            30 << 20,
            Odd::BreaksAfter(noise("x", 20 << 20)),
        ),
        ("l-changes", 3, Odd::Changes(b"longer than it was".to_vec())),
        ("m-changes-long", 5 << 20, Odd::Changes(long.clone())),
        // Grows from short to long after it was chosen for the short ones.
        ("n-grows", 3, Odd::Changes(long.clone())),
        ("o-filled", 18, Odd::Changes(b"as long as it was.".to_vec())),
        ("o-filled-long", 12 << 20, Odd::Changes(long.clone())),
    ];
    walk.extend(
        odd.into_iter()
            .map(|(path, size, odd)| Ok(odd_file(path, size, odd))),
    );
    let cause = io::ErrorKind::PermissionDenied.into();
    // As one whose holes were found before somebody wrote into them.
    for found in walk.iter_mut().flatten() {
        if let NodeKind::File { size, extents, .. } = &mut found.node.kind
            && found.path.starts_with(b"o-")
        {
            *extents = vec![(0, *size / 2)];
        }
    }
    walk.push(Err(Problem {
        path: b"z".to_vec(),
        doing: "read directory",
        cause,
    }));
    let mut session = repository.begin(draft("files"), None).await.unwrap();
    write(&mut session, walk).await.unwrap();
    let manifest = session.commit(Commit::default()).await.unwrap();
    let paths: Vec<_> = manifest
        .errors
        .iter()
        .map(|error| error.path.as_str())
        .collect();
    let said = [
        "h-unopenable",
        "j-breaks",
        "k-breaks-long",
        "l-changes",
        "m-changes-long",
        "n-grows",
        "o-filled",
        "o-filled-long",
        "z",
    ];
    assert_eq!(paths, said);
    assert_eq!((manifest.complete, manifest.error_count), (false, 9));
    assert!(
        manifest.errors[1].message.contains("disk on fire"),
        "{:?}",
        manifest.errors[1]
    );
    let reader = repository.reader().await.unwrap();
    let kept: Files = files(&[
        ("good", b"good".to_vec()),
        ("l-changes", b"longer than it was".to_vec()),
        ("m-changes-long", long.clone()),
        ("n-grows", long.clone()),
        ("o-filled", b"as long as it was.".to_vec()),
        ("o-filled-long", long),
    ]);
    assert!(read_back(&reader, &manifest).await.unwrap() == kept);
    for node in reader.entries(&manifest.root).await.unwrap() {
        let NodeKind::File { extents, size, .. } = node.kind else {
            panic!("all are files")
        };
        // Data in one half before, and in the other half after: both are put back.
        match node.name.starts_with(b"o-") {
            true => assert_eq!(extents, [(0, size)]),
            false => assert_eq!(extents, []),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_finds_nothing_is_no_backup() {
    let memory = memory();
    let repository = repository(&memory).await;
    let mut session = repository.begin(draft("files"), None).await.unwrap();
    let nothing = write(&mut session, Vec::new()).await.unwrap_err();
    assert!(
        matches!(nothing, RepositoryError::NothingThere),
        "{nothing}"
    );
    assert!(session.commit(Commit::default()).await.is_err());
    assert!(repository.list().await.unwrap().backups.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_is_no_backup() {
    let memory = memory();
    let repository = repository(&memory).await;
    let mut session = repository.begin(draft("db"), None).await.unwrap();
    let source = OddBody {
        bytes: io::Cursor::new(noise("s", 9 << 20)),
        breaks: true,
        changes: false,
    };
    let walk = stream("db", move || Ok(Box::new(source)));
    let broken = session.write_tree(walk, Arc::new(())).await;
    assert!(matches!(
        broken.unwrap_err(),
        RepositoryError::Stream { .. }
    ));
    assert!(session.commit(Commit::default()).await.is_err());
    assert!(repository.list().await.unwrap().backups.is_empty());
}
