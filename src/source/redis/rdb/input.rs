//! Reads the primitives of an RDB from a stream: bytes, lengths, strings. Counts and checksums what was
//! taken. Never trusts a length: what it claims is copied piece by piece as it really arrives.

use crate::source::redis::rdb::RdbError;
use crate::source::redis::rdb::crc64::crc64;
use crate::source::redis::rdb::lzf;
use std::io::{self, Read};

const BUFFER_LEN_BYTES: usize = 256 << 10;

/// Takes bytes of a value in its canonical form.
pub(crate) trait Sink {
    /// Takes some.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// What follows, up to [`Sink::unordered_end`], is elements whose order means nothing.
    fn unordered_begin(&mut self) {}
    /// One such element begins here.
    fn element(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// The last one has ended.
    fn unordered_end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Drops everything: for walks that only count.
pub(crate) struct Nothing;

impl Sink for Nothing {
    fn put(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// A length, or which encoding a string has instead.
pub(crate) enum Length {
    Of(u64),
    Encoded(u8),
}

/// An RDB, or a stream that begins with one.
pub(crate) struct Input<R> {
    source: R,
    buffer: Box<[u8]>,
    /// What is in the buffer and was not taken: `start..end`.
    start: usize,
    end: usize,
    /// Up to here the buffer is in the checksum.
    summed: usize,
    crc: u64,
    /// Bytes that were taken and are no longer in the buffer.
    taken_before: u64,
}

impl<R: Read> Input<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER_LEN_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            summed: 0,
            crc: 0,
            taken_before: 0,
        }
    }

    /// How many bytes were taken.
    pub(crate) fn offset(&self) -> u64 {
        self.taken_before + self.start as u64
    }

    /// The checksum of all that was taken since the last [`Input::restart_checksum`].
    pub(crate) fn checksum(&mut self) -> u64 {
        self.crc = crc64(self.crc, &self.buffer[self.summed..self.start]);
        self.summed = self.start;
        self.crc
    }

    /// What was taken so far is not in the checksum.
    pub(crate) fn restart_checksum(&mut self) {
        (self.summed, self.crc) = (self.start, 0);
    }

    /// What can be taken now, at least one byte unless the stream has ended.
    pub(crate) fn peek(&mut self) -> Result<&[u8], RdbError> {
        if self.start == self.end {
            self.checksum();
            self.taken_before += self.end as u64;
            (self.start, self.summed) = (0, 0);
            // Nothing is there to be taken until the read has succeeded.
            self.end = 0;
            self.end = loop {
                match self.source.read(&mut self.buffer) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    read => break read.map_err(RdbError::Read)?,
                }
            };
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Takes `len` bytes, which `peek` has shown.
    pub(crate) fn take(&mut self, len: usize) {
        self.start += len;
        assert!(self.start <= self.end, "more was taken than was shown");
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RdbError> {
        if self.start == self.end && self.peek()?.is_empty() {
            return Err(RdbError::Ends { at: self.offset() });
        }
        let byte = self.buffer[self.start];
        self.start += 1;
        Ok(byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let mut bytes = [0; N];
        if let Some(whole) = self.buffer[self.start..self.end].first_chunk::<N>() {
            self.start += N;
            return Ok(*whole);
        }
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes)
    }

    /// Gives `len` bytes to the sink as they are.
    pub(crate) fn copy(&mut self, mut len: u64, sink: &mut impl Sink) -> Result<(), RdbError> {
        while len > 0 {
            let shown = self.peek()?;
            if shown.is_empty() {
                return Err(RdbError::Ends { at: self.offset() });
            }
            let piece = len.min(shown.len() as u64) as usize;
            sink.put(&shown[..piece]).map_err(RdbError::Scratch)?;
            self.take(piece);
            len -= piece as u64;
        }
        Ok(())
    }

    pub(crate) fn length(&mut self) -> Result<Length, RdbError> {
        let at = self.offset();
        let first = self.byte()?;
        Ok(match (first >> 6, first) {
            (0, _) => Length::Of(u64::from(first)),
            (1, _) => Length::Of(u64::from(first & 63) << 8 | u64::from(self.byte()?)),
            (2, 0x80) => Length::Of(u32::from_be_bytes(self.array()?).into()),
            (2, 0x81) => Length::Of(u64::from_be_bytes(self.array()?)),
            (3, _) => Length::Encoded(first & 63),
            _ => return Err(RdbError::malformed(format!("length {first:#04x}"), at)),
        })
    }

    pub(crate) fn count(&mut self) -> Result<u64, RdbError> {
        let at = self.offset();
        match self.length()? {
            Length::Of(count) => Ok(count),
            Length::Encoded(_) => Err(RdbError::malformed("no plain length", at)),
        }
    }

    /// Copies a length that stands for itself.
    pub(crate) fn copy_count(&mut self, sink: &mut impl Sink) -> Result<u64, RdbError> {
        let count = self.count()?;
        put_length(count, sink)?;
        Ok(count)
    }

    /// Copies a string with its length; a compressed one is expanded.
    pub(crate) fn copy_string(&mut self, sink: &mut impl Sink) -> Result<(), RdbError> {
        let at = self.offset();
        match self.length()? {
            Length::Of(len) => {
                put_length(len, sink)?;
                self.copy(len, sink)
            }
            Length::Encoded(encoding @ 0..=2) => {
                sink.put(&[0xc0 | encoding]).map_err(RdbError::Scratch)?;
                self.copy(1 << encoding, sink)
            }
            Length::Encoded(3) => {
                let (packed, len) = (self.count()?, self.count()?);
                put_length(len, sink)?;
                lzf::expand(self, packed, len, sink)
            }
            Length::Encoded(other) => Err(RdbError::Unknown {
                what: format!("string encoding {other} at byte {at}"),
            }),
        }
    }

    /// A short string as its bytes: numbers become decimal text. Gives up beyond `len_max` bytes.
    pub(crate) fn text(&mut self, len_max: u64) -> Result<Vec<u8>, RdbError> {
        let at = self.offset();
        let too_long = |len| RdbError::Unknown {
            what: format!("name of {len} bytes at byte {at}"),
        };
        let mut text = Vec::new();
        match self.length()? {
            Length::Of(len) if len > len_max => return Err(too_long(len)),
            Length::Of(len) => self.copy(len, &mut text)?,
            Length::Encoded(0) => text = i8::from_le_bytes(self.array()?).to_string().into(),
            Length::Encoded(1) => text = i16::from_le_bytes(self.array()?).to_string().into(),
            Length::Encoded(2) => text = i32::from_le_bytes(self.array()?).to_string().into(),
            Length::Encoded(3) => {
                let (packed, len) = (self.count()?, self.count()?);
                if len > len_max {
                    return Err(too_long(len));
                }
                lzf::expand(self, packed, len, &mut text)?;
            }
            Length::Encoded(other) => {
                return Err(RdbError::Unknown {
                    what: format!("string encoding {other} at byte {at}"),
                });
            }
        }
        Ok(text)
    }
}

/// Writes a length the way Redis does: as short as it can be.
pub(crate) fn put_length(len: u64, sink: &mut impl Sink) -> Result<(), RdbError> {
    let put = match (u8::try_from(len), u16::try_from(len), u32::try_from(len)) {
        (Ok(len @ 0..64), _, _) => sink.put(&[len]),
        (_, Ok(len @ 0..16384), _) => sink.put(&(0x4000 | len).to_be_bytes()),
        (_, _, Ok(len)) => sink
            .put(&[0x80])
            .and_then(|()| sink.put(&len.to_be_bytes())),
        _ => sink
            .put(&[0x81])
            .and_then(|()| sink.put(&len.to_be_bytes())),
    };
    put.map_err(RdbError::Scratch)
}

/// Writes a string so that an equal one is always written equally: as Redis does without compression.
pub(crate) fn put_text(text: &[u8], sink: &mut impl Sink) -> Result<(), RdbError> {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|t| t.parse::<i32>().ok());
    let number = number.filter(|number| number.to_string().as_bytes() == text);
    let put = match number {
        Some(number) => match (i8::try_from(number), i16::try_from(number)) {
            (Ok(n), _) => sink.put(&[0xc0]).and_then(|()| sink.put(&n.to_le_bytes())),
            (_, Ok(n)) => sink.put(&[0xc1]).and_then(|()| sink.put(&n.to_le_bytes())),
            _ => sink
                .put(&[0xc2])
                .and_then(|()| sink.put(&number.to_le_bytes())),
        },
        None => {
            put_length(text.len() as u64, sink)?;
            sink.put(text)
        }
    };
    put.map_err(RdbError::Scratch)
}
