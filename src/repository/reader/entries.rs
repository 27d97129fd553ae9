//! The entries of one directory of a parent backup, for a walk that compares its own with them: read from the blobs as
//! they are, so that nothing is copied of what is the same. One leaf is in memory, and those of which entries were
//! passed.

use crate::model::ids::BlobId;
use crate::model::tree::{Entries, Node, Recorded, RecordedKind};
use crate::repository::Reader;
use crate::repository::format::tree::{KindRef, NodeRef, OpenLeaf, Opened, open_tree};
use crate::repository::pipeline::Asker;
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// Where a walk gets tree blobs from. Those that were read with their neighbours are there at once.
#[derive(Clone)]
pub(super) struct TreeBlobs {
    pub(super) reader: Reader,
    pub(super) ask: Arc<Asker<BlobId, Option<Arc<[u8]>>>>,
}

impl TreeBlobs {
    fn open(&self, id: &BlobId) -> Option<Opened> {
        let blob = match self.reader.kept_tree_blob(id) {
            Some(blob) => blob,
            None => self.ask.ask(*id).flatten()?,
        };
        open_tree(&blob).ok()
    }

    /// The entries of a directory.
    pub(super) fn entries(&self, tree: &BlobId) -> Option<Leaves> {
        let (first, leaves) = match self.open(tree)? {
            Opened::Leaf(leaf) => (Some(leaf), VecDeque::new()),
            Opened::List(leaves) => (None, leaves.into_iter().map(|leaf| leaf.id).collect()),
        };
        let leaf = first.map(|leaf| (Arc::new(leaf), 0));
        Some(Leaves {
            blobs: self.clone(),
            leaf,
            leaves,
            is_broken: false,
            passed: Some(Vec::new()),
        })
    }
}

/// See [`Entries`].
pub(super) struct Leaves {
    blobs: TreeBlobs,
    /// The leaf in hand, and how many of its entries were passed.
    leaf: Option<(Arc<OpenLeaf>, usize)>,
    /// Those that follow.
    leaves: VecDeque<BlobId>,
    /// The next one can not be read: nobody tries again for each entry that would be in it.
    is_broken: bool,
    /// Leaves that were passed whole; nothing when nobody will ask for what was passed.
    passed: Option<Vec<Arc<OpenLeaf>>>,
}

impl Leaves {
    /// The leaf that the next entry is in. A leaf that can not be read stays the next one.
    fn here(&mut self) -> Option<(&OpenLeaf, usize)> {
        while self
            .leaf
            .as_ref()
            .is_none_or(|(leaf, at)| *at == leaf.len())
        {
            let next = self.leaves.front().filter(|_| !self.is_broken)?;
            // A list of lists would let a hostile tree send its reader round in circles.
            let Some(Opened::Leaf(next)) = self.blobs.open(next) else {
                self.is_broken = true;
                return None;
            };
            self.leaves.pop_front();
            let done = self.leaf.replace((Arc::new(next), 0));
            if let (Some(passed), Some((done, _))) = (&mut self.passed, done) {
                passed.push(done);
            }
        }
        self.leaf.as_ref().map(|(leaf, at)| (&**leaf, *at))
    }

    fn next(&mut self) -> Option<NodeRef<'_>> {
        let (leaf, at) = self.here()?;
        leaf.get(at)
    }
}

impl Entries for Leaves {
    fn peek(&mut self) -> Option<Recorded<'_>> {
        Some(recorded(&self.next()?))
    }

    fn peek_node(&mut self) -> Option<Node> {
        Some(self.next()?.to_node())
    }

    fn is_at_end(&mut self) -> bool {
        self.here().is_none() && self.leaves.is_empty()
    }

    fn pass(&mut self) {
        if self.here().is_some()
            && let Some((_, at)) = &mut self.leaf
        {
            *at += 1;
        }
    }

    fn take_passed(&mut self) -> Box<dyn Iterator<Item = Node> + Send> {
        let whole = self.passed.take().unwrap_or_default().into_iter();
        let whole = whole.map(|leaf| {
            let len = leaf.len();
            (leaf, 0..len)
        });
        let part = self.leaf.iter().map(|(leaf, at)| (leaf.clone(), 0..*at));
        let all: Vec<_> = whole.chain(part).collect();
        Box::new(
            all.into_iter()
                .flat_map(|(leaf, range)| copies(leaf, range)),
        )
    }
}

fn copies(leaf: Arc<OpenLeaf>, range: Range<usize>) -> impl Iterator<Item = Node> {
    range.filter_map(move |at| Some(leaf.get(at)?.to_node()))
}

fn recorded<'a>(node: &NodeRef<'a>) -> Recorded<'a> {
    Recorded {
        name: node.name,
        what: match node.kind {
            KindRef::File { size, .. } => RecordedKind::File { size },
            KindRef::Directory { tree } => RecordedKind::Directory { tree },
            KindRef::Symlink { .. } | KindRef::Special { .. } => RecordedKind::Other,
        },
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        user: node.user,
        group: node.group,
        mtime_ns: node.mtime_ns,
        ctime_ns: node.ctime_ns,
        inode: node.inode,
        device: node.device,
        hard_link: node.hard_link,
        has_unknown: !node.unknown.is_empty(),
    }
}
