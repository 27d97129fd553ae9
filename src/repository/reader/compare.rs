//! Compares two trees. Descends only where directories differ, and into a large directory only where its
//! leaves do, so that a small change in millions of files costs a few reads. Reads content only where equal bytes may be
//! named differently (`same.rs`).

use crate::model::difference::Difference;
use crate::model::ids::BlobId;
use crate::model::tree::{Node, NodeKind};
use crate::repository::RepositoryError;
use crate::repository::reader::Reader;
use crate::repository::reader::directory::Directory;
use crate::repository::reader::same::are_same;
use std::cmp::Ordering;

/// What differs between two trees, by path, a directory before what is in it. Both readers must be of
/// repositories with the same keyring: only then do equal names of blobs mean equal bytes.
pub struct Comparison {
    readers: [Reader; 2],
    /// Directories on the way down.
    levels: Vec<Level>,
    roots: Option<[BlobId; 2]>,
    /// To be told next.
    failed: Option<UnreadDirectory>,
}

/// A directory that one or both have.
struct Level {
    path: Vec<u8>,
    sides: [Option<Directory>; 2],
}

/// A directory, or a file, that can not be read, and why. What is in it was not compared.
#[derive(Debug)]
pub struct UnreadDirectory {
    /// Its path below the root.
    pub path: Vec<u8>,
    /// Why.
    pub cause: RepositoryError,
}

impl Comparison {
    /// Compares the tree `before` with the tree `after`.
    pub fn new(before: (Reader, BlobId), after: (Reader, BlobId)) -> Self {
        Self {
            readers: [before.0, after.0],
            levels: Vec::new(),
            roots: Some([before.1, after.1]),
            failed: None,
        }
    }

    /// The next difference, or a directory that can not be read.
    pub async fn next(&mut self) -> Option<Result<Difference, UnreadDirectory>> {
        if let Some([before, after]) = self.roots.take()
            && before != after
        {
            self.enter(Vec::new(), [Some(before), Some(after)]).await;
        }
        loop {
            if let Some(failed) = self.failed.take() {
                return Some(Err(failed));
            }
            let level = self.levels.last_mut()?;
            let pair = match level.pair().await {
                Ok(pair) => pair,
                Err(cause) => {
                    // With one side unread, the other's entries would pass for new ones.
                    let path = std::mem::take(&mut level.path);
                    self.levels.pop();
                    return Some(Err(UnreadDirectory { path, cause }));
                }
            };
            let Some(pair) = pair else {
                self.levels.pop();
                continue;
            };
            let path = join(&level.path, pair.name());
            let pair = match pair.named_alike(&self.readers).await {
                Ok(pair) => pair,
                Err(cause) => return Some(Err(UnreadDirectory { path, cause })),
            };
            let difference = pair.difference(&path);
            if let Some(trees) = pair.trees() {
                self.enter(path, trees).await;
            }
            if let Some(difference) = difference {
                return Some(Ok(difference));
            }
        }
    }

    async fn enter(&mut self, path: Vec<u8>, trees: [Option<BlobId>; 2]) {
        let mut sides = [None, None];
        for (side, (reader, tree)) in sides.iter_mut().zip(self.readers.iter().zip(trees)) {
            let Some(tree) = tree else { continue };
            match Directory::open(reader, &tree).await {
                Ok(directory) => *side = Some(directory),
                Err(cause) => {
                    self.failed = Some(UnreadDirectory { path, cause });
                    return;
                }
            }
        }
        self.levels.push(Level { path, sides });
    }
}

/// The entries of one name: before, after.
struct Pair([Option<Node>; 2]);

impl Level {
    /// What comes next in the order of names; `None` at the end.
    async fn pair(&mut self) -> Result<Option<Pair>, RepositoryError> {
        if let [Some(before), Some(after)] = &mut self.sides {
            before.skip_equal(after);
        }
        let order = {
            let [before, after] = &mut self.sides;
            match (peek(before).await?, peek(after).await?) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(after)) => before.cmp(after),
            }
        };
        let [before, after] = &mut self.sides;
        let pair = match order {
            Ordering::Less => [take(before).await?, None],
            Ordering::Greater => [None, take(after).await?],
            Ordering::Equal => [take(before).await?, take(after).await?],
        };
        Ok(Some(Pair(pair)))
    }
}

async fn peek(side: &mut Option<Directory>) -> Result<Option<&[u8]>, RepositoryError> {
    match side {
        Some(directory) => Ok(directory.peek().await?.map(|node| node.name.as_slice())),
        None => Ok(None),
    }
}

async fn take(side: &mut Option<Directory>) -> Result<Option<Node>, RepositoryError> {
    match side {
        Some(directory) => directory.next().await,
        None => Ok(None),
    }
}

impl Pair {
    /// Files that hold equal bytes name them alike afterwards.
    async fn named_alike(mut self, readers: &[Reader; 2]) -> Result<Self, RepositoryError> {
        let [Some(before), Some(after)] = &mut self.0 else {
            return Ok(self);
        };
        let kinds = (&before.kind, &mut after.kind);
        if let (
            NodeKind::File { size, content, .. },
            NodeKind::File {
                size: other_size,
                content: other,
                ..
            },
        ) = kinds
            && size == other_size
            && content != other
            && are_same(readers, [content, other]).await?
        {
            other.clone_from(content);
        }
        Ok(self)
    }

    fn name(&self) -> &[u8] {
        let some = self.0.iter().flatten().next();
        some.map_or(b"", |node| &node.name)
    }

    fn difference(&self, path: &[u8]) -> Option<Difference> {
        let path = path.to_vec();
        match &self.0 {
            [Some(before), None] => Some(Difference::removed(path, before)),
            [None, Some(after)] => Some(Difference::added(path, after)),
            [Some(before), Some(after)] => Difference::changed(path, before, after),
            [None, None] => None,
        }
    }

    /// The directories to go into: of equal ones neither.
    fn trees(&self) -> Option<[Option<BlobId>; 2]> {
        let trees = self.0.each_ref().map(|node| node.as_ref().and_then(tree));
        (trees[0] != trees[1]).then_some(trees)
    }
}

fn tree(node: &Node) -> Option<BlobId> {
    match &node.kind {
        NodeKind::Directory { tree } => *tree,
        _ => None,
    }
}

pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path.is_empty() {
        true => name.to_vec(),
        false => [path, b"/", name].concat(),
    }
}
