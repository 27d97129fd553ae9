//! Reads files and stores what they hold. Small ones are read, cut and sealed by one thread of the pool,
//! so that their bytes stay in its cache. A file that can not be read is left out and reported; a stream
//! that breaks ends the backup.

use crate::model::ids::{BlobId, Digest};
use crate::model::tree::{
    Body, Found, Node, NodeKind, OpenBody, OpenStream, Problem, ReadBody, Totals, printable,
};
use crate::repository::RepositoryError;
use crate::repository::format::chunk::Profile;
use crate::repository::writer::blobs::{BlobWriter, ContentBuilder};
use crate::repository::writer::cut::{Cut, CutError, Cutter, fill};
use crate::repository::writer::group::Group;
use crate::repository::writer::versions::{Previous, Versions};
use crate::repository::writer::{Problems, Progress};
use std::{
    cell::RefCell,
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// What reading one tree takes, shared by all its threads.
pub(crate) struct Reading {
    pub(crate) writer: Arc<BlobWriter>,
    pub(crate) cutter: Cutter,
    pub(crate) streams: Streams,
    pub(crate) problems: Problems,
    pub(crate) progress: Arc<dyn Progress>,
    /// Whether content may be taken over from the parent.
    pub(crate) is_parent_pinned: bool,
    /// What new content is stored against.
    pub(crate) versions: Option<Versions>,
}

/// What streams need besides: they are cut into smaller chunks, and hashed as they come.
pub(crate) struct Streams {
    pub(crate) cutter: Cutter,
    /// Of all streams so far, one after the other: the walk's thread reads them in order.
    pub(crate) hashed: Mutex<Option<blake3::Hasher>>,
}

impl Streams {
    pub(crate) fn new(writer: &BlobWriter) -> Self {
        Self {
            cutter: Cutter::new(writer, Profile::Db),
            hashed: Mutex::default(),
        }
    }

    /// The hash of all streams, if there were any.
    pub(crate) fn digest(&self) -> Option<Digest> {
        let hashed = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        let hasher = hashed.as_ref()?;
        Some(Digest(*hasher.finalize().as_bytes()))
    }
}

/// A node and what became of its bytes.
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) node: Node,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    /// The node is complete.
    Complete {
        /// Whether its bytes were read now.
        was_read: bool,
    },
    /// A directory that is taken over with all that is in it.
    Whole(Totals),
    /// Blobs of a long file that are still being stored.
    Cut(Cut),
    /// It is left out: it could not be read, or is not there any more.
    Missing,
}

impl Entry {
    /// Waits until all of its blobs are stored.
    pub(crate) fn finish(mut self, writer: &BlobWriter) -> Result<Self, RepositoryError> {
        if let Outcome::Cut(cut) = self.outcome {
            if let NodeKind::File { content, .. } = &mut self.node.kind {
                *content = cut.finish(writer)?;
            }
            self.outcome = Outcome::Complete { was_read: true };
        }
        Ok(self)
    }
}

