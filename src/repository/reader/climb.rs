//! Decodes delta frames from the bottom up, on all threads of the pool. What was asked for is held against its id
//! before anybody gets it; bases are dropped when nothing more stands on them. Reads nothing.

use crate::model::ids::BlobId;
use crate::repository::RepositoryError;
use crate::repository::format::FormatError;
use crate::repository::format::blob::blob_id;
use crate::repository::format::key::Keys;
use crate::repository::format::pack::{Encoding, Frame, PackKey, decode_frame, unseal_frame};
use crate::repository::index::{Index, IndexedPack};
use crate::repository::pipeline;
use crate::repository::reader::fetch::{DECODER, FrameRead, Sinks, WantedBlob, WantedFrame};
use crate::repository::reader::ladder::{Bad, Ladder, Rung, WantedDelta};
use bytes::Bytes;
use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The way up a ladder: one depth after the other, the frames of one depth on all threads of the pool.
pub(super) struct Climb {
    pub(super) keys: Arc<Keys>,
    pub(super) pack_keys: HashMap<u32, Arc<PackKey>>,
    pub(super) index: Arc<Index>,
    /// The bytes of the frames, by number.
    pub(super) sealed: HashMap<u32, Bytes>,
    /// Bases that something above stands on, and those that are for the next ladder.
    pub(super) plain: HashMap<BlobId, Plain>,
    pub(super) sinks: Sinks,
    /// Buffers of frames on which nothing more stands.
    pub(super) spare: Mutex<Vec<Vec<u8>>>,
    /// Whether bases are held against their ids. It takes long, and what was asked for always is: only when that is
    /// something else, who is to blame is to be found.
    pub(super) are_bases_checked: bool,
    /// Blobs that can not be read.
    pub(super) failed: Vec<(BlobId, RepositoryError)>,
    /// Frames to try again another way.
    pub(super) again: Vec<WantedDelta>,
    /// Frames that can not be read.
    pub(super) bad: Bad,
}

