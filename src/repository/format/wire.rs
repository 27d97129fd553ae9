//! Reading and writing fields: little-endian integers, LEB128 varints, byte strings. A reader never
//! allocates more than the bytes in front of it could fill.

use crate::repository::format::FormatError;

/// Takes fields off the front of a byte slice; every failure names the object being read.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (head, tail) = self
            .rest
            .split_at_checked(len)
            .ok_or(FormatError::Truncated(self.what))?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things that take at least `each` bytes: refused when they can not all be there, so
    /// that a false count never becomes an allocation.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, FormatError> {
        let count = self.u32()? as usize;
        self.fits(count, each)
    }

    /// Like [`Reader::count`], for a count written as a varint.
    pub(crate) fn varint_count(&mut self, each: usize) -> Result<usize, FormatError> {
        let count = usize::try_from(self.varint()?).map_err(|_| self.truncated())?;
        self.fits(count, each)
    }

    fn fits(&self, count: usize, each: usize) -> Result<usize, FormatError> {
        match count.checked_mul(each) {
            Some(len) if len <= self.rest.len() => Ok(count),
            _ => Err(self.truncated()),
        }
    }

    /// An unsigned LEB128 number, in its shortest form only: equal values have equal bytes.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, FormatError> {
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            // Most take one byte.
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        u64::try_from(self.varint128()?).map_err(|_| self.wrong("a number exceeds 64 bits"))
    }

    fn varint128(&mut self) -> Result<u128, FormatError> {
        // Nearly all have less than 64 bits, and numbers of 128 are slow.
        let mut low = 0;
        for (at, byte) in self.rest.iter().take(9).enumerate() {
            low |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                if *byte == 0 && at > 0 {
                    break;
                }
                self.rest = &self.rest[at + 1..];
                return Ok(u128::from(low));
            }
        }
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.u8()?;
            let bits = u128::from(byte & 0x7f);
            if shift == 126 && bits > 3 {
                return Err(self.wrong("a number exceeds 128 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(self.wrong("a number is not in its shortest form"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(self.wrong("a number exceeds 128 bits"))
    }

    /// A signed number: zigzag, then LEB128.
    pub(crate) fn signed(&mut self) -> Result<i128, FormatError> {
        let value = self.varint128()?;
        Ok((value >> 1) as i128 ^ -((value & 1) as i128))
    }

    /// A varint length and that many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let len = self.varint_count(1)?;
        self.take(len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), FormatError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.wrong("bytes follow its end"))
        }
    }

    pub(crate) fn wrong(&self, why: impl Into<String>) -> FormatError {
        FormatError::malformed(self.what, why)
    }

    fn truncated(&self) -> FormatError {
        FormatError::Truncated(self.what)
    }
}

/// Appends `value` as unsigned LEB128.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: u64) {
    put_varint128(out, u128::from(value));
}

/// Appends `value` as zigzag LEB128.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i128) {
    put_varint128(out, ((value << 1) ^ (value >> 127)) as u128);
}

/// Appends a varint length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint128(out: &mut Vec<u8>, mut value: u128) {
    // Numbers of 128 bits are slow.
    while value > u128::from(u64::MAX) {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    let mut value = value as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use crate::repository::format::wire::{Reader, put_signed, put_varint};

    #[test]
    fn numbers_read_back_and_have_one_form() {
        for value in [0, 1, 127, 128, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Reader::new(&out, "x").varint(), Ok(value));
        }
        for value in [0, -1, 1, i128::MIN, i128::MAX, -62_135_596_800_000_000_000] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            assert_eq!(Reader::new(&out, "x").signed(), Ok(value));
        }
        assert!(Reader::new(&[0x80, 0], "x").varint().is_err());
        assert!(Reader::new(&[0xff; 40], "x").signed().is_err());
    }

    #[test]
    fn a_false_count_is_refused_before_anything_is_allocated() {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.extend([0; 64]);
        assert!(Reader::new(&bytes, "x").count(8).is_err());
    }
}
