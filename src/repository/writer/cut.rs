//! Cuts what is too long for one buffer: one thread reads and cuts in order, the pool names, compresses
//! and seals. The number of buffers in the process is what bounds memory.

use crate::model::ids::BlobId;
use crate::model::tree::Content;
use crate::repository::RepositoryError;
use crate::repository::format::blob::{BlobKind, blob_id};
use crate::repository::format::chunk::{Chunker, Profile};
use crate::repository::pipeline;
use crate::repository::writer::against::{Against, Cuts};
use crate::repository::writer::blobs::{BlobWriter, ContentBuilder};
use crate::repository::writer::versions::Previous;
use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc::Receiver},
};

/// No chunk of any profile is longer.
const BUFFER_LEN_BYTES: usize = 8 << 20;
/// For all sessions of this process together.
const BUFFERS_MAX: usize = 6;
/// Buffers whose blobs are awaited before more is read.
const IN_FLIGHT_MAX: usize = 16;
/// Consecutive new chunks of a dump are compressed together up to this length: it saves 6 to 9 %.
const GROUP_LEN_BYTES: usize = 512 << 10;
/// Where there is a previous version: what changed in a longer stretch is found in a longer stretch of that, and its
/// rows have more in common. Ten days of a dump take 3 % less than with 512 KiB, and longer ones save nothing more.
const DELTA_GROUP_LEN_BYTES: usize = 1 << 20;

/// Cuts streams as one profile says.
pub(crate) struct Cutter {
    pub(crate) chunker: Chunker,
    pub(crate) profile: Profile,
}

/// What was cut, and blobs that are still being stored.
pub(crate) struct Cut {
    pub(crate) len: u64,
    content: ContentBuilder,
    in_flight: VecDeque<Stored>,
}

/// Blobs that are being stored.
pub(crate) type Stored = Receiver<Result<Vec<BlobId>, RepositoryError>>;

/// Why cutting stopped before the end.
pub(crate) enum CutError {
    /// The source.
    Source(io::Error),
    /// The repository.
    Repository(RepositoryError),
}

impl Cut {
    /// Waits for the blobs that are still being stored, and lists them all.
    pub(crate) fn finish(mut self, writer: &BlobWriter) -> Result<Content, RepositoryError> {
        while !self.in_flight.is_empty() {
            self.collect_one(writer)?;
        }
        std::mem::take(&mut self.content).finish(writer)
    }

    fn collect_one(&mut self, writer: &BlobWriter) -> Result<(), RepositoryError> {
        let Some(blobs) = self.in_flight.pop_front() else {
            return Ok(());
        };
        let blobs = blobs.recv().map_err(|_| RepositoryError::Interrupted)??;
        self.content.extend(writer, &blobs)
    }
}

/// What is being stored is waited for, be it that nobody wants it any more: another file may name blobs that were
/// claimed for it.
impl Drop for Cut {
    fn drop(&mut self) {
        for stored in self.in_flight.drain(..) {
            // An error is the writer's, which has it.
            let _ = stored.recv();
        }
    }
}

impl Cutter {
    pub(crate) fn new(writer: &BlobWriter, profile: Profile) -> Self {
        let chunker = Chunker::new(&writer.keys().keyring().chunker_key(), profile);
        Self { chunker, profile }
    }

