//! Stores what is new in a long file or stream against what stood there in the previous version. Naming and storing
//! run on the pool, bases are read meanwhile; the thread that cuts keeps the order. What can not be read, or is not
//! there for a new backup to refer to, is no base: then what is new stands alone.

use crate::model::ids::BlobId;
use crate::repository::RepositoryError;
use crate::repository::format::blob::{BlobKind, blob_id};
use crate::repository::format::pack::{BASES_MAX, DEPTH_MAX};
use crate::repository::pipeline::{self, Asker};
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::writer::cut::{Buffer, Stored};
use crate::repository::writer::previous::{Group, Named, PreviousVersion};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc::Receiver,
    },
};

/// What a group stands on is at most so long.
const PREFIX_MAX_BYTES: usize = 12 << 20;
/// So many deltas in a row may be in vain.
const MISSES_MAX: u32 = 16;
/// Buffers in each stage before the oldest goes on.
const STAGE_MAX: usize = 1;

/// Plaintexts of bases.
pub(crate) type Bases = HashMap<BlobId, Vec<u8>>;

/// Reads bases; those that can not be read are left out.
pub(crate) type BaseReader = Arc<Asker<Vec<BlobId>, Bases>>;

/// The buffers of one file on their way.
pub(crate) struct Against {
    writer: Arc<BlobWriter>,
    previous: PreviousVersion,
    reader: BaseReader,
    group_len: u64,
    /// How many deltas were not worth it since the last one that was.
    misses: Arc<AtomicU32>,
    naming: VecDeque<(Arc<Cuts>, Receiver<Vec<Named>>)>,
    reading: VecDeque<Awaiting>,
}

/// A buffer whose bases are being read.
struct Awaiting {
    cuts: Arc<Cuts>,
    named: Vec<Named>,
    groups: Vec<Group>,
    bases: Option<Receiver<Bases>>,
}

/// A buffer and the lengths of the chunks in it.
pub(crate) struct Cuts {
    pub(crate) buffer: Buffer,
    pub(crate) chunks: Vec<usize>,
}

impl Against {
    pub(crate) fn new(
        writer: Arc<BlobWriter>,
        previous: PreviousVersion,
        reader: BaseReader,
        group_len: usize,
    ) -> Self {
        Self {
            writer,
            previous,
            reader,
            group_len: group_len as u64,
            misses: Arc::default(),
            naming: VecDeque::new(),
            reading: VecDeque::new(),
        }
    }

    /// Takes the next buffer. What came out is being stored.
    pub(crate) fn push(&mut self, cuts: Cuts) -> Result<Vec<Stored>, RepositoryError> {
        let cuts = Arc::new(cuts);
        let (writer, to_name) = (self.writer.clone(), cuts.clone());
        let named = pipeline::start(move || name(&writer, &to_name));
        self.naming.push_back((cuts, named));
        self.advance(STAGE_MAX)
    }

    /// Lets everything go on to be stored: no buffer is held afterwards.
    pub(crate) fn flush(&mut self) -> Result<Vec<Stored>, RepositoryError> {
        self.advance(0)
    }

    fn advance(&mut self, kept: usize) -> Result<Vec<Stored>, RepositoryError> {
        let mut stored = Vec::new();
        while self.naming.len() > kept
            && let Some((cuts, named)) = self.naming.pop_front()
        {
            let named = named.recv().map_err(|_| RepositoryError::Interrupted)?;
            let mut groups = self.previous.groups(&named, self.group_len);
            // Where nothing is alike any more, one of each buffer is tried.
            let tried = match self.misses.load(Relaxed) {
                0..MISSES_MAX => usize::MAX,
                _ => 1,
            };
            for (number, group) in groups.iter_mut().enumerate() {
                let bases = std::mem::take(&mut group.bases);
                if number < tried {
                    group.bases = usable(&self.writer, bases);
                }
            }
            let mut wanted: Vec<BlobId> = groups.iter().flat_map(|g| g.bases.clone()).collect();
            let mut seen = HashSet::new();
            wanted.retain(|id| seen.insert(*id));
            let bases = match wanted.is_empty() {
                true => None,
                false => self.reader.start(wanted),
            };
            self.reading.push_back(Awaiting {
                cuts,
                named,
                groups,
                bases,
            });
        }
        while self.reading.len() > kept
            && let Some(awaiting) = self.reading.pop_front()
        {
            let Awaiting {
                cuts,
                named,
                groups,
                bases,
            } = awaiting;
            // Without an answer there are no bases.
            let bases = bases
                .and_then(|bases| bases.recv().ok())
                .unwrap_or_default();
            let (writer, misses) = (self.writer.clone(), self.misses.clone());
            stored.push(pipeline::start(move || {
                let store = Storing {
                    writer: &writer,
                    misses: &misses,
                };
                store.groups(&cuts, &named, &groups, &bases)?;
                Ok(named.iter().map(|blob| blob.id).collect())
            }));
        }
        Ok(stored)
    }
}

