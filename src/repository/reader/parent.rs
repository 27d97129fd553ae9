//! The tree of a parent backup, for a walk to find what has not changed. Only the directories on the way
//! to the current one are in memory. What can not be read counts as not there: it is read from its
//! source again, which also heals it.

use crate::model::ids::BlobId;
use crate::model::tree::{Node, NodeKind, Previous};
use crate::repository::pipeline::{self, Asker};
use crate::repository::{ListedBackup, Reader};

/// Looks up the nodes of a backup, in the order of a walk.
pub struct ParentTree {
    entries_of: Asker<BlobId, Option<Vec<Node>>>,
    open: Vec<Level>,
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
        let manifest = &backup.manifest;
        let root = Level {
            path: Vec::new(),
            tree: manifest.root,
            entries: None,
        };
        ParentTree {
            entries_of,
            open: vec![root],
            started_ns: manifest.started.as_nanosecond(),
        }
    }
}

impl Previous for ParentTree {
    fn find(&mut self, path: &[u8]) -> Option<Node> {
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let parent = &path[..slash.unwrap_or(0)];
        let name = &path[slash.map_or(0, |at| at + 1)..];
        let depth = self.open.iter().rposition(|level| level.path == parent)?;
        self.open.truncate(depth + 1);
        let level = self.open.last_mut()?;
        let entries = match &level.entries {
            Some(entries) => entries,
            None => {
                let read = self.entries_of.ask(level.tree).flatten();
                level.entries.insert(read.unwrap_or_default())
            }
        };
        let at = entries
            .binary_search_by(|node| node.name.as_slice().cmp(name))
            .ok()?;
        let node = entries[at].clone();
        if let NodeKind::Directory { tree: Some(tree) } = node.kind {
            self.open.push(Level {
                path: path.to_vec(),
                tree,
                entries: None,
            });
        }
        Some(node)
    }

    fn started_ns(&self) -> i128 {
        self.started_ns
    }
}
