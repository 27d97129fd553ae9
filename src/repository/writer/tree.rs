//! Writes a tree of files: one thread walks and reads long files, the pool reads short ones in batches,
//! and this thread puts the results together in the order of the walk. A directory becomes a blob when
//! the walk has left it, so that only the directories on the way to the current one are in memory.

use crate::model::ids::BlobId;
use crate::model::tree::{Body, Found, Node, NodeKind, Problem, Totals, printable};
use crate::repository::RepositoryError;
use crate::repository::format::FormatError;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::chunk::Profile;
use crate::repository::format::manifest::{Stats, Subtotal};
use crate::repository::format::tree::{Leaf, LeafRef, encode_leaves, encode_tree_list};
use crate::repository::pipeline;
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::writer::cut::Cutter;
use crate::repository::writer::files::{Entry, Outcome, Reading, Streams};
use crate::repository::writer::versions::Versions;
use crate::repository::writer::{Problems, Progress, TreeStats};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

/// A longer file is read by the walk's thread, and its chunks spread over the pool.
const SHORT_LEN_MAX_BYTES: u64 = 4 << 20;
/// A batch is closed when it has so much to read,
const BATCH_BYTES: u64 = 4 << 20;
/// or so many files to read,
const BATCH_FILES: usize = 64;
/// or so many nodes.
const BATCH_NODES: usize = 512;
/// With more directories than this below the root, what is in each is not counted: a manifest must stay small, for a
/// plan looks at thousands of them.
const SUBTOTALS_MAX: usize = 128;
/// Batches between the walk and this thread.
const QUEUE: usize = 32;

/// A walk: see [`Found`] for its order.
pub(crate) type Walk = Box<dyn Iterator<Item = Result<Found, Problem>> + Send>;

/// A batch of the walk, in its order.
enum Batch {
    Ready(Vec<Entry>),
    Coming(Receiver<Result<Vec<Entry>, RepositoryError>>),
}

/// In which order a walk finds things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// That of [`Found`].
    DepthFirst,
    /// As a server sends them: all nodes are in memory until the last has come.
    Arrival,
}

/// Writes the tree. Waits much: to be called on a thread of its own.
pub(crate) fn write_tree(
    writer: Arc<BlobWriter>,
    (walk, order): (Walk, Order),
    (is_parent_pinned, versions): (bool, Option<Versions>),
    progress: Arc<dyn Progress>,
) -> Result<TreeStats, RepositoryError> {
    let cutter = Cutter::new(&writer, Profile::Files);
    let streams = Streams::new(&writer);
    let problems = Problems::default();
    let reading = Arc::new(Reading {
        writer,
        cutter,
        streams,
        problems,
        progress,
        is_parent_pinned,
        versions,
    });
    let (batches, to_assemble) = sync_channel(QUEUE);
    let written = thread::scope(|scope| {
        let walker = reading.clone();
        scope.spawn(move || {
            if let Err(error) = walk_all(&walker, walk, &batches) {
                walker.writer.failure.set(error);
            }
        });
        let written = assemble(&reading, order, &to_assemble);
        if let Err(error) = &written {
            reading.writer.failure.set(error.clone());
        }
        // The walk stops at its next batch when nobody takes it.
        drop(to_assemble);
        written
    });
    reading.writer.failure.check()?;
    let (root, stats, directories) = written?;
    let (errors, error_count) = reading.problems.take();
    Ok(TreeStats {
        root,
        stats,
        directories,
        errors,
        error_count,
        content: match order {
            Order::DepthFirst => reading.streams.digest(),
            // The same files may come in another order next time.
            Order::Arrival => None,
        },
    })
}

fn walk_all(
    reading: &Arc<Reading>,
    walk: Walk,
    batches: &SyncSender<Batch>,
) -> Result<(), RepositoryError> {
    let mut pending = Pending::default();
    for item in walk {
        reading.writer.failure.check()?;
        match item {
            Err(problem) => reading.report(&problem),
            Ok(found) if is_long(&found) => {
                pending.hand_over(reading, batches)?;
                let entry = reading.cut(found)?;
                send(batches, Batch::Ready(vec![entry]))?;
            }
            Ok(found) => {
                pending.add(found);
                if pending.is_full() {
                    pending.hand_over(reading, batches)?;
                }
            }
        }
    }
    pending.hand_over(reading, batches)
}

fn is_long(found: &Found) -> bool {
    match found.body {
        Body::Stream(_) => true,
        Body::Read(_) => len(&found.node) > SHORT_LEN_MAX_BYTES,
        Body::Nothing | Body::Unchanged(_) | Body::Whole(_) => false,
    }
}

