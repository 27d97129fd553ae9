//! Two trees side by side, and one path over many backups: what differs, and how little is read to find it.

use crate::repository::given::{Files, back_up, files, memory, noise, reopened, repository};
use ccb::model::difference::{Difference, How};
use ccb::repository::format::manifest::Manifest;
use ccb::repository::{Comparison, Reader, Versions, Wanted};
use ccb::store::memory::Memory;

/// Backs each tree up, in this order, and opens the repository anew.
async fn given(trees: &[Files]) -> (Memory, Reader, Vec<Manifest>) {
    let memory = memory();
    let repository = repository(&memory).await;
    let mut manifests = Vec::new();
    for tree in trees {
        manifests.push(back_up(&repository, tree).await.unwrap());
    }
    let reader = reopened(&memory, "reader").await.reader().await.unwrap();
    (memory, reader, manifests)
}

/// `+ path`, `- path`, `~ path content`.
fn line(difference: &Difference) -> String {
    let path = String::from_utf8_lossy(&difference.path).into_owned();
    match &difference.how {
        How::Added => format!("+ {path}"),
        How::Removed => format!("- {path}"),
        How::Changed(what) => format!("~ {path} {}", what.join(" ")),
    }
}

async fn compare(reader: &Reader, before: &Manifest, after: &Manifest) -> Vec<String> {
    let side = |manifest: &Manifest| (reader.clone(), manifest.root);
    let mut comparison = Comparison::new(side(before), side(after));
    let mut lines = Vec::new();
    while let Some(next) = comparison.next().await {
        lines.push(line(&next.unwrap()));
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_added_removed_and_changed_is_told_by_path() {
    let before = files(&[
        ("a/same", b"same".to_vec()),
        ("a/other", b"before".to_vec()),
        ("gone/deep/file", b"x".to_vec()),
        ("kind", b"a file".to_vec()),
    ]);
    let after = files(&[
        ("a/same", b"same".to_vec()),
        ("a/other", b"after!".to_vec()),
        ("kind/of", b"a directory".to_vec()),
        ("new/file", b"y".to_vec()),
    ]);
    let (_, reader, manifests) = given(&[before, after]).await;
    let lines = compare(&reader, &manifests[0], &manifests[1]).await;
    assert_eq!(
        lines,
        [
            "~ a/other content",
            "- gone",
            "- gone/deep",
            "- gone/deep/file",
            "~ kind type",
            "+ kind/of",
            "+ new",
            "+ new/file",
        ]
    );
    let back = compare(&reader, &manifests[1], &manifests[0]).await;
    assert_eq!(back.len(), lines.len());
    assert!(back.contains(&"+ gone/deep/file".to_owned()), "{back:?}");
}

/// Directories of many files: `dNN/fNNNN`, and one of so many that it has many leaves.
fn many() -> Files {
    let mut tree = Files::new();
    for directory in 0..200 {
        for file in 0..20 {
            let path = format!("d{directory:03}/f{file:02}");
            tree.insert(path.clone(), noise(&path, 40));
        }
    }
    // Names that do not compress, so that the leaves are spread over many reads.
    for file in 0..30_000 {
        let name = ccb::model::ids::hex(&noise(&file.to_string(), 100));
        tree.insert(format!("large/{name}"), Vec::new());
    }
    tree
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_trees_are_not_read_and_of_large_ones_only_where_they_differ() {
    let before = many();
    let mut after = before.clone();
    after.insert("d123/f07".into(), b"changed".to_vec());
    after.insert("large/7new".into(), b"new".to_vec());
    let (memory, reader, manifests) = given(&[before.clone(), before, after]).await;
    let calls = memory.calls();
    assert_eq!(
        compare(&reader, &manifests[0], &manifests[1]).await,
        [""; 0]
    );
    assert_eq!(memory.calls(), calls, "equal roots need no reading");
    let lines = compare(&reader, &manifests[1], &manifests[2]).await;
    assert_eq!(lines, ["~ d123/f07 content", "+ large/7new"]);
    let selective = memory.calls() - calls;

    // Who walks all of one tree with a reader that has read nothing yet needs many more.
    let fresh = reopened(&memory, "fresh").await.reader().await.unwrap();
    let calls = memory.calls();
    let mut versions = Versions::default();
    let unread = versions
        .add(&fresh, &manifests[2].root, &mut Ending(""))
        .await;
    assert!(unread.is_empty());
    let whole = memory.calls() - calls;
    assert!(selective * 2 <= whole, "{selective} calls of {whole}");
    assert_eq!(versions.into_found().len(), 4000 + 200 + 1 + 30_001);
}

/// Paths that end so.
struct Ending(&'static str);

impl Wanted for Ending {
    fn is_wanted(&mut self, path: &[u8], _: bool) -> bool {
        path.ends_with(self.0.as_bytes())
    }
    fn may_hold(&self, _: &[u8]) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_of_a_path_is_found_once_with_the_backups_that_have_it() {
    let tree = |body: &str| {
        files(&[
            ("docs/a.txt", body.into()),
            ("docs/b.txt", b"never changes".to_vec()),
            ("other/c.bin", b"x".to_vec()),
        ])
    };
    // Oldest first: one, two, two, one again.
    let trees = [tree("one"), tree("two"), tree("two"), tree("one")];
    let (memory, reader, manifests) = given(&trees).await;
    let mut versions = Versions::default();
    for (number, manifest) in manifests.iter().enumerate().rev() {
        let calls = memory.calls();
        let unread = versions
            .add(&reader, &manifest.root, &mut Ending(".txt"))
            .await;
        assert!(unread.is_empty());
        if number == 1 {
            assert_eq!(memory.calls(), calls, "the same tree is not read again");
        }
    }
    let found = versions.into_found();
    let told: Vec<_> = found
        .iter()
        .map(|v| {
            let path = String::from_utf8_lossy(&v.path).into_owned();
            (path, v.first, v.last, v.count)
        })
        .collect();
    // Backups are numbered from the newest.
    assert_eq!(
        told,
        [
            ("docs/a.txt".to_owned(), 0, 3, 2),
            ("docs/b.txt".to_owned(), 0, 3, 4),
            ("docs/a.txt".to_owned(), 1, 2, 2),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_can_not_be_read_is_told_and_nothing_in_it_passes_for_new() {
    let before = files(&[("d/a", b"1".to_vec()), ("e/b", b"2".to_vec())]);
    let mut after = before.clone();
    after.insert("d/a".into(), b"3".to_vec());
    after.insert("f/new".into(), b"4".to_vec());
    let (memory, _, manifests) = given(&[before, after]).await;
    // The first backup's directories are lost, those of the second are whole.
    let listed = ccb::store::Store::with_retries(
        std::sync::Arc::new(memory.clone()),
        1,
        ccb::store::Retries::NONE,
    );
    let packs = listed.list("packs/m/").await.unwrap().objects;
    memory.lose(&packs[0].key);
    let reader = reopened(&memory, "after").await.reader().await.unwrap();
    let side = |manifest: &Manifest| (reader.clone(), manifest.root);
    let (one, other) = match reader.entries(&manifests[0].root).await {
        Err(_) => (&manifests[0], &manifests[1]),
        Ok(_) => (&manifests[1], &manifests[0]),
    };
    let mut comparison = Comparison::new(side(one), side(other));
    let first = comparison.next().await.unwrap();
    assert_eq!(first.unwrap_err().path, b"");
    assert!(comparison.next().await.is_none());
}
