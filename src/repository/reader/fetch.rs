//! Reads many blobs: pack by pack, neighbours in one request, each range once. Opening and checking runs
//! on the pool while the next ranges are on their way.

use crate::model::ids::BlobId;
use crate::repository::format::FormatError;
use crate::repository::format::blob::{BlobKind, blob_id};
use crate::repository::format::key::Keys;
use crate::repository::format::pack::{
    Encoding, Frame, FrameDecoder, PackKey, decode_frame, unseal_frame,
};
use crate::repository::index::Location;
use crate::repository::reader::deltas::Carried;
use crate::repository::reader::ladder::WantedDelta;
use crate::repository::reader::{BlobSink, Reader};
use crate::repository::{RepositoryError, layout, pipeline};
use bytes::BytesMut;
use futures_util::{StreamExt, stream};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    io,
    ops::Range,
    sync::Arc,
};

/// Ranges on their way or being opened.
pub(super) const AT_ONCE: usize = 8;
/// Wanted frames that are no further apart are read as one range.
const GAP_MAX_BYTES: u64 = 64 << 10;
/// A range ends here, so that memory is bounded.
pub(super) const RANGE_MAX_BYTES: u64 = 4 << 20;
/// Where less is wanted it ends earlier, so that the pool has enough to share; but not before this.
const RANGE_MIN_BYTES: u64 = 512 << 10;

/// A range of a pack and the frames in it that are wanted.
pub(super) struct Piece {
    pub(super) pack: u32,
    pub(super) range: Range<u64>,
    pub(super) frames: Vec<WantedFrame>,
}

/// Id, offset in the decoded frame, length.
pub(crate) type WantedBlob = (BlobId, u32, u32);

pub(crate) struct WantedFrame {
    pub(crate) frame: Frame,
    pub(crate) blobs: Vec<WantedBlob>,
}

/// A frame that was read, and whose wanted blobs are what they should be: for those who can use it as it is.
pub(crate) struct FrameRead<'a> {
    pub(crate) frame: &'a Frame,
    /// Its bytes as they were sealed.
    pub(crate) stored: &'a [u8],
    /// What it stands on; nothing unless it is a delta.
    pub(crate) prefix: &'a [u8],
    /// What it decodes to.
    pub(crate) plain: &'a [u8],
    /// The blobs that were asked for.
    pub(crate) wanted: &'a [WantedBlob],
}