    /// Reads `source` to its end. `seen` gets every byte in order. What is new is stored against the previous
    /// version, if there is one.
    pub(crate) fn cut_stream(
        &self,
        writer: &Arc<BlobWriter>,
        (source, previous): (&mut dyn Read, Option<Previous>),
        mut seen: impl FnMut(&[u8]),
    ) -> Result<Cut, CutError> {
        let mut against = previous.map(|Previous { version, bases }| {
            let group_len = match self.profile {
                Profile::Db => DELTA_GROUP_LEN_BYTES,
                Profile::Files | Profile::Media => 0,
            };
            Against::new(writer.clone(), version, bases, group_len)
        });
        let mut cut = Cut {
            len: 0,
            content: ContentBuilder::default(),
            in_flight: VecDeque::new(),
        };
        // The end of one buffer that is the start of a chunk, until the next buffer is there.
        let mut carried = Vec::new();
        let mut at_end = false;
        while !at_end {
            writer.failure.check().map_err(CutError::Repository)?;
            if cut.in_flight.len() >= IN_FLIGHT_MAX {
                cut.collect_one(writer).map_err(CutError::Repository)?;
            }
            let mut buffer = match (&mut against, Buffer::take_spare()) {
                (_, Some(buffer)) => buffer,
                (None, None) => Buffer::take(),
                (Some(against), None) => {
                    // Whoever waits holds none.
                    let stored = against.flush().map_err(CutError::Repository)?;
                    cut.in_flight.extend(stored);
                    Buffer::take()
                }
            };
            let start = carried.len();
            buffer.bytes[..start].copy_from_slice(&carried);
            let filled = fill(source, &mut buffer.bytes[start..]).map_err(CutError::Source)?;
            let len = start + filled;
            at_end = len < buffer.bytes.len();
            seen(&buffer.bytes[start..len]);
            cut.len += filled as u64;
            let (chunks, cut_to) = self.cut_buffer(&buffer.bytes[..len], at_end);
            carried.clear();
            carried.extend_from_slice(&buffer.bytes[cut_to..len]);
            if chunks.is_empty() {
                continue;
            }
            if let Some(against) = &mut against {
                let stored = against.push(Cuts { buffer, chunks });
                cut.in_flight.extend(stored.map_err(CutError::Repository)?);
            } else {
                let (writer, profile) = (writer.clone(), self.profile);
                let work = move || store_chunks(&writer, profile, &buffer.bytes, &chunks);
                cut.in_flight.push_back(pipeline::start(work));
            }
        }
        if let Some(against) = &mut against {
            let stored = against.flush().map_err(CutError::Repository)?;
            cut.in_flight.extend(stored);
        }
        Ok(cut)
    }

    /// Lengths of the chunks, and where the last one ends. A cut before the end of what is there depends
    /// on nothing that comes later; the end of what is there is a cut only where the stream ends too, or
    /// the chunk can not be longer.
    pub(crate) fn cut_buffer(&self, bytes: &[u8], at_end: bool) -> (Vec<usize>, usize) {
        let mut chunks = Vec::new();
        let mut from = 0;
        while from < bytes.len() {
            let len = self.chunker.cut(&bytes[from..]);
            let reaches_end = from + len == bytes.len() && len < self.profile.max_len();
            if reaches_end && !at_end {
                break;
            }
            chunks.push(len);
            from += len;
        }
        (chunks, from)
    }
}

/// How long a group of consecutive chunks may be; a chunk that is longer is alone.
fn group_len(profile: Profile) -> usize {
    match profile {
        Profile::Db => GROUP_LEN_BYTES,
        Profile::Files | Profile::Media => 0,
    }
}

/// Names and stores consecutive chunks.
pub(crate) fn store_chunks(
    writer: &BlobWriter,
    profile: Profile,
    bytes: &[u8],
    chunks: &[usize],
) -> Result<Vec<BlobId>, RepositoryError> {
    let mut ids = Vec::with_capacity(chunks.len());
    let mut run = NewRun::new(writer, group_len(profile));
    let mut from = 0;
    for len in chunks {
        let chunk = &bytes[from..from + len];
        let id = blob_id(writer.keys().keyring(), BlobKind::Data, chunk);
        run.add((id, *len), bytes, from)?;
        ids.push(id);
        from += len;
    }
    run.store(bytes, from)?;
    Ok(ids)
}

/// Stores those of consecutive chunks, which are named, that nobody has and nobody else stores; in one frame where
/// that is all of them.
pub(crate) fn store_new(
    writer: &BlobWriter,
    chunks: &[(BlobId, u32)],
    bytes: &[u8],
) -> Result<(), RepositoryError> {
    let mut run = NewRun::new(writer, bytes.len());
    let mut from = 0;
    for (id, len) in chunks {
        run.add((*id, *len as usize), bytes, from)?;
        from += *len as usize;
    }
    run.store(bytes, from)
}

