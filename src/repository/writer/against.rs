//! Stores what is new in a long file or stream against what stood there in the previous version. Naming and storing
//! run on the pool, bases are read meanwhile; the thread that cuts keeps the order. What can not be read, or is not
//! there for a new backup to refer to, is no base: then what is new stands alone, in chunks as in any first backup.

use crate::model::ids::BlobId;
use crate::repository::RepositoryError;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::pack::{BASES_MAX, DEPTH_MAX};
use crate::repository::pipeline::{self, Asker};
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::writer::cut::{Buffer, Stored, store_new};
use crate::repository::writer::join::{Names, name};
use crate::repository::writer::previous::{Group, PreviousVersion};
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
    naming: VecDeque<(Arc<Cuts>, Receiver<Names>)>,
    reading: VecDeque<Awaiting>,
}

/// A buffer whose bases are being read.
struct Awaiting {
    cuts: Arc<Cuts>,
    names: Names,
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
        let names = pipeline::start(move || name(&writer, &to_name.buffer.bytes, &to_name.chunks));
        self.naming.push_back((cuts, names));
        self.advance(STAGE_MAX)
    }

    /// Lets everything go on to be stored: no buffer is held afterwards.
    pub(crate) fn flush(&mut self) -> Result<Vec<Stored>, RepositoryError> {
        self.advance(0)
    }

    fn advance(&mut self, kept: usize) -> Result<Vec<Stored>, RepositoryError> {
        let mut stored = Vec::new();
        while self.naming.len() > kept
            && let Some((cuts, names)) = self.naming.pop_front()
        {
            let names = names.recv().map_err(|_| RepositoryError::Interrupted)?;
            let mut groups = self.previous.groups(&names.named, self.group_len);
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
                names,
                groups,
                bases,
            });
        }
        while self.reading.len() > kept
            && let Some(awaiting) = self.reading.pop_front()
        {
            let Awaiting {
                cuts,
                names,
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
                    bytes: &cuts.buffer.bytes,
                    names: &names,
                };
                store.groups(&groups, &bases)
            }));
        }
        Ok(stored)
    }
}

/// What a new frame may stand on of what it would: a base that is as deep as may be gives way to what it stands on
/// itself.
fn usable(writer: &BlobWriter, bases: Vec<BlobId>) -> Vec<BlobId> {
    let (mut usable, mut seen, mut len) = (Vec::new(), HashSet::new(), 0);
    for base in bases {
        let on: Vec<BlobId> = match writer.depth_of(&base) {
            None => Vec::new(),
            Some(depth) if depth < DEPTH_MAX => vec![base],
            Some(_) => writer.below(&base),
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
    bytes: &'a [u8],
    names: &'a Names,
}

impl Storing<'_> {
    /// All blobs of the buffer, in order.
    fn groups(&self, groups: &[Group], bases: &Bases) -> Result<Vec<BlobId>, RepositoryError> {
        let named = &self.names.named;
        let mut ids = Vec::with_capacity(named.len());
        let (mut number, mut from) = (0, 0);
        for group in groups {
            let known = &named[number..group.blobs.start];
            ids.extend(known.iter().map(|blob| blob.id));
            from += self.names.len_of(number..group.blobs.start);
            let len = self.names.len_of(group.blobs.clone());
            let plain = &self.bytes[from..from + len];
            match self.is_delta(group, plain, bases)? {
                true => ids.extend(named[group.blobs.clone()].iter().map(|blob| blob.id)),
                false => self.apart(group, plain, &mut ids)?,
            }
            (number, from) = (group.blobs.end, from + len);
        }
        ids.extend(named[number..].iter().map(|blob| blob.id));
        Ok(ids)
    }

    /// Stores the chunks of a group. Only what earlier backups name as one blob, and what it stands on is lost, is
    /// stored as one again: that makes them whole.
    fn apart(
        &self,
        group: &Group,
        plain: &[u8],
        ids: &mut Vec<BlobId>,
    ) -> Result<(), RepositoryError> {
        let mut from = 0;
        let is_lost = |number: usize| {
            let is_joined = self.names.chunks_of(number..number + 1).len() > 1;
            is_joined && self.writer.is_lost(&self.names.named[number].id)
        };
        let numbers: Vec<usize> = group.blobs.clone().collect();
        for run in numbers.chunk_by(|a, b| !is_lost(*a) && !is_lost(*b)) {
            let (first, run) = (run[0], run[0]..run[run.len() - 1] + 1);
            let content = &plain[from..from + self.names.len_of(run.clone())];
            from += content.len();
            if is_lost(first) {
                let blob = &self.names.named[first];
                store_new(self.writer, &[(blob.id, blob.len)], content)?;
                ids.push(blob.id);
            } else {
                let chunks = self.names.chunks_of(run);
                store_new(self.writer, chunks, content)?;
                ids.extend(chunks.iter().map(|(id, _)| *id));
            }
        }
        Ok(())
    }

    /// Stores a group as a delta, if that takes little enough.
    fn is_delta(
        &self,
        group: &Group,
        plain: &[u8],
        bases: &Bases,
    ) -> Result<bool, RepositoryError> {
        let at_hand = group.bases.iter();
        let at_hand = at_hand.filter_map(|id| Some((*id, bases.get(id)?)));
        let (ids, contents): (Vec<BlobId>, Vec<&Vec<u8>>) = at_hand.unzip();
        if ids.is_empty() {
            return Ok(false);
        }
        let contents: Vec<&[u8]> = contents.into_iter().map(Vec::as_slice).collect();
        let prefix = contents.concat();
        let blobs = &self.names.named[group.blobs.clone()];
        let blobs: Vec<_> = blobs.iter().map(|blob| (blob.id, blob.len)).collect();
        let on = (ids.as_slice(), prefix.as_slice());
        let is_delta = self
            .writer
            .store_only_against(BlobKind::Data, &blobs, plain, on)?;
        match is_delta {
            true => self.misses.store(0, Relaxed),
            false => drop(self.misses.fetch_add(1, Relaxed)),
        }
        Ok(is_delta)
    }
}
