//! Where blobs are: all segments as one sorted table in memory. An entry counts only when its pack is
//! listed by the store with the length that was recorded, so that no late, lost or cut pack is ever
//! believed in.

use crate::model::ids::{BlobId, Digest, SessionId};
use crate::repository::condemned::Condemned;
use crate::repository::format::aead::TAG_LEN;
use crate::repository::format::index::{BlobPrefix, IndexEntry, Segment, decode};
use crate::repository::format::pack::{Encoding, Frame, PackHeader};
use crate::repository::format::seal::{ObjectType, open};
use crate::repository::{Repository, RepositoryError, layout, pipeline};
use crate::store::{Key, Kind, Listing, Meta};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

mod standing;

use standing::Deltas;
pub(crate) use standing::Ground;

/// Segments fetched at once.
const AT_ONCE: usize = 8;
/// How often segments are listed anew because one vanished: a compaction replaces several.
const LISTINGS_MAX: usize = 5;

/// Every blob that can be read.
#[derive(Default)]
pub(crate) struct Index {
    pub(crate) packs: Vec<IndexedPack>,
    frames: Vec<IndexedFrame>,
    /// Sorted by id; `frame` counts through all frames here.
    entries: Vec<IndexEntry>,
    pub(super) deltas: Deltas,
}

/// A confirmed pack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexedPack {
    pub(crate) name: Digest,
    pub(crate) size: u64,
    pub(crate) header: PackHeader,
    pub(crate) is_condemned: bool,
}

/// A frame without its bases, which is 20 bytes instead of 48.
#[derive(Clone, Copy)]
struct IndexedFrame {
    pack: u32,
    offset: u32,
    stored_len: u32,
    plain_len: u32,
    encoding: Encoding,
    depth: u8,
}

/// Where a blob is.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    /// Number of the pack in [`Index::packs`].
    pub(crate) pack: u32,
    /// Number of the frame in the index; those of one pack follow one another.
    pub(crate) number: u32,
    pub(crate) frame: Frame,
    /// Offset within the decoded frame.
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

impl Index {
    /// Loads all segments, for reading.
    pub(crate) async fn load(
        repository: &Repository,
        condemned: &Condemned,
    ) -> Result<Self, RepositoryError> {
        let segments = described(repository).await?;
        // Packs after segments: what a segment describes was there before it.
        let packs = repository.store().list(layout::PACKS).await?;
        Ok(Self::assemble(segments, packs, condemned).await)
    }

    /// Loads all segments, for `session` to write. Packs that no segment describes are described in one
    /// more, which the session is to write.
    pub(crate) async fn load_for_writing(
        repository: &Repository,
        condemned: &Condemned,
        session: SessionId,
    ) -> Result<(Self, Segment), RepositoryError> {
        let mut segments = described(repository).await?;
        let packs = repository.store().list(layout::PACKS).await?;
        let adopted = repository
            .adopt(session, &segments, &packs, condemned)
            .await?;
        segments.push(Arc::new(adopted.clone()));
        Ok((Self::assemble(segments, packs, condemned).await, adopted))
    }

    async fn assemble(segments: Vec<Arc<Segment>>, packs: Listing, condemned: &Condemned) -> Self {
        let condemned = condemned.packs.keys().copied().collect();
        pipeline::on_pool(move || Self::build(segments, &packs, &condemned)).await
    }

    /// The table of these segments, as far as `listing` confirms their packs.
    pub(crate) fn build(
        segments: Vec<Arc<Segment>>,
        listing: &Listing,
        condemned: &BTreeSet<Digest>,
    ) -> Self {
        let listed = listing.objects.iter();
        let sizes: HashMap<Digest, u64> = listed
            .filter_map(|meta| Some((layout::pack_name(&meta.key)?, meta.size)))
            .collect();
        let mut index = Self::default();
        index
            .entries
            .reserve(segments.iter().map(|one| one.entries.len()).sum());
        let mut seen = BTreeSet::new();
        for segment in segments {
            index.add(&segment, &sizes, condemned, &mut seen);
        }
        // The entries of each segment are in this order already.
        pipeline::merge(&mut index.entries, |entry| {
            (entry.id.number(), entry.frame, entry.offset)
        });
        index
    }

