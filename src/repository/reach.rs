//! Which blobs backups stand on: everything that can be reached from their roots. Directories are read,
//! file contents are not. What can not be read is told apart from what is there, and never passed over.

use crate::model::ids::BlobId;
use crate::model::tree::{Content, Node, NodeKind};
use crate::repository::format::FormatError;
use crate::repository::format::tree::{Tree, decode_content_list, decode_tree};
use crate::repository::{BlobSink, Reader, RepositoryError, pipeline};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// What is reachable from some roots.
#[derive(Default)]
pub(crate) struct Reach {
    /// Directories, their leaves and lists of blobs.
    pub(crate) trees: HashSet<BlobId>,
    /// Bytes of files: sorted, each once.
    pub(crate) data: Vec<BlobId>,
    /// Trees that can not be read: what is below them is not known.
    pub(crate) unreadable: BTreeMap<BlobId, RepositoryError>,
}

impl Reach {
    /// All blobs.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &BlobId> {
        self.trees.iter().chain(&self.data)
    }
}

/// Reads all trees below `roots`, level by level, each once.
pub(crate) async fn reach(
    reader: &Reader,
    roots: impl IntoIterator<Item = BlobId>,
) -> Result<Reach, RepositoryError> {
    let mut reach = Reach::default();
    let mut level: Vec<BlobId> = roots.into_iter().collect();
    level.retain(|id| reach.trees.insert(*id));
    let mut unique_len = 0;
    while !level.is_empty() {
        let found = Arc::new(Mutex::new((Children::default(), Vec::new())));
        let into = found.clone();
        let sink: BlobSink = Arc::new(move |id, content| {
            let below = content
                .map_err(RepositoryError::clone)
                .and_then(|content| children(id, content));
            let mut found = into.lock().unwrap_or_else(PoisonError::into_inner);
            match below {
                Ok(below) => found.0.add(below),
                Err(error) => found.1.push((*id, error)),
            }
            Ok(())
        });
        reader.read_blobs(level, sink).await?;
        let (below, unreadable) =
            std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        reach.unreadable.extend(unreadable);
        reach.data.extend(below.data);
        level = below.trees;
        level.retain(|id| reach.trees.insert(*id));
        if reach.data.len() > 2 * unique_len.max(UNIQUE_MIN) {
            reach.data = unique(reach.data).await;
            unique_len = reach.data.len();
        }
    }
    reach.data = unique(reach.data).await;
    Ok(reach)
}

/// Backups of a large file that changes a little name most of its blobs again: they are made unique whenever there are
/// twice as many as before, so that they never take much more than they must. Not for fewer than this.
const UNIQUE_MIN: usize = 1 << 20;

async fn unique(mut blobs: Vec<BlobId>) -> Vec<BlobId> {
    pipeline::on_pool(move || {
        pipeline::sort(&mut blobs, |id| *id);
        blobs.dedup();
        blobs.shrink_to_fit();
        blobs
    })
    .await
}

/// The blobs that tree blobs name directly.
#[derive(Default)]
pub(crate) struct Children {
    pub(crate) trees: Vec<BlobId>,
    pub(crate) data: Vec<BlobId>,
}

impl Children {
    pub(crate) fn add(&mut self, other: Self) {
        self.trees.extend(other.trees);
        self.data.extend(other.data);
    }

    fn add_node(&mut self, node: &Node) {
        match &node.kind {
            NodeKind::Directory { tree } => self.trees.extend(tree),
            NodeKind::File { content, .. } => self.add_content(content),
            NodeKind::Symlink { .. } | NodeKind::Special { .. } => {}
        }
    }

    fn add_content(&mut self, content: &Content) {
        if content.is_list {
            self.trees.extend(&content.blobs);
        } else {
            self.data.extend(&content.blobs);
        }
    }
}

/// What the tree blob `id` names: a directory's entries, its leaves, or the blobs of a long file.
pub(crate) fn children(id: &BlobId, content: &[u8]) -> Result<Children, RepositoryError> {
    let mut found = Children::default();
    match decode_any(content)
        .map_err(|cause| RepositoryError::object(format!("tree {id}"), cause))?
    {
        Any::Tree(Tree::Leaf(nodes)) => nodes.iter().for_each(|node| found.add_node(node)),
        Any::Tree(Tree::List(leaves)) => found.trees.extend(leaves.iter().map(|leaf| leaf.id)),
        Any::ContentList(blobs) => found.data = blobs,
    }
    Ok(found)
}

enum Any {
    Tree(Tree),
    ContentList(Vec<BlobId>),
}

fn decode_any(content: &[u8]) -> Result<Any, FormatError> {
    match decode_content_list(content) {
        Ok(blobs) => Ok(Any::ContentList(blobs)),
        Err(_) => decode_tree(content).map(Any::Tree),
    }
}