fn name(writer: &BlobWriter, cuts: &Cuts) -> Vec<Named> {
    let mut named = Vec::with_capacity(cuts.chunks.len());
    let mut from = 0;
    for len in &cuts.chunks {
        let chunk = &cuts.buffer.bytes[from..from + len];
        let id = blob_id(writer.keys().keyring(), BlobKind::Data, chunk);
        let (len, is_new) = (*len as u32, writer.claim(&id));
        named.push(Named { id, len, is_new });
        from += len as usize;
    }
    named
}

/// What a new frame may stand on of what it would: a base that is as deep as may be gives way to what it stands on
/// itself at the bottom.
fn usable(writer: &BlobWriter, bases: Vec<BlobId>) -> Vec<BlobId> {
    let (mut usable, mut seen, mut len) = (Vec::new(), HashSet::new(), 0);
    for base in bases {
        let on: Vec<BlobId> = match writer.depth_of(&base) {
            None => Vec::new(),
            Some(depth) if depth < DEPTH_MAX => vec![base],
            Some(_) => writer.roots_of(&base),
        };
        for (id, more) in on
            .into_iter()
            .filter_map(|id| Some((id, writer.len_of(&id)?)))
        {
            if usable.len() < BASES_MAX
                && len + more as usize <= PREFIX_MAX_BYTES
                && seen.insert(id)
            {
                len += more as usize;
                usable.push(id);
            }
        }
    }
    match writer.is_light(&usable) {
        true => usable,
        false => Vec::new(),
    }
}

/// Stores the groups of one buffer.
struct Storing<'a> {
    writer: &'a BlobWriter,
    misses: &'a AtomicU32,
}

impl Storing<'_> {
    fn groups(
        &self,
        cuts: &Cuts,
        named: &[Named],
        groups: &[Group],
        bases: &Bases,
    ) -> Result<(), RepositoryError> {
        let (mut number, mut from) = (0, 0);
        for group in groups {
            from += len_of(&named[number..group.blobs.start]);
            let blobs = &named[group.blobs.clone()];
            let len = len_of(blobs);
            self.group(blobs, &cuts.buffer.bytes[from..from + len], group, bases)?;
            (number, from) = (group.blobs.end, from + len);
        }
        Ok(())
    }

    fn group(
        &self,
        blobs: &[Named],
        plain: &[u8],
        group: &Group,
        bases: &Bases,
    ) -> Result<(), RepositoryError> {
        let blobs: Vec<_> = blobs.iter().map(|blob| (blob.id, blob.len)).collect();
        let at_hand = group
            .bases
            .iter()
            .filter_map(|id| Some((*id, bases.get(id)?)));
        let (ids, contents): (Vec<BlobId>, Vec<&Vec<u8>>) = at_hand.unzip();
        if ids.is_empty() {
            return self.writer.store(BlobKind::Data, &blobs, plain);
        }
        let contents: Vec<&[u8]> = contents.into_iter().map(Vec::as_slice).collect();
        let prefix = contents.concat();
        let on = (ids.as_slice(), prefix.as_slice());
        match self
            .writer
            .store_against(BlobKind::Data, &blobs, plain, on)?
        {
            0 => drop(self.misses.fetch_add(1, Relaxed)),
            _ => self.misses.store(0, Relaxed),
        }
        Ok(())
    }
}

fn len_of(blobs: &[Named]) -> usize {
    blobs.iter().map(|blob| blob.len as usize).sum()
}