    fn add(
        &mut self,
        segment: &Segment,
        sizes: &HashMap<Digest, u64>,
        condemned: &BTreeSet<Digest>,
        seen: &mut BTreeSet<Digest>,
    ) {
        let pack_numbers: Vec<Option<u32>> = segment
            .packs
            .iter()
            .map(|pack| {
                let is_confirmed = sizes.get(&pack.name) == Some(&pack.size);
                (is_confirmed && seen.insert(pack.name)).then(|| {
                    self.packs.push(IndexedPack {
                        name: pack.name,
                        size: pack.size,
                        header: pack.header,
                        is_condemned: condemned.contains(&pack.name),
                    });
                    self.packs.len() as u32 - 1
                })
            })
            .collect();
        let mut frame_numbers = Vec::with_capacity(segment.frames.len());
        for described in &segment.frames {
            let number = pack_numbers[described.pack as usize].map(|pack| {
                let number = self.frames.len() as u32;
                let frame = &described.frame;
                self.frames.push(IndexedFrame {
                    pack,
                    offset: frame.offset,
                    stored_len: frame.stored_len,
                    plain_len: frame.plain_len,
                    encoding: frame.encoding,
                    depth: frame.depth,
                });
                self.deltas.add(number, &frame.bases);
                number
            });
            frame_numbers.push(number);
        }
        self.entries
            .extend(segment.entries.iter().filter_map(|entry| {
                let frame = frame_numbers[entry.frame as usize]?;
                Some(IndexEntry { frame, ..*entry })
            }));
    }

    /// Whether a new backup may refer to this blob: it is in a pack that is not condemned, and so is all that
    /// its frame stands on.
    pub(crate) fn may_refer_to(&self, id: &BlobId) -> bool {
        self.entries_of(id)
            .iter()
            .any(|entry| self.stands(entry.frame, Ground::Lasting))
    }

    /// The depth of this blob's frame for a frame that is to stand on it; nothing where no new backup may refer
    /// to it.
    pub(crate) fn depth_of(&self, id: &BlobId) -> Option<u8> {
        self.lasting_frame(id)
            .map(|frame| self.depth_of_frame(frame))
    }

    /// Every place where the blob can be read, those that will stay first, and those that stand on little.
    pub(crate) fn locations(&self, id: &BlobId) -> Vec<Location> {
        let entries = self.entries_of(id).iter();
        let standing = entries.filter(|entry| self.stands(entry.frame, Ground::There));
        let mut places: Vec<_> = standing.map(|entry| self.location(entry)).collect();
        places.sort_by_key(|place| {
            let is_lasting = self.stands(place.number, Ground::Lasting);
            (!is_lasting, place.frame.depth)
        });
        places
    }

