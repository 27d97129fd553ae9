//! The tree of a parent backup, for a walk to find what has not changed. Only the directories on the way
//! to the current one are in memory. What can not be read counts as not there: it is read from its
//! source again, which also heals it.

use crate::model::ids::BlobId;
use crate::model::tree::{Entries, Node, NodeKind, Previous};
use crate::repository::pipeline::{self, Asker};
use crate::repository::reader::entries::TreeBlobs;
use crate::repository::{ListedBackup, Reader};
use std::sync::Arc;

/// Looks up the nodes of a backup, in the order of a walk.
pub struct ParentTree {
    entries_of: Asker<BlobId, Option<Vec<Node>>>,
    blobs: TreeBlobs,
    root: BlobId,
    levels: Vec<Level>,
    started_ns: i128,
}

struct Level {
    path: Vec<u8>,
    tree: BlobId,
    /// Read when the first entry is asked for.
    entries: Option<Vec<Node>>,
}

impl Reader {
    /// The tree of `backup`, which must be pinned while this is used. To be called within a runtime; the
    /// tree itself is for a thread outside of it, such as a walk's.
    pub fn parent_tree(&self, backup: &ListedBackup) -> ParentTree {
        let reader = self.clone();
        let entries_of = pipeline::asker(move |tree: BlobId| {
            let reader = reader.clone();
            async move { reader.entries(&tree).await.ok() }
        });
        let reader = self.clone();
        let blob_of = pipeline::asker(move |tree: BlobId| {
            let reader = reader.clone();
            async move { reader.tree_blob(&tree).await.ok() }
        });
        let blobs = TreeBlobs {
            reader: self.clone(),
            ask: Arc::new(blob_of),
        };
        let manifest = &backup.manifest;
        let root = Level {
            path: Vec::new(),
            tree: manifest.root,
            entries: None,
        };
        ParentTree {
            entries_of,
            blobs,
            root: manifest.root,
            levels: vec![root],
            started_ns: manifest.started.as_nanosecond(),
        }
    }
}

impl Previous for ParentTree {
    fn find(&mut self, path: &[u8]) -> Option<Node> {
        let (parent, name) = split(path);
        self.descend(parent)?;
        self.take(name)
    }

    fn root(&self) -> BlobId {
        self.root
    }

    fn open(&mut self, tree: &BlobId) -> Option<Box<dyn Entries>> {
        Some(Box::new(self.blobs.entries(tree)?))
    }

    fn started_ns(&self) -> i128 {
        self.started_ns
    }
}

impl ParentTree {
    /// The node at `path`, which stays where it is.
    pub(crate) fn look_up(&mut self, path: &[u8]) -> Option<Node> {
        let (parent, name) = split(path);
        self.descend(parent)?;
        self.entry(name).cloned()
    }

    /// Opens the directories down to `path`, from the deepest that is open already.
    fn descend(&mut self, path: &[u8]) -> Option<()> {
        if self.levels.last()?.path == path {
            return Some(());
        }
        let is_above = |level: &Level| is_within(path, &level.path);
        let depth = self.levels.iter().rposition(is_above)?;
        self.levels.truncate(depth + 1);
        while self.levels.last()?.path.len() < path.len() {
            let done = self.levels.last()?.path.len();
            let start = if done == 0 { 0 } else { done + 1 };
            let len = path[start..].iter().position(|byte| *byte == b'/');
            let end = len.map_or(path.len(), |len| start + len);
            let NodeKind::Directory { tree: Some(tree) } = self.entry(&path[start..end])?.kind
            else {
                return None;
            };
            self.levels.push(Level {
                path: path[..end].to_vec(),
                tree,
                entries: None,
            });
        }
        Some(())
    }

    /// The only file beside `path` whose name is another one in its numbers only, and more than numbers: what a
    /// server writes anew, it counts.
    pub(crate) fn numbered_otherwise(&mut self, path: &[u8]) -> Option<Node> {
        let (parent, name) = split(path);
        self.descend(parent)?;
        let name = without_numbers(name);
        if !name.iter().any(u8::is_ascii_alphabetic) {
            return None;
        }
        let is_alike = |node: &&Node| {
            matches!(node.kind, NodeKind::File { .. }) && without_numbers(&node.name) == name
        };
        let mut alike = self.entries()?.iter().filter(is_alike);
        let only = alike.next().cloned();
        only.filter(|_| alike.next().is_none())
    }

    /// An entry of the innermost open directory.
    fn entry(&mut self, name: &[u8]) -> Option<&Node> {
        let entries = self.entries()?;
        find(entries, name).map(|at| &entries[at])
    }

    /// As [`Self::entry`], given away if it is a file: what is left of it in its place is no file.
    fn take(&mut self, name: &[u8]) -> Option<Node> {
        let entries = self.entries()?;
        let node = &mut entries[find(entries, name)?];
        if !matches!(node.kind, NodeKind::File { .. }) {
            return Some(node.clone());
        }
        Some(Node {
            name: node.name.clone(),
            kind: std::mem::replace(&mut node.kind, NodeKind::Directory { tree: None }),
            user: node.user.take(),
            group: node.group.take(),
            xattrs: std::mem::take(&mut node.xattrs),
            unknown: std::mem::take(&mut node.unknown),
            ..*node
        })
    }

    /// All entries of the innermost open directory.
    fn entries(&mut self) -> Option<&mut [Node]> {
        let level = self.levels.last_mut()?;
        if level.entries.is_none() {
            let read = self.entries_of.ask(level.tree).flatten();
            level.entries = Some(read.unwrap_or_default());
        }
        level.entries.as_deref_mut()
    }
}

/// Where the node of this name is among siblings.
fn find(entries: &[Node], name: &[u8]) -> Option<usize> {
    entries
        .binary_search_by(|node| node.name.as_slice().cmp(name))
        .ok()
}

/// A name with a mark in place of each number.
fn without_numbers(name: &[u8]) -> Vec<u8> {
    let mut marked: Vec<u8> = name.to_vec();
    marked.iter_mut().for_each(|byte| {
        if byte.is_ascii_digit() {
            *byte = b'0';
        }
    });
    marked.dedup_by(|next, before| *next == b'0' && *before == b'0');
    marked
}

/// The directory of `path`, and its last part.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// Whether `path` is the directory `above`, or lies below it.
fn is_within(path: &[u8], above: &[u8]) -> bool {
    above.is_empty()
        || path
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}
