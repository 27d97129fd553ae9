//! LZF, which Redis compresses strings with: expanded while it is read, with a window of 8 KiB.

use crate::source::redis::rdb::RdbError;
use crate::source::redis::rdb::input::{Input, Sink};
use std::io::Read;

/// References reach back so far at most.
const WINDOW_LEN_BYTES: usize = 8 << 10;
/// What is expanded is handed on in pieces of about this length.
const PIECE_LEN_BYTES: usize = 1 << 20;

/// Takes `packed_len` bytes that expand to `len` bytes, which the sink gets.
pub(crate) fn expand<R: Read>(
    input: &mut Input<R>,
    packed_len: u64,
    len: u64,
    sink: &mut impl Sink,
) -> Result<(), RdbError> {
    let at = input.offset();
    let end = at.saturating_add(packed_len);
    let wrong = || RdbError::malformed("compressed string that does not expand to its length", at);
    let mut out: Vec<u8> = Vec::with_capacity(len.min(PIECE_LEN_BYTES as u64) as usize);
    let mut handed_on = 0;
    while input.offset() < end {
        let control = usize::from(input.byte()?);
        if control < 32 {
            input.copy(control as u64 + 1, &mut out)?;
        } else {
            let mut run = (control >> 5) + 2;
            if run == 9 {
                run += usize::from(input.byte()?);
            }
            let back = ((control & 31) << 8 | usize::from(input.byte()?)) + 1;
            let from = out.len().checked_sub(back).ok_or_else(wrong)?;
            if back >= run {
                out.extend_from_within(from..from + run);
            } else {
                for i in from..from + run {
                    out.push(out[i]);
                }
            }
        }
        if handed_on + out.len() as u64 > len {
            return Err(wrong());
        }
        if out.len() > PIECE_LEN_BYTES + WINDOW_LEN_BYTES {
            let piece = out.len() - WINDOW_LEN_BYTES;
            sink.put(&out[..piece]).map_err(RdbError::Scratch)?;
            out.drain(..piece);
            handed_on += piece as u64;
        }
    }
    if input.offset() != end || handed_on + out.len() as u64 != len {
        return Err(wrong());
    }
    sink.put(&out).map_err(RdbError::Scratch)
}