    /// For looking up many blobs that are sorted.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor { index: self, at: 0 }
    }

    /// Every place where the blob is, be it that what it stands on is not there.
    pub(crate) fn places(&self, id: &BlobId) -> Vec<Location> {
        let entries = self.entries_of(id).iter();
        entries.map(|entry| self.location(entry)).collect()
    }

    /// Length of the blob; all places agree.
    pub(crate) fn len_of(&self, id: &BlobId) -> Option<u32> {
        self.entries_of(id).first().map(|entry| entry.len)
    }

    /// How many blobs there are, counting each place.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries_of(&self, id: &BlobId) -> &[IndexEntry] {
        let prefix = BlobPrefix::from(id);
        let start = self.entries.partition_point(|entry| entry.id < prefix);
        let len = self.entries[start..]
            .iter()
            .take_while(|entry| entry.id == prefix)
            .count();
        &self.entries[start..start + len]
    }

    pub(super) fn pack_of(&self, frame: u32) -> &IndexedPack {
        &self.packs[self.frames[frame as usize].pack as usize]
    }

    pub(super) fn pack_number(&self, frame: u32) -> u32 {
        self.frames[frame as usize].pack
    }

    pub(super) fn plain_len_of(&self, frame: u32) -> u32 {
        self.frames[frame as usize].plain_len
    }

    pub(super) fn depth_of_frame(&self, frame: u32) -> u8 {
        self.frames[frame as usize].depth
    }

    /// The frames in the same stretch of the pack, in order; a stretch is `len` bytes.
    pub(crate) fn frames_around(&self, place: &Location, len: u32) -> Vec<Frame> {
        let is_near = |frame: &&IndexedFrame| {
            frame.pack == place.pack && frame.offset / len == place.frame.offset / len
        };
        let at = place.number as usize;
        let before = self.frames[..at].iter().rev().take_while(is_near).count();
        let after = self.frames[at..].iter().take_while(is_near).count();
        (at - before..at + after)
            .map(|number| self.frame(number as u32))
            .collect()
    }

    /// Each frame: the number of its pack, and what it takes there.
    pub(crate) fn frame_sizes(&self) -> impl Iterator<Item = (u32, u64)> {
        let stored = |frame: &IndexedFrame| u64::from(frame.stored_len) + TAG_LEN as u64;
        self.frames
            .iter()
            .map(move |frame| (frame.pack, stored(frame)))
    }

    fn frame(&self, number: u32) -> Frame {
        let frame = self.frames[number as usize];
        Frame {
            offset: frame.offset,
            stored_len: frame.stored_len,
            plain_len: frame.plain_len,
            encoding: frame.encoding,
            depth: frame.depth,
            bases: self.deltas.bases_of(number).to_vec(),
        }
    }

    fn location(&self, entry: &IndexEntry) -> Location {
        Location {
            pack: self.frames[entry.frame as usize].pack,
            number: entry.frame,
            frame: self.frame(entry.frame),
            offset: entry.offset,
            len: entry.len,
        }
    }
}

/// Looks up blobs in the order of their ids: each search starts where the last one ended.
pub(crate) struct Cursor<'a> {
    index: &'a Index,
    at: usize,
}

/// A place where a blob is, and what its frame stands on.
pub(crate) struct Standing<'a> {
    /// Number of the pack in [`Index::packs`].
    pub(crate) pack: u32,
    pub(crate) depth: u8,
    pub(crate) bases: &'a [BlobId],
    /// What the frame takes in the pack, and what it decodes to.
    pub(crate) stored_len: u32,
    pub(crate) plain_len: u32,
    /// Offset within the decoded frame.
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

impl<'a> Cursor<'a> {
    /// Every place where the blob can be read, as [`Index::locations`], in no order. Ids are asked for in ascending order.
    pub(crate) fn locations(
        &mut self,
        id: &BlobId,
    ) -> impl Iterator<Item = Standing<'a>> + use<'a> {
        let (index, prefix) = (self.index, BlobPrefix::from(id));
        let rest = &index.entries[self.at..];
        let mut step = 1;
        while step < rest.len() && rest[step].id < prefix {
            step *= 2;
        }
        let near = &rest[..rest.len().min(step + 1)];
        let skipped = near.partition_point(|entry| entry.id < prefix);
        self.at += skipped;
        let entries = rest[skipped..]
            .iter()
            .take_while(move |entry| entry.id == prefix);
        entries
            .filter(|entry| index.stands(entry.frame, Ground::There))
            .map(|entry| {
                let frame = &index.frames[entry.frame as usize];
                Standing {
                    pack: frame.pack,
                    depth: frame.depth,
                    bases: index.deltas.bases_of(entry.frame),
                    stored_len: frame.stored_len,
                    plain_len: frame.plain_len,
                    offset: entry.offset,
                    len: entry.len,
                }
            })
    }
}

