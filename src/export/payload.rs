//! What of a backup is exported: the one file that it is about, or all of them, in the order of the tree, each
//! read while the ones before are written.

use crate::export::ExportError;
use crate::model::ids::BlobId;
use crate::model::postgres::DumpFacts;
use crate::model::records::Manifest;
use crate::model::tree::{Node, NodeKind};
use crate::repository::{Reader, RepositoryError};
use crate::restore::ContentStream;
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is read ahead, in KiB of files.
const AHEAD_KIB: u32 = 32 << 10;
/// Entries that are read ahead at most.
const AHEAD_MAX: usize = 64;

/// What is exported.
pub enum Payload {
    /// One file.
    One(ContentStream),
    /// Everything below the root.
    Many(Entries),
}

/// Everything below a root: directories before what is in them.
pub struct Entries(Receiver<Result<Entry, RepositoryError>>);

/// One of them.
pub(crate) struct Entry {
    /// Below the root.
    pub path: Vec<u8>,
    pub node: Node,
    /// Of a regular file.
    pub content: Option<ContentStream>,
    _ahead: Option<OwnedSemaphorePermit>,
}

impl Payload {
    /// Whether it is written as an archive.
    pub fn is_archive(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    /// The file that the backup is about; all, where there is none or `is_of_all`. Must be called within the
    /// runtime, which reads.
    pub async fn of(
        reader: &Reader,
        manifest: &Manifest,
        is_of_all: bool,
    ) -> Result<Self, ExportError> {
        if !is_of_all && let Some(file) = main_file(reader, manifest).await? {
            return Ok(Self::One(file));
        }
        let (send, entries) = channel(AHEAD_MAX);
        let (reader, root) = (reader.clone(), manifest.root);
        tokio::spawn(async move {
            if let Err(error) = walk(&reader, root, &send).await {
                let _ = send.send(Err(error)).await;
            }
        });
        Ok(Self::Many(Entries(entries)))
    }
}

impl Entries {
    /// The next one, waiting for it.
    pub(crate) fn next(&mut self) -> Option<Result<Entry, RepositoryError>> {
        self.0.blocking_recv()
    }
}

/// A database's dump, or the only file there is.
async fn main_file(
    reader: &Reader,
    manifest: &Manifest,
) -> Result<Option<ContentStream>, ExportError> {
    let entries = reader.entries(&manifest.root).await;
    let entries = entries.map_err(ExportError::Read)?;
    let node = match DumpFacts::of(manifest) {
        Some(facts) => entries
            .iter()
            .find(|node| node.name == facts.file.as_bytes()),
        None => entries.first().filter(|_| entries.len() == 1),
    };
    Ok(node.and_then(|node| ContentStream::of(reader, node)))
}

/// Sends every entry. Ends early when nobody takes them any more.
async fn walk(
    reader: &Reader,
    root: BlobId,
    to: &Sender<Result<Entry, RepositoryError>>,
) -> Result<(), RepositoryError> {
    let ahead = Arc::new(Semaphore::new(AHEAD_KIB as usize));
    let mut left: Vec<(Vec<u8>, Node)> = Vec::new();
    let below = |path: &[u8], nodes: Vec<Node>, left: &mut Vec<(Vec<u8>, Node)>| {
        for node in nodes.into_iter().rev() {
            let path = match path.is_empty() {
                true => node.name.clone(),
                false => [path, b"/", &node.name].concat(),
            };
            left.push((path, node));
        }
    };
    below(b"", reader.entries(&root).await?, &mut left);
    while let Some((path, node)) = left.pop() {
        let permit = match &node.kind {
            NodeKind::File { size, .. } => {
                let kib = u32::try_from(size / 1024 + 1).unwrap_or(AHEAD_KIB);
                let permit = ahead.clone().acquire_many_owned(kib.min(AHEAD_KIB)).await;
                Some(permit.expect("this semaphore is never closed"))
            }
            _ => None,
        };
        let entry = Entry {
            content: ContentStream::of(reader, &node),
            path: path.clone(),
            node: node.clone(),
            _ahead: permit,
        };
        if to.send(Ok(entry)).await.is_err() {
            return Ok(());
        }
        if let NodeKind::Directory { tree: Some(tree) } = &node.kind {
            below(&path, reader.entries(tree).await?, &mut left);
        }
    }
    Ok(())
}
