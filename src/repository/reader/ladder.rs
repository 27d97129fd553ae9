//! What delta frames stand on, down to frames that stand alone: found in the index, before anything is read. Each
//! frame is in it once, however many stand on it, and all of them together are bounded, so that no repository
//! can make its reader go in circles or take all memory.

use crate::model::ids::BlobId;
use crate::repository::RepositoryError;
use crate::repository::format::FormatError;
use crate::repository::format::pack::{FRAME_MAX_BYTES, Frame, WHAT};
use crate::repository::index::{Index, Location};
use crate::repository::reader::fetch::{WantedBlob, WantedFrame};
use std::collections::{BTreeMap, HashMap};

/// What the frames of a ladder may decode to, all together.
pub(crate) const LADDER_MAX_BYTES: u64 = 256 << 20;

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
    /// Blobs that can not be read, and why.
    pub(crate) hopeless: Vec<(BlobId, RepositoryError)>,
}

/// Frames that can not be read, by number.
pub(crate) type Bad = HashMap<u32, RepositoryError>;

impl Ladder {
    /// A ladder for all of `deltas`, without frames that are known to be bad.
    pub(crate) fn of(index: &Index, deltas: Vec<WantedDelta>, bad: &Bad) -> Self {
        let mut finding = Finding {
            index,
            bad,
            ladder: Self::default(),
            found: HashMap::new(),
            len_bytes: 0,
        };
        for WantedDelta {
            pack,
            number,
            wanted,
        } in deltas
        {
            let stands = match bad.get(&number) {
                Some(error) => Err(error.clone()),
                None => finding.stand(&wanted.frame),
            };
            match stands {
                Ok(()) => finding.rung((pack, number), &wanted.frame).wanted = wanted.blobs,
                Err(error) => finding
                    .ladder
                    .hopeless
                    .extend(wanted.blobs.iter().map(|(id, ..)| (*id, error.clone()))),
            }
        }
        let mut ladder = finding.ladder;
        for rung in ladder.rungs.values() {
            for base in &rung.frame.bases {
                *ladder.uses.entry(*base).or_default() += 1;
            }
        }
        ladder
    }
}

struct Finding<'a> {
    index: &'a Index,
    bad: &'a Bad,
    ladder: Ladder,
    /// The depth at which a base was found.
    found: HashMap<BlobId, Result<u8, RepositoryError>>,
    len_bytes: u64,
}

impl Finding<'_> {
    /// Finds all that `frame` stands on.
    fn stand(&mut self, frame: &Frame) -> Result<(), RepositoryError> {
        let mut prefix = 0;
        for base in &frame.bases {
            let depth = match self.found.get(base) {
                Some(found) => found.clone(),
                None => {
                    let found = self.find(base);
                    self.found.insert(*base, found.clone());
                    found
                }
            }?;
            if depth >= frame.depth {
                return Err(RepositoryError::BlobMissing { id: *base });
            }
            prefix += u64::from(self.index.len_of(base).unwrap_or(0));
        }
        match prefix <= u64::from(FRAME_MAX_BYTES) && self.len_bytes <= LADDER_MAX_BYTES {
            true => Ok(()),
            false => Err(RepositoryError::object(
                "delta frame",
                FormatError::TooLarge {
                    what: WHAT,
                    limit_bytes: u64::from(FRAME_MAX_BYTES),
                },
            )),
        }
    }

    /// The least deep place of a base that can be read. Places that stand are of ever less depth, so this ends.
    fn find(&mut self, base: &BlobId) -> Result<u8, RepositoryError> {
        let mut places = self.index.locations(base);
        places.sort_by_key(|place| place.frame.depth);
        let mut error = RepositoryError::BlobMissing { id: *base };
        for place in places {
            let stands = match self.bad.get(&place.number) {
                Some(error) => Err(error.clone()),
                None => self.stand(&place.frame),
            };
            match stands {
                Ok(()) => return Ok(self.keep(base, &place)),
                Err(because) => error = because,
            }
        }
        Err(error)
    }

    fn keep(&mut self, base: &BlobId, place: &Location) -> u8 {
        let rung = self.rung((place.pack, place.number), &place.frame);
        rung.kept.push((*base, place.offset, place.len));
        place.frame.depth
    }

    fn rung(&mut self, (pack, number): (u32, u32), frame: &Frame) -> &mut Rung {
        let len_bytes = &mut self.len_bytes;
        let rung = self.ladder.rungs.entry((frame.depth, number));
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