/// Takes frames as they are, instead of the blobs in them.
pub(crate) type FrameSink = Arc<dyn Fn(&FrameRead<'_>) -> io::Result<()> + Send + Sync>;

/// Who takes what is read.
#[derive(Clone)]
pub(crate) struct Sinks {
    pub(crate) blobs: BlobSink,
    pub(crate) frames: Option<FrameSink>,
}

/// What is to be read.
#[derive(Default)]
struct Wanted {
    pieces: Vec<Piece>,
    deltas: Vec<WantedDelta>,
}

impl Reader {
    /// Reads each of `ids` once, however often it is named, and passes it to `sink`, in an order that
    /// suits the packs. A blob that can not be read is told to the sink too; the others go on. Deltas are read fastest
    /// in the order in which they lie in a file.
    pub async fn read_blobs(
        &self,
        ids: Vec<BlobId>,
        sink: BlobSink,
    ) -> Result<(), RepositoryError> {
        self.read_on(ids, sink, &mut Carried::default()).await
    }

    /// As [`Self::read_blobs`], for who reads one part of a file after another: `carried` goes from each to the next.
    pub(crate) async fn read_on(
        &self,
        ids: Vec<BlobId>,
        sink: BlobSink,
        carried: &mut Carried,
    ) -> Result<(), RepositoryError> {
        let frames = None;
        let sinks = Sinks {
            blobs: sink,
            frames,
        };
        self.read_into(ids, sinks, carried).await
    }

    /// As [`Self::read_on`], for sinks that can use frames.
    pub(crate) async fn read_into(
        &self,
        ids: Vec<BlobId>,
        sinks: Sinks,
        carried: &mut Carried,
    ) -> Result<(), RepositoryError> {
        let mut failed = Vec::new();
        let wanted = self.plan(ids, 0, &mut failed);
        self.read_wanted(wanted, (&sinks, carried), &mut failed)
            .await?;
        // What is damaged in one pack may be whole in another.
        let mut attempt = 1;
        let mut hopeless = Vec::new();
        while !failed.is_empty() {
            let mut again = Vec::new();
            for (id, error) in failed {
                if self.0.index.locations(&id).len() > attempt {
                    again.push(id);
                } else {
                    hopeless.push((id, error));
                }
            }
            failed = Vec::new();
            let wanted = self.plan(again, attempt, &mut failed);
            self.read_wanted(wanted, (&sinks, carried), &mut failed)
                .await?;
            attempt += 1;
        }
        self.read_anew(hopeless, sinks).await
    }

    /// Reads what this reader can not read with one that has looked again, if that may help; or else says why.
    async fn read_anew(
        &self,
        failed: Vec<(BlobId, RepositoryError)>,
        sinks: Sinks,
    ) -> Result<(), RepositoryError> {
        if failed.is_empty() {
            return Ok(());
        }
        let Some(successor) = self.successor().await else {
            let mut failed = failed.iter();
            let told = failed.try_for_each(|(id, error)| (sinks.blobs)(id, Err(error)));
            return told.map_err(refused);
        };
        let ids = failed.iter().map(|(id, _)| *id).collect();
        let before: HashMap<BlobId, RepositoryError> = failed.into_iter().collect();
        let blobs = sinks.blobs;
        let sink: BlobSink = Arc::new(move |id, content| match (content, before.get(id)) {
            // Where it was says more than that it is nowhere now.
            (Err(RepositoryError::BlobMissing { .. }), Some(error)) => blobs(id, Err(error)),
            (content, _) => blobs(id, content),
        });
        let sinks = Sinks {
            blobs: sink,
            frames: sinks.frames,
        };
        Box::pin(successor.read_into(ids, sinks, &mut Carried::default())).await
    }

    /// One blob.
    pub(crate) async fn read_blob(&self, id: &BlobId) -> Result<Vec<u8>, RepositoryError> {
        let result = Arc::new(std::sync::Mutex::new(None));
        let slot = result.clone();
        let sink: BlobSink = Arc::new(move |_, read| {
            let owned = read.map(<[u8]>::to_vec).map_err(RepositoryError::clone);
            if let Ok(mut slot) = slot.lock() {
                *slot = Some(owned);
            }
            Ok(())
        });
        self.read_blobs(vec![*id], sink).await?;
        let read = result.lock().ok().and_then(|mut slot| slot.take());
        read.unwrap_or(Err(RepositoryError::Interrupted))
    }

    /// Chooses the place number `attempt` of each blob, and puts neighbours together. Packs come in the
    /// order in which they are needed first.
    fn plan(
        &self,
        ids: Vec<BlobId>,
        attempt: usize,
        missing: &mut Vec<(BlobId, RepositoryError)>,
    ) -> Wanted {
        let mut seen = HashSet::with_capacity(ids.len());
        let mut packs: Vec<(u32, BTreeMap<u32, WantedFrame>)> = Vec::new();
        let mut deltas: Vec<WantedDelta> = Vec::new();
        let mut delta_numbers: HashMap<u32, usize> = HashMap::new();
        let mut numbers: HashMap<u32, usize> = HashMap::new();
        for id in ids {
            if !seen.insert(id) {
                continue;
            }
            let Some(place) = self.0.index.locations(&id).into_iter().nth(attempt) else {
                missing.push((id, RepositoryError::BlobMissing { id }));
                continue;
            };
            let Location {
                pack,
                number,
                frame,
                offset,
                len,
            } = place;
            if frame.encoding == Encoding::Delta {
                let at = *delta_numbers.entry(number).or_insert_with(|| {
                    let blobs = Vec::new();
                    deltas.push(WantedDelta {
                        pack,
                        number,
                        wanted: WantedFrame { frame, blobs },
                    });
                    deltas.len() - 1
                });
                deltas[at].wanted.blobs.push((id, offset, len));
                continue;
            }
            let number = *numbers.entry(pack).or_insert_with(|| {
                packs.push((pack, BTreeMap::new()));
                packs.len() - 1
            });
            let wanted = packs[number].1.entry(frame.offset);
            let wanted = wanted.or_insert_with(|| WantedFrame {
                frame,
                blobs: Vec::new(),
            });
            wanted.blobs.push((id, offset, len));
        }
        let frames = packs.iter().flat_map(|(_, frames)| frames.values());
        let range_max = range_max(frames.map(|wanted| &wanted.frame));
        let pieces = packs
            .into_iter()
            .flat_map(|(pack, frames)| coalesce(pack, frames, range_max))
            .collect();
        Wanted { pieces, deltas }
    }

    async fn read_wanted(
        &self,
        wanted: Wanted,
        (sinks, carried): (&Sinks, &mut Carried),
        failed: &mut Vec<(BlobId, RepositoryError)>,
    ) -> Result<(), RepositoryError> {
        let pieces = async {
            let mut failed = Vec::new();
            let mut reading = stream::iter(wanted.pieces)
                .map(|piece| self.read_piece(piece, sinks.clone()))
                .buffer_unordered(AT_ONCE);
            while let Some(read) = reading.next().await {
                failed.extend(read?);
            }
            Ok::<_, RepositoryError>(failed)
        };
        let deltas = self.read_deltas(wanted.deltas, (sinks, carried));
        let (of_pieces, of_deltas) = tokio::try_join!(pieces, deltas)?;
        failed.extend(of_pieces);
        failed.extend(of_deltas);
        Ok(())
    }

    async fn read_piece(
        &self,
        piece: Piece,
        sinks: Sinks,
    ) -> Result<Vec<(BlobId, RepositoryError)>, RepositoryError> {
        let pack = self.0.index.packs[piece.pack as usize];
        let key = layout::pack(pack.header.kind, &pack.name);
        let bytes = match self.piece_bytes(&piece).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let blobs = piece.frames.iter().flat_map(|frame| &frame.blobs);
                return Ok(blobs.map(|(id, ..)| (*id, error.clone())).collect());
            }
        };
        let key = self
            .pack_key(piece.pack)
            .map_err(|cause| RepositoryError::object(&key, cause))?;
        let keys = self.0.repository.keys().clone();
        let open = move || {
            let mut sealed = BytesMut::from(bytes);
            let opener = Opener {
                keys: &keys,
                key: &key,
                kind: pack.header.kind,
            };
            let mut failed = Vec::new();
            for wanted in &piece.frames {
                let damaged = opener.open(wanted, piece.range.start, &mut sealed, &sinks)?;
                let named = damaged.into_iter().map(|(id, cause)| {
                    let pack = pack.name;
                    (id, RepositoryError::BlobDamaged { id, pack, cause })
                });
                failed.extend(named);
            }
            Ok(failed)
        };
        pipeline::on_pool(open).await.map_err(refused)
    }
}

