//! What delta frames stand on, down to frames that stand alone: found in the index, before anything is read. Each
//! frame is in it once, however many stand on it, and all of them together are bounded, so that no repository
//! can make its reader go in circles or take all memory.

use crate::model::ids::BlobId;
use crate::repository::RepositoryError;
use crate::repository::format::FormatError;
use crate::repository::format::pack::{FRAME_MAX_BYTES, Frame};
use crate::repository::index::{Index, Location};
use crate::repository::reader::fetch::{WantedBlob, WantedFrame};
use std::collections::{BTreeMap, HashMap, VecDeque, btree_map::Entry};

/// What the frames decode to that have to be decoded for one, itself included.
const LADDER_MAX_BYTES: u64 = 256 << 20;
/// What the frames of a ladder for many decode to: more wanted frames come into the next one.
const TOGETHER_MAX_BYTES: u64 = 64 << 20;
/// What is wanted of a ladder: what it stands on is decoded once for all of it.
const WANTED_MAX_BYTES: u64 = 8 << 20;
/// The bases of the last wanted frames, of so much, are kept for the next ladder: it goes on where this one ends, and
/// what both stand on lies around that place.
const TAIL_BYTES: u64 = 1 << 20;

/// A wanted delta frame, and where it is.
pub(crate) struct WantedDelta {
    pub(crate) pack: u32,
    /// Number of the frame in the index.
    pub(crate) number: u32,
    pub(crate) wanted: WantedFrame,
}

/// A frame to decode.
pub(crate) struct Rung {
    pub(crate) pack: u32,
    pub(crate) frame: Frame,
    /// Blobs that were asked for.
    pub(crate) wanted: Vec<WantedBlob>,
    /// Blobs that others stand on.
    pub(crate) kept: Vec<WantedBlob>,
}

/// Frames in the order in which they can be decoded.
#[derive(Default)]
pub(crate) struct Ladder {
    /// By depth and number.
    pub(crate) rungs: BTreeMap<(u8, u32), Rung>,
    /// How many frames stand on each blob.
    pub(crate) uses: HashMap<BlobId, u32>,
    /// Bases that are to be at hand when this ladder is done.
    pub(crate) tail: Held,
    /// Blobs that can not be read, and why.
    pub(crate) hopeless: Vec<(BlobId, RepositoryError)>,
    len_bytes: u64,
    wanted_bytes: u64,
    /// The bases of each of the last wanted frames, and its length.
    last: VecDeque<(u64, Held)>,
}

/// Frames that can not be read, by number.
pub(crate) type Bad = HashMap<u32, RepositoryError>;

/// Bases whose plaintext is at hand.
pub(crate) type Held = HashMap<BlobId, Base>;

impl Ladder {
    /// A ladder for the first of `left`, and for as many more as may be decoded together; they are taken out. Without
    /// frames that are known to be bad; what stands on `held` needs not be decoded for that.
    pub(crate) fn next(
        index: &Index,
        left: &mut VecDeque<WantedDelta>,
        (bad, held): (&Bad, &Held),
    ) -> Self {
        let mut ladder = Self::default();
        while let Some(delta) = left.pop_front() {
            match Finding::of(index, &delta, (bad, held)) {
                Ok(found) if ladder.has_room_for(&found, &delta) => ladder.take(found, delta),
                Ok(_) => {
                    left.push_front(delta);
                    break;
                }
                Err(error) => {
                    let blobs = delta.wanted.blobs.iter();
                    ladder
                        .hopeless
                        .extend(blobs.map(|(id, ..)| (*id, error.clone())));
                }
            }
        }
        ladder.tail = ladder.last.drain(..).flat_map(|(_, bases)| bases).collect();
        let bases = ladder.rungs.values().flat_map(|rung| &rung.frame.bases);
        for base in bases.chain(ladder.tail.keys()) {
            *ladder.uses.entry(*base).or_default() += 1;
        }
        ladder
    }

    /// Whether nothing is wanted of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.rungs.is_empty() && self.hopeless.is_empty()
    }

    fn has_room_for(&self, found: &Finding<'_>, delta: &WantedDelta) -> bool {
        let fresh = found.rungs.iter();
        let fresh = fresh.filter(|(key, _)| !self.rungs.contains_key(key));
        let fresh: u64 = fresh.map(|(_, rung)| u64::from(rung.frame.plain_len)).sum();
        let wanted = u64::from(delta.wanted.frame.plain_len);
        self.rungs.is_empty()
            || self.len_bytes + fresh <= TOGETHER_MAX_BYTES
                && self.wanted_bytes + wanted <= WANTED_MAX_BYTES
    }

    fn take(&mut self, found: Finding<'_>, delta: WantedDelta) {
        let wanted = u64::from(delta.wanted.frame.plain_len);
        self.wanted_bytes += wanted;
        let bases = found.found.iter();
        let bases = bases.filter_map(|(id, (_, base))| Some((*id, *base.as_ref().ok()?)));
        self.last.push_back((wanted, bases.collect()));
        let mut tail: u64 = self.last.iter().map(|(len, _)| len).sum();
        while let Some((len, _)) = self.last.front()
            && tail - len >= TAIL_BYTES
        {
            tail -= len;
            self.last.pop_front();
        }
        for (key, rung) in found.rungs {
            match self.rungs.entry(key) {
                Entry::Vacant(place) => {
                    self.len_bytes += u64::from(rung.frame.plain_len);
                    place.insert(rung);
                }
                Entry::Occupied(mut there) => {
                    let there = &mut there.get_mut().kept;
                    let fresh = rung.kept.into_iter();
                    let fresh: Vec<_> = fresh.filter(|blob| !there.contains(blob)).collect();
                    there.extend(fresh);
                }
            }
        }
        let key = (delta.wanted.frame.depth, delta.number);
        if let Some(rung) = self.rungs.get_mut(&key) {
            rung.wanted = delta.wanted.blobs;
        }
    }
}