/// New chunks that follow one another: they are stored together.
struct NewRun<'a> {
    writer: &'a BlobWriter,
    group_len: usize,
    group: Vec<(BlobId, u32)>,
    /// Where the first of them starts.
    start: usize,
}

impl<'a> NewRun<'a> {
    fn new(writer: &'a BlobWriter, group_len: usize) -> Self {
        Self {
            writer,
            group_len,
            group: Vec::new(),
            start: 0,
        }
    }

    /// Takes the next chunk, which starts at `from` in `bytes`.
    fn add(
        &mut self,
        (id, len): (BlobId, usize),
        bytes: &[u8],
        from: usize,
    ) -> Result<(), RepositoryError> {
        let is_new = self.writer.claim(&id);
        let is_full = from + len - self.start > self.group_len;
        if !is_new || is_full {
            self.store(bytes, from)?;
        }
        if is_new {
            if self.group.is_empty() {
                self.start = from;
            }
            self.group.push((id, len as u32));
        }
        Ok(())
    }

    /// Stores what there is; it ends at `end`.
    fn store(&mut self, bytes: &[u8], end: usize) -> Result<(), RepositoryError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let group = std::mem::take(&mut self.group);
        self.writer
            .store(BlobKind::Data, &group, &bytes[self.start..end])
    }
}

/// Reads until `bytes` is full or the source ends.
pub(crate) fn fill(source: &mut (impl Read + ?Sized), bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match source.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// One of the process's buffers; goes back when it is dropped.
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
}

struct Buffers {
    spare: Vec<Vec<u8>>,
    made: usize,
}

static BUFFERS: Mutex<Buffers> = Mutex::new(Buffers {
    spare: Vec::new(),
    made: 0,
});
static RETURNED: Condvar = Condvar::new();

impl Buffer {
    /// Waits until there is one. Whoever waits holds none, so that all come back.
    fn take() -> Self {
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(buffer) = Self::of(&mut buffers) {
                return buffer;
            }
            buffers = RETURNED
                .wait(buffers)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Buffer {
    /// One, if nobody has to be waited for.
    fn take_spare() -> Option<Self> {
        Self::of(&mut BUFFERS.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(buffers: &mut Buffers) -> Option<Self> {
        if let Some(bytes) = buffers.spare.pop() {
            return Some(Self { bytes });
        }
        (buffers.made < BUFFERS_MAX).then(|| {
            buffers.made += 1;
            let bytes = vec![0; BUFFER_LEN_BYTES];
            Self { bytes }
        })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.spare.push(std::mem::take(&mut self.bytes));
        RETURNED.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use crate::repository::format::chunk::{Chunker, Profile};
    use crate::repository::format::key::Keyring;
    use crate::repository::writer::cut::Cutter;

    /// Bytes that no chunker finds a pattern in.
    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn cuts_do_not_depend_on_where_buffers_end() {
        let data = noise(9 << 20);
        let cases = [
            (Profile::Db, [70_000, 130_001]),
            (Profile::Files, [4_200_000, 5_000_003]),
        ];
        for (profile, pieces) in cases {
            let chunker = Chunker::new(&Keyring::public().chunker_key(), profile);
            let cutter = Cutter { chunker, profile };
            let (want, _) = cutter.cut_buffer(&data, true);
            for piece in pieces {
                let (mut got, mut from) = (Vec::new(), 0);
                while from < data.len() {
                    let end = (from + piece).min(data.len());
                    let (chunks, cut_to) = cutter.cut_buffer(&data[from..end], end == data.len());
                    got.extend(chunks);
                    from += cut_to;
                }
                assert_eq!(got, want, "{profile:?} in pieces of {piece}");
            }
        }
    }
}
