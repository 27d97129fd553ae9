//! A file on its way to a repository: read and compressed part by part, on all cores, while what is ready is
//! stored already, so that a server waits no longer than it must.

use crate::repository::RepositoryError;
use crate::repository::format::FormatError;
use crate::repository::format::key::Keys;
use crate::repository::format::parts::PartSealer;
use crate::repository::format::seal::{PAYLOAD_MAX_BYTES, Packer, unpack};
use crate::repository::pipeline;
use crate::repository::writer::fill;
use crate::store::{Key, Parts};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// zstd's levels: a server waits for every push, and a WAL backup compresses anew what it takes over. -3 takes half
/// the time of 1, and more room until then; -7 half of that, for what hardly shrinks anyway.
const LEVEL: i32 = -3;
const FAST_LEVEL: i32 = -7;
/// Parts of this length are compressed on their own: they stay in a processor's cache.
const PART_LEN_BYTES: usize = 512 << 10;
/// Parts that are read ahead of those that are compressed.
const AHEAD: usize = 3;
pub(super) const WHAT: &str = "WAL file";

thread_local! {
    static PACKER: RefCell<Packer> = RefCell::new(Packer::new(LEVEL));
    static FAST_PACKER: RefCell<Packer> = RefCell::new(Packer::new(FAST_LEVEL));
}

/// A file whose parts are there or still to come.
#[derive(Clone)]
pub struct PackedWal(Arc<Mutex<Taken>>);

/// What has come so far.
struct Taken {
    parts: Vec<Bytes>,
    coming: Receiver<io::Result<Vec<u8>>>,
    failure: Option<Arc<io::Error>>,
}

impl PackedWal {
    /// Starts to read all of `from`, on a thread of its own.
    pub fn start(from: impl Read + Send + 'static) -> Self {
        let (done, coming) = channel();
        let to = done.clone();
        let read = move || {
            if let Err(e) = read_all(from, &to) {
                // Whoever wanted it may have given up.
                let _ = to.send(Err(e));
            }
        };
        let reading = std::thread::Builder::new().name("read WAL".to_owned());
        if let Err(e) = reading.spawn(read) {
            let _ = done.send(Err(e));
        }
        Self::of_parts(coming)
    }

    /// A file that is in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let (to, coming) = channel();
        if let Err(e) = read_all(bytes, &to) {
            let _ = to.send(Err(e));
        }
        Self::of_parts(coming)
    }

    fn of_parts(coming: Receiver<io::Result<Vec<u8>>>) -> Self {
        Self(Arc::new(Mutex::new(Taken {
            parts: Vec::new(),
            coming,
            failure: None,
        })))
    }

    /// Part `number`, waited for; none after the last one.
    fn part(&self, number: usize) -> io::Result<Option<Bytes>> {
        let mut taken = self.taken();
        while taken.parts.len() <= number {
            if let Some(failure) = &taken.failure {
                return Err(io::Error::other(failure.clone()));
            }
            match taken.coming.recv() {
                Ok(Ok(part)) => taken.parts.push(part.into()),
                Ok(Err(e)) => taken.failure = Some(Arc::new(e)),
                Err(_) => return Ok(None),
            }
        }
        Ok(taken.parts.get(number).cloned())
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the file could not be read, if it could not.
    pub(super) fn failure(&self) -> Option<Arc<io::Error>> {
        self.taken().failure.clone()
    }

    /// Seals it as the object `key`, part by part. Whoever asks again gets the same bytes.
    pub(super) fn sealed(
        &self,
        keys: Arc<Keys>,
        key: &Key,
        salt: [u8; 32],
    ) -> impl Fn() -> Parts + Send + Sync + 'static {
        let (file, name) = (self.clone(), key.to_string());
        move || {
            let mut sealer = Some(PartSealer::new(&keys, &name, salt));
            let file = file.clone();
            let mut numbers = 0..;
            Box::new(std::iter::from_fn(move || {
                let mut sealing = sealer.take()?;
                match file.part(numbers.next()?) {
                    Err(e) => Some(Err(e)),
                    Ok(None) => Some(Ok(sealing.end().into())),
                    Ok(Some(part)) => {
                        let sealed = sealing.part(&part);
                        sealer = Some(sealing);
                        Some(Ok(sealed.into()))
                    }
                }
            }))
        }
    }

    /// Whether the file is these bytes. Waits for it.
    pub(super) fn is(&self, bytes: &[u8]) -> Result<bool, RepositoryError> {
        let mut rest = bytes;
        for number in 0.. {
            let part = self.part(number).map_err(|e| unreadable(Arc::new(e)))?;
            let Some(part) = part else { break };
            let part = unpack(WHAT, &part, PART_LEN_BYTES as u64);
            let part = part.map_err(|cause| RepositoryError::Encode {
                what: WHAT.to_owned(),
                cause,
            })?;
            match rest.strip_prefix(part.as_slice()) {
                Some(after) => rest = after,
                None => return Ok(false),
            }
        }
        Ok(rest.is_empty())
    }
}

pub(super) fn unreadable(cause: Arc<io::Error>) -> RepositoryError {
    let name = WHAT.to_owned();
    RepositoryError::Stream { name, cause }
}

/// Hands over the parts in order, each as soon as it is compressed.
fn read_all(mut from: impl Read, to: &Sender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let mut packing: VecDeque<Receiver<Packing>> = VecDeque::new();
    // Memory that the system hands out anew costs more time than what is read into it.
    let mut spare: Vec<Vec<u8>> = Vec::new();
    let mut len_bytes = 0;
    let mut packer = &PACKER;
    loop {
        let mut part = spare.pop().unwrap_or_else(|| vec![0; PART_LEN_BYTES]);
        let len = fill(&mut from, &mut part)?;
        let is_last = len < PART_LEN_BYTES;
        len_bytes += len as u64;
        if len_bytes > PAYLOAD_MAX_BYTES {
            return Err(io::Error::other(FormatError::TooLarge {
                what: WHAT,
                limit_bytes: PAYLOAD_MAX_BYTES,
            }));
        }
        if len > 0 {
            packing.push_back(pipeline::start(move || Packing {
                packed: packer.with_borrow_mut(|packer| packer.pack(&part[..len])),
                part,
            }));
        }
        while packing.len() > if is_last { 0 } else { AHEAD } {
            let first = packing.pop_front().map(|part| part.recv());
            let ended = |_| io::Error::other("the work was given up");
            let Some(done) = first.transpose().map_err(ended)? else {
                break;
            };
            // A file is much the same throughout: what its parts came to tells what those to come are worth.
            if done.packed.len() > done.part.len() / 2 {
                packer = &FAST_PACKER;
            }
            spare.push(done.part);
            if to.send(Ok(done.packed)).is_err() {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// A part that was compressed, and the memory that it was read into.
struct Packing {
    packed: Vec<u8>,
    part: Vec<u8>,
}