/// All that one frame stands on.
struct Finding<'a> {
    index: &'a Index,
    bad: &'a Bad,
    held: &'a Held,
    rungs: BTreeMap<(u8, u32), Rung>,
    /// Where bases were looked for: in frames of less than this depth, and what was found.
    found: HashMap<BlobId, (u8, Result<Base, RepositoryError>)>,
    len_bytes: u64,
}

/// A base that can be read: how deep its frame is, and how long it is there.
#[derive(Clone, Copy)]
pub(crate) struct Base {
    depth: u8,
    len: u32,
}

impl<'a> Finding<'a> {
    fn of(
        index: &'a Index,
        delta: &WantedDelta,
        (bad, held): (&'a Bad, &'a Held),
    ) -> Result<Self, RepositoryError> {
        if let Some(error) = bad.get(&delta.number) {
            return Err(error.clone());
        }
        let mut finding = Self {
            index,
            bad,
            held,
            rungs: BTreeMap::new(),
            found: HashMap::new(),
            len_bytes: 0,
        };
        let frame = &delta.wanted.frame;
        let id = delta.wanted.blobs.first().map(|(id, ..)| *id);
        let id = id.unwrap_or(BlobId([0; 32]));
        finding.rung((delta.pack, delta.number), frame);
        finding.stand(frame, (delta.pack, id))?;
        Ok(finding)
    }

    /// Finds all that `frame` stands on, which holds the blob `id`.
    fn stand(&mut self, frame: &Frame, (pack, id): (u32, BlobId)) -> Result<(), RepositoryError> {
        let mut prefix = 0;
        for base in &frame.bases {
            prefix += u64::from(self.base(base, frame.depth)?.len);
        }
        let too_large = |limit_bytes| {
            let what = "what a delta frame stands on";
            let pack = self.index.packs[pack as usize].name;
            let cause = FormatError::TooLarge { what, limit_bytes };
            Err(RepositoryError::BlobDamaged { id, pack, cause })
        };
        if prefix > u64::from(FRAME_MAX_BYTES) {
            return too_large(u64::from(FRAME_MAX_BYTES));
        }
        if self.len_bytes > LADDER_MAX_BYTES {
            return too_large(LADDER_MAX_BYTES);
        }
        Ok(())
    }

    /// A base in a frame of less depth than `below`.
    fn base(&mut self, base: &BlobId, below: u8) -> Result<Base, RepositoryError> {
        match self.found.get(base) {
            // It was found in the least deep place that can be read.
            Some((_, Ok(found))) if found.depth < below => return Ok(*found),
            Some((_, Ok(_))) => return Err(RepositoryError::BlobMissing { id: *base }),
            // Deeper places were not tried.
            Some((tried, Err(error))) if *tried >= below => return Err(error.clone()),
            _ => {}
        }
        let held = self.held.get(base).filter(|held| held.depth < below);
        let found = match held {
            Some(held) => Ok(*held),
            None => self.find(base, below),
        };
        self.found.insert(*base, (below, found.clone()));
        found
    }

    /// The least deep place of a base that can be read. Each step goes to less depth, so this ends: without that, two
    /// blobs of which each stands on the other in another frame would be looked for round and round.
    fn find(&mut self, base: &BlobId, below: u8) -> Result<Base, RepositoryError> {
        let mut places = self.index.locations(base);
        places.retain(|place| place.frame.depth < below);
        places.sort_by_key(|place| place.frame.depth);
        let mut error = RepositoryError::BlobMissing { id: *base };
        for place in places {
            let stands = match self.bad.get(&place.number) {
                Some(error) => Err(error.clone()),
                None => self.stand(&place.frame, (place.pack, *base)),
            };
            match stands {
                Ok(()) => return Ok(self.keep(base, &place)),
                Err(because) => error = because,
            }
        }
        Err(error)
    }

    fn keep(&mut self, base: &BlobId, place: &Location) -> Base {
        let rung = self.rung((place.pack, place.number), &place.frame);
        rung.kept.push((*base, place.offset, place.len));
        Base {
            depth: place.frame.depth,
            len: place.len,
        }
    }

    fn rung(&mut self, (pack, number): (u32, u32), frame: &Frame) -> &mut Rung {
        let len_bytes = &mut self.len_bytes;
        let rung = self.rungs.entry((frame.depth, number));
        rung.or_insert_with(|| {
            *len_bytes += u64::from(frame.plain_len);
            Rung {
                pack,
                frame: frame.clone(),
                wanted: Vec::new(),
                kept: Vec::new(),
            }
        })
    }
}
