//! The entries of one directory, a leaf at a time: who walks trees of any size with it holds thousands of
//! entries, never all of a directory of millions.

use crate::model::ids::BlobId;
use crate::model::tree::Node;
use crate::repository::RepositoryError;
use crate::repository::format::tree::Tree;
use crate::repository::reader::Reader;
use std::{collections::VecDeque, iter::Peekable, vec};

/// A place among the entries of a directory, sorted by name.
pub(crate) struct Directory {
    reader: Reader,
    /// Entries of the leaf in hand.
    entries: Peekable<vec::IntoIter<Node>>,
    /// Leaves that were not read yet.
    leaves: VecDeque<BlobId>,
}

impl Directory {
    /// The directory whose blob is `tree`.
    pub(crate) async fn open(reader: &Reader, tree: &BlobId) -> Result<Self, RepositoryError> {
        let (entries, leaves) = match reader.tree(tree).await? {
            Tree::Leaf(entries) => (entries, VecDeque::new()),
            Tree::List(leaves) => (Vec::new(), leaves.into_iter().map(|leaf| leaf.id).collect()),
        };
        Ok(Self {
            reader: reader.clone(),
            entries: entries.into_iter().peekable(),
            leaves,
        })
    }

    /// The next entry, which stays the next one.
    pub(crate) async fn peek(&mut self) -> Result<Option<&Node>, RepositoryError> {
        while self.entries.peek().is_none() {
            let Some(leaf) = self.leaves.pop_front() else {
                return Ok(None);
            };
            self.entries = self.reader.leaf(&leaf).await?.into_iter().peekable();
        }
        Ok(self.entries.peek())
    }

    /// The next entry.
    pub(crate) async fn next(&mut self) -> Result<Option<Node>, RepositoryError> {
        self.peek().await?;
        Ok(self.entries.next())
    }

    /// Passes over the leaves that come next in both, where they are the same ones: what is in them is equal,
    /// down to the last file.
    pub(crate) fn skip_equal(&mut self, other: &mut Self) {
        let at_leaf = |directory: &mut Self| match directory.entries.peek() {
            Some(_) => None,
            None => directory.leaves.front().copied(),
        };
        while let (Some(leaf), Some(same)) = (at_leaf(self), at_leaf(other))
            && leaf == same
        {
            self.leaves.pop_front();
            other.leaves.pop_front();
        }
    }
}
