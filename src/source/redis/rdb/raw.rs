//! An RDB as the server wrote it, for what can not be brought into a canonical form: of a version or with
//! types that are not known here. Only its magic and its checksum are looked at.

use crate::source::redis::rdb::RdbError;
use crate::source::redis::rdb::crc64::crc64;
use crate::source::redis::rdb::input::Input;
use std::io::{self, Read};

/// Names and values at the beginning are short.
const NAME_LEN_MAX_BYTES: u64 = 1 << 10;
/// The end mark and the checksum.
const END_LEN_BYTES: usize = 1 + 8;

/// Passes an RDB on, and fails at its end when its checksum is wrong. The source must end with the RDB.
pub struct Raw<R> {
    source: R,
    /// The last bytes that were read: end mark and checksum, if nothing follows.
    tail: Vec<u8>,
    /// Of all bytes before the tail.
    crc: u64,
    magic: Vec<u8>,
    passed_on: u64,
    has_checksum: bool,
}

impl<R: Read> Raw<R> {
    /// Of a source that is at its beginning.
    pub fn new(source: R) -> Self {
        Self {
            source,
            tail: Vec::new(),
            crc: 0,
            magic: Vec::new(),
            passed_on: 0,
            has_checksum: false,
        }
    }

    fn see(&mut self, bytes: &[u8]) -> Result<(), RdbError> {
        let wanted = 9_usize.saturating_sub(self.magic.len());
        self.magic
            .extend_from_slice(&bytes[..wanted.min(bytes.len())]);
        if !b"REDIS".starts_with(&self.magic[..self.magic.len().min(5)]) {
            return Err(RdbError::NotAnRdb);
        }
        self.passed_on += bytes.len() as u64;
        self.tail.extend_from_slice(bytes);
        let settled = self.tail.len().saturating_sub(END_LEN_BYTES);
        self.crc = crc64(self.crc, &self.tail[..settled]);
        self.tail.drain(..settled);
        Ok(())
    }

    /// Whether it had a checksum, which was right. Known when it was read to its end.
    pub fn has_checksum(&self) -> bool {
        self.has_checksum
    }

    fn check(&mut self) -> Result<(), RdbError> {
        let Some((0xff, stored)) = self.tail.split_first().map(|(mark, rest)| (*mark, rest)) else {
            return Err(RdbError::Ends { at: self.passed_on });
        };
        let Ok(stored) = stored.try_into().map(u64::from_le_bytes) else {
            return Err(RdbError::Ends { at: self.passed_on });
        };
        let computed = crc64(self.crc, &[0xff]);
        // A server with `rdbchecksum no` writes zeros.
        if stored != 0 && stored != computed {
            return Err(RdbError::Checksum { stored, computed });
        }
        self.has_checksum = stored != 0;
        Ok(())
    }
}

/// When an RDB was written by its server's clock, in seconds since the Unix epoch, if its beginning says so.
pub(crate) fn written_at(head: &[u8]) -> Option<i64> {
    let mut input = Input::new(head);
    input.array::<9>().ok()?;
    while input.byte().ok()? == 0xfa {
        let (name, value) = (
            input.text(NAME_LEN_MAX_BYTES).ok()?,
            input.text(NAME_LEN_MAX_BYTES).ok()?,
        );
        if name == b"ctime" {
            return String::from_utf8_lossy(&value).parse().ok();
        }
    }
    None
}

impl<R: Read> Read for Raw<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(to)?;
        let seen = match len {
            0 if to.is_empty() => Ok(()),
            0 => self.check(),
            len => self.see(&to[..len]),
        };
        seen.map_err(RdbError::into_io)?;
        Ok(len)
    }
}
