//! Streams an RDB from a server as a replica would get it, for servers whose files can not be reached. The
//! server never counts on this replica: it asks for the snapshot only and goes.

use crate::source::redis::error::RedisError;
use crate::source::redis::link::Link;
use crate::source::redis::server::Target;
use crate::source::redis::stop::Stop;
use std::io::{self, Read};

/// Stands at the end of a snapshot that is sent while it is made.
const MARK_LEN_BYTES: usize = 40;
const PIECE_LEN_BYTES: usize = 256 << 10;

/// The RDB as it arrives. Ends well only when all of it has.
pub(crate) struct Replica {
    link: Link,
    left: Left,
    /// Read, and not handed on: `buffer[start..end]`. The last bytes may be the mark.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    received: u64,
}

enum Left {
    /// So many bytes.
    Bytes(u64),
    /// Until this mark.
    Mark(Vec<u8>),
    Nothing,
}

impl Replica {
    /// Asks for the snapshot and waits until it begins.
    pub(crate) fn start(target: &Target, stop: &Stop) -> Result<Self, RedisError> {
        let mut link = Link::connect(target, stop)?;
        link.ask("REPLCONF", &["capa", "eof", "capa", "psync2"])?;
        // Before Redis 7 nobody can say so: then the connection is closed when the snapshot is here.
        match link.ask("REPLCONF", &["rdb-only", "1"]) {
            Ok(_) | Err(RedisError::Answered { .. }) => {}
            Err(error) => return Err(error),
        }
        link.ask("PSYNC", &["?", "-1"])?;
        let line = link.line().map_err(|cause| cut(&link, 0, Some(&cause)))?;
        let left = match (line.strip_prefix("$EOF:"), line.strip_prefix('$')) {
            (Some(mark), _) if mark.len() == MARK_LEN_BYTES => Left::Mark(mark.into()),
            (None, Some(len)) if len.parse::<u64>().is_ok() => {
                Left::Bytes(len.parse().unwrap_or_default())
            }
            _ => {
                return Err(RedisError::Answered {
                    place: link.place().to_owned(),
                    command: "PSYNC".to_owned(),
                    answer: line.trim_start_matches('-').to_owned(),
                });
            }
        };
        Ok(Self {
            link,
            left,
            buffer: vec![0; MARK_LEN_BYTES + PIECE_LEN_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            received: 0,
        })
    }

    /// Reads some more behind what may be the mark.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        let held = self.end - self.start;
        let len = match self.left {
            Left::Bytes(left) => left.min(PIECE_LEN_BYTES as u64) as usize,
            Left::Mark(_) => PIECE_LEN_BYTES,
            Left::Nothing => 0,
        };
        (self.start, self.end) = (0, held);
        let read = match self.link.read(&mut self.buffer[held..held + len]) {
            Ok(0) if len > 0 => Err(cut(&self.link, self.received, None)),
            Ok(read) => Ok(read),
            Err(cause) => Err(cut(&self.link, self.received, Some(&cause))),
        };
        let read = read.map_err(RedisError::into_io)?;
        self.received += read as u64;
        self.end += read;
        let is_whole = match &mut self.left {
            Left::Bytes(left) => {
                *left -= read as u64;
                *left == 0
            }
            Left::Mark(mark) if self.buffer[..self.end].ends_with(mark) => {
                self.end -= MARK_LEN_BYTES;
                true
            }
            Left::Mark(_) | Left::Nothing => false,
        };
        if is_whole {
            self.left = Left::Nothing;
        }
        Ok(())
    }

    fn ready(&self) -> usize {
        let held_back = match self.left {
            Left::Mark(_) => MARK_LEN_BYTES,
            Left::Bytes(_) | Left::Nothing => 0,
        };
        (self.end - self.start).saturating_sub(held_back)
    }
}

/// Whatever ended the connection, half a snapshot is none.
fn cut(link: &Link, received: u64, cause: Option<&io::Error>) -> RedisError {
    let why = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
    RedisError::Cut {
        place: link.place().to_owned(),
        after: format!(
            ", after {received} bytes{why}: it has gone away, or closed the connection because it reached its `client-output-buffer-limit replica`"
        ),
    }
}

impl Read for Replica {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.ready() == 0 && !matches!(self.left, Left::Nothing) {
            self.fill()?;
        }
        let len = self.ready().min(to.len());
        to[..len].copy_from_slice(&self.buffer[self.start..self.start + len]);
        self.start += len;
        Ok(len)
    }
}