/// The plaintext of a base: a part of what its frame decoded to, which is not copied.
pub(super) struct Plain {
    frame: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Plain {
    fn bytes(&self) -> &[u8] {
        &self.frame[self.range.clone()]
    }
}

thread_local! {
    /// What the frame that a thread decodes stands on, end to end: to take so much memory anew for each frame costs more
    /// than to decode it.
    static PREFIX: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What became of a frame.
enum Step {
    /// It was decoded, and what was asked for was passed on.
    Done {
        /// Blobs that others stand on.
        kept: Vec<(BlobId, Plain)>,
        /// Blobs that have other content than they should.
        failed: Vec<(BlobId, RepositoryError)>,
    },
    /// It can not be read, or was not fetched.
    Bad(RepositoryError),
    /// A base can not be read.
    Stuck,
}

impl Climb {
    /// Decodes all and passes on what was asked for. What is left in `plain` then is for the next ladder.
    pub(super) fn up(mut self, ladder: Ladder) -> io::Result<Self> {
        let Ladder {
            mut rungs,
            mut uses,
            tail,
            ..
        } = ladder;
        while let Some(((depth, _), _)) = rungs.first_key_value() {
            let above = rungs.split_off(&(depth.saturating_add(1), 0));
            let level: Vec<((u8, u32), Rung)> =
                std::mem::replace(&mut rungs, above).into_iter().collect();
            let steps = pipeline::map_in_order(level, |((_, number), rung)| {
                let step = self.step(number, &rung);
                (number, rung, step)
            });
            for (number, rung, step) in steps {
                self.let_go(&rung.frame, &mut uses);
                match step? {
                    Step::Done { kept, failed } => {
                        self.plain.extend(kept);
                        self.failed.extend(failed);
                        continue;
                    }
                    Step::Bad(error) => drop(self.bad.insert(number, error)),
                    Step::Stuck => {}
                }
                if !rung.wanted.is_empty() {
                    self.again.push(WantedDelta {
                        pack: rung.pack,
                        number,
                        wanted: WantedFrame {
                            frame: rung.frame,
                            blobs: rung.wanted,
                        },
                    });
                }
            }
        }
        self.sealed.clear();
        lock(&self.spare).clear();
        self.plain.retain(|id, _| tail.contains_key(id));
        Ok(self)
    }

    /// Drops the bases of a frame on which nothing more stands.
    fn let_go(&mut self, frame: &Frame, uses: &mut HashMap<BlobId, u32>) {
        for base in &frame.bases {
            if let Some(left) = uses.get_mut(base) {
                *left -= 1;
                if *left == 0
                    && let Some(plain) = self.plain.remove(base)
                    && let Ok(buffer) = Arc::try_unwrap(plain.frame)
                {
                    lock(&self.spare).push(buffer);
                }
            }
        }
    }

    /// Puts the plaintexts of the bases of a frame into `prefix`. `false` when one was not read.
    fn join(&self, frame: &Frame, prefix: &mut Vec<u8>) -> bool {
        prefix.clear();
        frame.bases.iter().all(|base| {
            let plain = self.plain.get(base);
            plain.is_some_and(|plain| {
                prefix.extend_from_slice(plain.bytes());
                true
            })
        })
    }

    /// Decodes one frame and passes its blobs on.
    fn step(&self, number: u32, rung: &Rung) -> io::Result<Step> {
        PREFIX.with_borrow_mut(|prefix| match self.join(&rung.frame, prefix) {
            true => self.decode(number, rung, prefix),
            false => Ok(Step::Stuck),
        })
    }

    fn decode(&self, number: u32, rung: &Rung, prefix: &[u8]) -> io::Result<Step> {
        // A rung is there for a blob.
        let id = rung.kept.iter().chain(&rung.wanted).next();
        let id = id.map_or(BlobId([0; 32]), |(id, ..)| *id);
        let bad = |cause| Ok(Step::Bad(damaged(id, self.pack(rung), cause)));
        let (Some(sealed), Some(key)) = (self.sealed.get(&number), self.pack_keys.get(&rung.pack))
        else {
            return bad(FormatError::Truncated("pack"));
        };
        let mut sealed = sealed.to_vec();
        DECODER.with_borrow_mut(|decoder| {
            let opened = unseal_frame(key, &rung.frame, &mut sealed).and_then(|stored| {
                let plain = decode_frame(&rung.frame, stored, prefix, decoder)?;
                Ok((stored, plain))
            });
            let (stored, plain) = match opened {
                Ok(opened) => opened,
                Err(cause) => return bad(cause),
            };
            for blob in &rung.kept {
                if let Err(error) = self.kept(rung, blob, plain) {
                    return Ok(Step::Bad(error));
                }
            }
            let failed = self.pass_on(rung, (stored, prefix), plain)?;
            if !failed.is_empty() && !self.are_bases_checked {
                // It may be for a base that it is something else.
                return Ok(Step::Stuck);
            }
            let mut kept = Vec::with_capacity(rung.kept.len());
            if !rung.kept.is_empty() {
                let plain = match rung.frame.encoding {
                    Encoding::Raw => stored.to_vec(),
                    _ => decoder.take(lock(&self.spare).pop().unwrap_or_default()),
                };
                let frame = Arc::new(plain);
                kept.extend(rung.kept.iter().map(|(id, offset, len)| {
                    let range = *offset as usize..*offset as usize + *len as usize;
                    let frame = frame.clone();
                    (*id, Plain { frame, range })
                }));
            }
            Ok(Step::Done { kept, failed })
        })
    }

    /// Passes on what was asked for. Returns the blobs that have other content; where it is not known yet whose fault
    /// that is, nothing is passed on, for the frame is read again.
    fn pass_on(
        &self,
        rung: &Rung,
        (stored, prefix): (&[u8], &[u8]),
        plain: &[u8],
    ) -> io::Result<Vec<(BlobId, RepositoryError)>> {
        let mut failed = Vec::new();
        let mut whole = Vec::with_capacity(rung.wanted.len());
        for blob in &rung.wanted {
            match self.checked(rung, blob, plain) {
                Ok(content) => whole.push((blob, content)),
                Err(error) => failed.push((blob.0, error)),
            }
        }
        if !failed.is_empty() && !self.are_bases_checked {
            return Ok(failed);
        }
        match &self.sinks.frames {
            Some(sink) if !whole.is_empty() && whole.len() == rung.wanted.len() => {
                sink(&FrameRead {
                    frame: &rung.frame,
                    stored,
                    prefix,
                    plain,
                    wanted: &rung.wanted,
                })?;
            }
            _ => {
                for (blob, content) in whole {
                    (self.sinks.blobs)(&blob.0, Ok(content))?;
                }
            }
        }
        Ok(failed)
    }

    /// Whether a base is in what its frame decoded to.
    fn kept(&self, rung: &Rung, blob: &WantedBlob, plain: &[u8]) -> Result<(), RepositoryError> {
        let (id, offset, len) = blob;
        match self.are_bases_checked {
            true => self.checked(rung, blob, plain).map(drop),
            false if *offset as usize + *len as usize <= plain.len() => Ok(()),
            false => Err(damaged(
                *id,
                self.pack(rung),
                FormatError::Truncated("frame"),
            )),
        }
    }

    /// The content of a blob, if it is the one that was asked for.
    fn checked<'a>(
        &self,
        rung: &Rung,
        (id, offset, len): &WantedBlob,
        plain: &'a [u8],
    ) -> Result<&'a [u8], RepositoryError> {
        let pack = self.pack(rung);
        let kind = pack.header.kind;
        plain
            .get(*offset as usize..*offset as usize + *len as usize)
            .filter(|content| blob_id(self.keys.keyring(), kind, content) == *id)
            .ok_or_else(|| damaged(*id, pack, FormatError::Authentication("blob")))
    }

    fn pack(&self, rung: &Rung) -> &IndexedPack {
        &self.index.packs[rung.pack as usize]
    }
}

fn damaged(id: BlobId, pack: &IndexedPack, cause: FormatError) -> RepositoryError {
    let pack = pack.name;
    RepositoryError::BlobDamaged { id, pack, cause }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