/// A segment as it is listed, and what is in it.
pub(crate) type ReadSegment = (Meta, Result<Arc<Segment>, RepositoryError>);

/// Segments that were read before, which can not have changed: they are named by what is in them.
pub(crate) type KnownSegments = BTreeMap<Key, Arc<Segment>>;

/// What a damaged segment describes is missing, and the rest is there.
async fn described(repository: &Repository) -> Result<Vec<Arc<Segment>>, RepositoryError> {
    let segments = read_segments(repository).await?.into_iter();
    Ok(segments.filter_map(|(_, segment)| segment.ok()).collect())
}

/// Every segment, from the cache where it is there. Each that can not be read says why.
pub(crate) async fn read_segments(
    repository: &Repository,
) -> Result<Vec<ReadSegment>, RepositoryError> {
    read_unknown_segments(repository, &KnownSegments::new()).await
}

async fn read_unknown_segments(
    repository: &Repository,
    known: &KnownSegments,
) -> Result<Vec<ReadSegment>, RepositoryError> {
    for _ in 1..LISTINGS_MAX {
        match read_listed_segments(repository, known).await {
            Err(RepositoryError::Store(e)) if e.kind == Kind::NotFound => {}
            read => return read,
        }
    }
    read_listed_segments(repository, known).await
}

/// Every segment, or why one can not be read: for whoever concludes from what is not there. Those that are `known` are
/// not read again.
pub(crate) async fn read_all_segments(
    repository: &Repository,
    known: &KnownSegments,
) -> Result<Vec<(Meta, Arc<Segment>)>, RepositoryError> {
    let segments = read_unknown_segments(repository, known).await?.into_iter();
    segments
        .map(|(meta, segment)| Ok((meta, segment?)))
        .collect()
}

async fn read_listed_segments(
    repository: &Repository,
    known: &KnownSegments,
) -> Result<Vec<ReadSegment>, RepositoryError> {
    let listing = repository.store().list(layout::INDEX).await?;
    let mut segments = Vec::with_capacity(listing.objects.len());
    // In order of name, so that equal repositories give equal tables.
    let metas = listing.objects.clone();
    let mut read = stream::iter(metas)
        .map(|meta| async move {
            let segment = match known.get(&meta.key) {
                Some(segment) => Ok(segment.clone()),
                None => read_segment(repository, &meta).await.map(Arc::new),
            };
            (meta, segment)
        })
        .buffered(AT_ONCE);
    while let Some((meta, segment)) = read.next().await {
        match segment {
            Err(RepositoryError::Store(error)) => return Err(error.into()),
            segment => segments.push((meta, segment)),
        }
    }
    drop(read);
    if let Some(cache) = repository.cache() {
        let names = listing.objects.iter().map(|meta| meta.key.last_part());
        cache.keep_only_segments(&names.collect()).await;
    }
    Ok(segments)
}

/// One segment, from the cache where it is there.
pub(crate) async fn read_segment(
    repository: &Repository,
    meta: &Meta,
) -> Result<Segment, RepositoryError> {
    let name = meta.key.last_part();
    let cache = repository.cache();
    if let Some(cache) = &cache
        && let Some(sealed) = cache.segment(name).await
        && let Ok(segment) = open_segment(repository, sealed).await
    {
        return Ok(segment);
    }
    let sealed = repository.store().get(&meta.key, None).await?;
    let opened = open_segment(repository, sealed.to_vec()).await;
    let segment = opened.map_err(|cause| RepositoryError::object(&meta.key, cause))?;
    if let Some(cache) = cache {
        cache.keep_segment(name, &sealed).await;
    }
    Ok(segment)
}

async fn open_segment(
    repository: &Repository,
    sealed: Vec<u8>,
) -> Result<Segment, crate::repository::format::FormatError> {
    let keys = repository.keys().clone();
    pipeline::on_pool(move || decode(&open(&keys, ObjectType::Index, "", &sealed)?)).await
}
