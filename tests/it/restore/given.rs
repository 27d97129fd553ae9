//! What these tests start from: a directory that is backed up into memory, and a target.

use crate::repository::given::{draft, memory, repository};
use ccb::model::records::Manifest;
use ccb::model::strategy::{FilesSource, Symlinks};
use ccb::model::tree::{Body, Content, Node, NodeKind, RootFacts};
use ccb::repository::{Commit, Reader, Repository};
use ccb::restore::files::{
    Intent, Overwrite, OwnersBy, Report, Request, RestoreError, Sameness, restore,
};
use ccb::source::files::walk;
use ccb::store::memory::Memory;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) struct Backup {
    pub(crate) store: Memory,
    pub(crate) repository: Repository,
    pub(crate) manifest: Manifest,
    pub(crate) reader: Reader,
    pub(crate) root: Node,
}

fn source(root: &Path) -> ccb::source::files::Request {
    let spec = FilesSource {
        path: String::new(),
        subdirectories: Vec::new(),
        exclude: Vec::new(),
        symlinks: Symlinks::Keep,
    };
    let (root, previous, leave_out) = (root.to_path_buf(), None, Vec::new());
    ccb::source::files::Request {
        spec,
        root,
        previous,
        leave_out,
    }
}

/// Backs a directory up.
pub(crate) async fn back_up(directory: &Path) -> Backup {
    let store = memory();
    let repository = repository(&store).await;
    let mut session = repository
        .begin(draft("files"), None)
        .await
        .expect("begins");
    let walk = walk(source(directory)).expect("the source is there");
    session
        .write_tree(Box::new(walk), Arc::new(()))
        .await
        .expect("written");
    let manifest = session.commit(Commit::default()).await.expect("committed");
    assert!(manifest.complete, "{:?}", manifest.errors);
    let reader = repository.reader().await.expect("reads");
    let root = manifest.root_node();
    Backup {
        store,
        repository,
        manifest,
        reader,
        root,
    }
}

/// Restores everything into `target`, where nothing is overwritten.
pub(crate) fn request(target: &Path) -> Request {
    Request {
        target: target.to_path_buf(),
        paths: Vec::new(),
        overwrite: Overwrite::Never,
        sameness: Sameness::SizeAndTime,
        owners: OwnersBy::Number,
        dry_run: false,
    }
}

pub(crate) async fn run(
    backup: &Backup,
    request: &Request,
) -> Result<(Report, Vec<(String, Intent)>), RestoreError> {
    let mut heard = Vec::new();
    let mut on = |path: &[u8], intent| {
        heard.push((String::from_utf8_lossy(path).into_owned(), intent));
    };
    let report = restore(&backup.reader, &backup.root, request, &mut on).await?;
    Ok((report, heard))
}

/// Restores without a problem.
pub(crate) async fn well(backup: &Backup, request: &Request) -> Report {
    let (report, _) = run(backup, request).await.expect("it begins");
    assert_eq!(report.problem_count, 0, "{:?}", report.problems);
    report
}

/// All that a restore must give back of a directory, the root's own metadata left out: metadata and bytes by path. Hard links are told by
/// the first path of each file.
pub(crate) fn seen(directory: &Path) -> BTreeMap<String, (Node, Vec<u8>)> {
    let mut first = BTreeMap::new();
    let mut all = BTreeMap::new();
    for found in walk(source(directory)).expect("it is there") {
        let found = found.expect("it can be read");
        let path = String::from_utf8_lossy(&found.path).into_owned();
        let mut bytes = Vec::new();
        if let Body::Read(body) = found.body {
            body.open()
                .expect("opens")
                .read_to_end(&mut bytes)
                .expect("reads");
        }
        let mut node = found.node;
        let index = first.len() as u64;
        node.hard_link = node.hard_link.map(|id| *first.entry(id).or_insert(index));
        (node.ctime_ns, node.inode, node.device) = (0, 0, 0);
        if let NodeKind::File { content, .. } = &mut node.kind {
            *content = Content::default();
        }
        if path.is_empty() {
            node = nameless();
        }
        all.insert(path, (node, bytes));
    }
    all
}

pub(crate) fn write(root: &Path, path: &str, bytes: &[u8]) -> PathBuf {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("made");
    std::fs::write(&path, bytes).expect("written");
    path
}

/// A directory of which nothing is known.
fn nameless() -> Node {
    let (mode, uid, gid, mtime_ns) = (0o700, 0, 0, 0);
    let facts = RootFacts {
        mode,
        uid,
        gid,
        mtime_ns,
    };
    facts.node(ccb::model::ids::BlobId([0; 32]))
}