fn len(node: &Node) -> u64 {
    match node.kind {
        NodeKind::File { size, .. } => size,
        _ => 0,
    }
}

fn send(batches: &SyncSender<Batch>, batch: Batch) -> Result<(), RepositoryError> {
    batches
        .send(batch)
        .map_err(|_| RepositoryError::Interrupted)
}

/// What the walk found since the last batch.
#[derive(Default)]
struct Pending {
    found: Vec<Found>,
    to_read: usize,
    to_read_bytes: u64,
}

impl Pending {
    fn add(&mut self, found: Found) {
        if let Body::Read(_) = found.body {
            self.to_read += 1;
            self.to_read_bytes += len(&found.node);
        }
        self.found.push(found);
    }

    fn is_full(&self) -> bool {
        self.to_read >= BATCH_FILES
            || self.to_read_bytes >= BATCH_BYTES
            || self.found.len() >= BATCH_NODES
    }

    fn hand_over(
        &mut self,
        reading: &Arc<Reading>,
        batches: &SyncSender<Batch>,
    ) -> Result<(), RepositoryError> {
        let Self { found, to_read, .. } = std::mem::take(self);
        let reading = reading.clone();
        let store = move || {
            reading.writer.with_group(|group| {
                let found = found.into_iter();
                found.map(|found| reading.store(found, group)).collect()
            })
        };
        send(
            batches,
            match to_read {
                0 => Batch::Ready(store()?),
                _ => Batch::Coming(pipeline::start(store)),
            },
        )
    }
}

/// Directories from the root to the current one, and what was counted.
struct Assembly<'a> {
    writer: &'a BlobWriter,
    open: Vec<OpenDirectory>,
    stats: Stats,
    /// Nothing when there are too many.
    directories: Option<BTreeMap<String, Subtotal>>,
}

struct OpenDirectory {
    path: Vec<u8>,
    node: Node,
    entries: Vec<Node>,
}

type Written = (BlobId, Stats, BTreeMap<String, Subtotal>);

fn assemble(
    reading: &Reading,
    order: Order,
    batches: &Receiver<Batch>,
) -> Result<Written, RepositoryError> {
    let mut arrived = BTreeMap::new();
    let mut assembly = Assembly {
        writer: &reading.writer,
        open: Vec::new(),
        stats: Stats::default(),
        directories: Some(BTreeMap::new()),
    };
    for batch in batches {
        let entries = match batch {
            Batch::Ready(entries) => entries,
            Batch::Coming(entries) => {
                entries.recv().map_err(|_| RepositoryError::Interrupted)??
            }
        };
        for entry in entries {
            match order {
                Order::DepthFirst => assembly.add(entry)?,
                Order::Arrival => {
                    let entry = entry.finish(&reading.writer)?;
                    if let Some(twice) = arrived.insert(depth_first(&entry.path), entry) {
                        return Err(out_of_order(&twice.path));
                    }
                }
            }
        }
    }
    for entry in std::mem::take(&mut arrived).into_values() {
        assembly.add(entry)?;
    }
    // The walk ends early only with an error, which counts more than what is half assembled.
    reading.writer.failure.check()?;
    assembly.finish()
}

