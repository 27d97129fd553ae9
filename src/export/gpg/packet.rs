//! Packets of OpenPGP: a tag, a length, and a body, which may come in parts of a length each.

use std::io::{self, Read};

/// Length of a part in writing: 2^18 bytes.
pub(crate) const PART_LEN_BYTES: usize = 1 << 18;
/// What says that a part of that length follows, and is not the last one.
pub(crate) const PART_MARK: u8 = 0xe0 | 18;

/// The header of a last part, or of a body in one part.
pub(crate) fn length(len: usize) -> Vec<u8> {
    match len {
        0..192 => vec![len as u8],
        192..8384 => vec![((len - 192) >> 8) as u8 + 192, (len - 192) as u8],
        _ => [&[255][..], &(len as u32).to_be_bytes()].concat(),
    }
}

/// Reads the tag of the next packet; nothing at the end.
pub(crate) fn tag(from: &mut impl Read) -> io::Result<Option<(u8, Kind)>> {
    let mut byte = [0];
    if crate::repository::fill(from, &mut byte)? == 0 {
        return Ok(None);
    }
    match byte[0] {
        new @ 0xc0.. => Ok(Some((new & 0x3f, Kind::New))),
        old @ 0x80..0xc0 => Ok(Some((old >> 2 & 15, Kind::Old(old & 3)))),
        _ => Err(malformed("something that is no packet")),
    }
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::other(format!("it has {what}, and is damaged or not of OpenPGP"))
}

/// How the length of a packet is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    New,
    Old(u8),
}

/// The body of a packet, being read.
pub(crate) struct Body<R> {
    from: R,
    left: Left,
}

enum Left {
    /// So many bytes of this part, and whether another follows.
    Part { len: u64, more: bool },
    /// All that there is.
    All,
}

impl<R: Read> Body<R> {
    /// The body after a tag.
    pub(crate) fn new(mut from: R, kind: Kind) -> io::Result<Self> {
        let left = match kind {
            Kind::New => part(&mut from)?,
            Kind::Old(3) => Left::All,
            Kind::Old(width) => Left::Part {
                len: number(&mut from, 1 << width)?,
                more: false,
            },
        };
        Ok(Self { from, left })
    }

    /// What it is read from.
    pub(crate) fn source(&mut self) -> &mut R {
        &mut self.from
    }
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let (len, more) = match &self.left {
                Left::All => return self.from.read(to),
                Left::Part { len, more } => (*len, *more),
            };
            if len > 0 && !to.is_empty() {
                let want = usize::try_from(len).map_or(to.len(), |len| len.min(to.len()));
                let got = self.from.read(&mut to[..want])?;
                if got == 0 {
                    return Err(malformed("a packet that ends in the middle"));
                }
                let len = len - got as u64;
                self.left = Left::Part { len, more };
                return Ok(got);
            }
            if !more || to.is_empty() {
                return Ok(0);
            }
            self.left = part(&mut self.from)?;
        }
    }
}

fn part(from: &mut impl Read) -> io::Result<Left> {
    let first = number(from, 1)?;
    let (len, more) = match first {
        0..192 => (first, false),
        192..224 => (((first - 192) << 8) + number(from, 1)? + 192, false),
        255 => (number(from, 4)?, false),
        _ => (1 << (first & 31), true),
    };
    Ok(Left::Part { len, more })
}

fn number(from: &mut impl Read, width: usize) -> io::Result<u64> {
    let mut bytes = [0; 8];
    let read = from.read_exact(&mut bytes[8 - width..]);
    read.map_err(|_| malformed("a packet without a length"))?;
    Ok(u64::from_be_bytes(bytes))
}