/// A little more than the longest chunk, so that one is always found.
const SCRATCH_LEN_BYTES: usize = (4 << 20) + (64 << 10);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Reading {
    /// Stores the bytes of one small file, or whatever it has grown to; what is short in `group`.
    pub(crate) fn store(&self, found: Found, group: &mut Group) -> Result<Entry, RepositoryError> {
        let Found {
            path,
            mut node,
            body,
        } = found;
        let outcome = match body {
            Body::Nothing => Outcome::Complete { was_read: false },
            Body::Unchanged(_) | Body::Whole(_) if !self.is_parent_pinned => {
                return Err(RepositoryError::NotPinned);
            }
            Body::Whole(totals) => {
                self.progress.advance(totals.files, totals.bytes);
                Outcome::Whole(totals)
            }
            Body::Unchanged(unchanged) => {
                if let NodeKind::File { content, size, .. } = &mut node.kind {
                    *content = unchanged;
                    self.progress.advance(1, *size);
                }
                Outcome::Complete { was_read: false }
            }
            Body::Read(open) => self.read_small((&path, &mut node), open, group)?,
            Body::Stream(open) => return self.cut_stream(path, node, open),
        };
        Ok(Entry {
            path,
            node,
            outcome,
        })
    }

    fn read_small(
        &self,
        (path, node): (&[u8], &mut Node),
        open: Box<dyn OpenBody>,
        group: &mut Group,
    ) -> Result<Outcome, RepositoryError> {
        let Some(mut body) = self.open(path, open) else {
            return Ok(Outcome::Missing);
        };
        let read = SCRATCH.with_borrow_mut(|scratch| {
            if scratch.is_empty() {
                *scratch = vec![0; SCRATCH_LEN_BYTES];
            }
            self.read_through(&mut *body, scratch, group)
        });
        match read {
            Ok((len, content)) => {
                let change = self.note_change(path, &*body);
                set_len(node, len, &change);
                if let NodeKind::File {
                    content: of_node, ..
                } = &mut node.kind
                {
                    *of_node = content.finish(&self.writer)?;
                }
                self.progress.advance(1, len);
                Ok(Outcome::Complete { was_read: true })
            }
            Err(CutError::Repository(error)) => Err(error),
            Err(CutError::Source(cause)) => {
                self.left_out(path, "read", cause);
                Ok(Outcome::Missing)
            }
        }
    }

    fn read_through(
        &self,
        body: &mut dyn ReadBody,
        scratch: &mut [u8],
        group: &mut Group,
    ) -> Result<(u64, ContentBuilder), CutError> {
        let mut content = ContentBuilder::default();
        let (mut len, mut start, mut at_end) = (0, 0, false);
        while !at_end {
            let filled = fill(body, &mut scratch[start..]).map_err(CutError::Source)?;
            len += filled as u64;
            let end = start + filled;
            at_end = end < scratch.len();
            let (chunks, cut_to) = self.cutter.cut_buffer(&scratch[..end], at_end);
            self.store_cut(scratch, &chunks, group)
                .and_then(|ids| content.extend(&self.writer, &ids))
                .map_err(CutError::Repository)?;
            scratch.copy_within(cut_to..end, 0);
            start = end - cut_to;
        }
        Ok((len, content))
    }

    fn store_cut(
        &self,
        bytes: &[u8],
        chunks: &[usize],
        group: &mut Group,
    ) -> Result<Vec<BlobId>, RepositoryError> {
        let mut from = 0;
        let chunks = chunks.iter().map(|len| {
            let chunk = &bytes[from..from + len];
            from += len;
            chunk
        });
        chunks.map(|chunk| group.put(&self.writer, chunk)).collect()
    }

    /// Reads a long file on this thread, while the pool stores what is cut.
    pub(crate) fn cut(&self, found: Found) -> Result<Entry, RepositoryError> {
        let Found {
            path,
            mut node,
            body,
        } = found;
        let open = match body {
            Body::Read(open) => open,
            Body::Stream(open) => return self.cut_stream(path, node, open),
            body => {
                let found = Found { path, node, body };
                return self.writer.with_group(|group| self.store(found, group));
            }
        };
        let Some(mut body) = self.open(&path, open) else {
            return Ok(Entry {
                path,
                node,
                outcome: Outcome::Missing,
            });
        };
        let seen = |bytes: &[u8]| self.progress.advance(0, bytes.len() as u64);
        let from = (&mut body as &mut dyn io::Read, self.version(&path));
        let outcome = match self.cutter.cut_stream(&self.writer, from, seen) {
            Ok(cut) => {
                let change = self.note_change(&path, &*body);
                set_len(&mut node, cut.len, &change);
                self.progress.advance(1, 0);
                Outcome::Cut(cut)
            }
            Err(CutError::Repository(error)) => return Err(error),
            Err(CutError::Source(cause)) => {
                self.left_out(&path, "read", cause);
                Outcome::Missing
            }
        };
        Ok(Entry {
            path,
            node,
            outcome,
        })
    }

    /// Reads a stream on this thread. Unlike a file that can not be read, one that breaks ends the backup.
    fn cut_stream(
        &self,
        path: Vec<u8>,
        mut node: Node,
        open: Box<dyn OpenStream>,
    ) -> Result<Entry, RepositoryError> {
        let broken = |cause: io::Error| RepositoryError::Stream {
            name: printable(&path),
            cause: Arc::new(cause),
        };
        let mut source = open.open().map_err(broken)?;
        let mut hashed = self
            .streams
            .hashed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let hasher = hashed.get_or_insert_with(blake3::Hasher::new);
        let seen = |bytes: &[u8]| {
            hasher.update(bytes);
            self.progress.advance(0, bytes.len() as u64);
        };
        let cutter = &self.streams.cutter;
        let from = (&mut *source as &mut dyn io::Read, self.version(&path));
        let cut = cutter.cut_stream(&self.writer, from, seen);
        let cut = cut.map_err(|error| match error {
            CutError::Repository(error) => error,
            CutError::Source(cause) => broken(cause),
        })?;
        set_len(&mut node, cut.len, &Change::None);
        self.progress.advance(1, 0);
        Ok(Entry {
            path,
            node,
            outcome: Outcome::Cut(cut),
        })
    }

    fn version(&self, path: &[u8]) -> Option<Previous> {
        self.versions.as_ref()?.find(path)
    }

    fn open(&self, path: &[u8], open: Box<dyn OpenBody>) -> Option<Box<dyn ReadBody>> {
        match open.open() {
            Ok(body) => Some(body),
            // Deleted since the walk saw it: there is nothing to back up.
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => {
                self.left_out(path, "open", cause);
                None
            }
        }
    }

    /// What was read stays: it is the best there is. But nobody may take it for a steady state.
    fn note_change(&self, path: &[u8], body: &dyn ReadBody) -> Change {
        match body.changed_while_reading() {
            Ok(false) => return Change::None,
            Ok(true) => {
                let cause =
                    io::Error::other("it changed meanwhile; the backup holds what was read");
                self.left_out(path, "read in one state", cause);
            }
            Err(cause) => self.left_out(path, "look again at", cause),
        }
        Change::DataNow(body.data_now())
    }

    fn left_out(&self, path: &[u8], doing: &'static str, cause: io::Error) {
        self.report(&Problem {
            path: path.to_vec(),
            doing,
            cause,
        });
    }

    pub(crate) fn report(&self, problem: &Problem) {
        self.problems.add(problem);
        self.progress.problem(problem);
    }
}

