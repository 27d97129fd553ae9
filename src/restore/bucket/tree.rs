//! Versions of a bucket's objects as a tree that can be restored to a directory: nothing is in a repository, bytes
//! are read from the bucket as they are asked for.

use crate::model::ids::BlobId;
use crate::model::tree::{Content, Node, NodeKind};
use crate::repository::RepositoryError;
use crate::restore::{Contents, Sink, Unread};
use crate::source::bucket::names::arranged;
use crate::source::bucket::{Bucket, ObjectVersion};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Objects are read by ranges of this length.
const PART_LEN_BYTES: u64 = 8 << 20;
/// Ranges on their way.
const AT_ONCE: usize = 4;

/// Objects as they were, in the directories that their keys name.
#[derive(Debug)]
pub struct VersionsTree {
    bucket: Arc<Bucket>,
    directories: HashMap<BlobId, Vec<Node>>,
    parts: HashMap<BlobId, Part>,
    root: BlobId,
}

/// A range of a version.
#[derive(Debug, Clone)]
struct Part {
    key: Arc<str>,
    version: Arc<str>,
    range: Range<u64>,
}

impl VersionsTree {
    /// The tree of these versions, of which each key has one.
    pub fn new(bucket: Arc<Bucket>, versions: Vec<ObjectVersion>) -> Self {
        let mut tree = Self {
            bucket,
            directories: HashMap::new(),
            parts: HashMap::new(),
            root: BlobId([0; 32]),
        };
        // Innermost last: a directory is complete when what comes next is not in it.
        let mut open: Vec<(Vec<u8>, Vec<Node>)> = vec![(Vec::new(), Vec::new())];
        for (path, version) in arranged(versions, |version| &version.object.key) {
            let name = path
                .iter()
                .rposition(|byte| *byte == b'/')
                .map_or(0, |at| at + 1);
            tree.close(&mut open, &path[..name.saturating_sub(1)]);
            let entered = open.last().map_or(0, |(entered, _)| entered.len());
            for (at, byte) in path.iter().enumerate() {
                if *byte == b'/' && at > entered {
                    open.push((path[..at].to_vec(), Vec::new()));
                }
            }
            if let Some((_, entries)) = open.last_mut() {
                entries.push(tree.file(&path[name..], &version));
            }
        }
        tree.close(&mut open, b"");
        let entries = open.pop().map(|(_, entries)| entries).unwrap_or_default();
        tree.directories.insert(tree.root, entries);
        tree
    }

    /// The root of it.
    pub fn root(&self) -> Node {
        let kind = NodeKind::Directory {
            tree: Some(self.root),
        };
        Node::plain("", kind, 0o755, 0)
    }

    /// Leaves the directories that `path` is not in.
    fn close(&mut self, open: &mut Vec<(Vec<u8>, Vec<Node>)>, path: &[u8]) {
        while open.len() > 1
            && open.last().is_some_and(|(directory, _)| {
                path != directory && !(path.starts_with(directory) && path[directory.len()] == b'/')
            })
        {
            let Some((directory, entries)) = open.pop() else {
                return;
            };
            let id = id_of(&[b"directory", directory.as_slice()]);
            let kind = NodeKind::Directory { tree: Some(id) };
            let name = directory.rsplit(|byte| *byte == b'/').next();
            let mut node = Node::plain("", kind, 0o755, 0);
            node.name = name.unwrap_or_default().to_vec();
            self.directories.insert(id, entries);
            if let Some((_, above)) = open.last_mut() {
                above.push(node);
            }
        }
    }

    fn file(&mut self, name: &[u8], version: &ObjectVersion) -> Node {
        let (size, key) = (version.object.size, version.object.key.as_slice());
        // A key that is no text is told when its bytes are asked for.
        let (text, id): (Arc<str>, Arc<str>) = (
            String::from_utf8_lossy(key).into(),
            version.id.as_str().into(),
        );
        let starts = (0..size).step_by(PART_LEN_BYTES as usize);
        let blobs = starts.map(|start| {
            let blob = id_of(&[b"part", key, id.as_bytes(), &start.to_le_bytes()]);
            let part = Part {
                key: text.clone(),
                version: id.clone(),
                range: start..size.min(start + PART_LEN_BYTES),
            };
            (blob, part)
        });
        let blobs: Vec<(BlobId, Part)> = blobs.collect();
        let content = Content {
            blobs: blobs.iter().map(|(id, _)| *id).collect(),
            is_list: false,
        };
        self.parts.extend(blobs);
        let kind = NodeKind::File {
            size,
            content,
            extents: Vec::new(),
        };
        let mut node = Node::plain("", kind, 0o644, version.object.modified.as_nanosecond());
        node.name = name.to_vec();
        node
    }
}

/// Names what is in no repository.
fn id_of(parts: &[&[u8]]) -> BlobId {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher
            .update(&(part.len() as u64).to_le_bytes())
            .update(part);
    }
    BlobId(*hasher.finalize().as_bytes())
}

impl Contents for VersionsTree {
    fn entries<'a>(
        &'a self,
        tree: &'a BlobId,
    ) -> BoxFuture<'a, Result<Vec<Node>, RepositoryError>> {
        let found = self.directories.get(tree).cloned();
        async move { found.ok_or(RepositoryError::BlobMissing { id: *tree }) }.boxed()
    }

    fn blobs<'a>(
        &'a self,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Vec<(BlobId, u64)>, RepositoryError>> {
        let len = |id: &BlobId| match self.parts.get(id) {
            Some(part) => Ok((*id, part.range.end - part.range.start)),
            None => Err(RepositoryError::BlobMissing { id: *id }),
        };
        let blobs = content.blobs.iter().map(len).collect();
        async move { blobs }.boxed()
    }

    fn read(&self, ids: Vec<BlobId>, sink: Sink) -> BoxFuture<'_, Result<Unread, RepositoryError>> {
        async move {
            let reads = ids.into_iter().map(|id| {
                let sink = sink.clone();
                async move {
                    let Some(part) = self.parts.get(&id) else {
                        return Some((id, RepositoryError::BlobMissing { id }));
                    };
                    let (key, version) = (&*part.key, Some(&*part.version));
                    match self.bucket.part(key, version, part.range.clone()).await {
                        Ok(bytes) => {
                            sink(&id, &bytes);
                            None
                        }
                        Err(cause) => Some((
                            id,
                            RepositoryError::Stream {
                                name: part.key.to_string(),
                                cause: Arc::new(std::io::Error::other(cause)),
                            },
                        )),
                    }
                }
            });
            let unread = stream::iter(reads).buffer_unordered(AT_ONCE);
            Ok(unread.filter_map(std::future::ready).collect().await)
        }
        .boxed()
    }

    /// Ids here are places, not contents: nothing has one.
    fn id_of(&self, data: &[u8]) -> BlobId {
        id_of(&[b"data", data])
    }
}
