//! A file on its way to a repository: read and compressed part by part, on all cores, while what is ready is
//! stored already, so that a server waits no longer than it must.

use crate::repository::RepositoryError;
use crate::repository::format::FormatError;
use crate::repository::format::key::Keys;
use crate::repository::format::parts::{PackedPart, PartSealer};
use crate::repository::format::seal::{PAYLOAD_MAX_BYTES, Packer};
use crate::repository::pipeline;
use crate::repository::writer::fill;
use crate::store::{Key, Parts};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Cursor, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// zstd's levels: a server waits for every push, and a WAL backup compresses anew what it takes over. -3 takes half
/// the time of 1, and more room until then; -7 half of that, for what hardly shrinks anyway.
const LEVEL: i32 = -3;
const FAST_LEVEL: i32 = -7;
/// Parts of this length are compressed on their own: they stay in a processor's cache.
const PART_LEN_BYTES: usize = 512 << 10;
/// Parts that are read ahead of those that are compressed.
const AHEAD: usize = 3;
/// Compressed parts that wait to be stored.
const READY: usize = 16;
pub(super) const WHAT: &str = "WAL file";

thread_local! {
    static PACKER: RefCell<Packer> = RefCell::new(Packer::new(LEVEL));
    static FAST_PACKER: RefCell<Packer> = RefCell::new(Packer::new(FAST_LEVEL));
}

/// A file that is read and compressed, once for each attempt to store it: the first time from when it is here on,
/// as if somebody had asked already. No more of it is in memory than is on its way.
#[derive(Clone)]
pub struct PackedWal(Arc<File>);

struct File {
    first: Mutex<Option<Coming>>,
    again: Box<Again>,
    failure: Mutex<Option<Arc<io::Error>>>,
}

/// The file from its start.
type Again = dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync;

/// The parts of a file in order, and nothing behind the last one.
type Coming = Receiver<io::Result<Option<PackedPart>>>;

impl PackedWal {
    /// Starts to read all of `from`, on a thread of its own. `again` gives the file anew, should it be needed twice.
    pub fn start<R: Read + Send + 'static>(
        from: R,
        again: impl Fn() -> io::Result<R> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(File {
            first: Mutex::new(Some(parts_of(from))),
            again: Box::new(move || Ok(Box::new(again()?))),
            failure: Mutex::new(None),
        }))
    }

    /// A file that is in memory.
    pub fn of(bytes: Bytes) -> Self {
        let again = bytes.clone();
        Self::start(Cursor::new(bytes), move || Ok(Cursor::new(again.clone())))
    }

    fn parts(&self) -> Coming {
        let first = locked(&self.0.first).take();
        first.unwrap_or_else(|| match (self.0.again)() {
            Ok(from) => parts_of(from),
            Err(e) => {
                let (to, coming) = sync_channel(1);
                let _ = to.send(Err(e));
                coming
            }
        })
    }

    /// Why the file could not be read, if it could not.
    pub(super) fn failure(&self) -> Option<Arc<io::Error>> {
        locked(&self.0.failure).clone()
    }

    fn failed(&self, cause: io::Error) -> io::Error {
        let cause = Arc::new(cause);
        *locked(&self.0.failure) = Some(cause.clone());
        io::Error::other(cause)
    }

    /// Seals it as the object `key`, part by part, under a new salt whenever somebody asks: nothing says that the
    /// file is then still the same.
    pub(super) fn sealed(
        &self,
        keys: Arc<Keys>,
        key: &Key,
        salt: impl Fn() -> [u8; 32] + Send + Sync + 'static,
    ) -> impl Fn() -> Parts + Send + Sync + 'static {
        let (file, name) = (self.clone(), key.to_string());
        move || {
            let (file, coming) = (file.clone(), file.parts());
            let mut sealer = Some(PartSealer::new(&keys, &name, salt()));
            Box::new(std::iter::from_fn(move || {
                let sealing = sealer.as_mut()?;
                match coming.recv().unwrap_or_else(|_| Err(given_up())) {
                    Ok(Some(part)) => Some(Ok(sealing.part(part).into())),
                    Ok(None) => sealer.take().map(|sealer| Ok(sealer.end().into())),
                    Err(e) => {
                        sealer = None;
                        Some(Err(file.failed(e)))
                    }
                }
            }))
        }
    }

    /// Whether the file is these bytes. Waits for it.
    pub(super) fn is(&self, bytes: &[u8]) -> Result<bool, RepositoryError> {
        let failed = |e| unreadable(Arc::new(e));
        let mut file = (self.0.again)().map_err(failed)?;
        let mut part = vec![0; PART_LEN_BYTES];
        let mut rest = bytes;
        loop {
            let len = fill(&mut file, &mut part).map_err(failed)?;
            match rest.strip_prefix(&part[..len]) {
                Some(after) => rest = after,
                None => return Ok(false),
            }
            if len < PART_LEN_BYTES {
                return Ok(rest.is_empty());
            }
        }
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn given_up() -> io::Error {
    io::Error::other("the work was given up")
}

pub(super) fn unreadable(cause: Arc<io::Error>) -> RepositoryError {
    let name = WHAT.to_owned();
    RepositoryError::Stream { name, cause }
}

/// Reads all of `from`, on a thread of its own.
fn parts_of(from: impl Read + Send + 'static) -> Coming {
    let (to, coming) = sync_channel(READY);
    let failed = to.clone();
    let read = move || {
        // Whoever wanted it may have given up.
        let _ = match read_all(from, &to) {
            Ok(true) => to.send(Ok(None)),
            Ok(false) => Ok(()),
            Err(e) => to.send(Err(e)),
        };
    };
    let reading = std::thread::Builder::new().name("read WAL".to_owned());
    if let Err(e) = reading.spawn(read) {
        let _ = failed.send(Err(e));
    }
    coming
}

/// Hands over the parts in order, each as soon as it is compressed; whether that went on to the end.
fn read_all(
    mut from: impl Read,
    to: &SyncSender<io::Result<Option<PackedPart>>>,
) -> io::Result<bool> {
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
                packed: packer.with_borrow_mut(|packer| PackedPart::new(packer, &part[..len])),
                part,
            }));
        }
        while packing.len() > if is_last { 0 } else { AHEAD } {
            let first = packing.pop_front().map(|part| part.recv());
            let Some(done) = first.transpose().map_err(|_| given_up())? else {
                break;
            };
            // A file is much the same throughout: what its parts came to tells what those to come are worth.
            if done.packed.len_bytes() > done.part.len() / 2 {
                packer = &FAST_PACKER;
            }
            spare.push(done.part);
            if to.send(Ok(Some(done.packed))).is_err() {
                return Ok(false);
            }
        }
        if is_last {
            return Ok(true);
        }
    }
}

/// A part that was compressed, and the memory that it was read into.
struct Packing {
    packed: PackedPart,
    part: Vec<u8>,
}