impl Assembly<'_> {
    fn add(&mut self, entry: Entry) -> Result<(), RepositoryError> {
        let Entry {
            path,
            mut node,
            outcome,
        } = entry;
        let was_read = match outcome {
            Outcome::Missing => return Ok(()),
            Outcome::Whole(totals) => return self.add_whole(&path, node, &totals),
            Outcome::Complete { was_read } => was_read,
            Outcome::Cut(cut) => {
                if let NodeKind::File { content, .. } = &mut node.kind {
                    *content = cut.finish(self.writer)?;
                }
                true
            }
        };
        self.leave_until_parent_of(&path)?;
        self.count(&path, &node, was_read);
        match (&node.kind, self.open.last_mut()) {
            (NodeKind::Directory { .. }, _) => {
                let entries = Vec::new();
                self.open.push(OpenDirectory {
                    path,
                    node,
                    entries,
                });
            }
            (_, Some(parent)) => parent.entries.push(node),
            (_, None) => return Err(out_of_order(&path)),
        }
        Ok(())
    }

    /// Closes the directories that the walk has left.
    fn leave_until_parent_of(&mut self, path: &[u8]) -> Result<(), RepositoryError> {
        if path.is_empty() {
            return if self.open.is_empty() {
                Ok(())
            } else {
                Err(out_of_order(path))
            };
        }
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let parent = &path[..slash.unwrap_or(0)];
        while self
            .open
            .last()
            .is_some_and(|directory| directory.path != parent)
        {
            if self.open.len() == 1 {
                return Err(out_of_order(path));
            }
            self.close()?;
        }
        if self.open.is_empty() {
            Err(out_of_order(path))
        } else {
            Ok(())
        }
    }

    /// Writes the innermost directory and enters it into the one above; returns its blob.
    fn close(&mut self) -> Result<Option<BlobId>, RepositoryError> {
        let Some(OpenDirectory {
            path,
            mut node,
            entries,
        }) = self.open.pop()
        else {
            return Ok(None);
        };
        let id = put_directory(self.writer, &path, &entries)?;
        node.kind = NodeKind::Directory { tree: Some(id) };
        if let Some(parent) = self.open.last_mut() {
            parent.entries.push(node);
        }
        Ok(Some(id))
    }

    fn finish(mut self) -> Result<Written, RepositoryError> {
        let mut root = None;
        while let Some(id) = self.close()? {
            root = Some(id);
        }
        let root = root.ok_or(RepositoryError::NothingThere)?;
        Ok((root, self.stats, self.directories.unwrap_or_default()))
    }

    /// A directory that has been written before.
    fn add_whole(
        &mut self,
        path: &[u8],
        node: Node,
        totals: &Totals,
    ) -> Result<(), RepositoryError> {
        self.leave_until_parent_of(path)?;
        let parent = self.open.last_mut().ok_or_else(|| out_of_order(path))?;
        parent.entries.push(node);
        let stats = &mut self.stats;
        stats.directories += totals.directories + 1;
        stats.symlinks += totals.symlinks;
        stats.specials += totals.specials;
        stats.files += totals.files;
        stats.bytes += totals.bytes;
        if totals.files > 0 {
            let end = path.iter().position(|byte| *byte == b'/');
            self.count_in(
                &path[..end.unwrap_or(path.len())],
                totals.files,
                totals.bytes,
            );
        }
        Ok(())
    }

    fn count(&mut self, path: &[u8], node: &Node, was_read: bool) {
        let stats = &mut self.stats;
        match &node.kind {
            NodeKind::Directory { .. } => stats.directories += 1,
            NodeKind::Symlink { .. } => stats.symlinks += 1,
            NodeKind::Special { .. } => stats.specials += 1,
            NodeKind::File { size, .. } => {
                stats.files += 1;
                stats.bytes += size;
                stats.changed_files += u64::from(was_read);
                if let Some(slash) = path.iter().position(|byte| *byte == b'/') {
                    self.count_in(&path[..slash], 1, *size);
                }
            }
        }
    }

    /// Counts files in a directory below the root.
    fn count_in(&mut self, name: &[u8], files: u64, bytes: u64) {
        let Some(directories) = &mut self.directories else {
            return;
        };
        // A lookup allocates nothing for names that are text, which nearly all are.
        let subtotal = match std::str::from_utf8(name) {
            Ok(name) if directories.contains_key(name) => directories.get_mut(name),
            _ => Some(directories.entry(printable(name)).or_default()),
        };
        if let Some(subtotal) = subtotal {
            subtotal.files += files;
            subtotal.bytes += bytes;
        }
        if directories.len() > SUBTOTALS_MAX {
            self.directories = None;
        }
    }
}

/// Sorts as a walk goes: what is in a directory comes before the directory's next sibling.
fn depth_first(path: &[u8]) -> Vec<u8> {
    let before_all_names = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    path.iter().map(before_all_names).collect()
}

/// Stores the entries of one directory, sorted by name.
fn put_directory(
    writer: &BlobWriter,
    path: &[u8],
    entries: &[Node],
) -> Result<BlobId, RepositoryError> {
    let encode = |cause| RepositoryError::Encode {
        what: printable(path),
        cause,
    };
    let leaves = encode_leaves(entries).map_err(encode)?;
    let mut refs = Vec::with_capacity(leaves.len());
    for Leaf { first_name, blob } in leaves {
        let id = writer.put(BlobKind::Tree, &blob)?;
        refs.push(LeafRef { first_name, id });
    }
    match refs.as_slice() {
        [only] => Ok(only.id),
        _ => writer.put(BlobKind::Tree, &encode_tree_list(&refs)),
    }
}

fn out_of_order(path: &[u8]) -> RepositoryError {
    let cause = FormatError::Malformed {
        what: "walk",
        why: "it is not depth first".to_owned(),
    };
    RepositoryError::Encode {
        what: printable(path),
        cause,
    }
}