/// What became of a file while it was read.
enum Change {
    None,
    /// It changed, and this is where it holds data by now: see [`ReadBody::data_now`].
    DataNow(Option<Vec<(u64, u64)>>),
}

/// Records how much was read. Holes of a file that has another length now are not known. In one that was written to
/// since its holes were looked for, a hole is what was one before and after: what was read where one was filled must
/// not come back as zeros.
fn set_len(node: &mut Node, len: u64, change: &Change) {
    let NodeKind::File { size, extents, .. } = &mut node.kind else {
        return;
    };
    match change {
        _ if *size != len => {
            *size = len;
            extents.clear();
        }
        Change::None => {}
        Change::DataNow(Some(now)) if !extents.is_empty() => *extents = either(extents, now),
        Change::DataNow(_) => extents.clear(),
    }
}

/// What is in one of two lists of ranges, as a list of its own. One of no length stands for none at all.
fn either(one: &[(u64, u64)], other: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = [one, other].concat();
    all.retain(|(_, len)| *len > 0);
    all.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (start, len) in all {
        match merged.last_mut() {
            Some((before, before_len)) if start <= *before + *before_len => {
                *before_len = (*before_len).max(start + len - *before);
            }
            _ => merged.push((start, len)),
        }
    }
    if merged.is_empty() {
        merged.push((0, 0));
    }
    merged
}

#[cfg(test)]
mod tests {
    use crate::repository::writer::files::either;

    #[test]
    fn a_hole_is_what_was_one_before_and_after() {
        for (one, other, both) in [
            (&[(0, 0)][..], &[][..], &[(0, 0)][..]),
            (&[(0, 0)], &[(8, 4)], &[(8, 4)]),
            (
                &[(0, 4), (20, 4)],
                &[(2, 4), (40, 1)],
                &[(0, 6), (20, 4), (40, 1)],
            ),
            (&[(0, 4)], &[(4, 4)], &[(0, 8)]),
            (&[(0, 20)], &[(4, 4)], &[(0, 20)]),
        ] {
            assert_eq!(either(one, other), both);
            assert_eq!(either(other, one), both);
        }
    }
}