pub(super) fn refused(cause: io::Error) -> RepositoryError {
    RepositoryError::Sink(Arc::new(cause))
}

/// Opens frames of one pack.
pub(crate) struct Opener<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) key: &'a PackKey,
    pub(crate) kind: BlobKind,
}

thread_local! {
    pub(super) static DECODER: RefCell<FrameDecoder> = RefCell::new(FrameDecoder::new());
}

impl Opener<'_> {
    /// Opens one frame of `sealed`, which starts at `start` in the pack, and passes on its wanted blobs. Returns those
    /// that are not what they should be.
    fn open(
        &self,
        wanted: &WantedFrame,
        start: u64,
        sealed: &mut [u8],
        sinks: &Sinks,
    ) -> io::Result<Vec<(BlobId, FormatError)>> {
        self.open_frame(&wanted.frame, start, sealed, |opened| {
            let (stored, plain) = match opened {
                Ok(opened) => opened,
                Err(cause) => {
                    let all = wanted.blobs.iter();
                    return Ok(all.map(|(id, ..)| (*id, cause.clone())).collect());
                }
            };
            let mut damaged = Vec::new();
            let mut whole = Vec::with_capacity(wanted.blobs.len());
            for (id, offset, len) in &wanted.blobs {
                let content = plain
                    .get(*offset as usize..*offset as usize + *len as usize)
                    .filter(|content| blob_id(self.keys.keyring(), self.kind, content) == *id);
                match content {
                    Some(content) => whole.push((id, content)),
                    None => damaged.push((*id, FormatError::Authentication("blob"))),
                }
            }
            match &sinks.frames {
                Some(sink) if damaged.is_empty() => sink(&FrameRead {
                    frame: &wanted.frame,
                    stored,
                    prefix: &[],
                    plain,
                    wanted: &wanted.blobs,
                })?,
                _ => {
                    for (id, content) in whole {
                        (sinks.blobs)(id, Ok(content))?;
                    }
                }
            }
            Ok(damaged)
        })
    }

    /// Opens one frame of `sealed`, which starts at `start` in the pack: its bytes as they were sealed, and what they
    /// decode to.
    pub(crate) fn open_frame<T>(
        &self,
        frame: &Frame,
        start: u64,
        sealed: &mut [u8],
        then: impl FnOnce(Result<(&[u8], &[u8]), FormatError>) -> T,
    ) -> T {
        let range = frame.range();
        let (from, to) = ((range.start - start) as usize, (range.end - start) as usize);
        let Some(sealed) = sealed.get_mut(from..to) else {
            return then(Err(FormatError::Truncated("pack")));
        };
        DECODER.with_borrow_mut(|decoder| {
            let opened = unseal_frame(self.key, frame, sealed)
                .and_then(|stored| Ok((stored, decode_frame(frame, stored, &[], decoder)?)));
            then(opened)
        })
    }
}

/// Where ranges end, for these frames.
fn range_max<'a>(frames: impl Iterator<Item = &'a Frame>) -> u64 {
    let wanted: u64 = frames.map(|frame| u64::from(frame.stored_len)).sum();
    (wanted / AT_ONCE as u64).clamp(RANGE_MIN_BYTES, RANGE_MAX_BYTES)
}

pub(super) fn coalesce(
    pack: u32,
    frames: BTreeMap<u32, WantedFrame>,
    range_max: u64,
) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (_, wanted) in frames {
        let range = wanted.frame.range();
        match pieces.last_mut() {
            Some(piece)
                if range.start <= piece.range.end + GAP_MAX_BYTES
                    && range.end - piece.range.start <= range_max =>
            {
                piece.range.end = range.end.max(piece.range.end);
                piece.frames.push(wanted);
            }
            _ => pieces.push(Piece {
                pack,
                range,
                frames: vec![wanted],
            }),
        }
    }
    pieces
}
