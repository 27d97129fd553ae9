//! The end of a pack: a sealed list of its frames and blobs, and 16 open bytes that say how long it is.

use crate::model::ids::BlobId;
use crate::repository::format::FormatError;
use crate::repository::format::aead::TAG_LEN;
use crate::repository::format::key::Keys;
use crate::repository::format::pack::{
    BlobAt, Encoding, FOOTER_NONCE, FRAME_MAX_BYTES, Frame, HEADER_LEN, PackHeader, PackKey, WHAT,
};
use crate::repository::format::wire::Reader;

const END: &[u8; 8] = b"CCBPEND1";
/// Length of the last, open bytes of a pack.
pub const TRAILER_LEN: usize = 16;
const FRAME_ENTRY_LEN: usize = 11;
const BLOB_ENTRY_LEN: usize = 36;

/// What a pack holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackFooter {
    /// The pack's header.
    pub header: PackHeader,
    /// Frames in order of offset, without gaps.
    pub frames: Vec<Frame>,
    /// Blobs in order of frame and offset; together they fill each frame exactly.
    pub blobs: Vec<BlobAt>,
}

/// Length of the sealed footer, from the last [`TRAILER_LEN`] bytes of a pack of `pack_len` bytes.
pub fn sealed_footer_len(trailer: &[u8], pack_len: u64) -> Result<usize, FormatError> {
    let mut reader = Reader::new(trailer, WHAT);
    let (len, reserved) = (reader.u32()?, reader.u32()?);
    if reader.take(END.len())? != END {
        return Err(FormatError::Truncated(WHAT));
    }
    reader.end()?;
    if reserved != 0 {
        return Err(reader.wrong("reserved bytes of its end are in use"));
    }
    if u64::from(len) + (HEADER_LEN + TRAILER_LEN) as u64 > pack_len || (len as usize) < TAG_LEN {
        return Err(reader.wrong("its footer is longer than itself"));
    }
    Ok(len as usize)
}

/// Opens the footer of a pack of `pack_len` bytes. `sealed` are the bytes before the trailer.
pub fn read_footer(
    key: &PackKey,
    sealed: &mut [u8],
    pack_len: u64,
) -> Result<PackFooter, FormatError> {
    let frames_end = pack_len
        .checked_sub((sealed.len() + TRAILER_LEN) as u64)
        .ok_or(FormatError::Truncated(WHAT))?;
    let aad = footer_aad(key);
    let content = key
        .key
        .open(FOOTER_NONCE, &aad, sealed)
        .map_err(|_| FormatError::Authentication(WHAT))?;
    decode(key.header, content, frames_end)
}

/// Opens the footer of a pack that is at hand as a whole.
pub fn read_pack_footer(keys: &Keys, pack: &[u8]) -> Result<PackFooter, FormatError> {
    let key = PackKey::new(keys, PackHeader::decode(pack)?)?;
    let (front, trailer) = pack
        .split_at_checked(pack.len().saturating_sub(TRAILER_LEN))
        .ok_or(FormatError::Truncated(WHAT))?;
    let len = sealed_footer_len(trailer, pack.len() as u64)?;
    read_footer(
        &key,
        &mut front[front.len() - len..].to_vec(),
        pack.len() as u64,
    )
}

/// Appends the sealed footer and the trailer to `pack`. With `pad`, the whole gets a length that says
/// little about what is in it (Padmé: at most 12 % more, at most 3 % from 1 MiB on).
pub(crate) fn append(key: &PackKey, footer: &PackFooter, pack: &mut Vec<u8>, pad: bool) {
    let start = pack.len();
    encode(footer, pack);
    if pad {
        let whole = pack.len() + TAG_LEN + TRAILER_LEN;
        pack.resize(pack.len() + padme(whole) - whole, 0);
    }
    let tag = key
        .key
        .seal(FOOTER_NONCE, &footer_aad(key), &mut pack[start..]);
    pack.extend_from_slice(&tag);
    let len = (pack.len() - start) as u32;
    pack.extend_from_slice(&len.to_le_bytes());
    pack.extend_from_slice(&[0; 4]);
    pack.extend_from_slice(END);
}

/// How many bytes [`append`] would pad a pack of `len` bytes with.
pub(crate) fn padding(footer: &PackFooter, len: usize) -> usize {
    let bases: usize = footer.frames.iter().map(|frame| frame.bases.len()).sum();
    let (frames, blobs) = (footer.frames.len(), footer.blobs.len());
    let encoded = 8 + frames * FRAME_LEN + bases * size_of::<BlobId>() + blobs * BLOB_LEN;
    let whole = len + encoded + TAG_LEN + TRAILER_LEN;
    padme(whole) - whole
}

/// Encoded lengths, of a frame without its bases.
const FRAME_LEN: usize = 11;
const BLOB_LEN: usize = 36;

/// `len` rounded up so that only its highest bits vary (Nikitin et al., PURBs, 2019).
fn padme(len: usize) -> usize {
    let exponent = len.ilog2();
    let kept = exponent.max(1).ilog2() + 1;
    let mask = (1usize << exponent.saturating_sub(kept)) - 1;
    (len + mask) & !mask
}

fn footer_aad(key: &PackKey) -> Vec<u8> {
    let repo_id = &key.prefix[b"ccb/v1/frame".len()..][..16];
    [&key.header.encode()[..], repo_id].concat()
}

fn encode(footer: &PackFooter, out: &mut Vec<u8>) {
    out.extend_from_slice(&(footer.frames.len() as u32).to_le_bytes());
    out.extend_from_slice(&(footer.blobs.len() as u32).to_le_bytes());
    let mut blobs = footer.blobs.iter().peekable();
    for (number, frame) in footer.frames.iter().enumerate() {
        let mut members = 0u32;
        while blobs
            .next_if(|blob| blob.frame as usize == number)
            .is_some()
        {
            members += 1;
        }
        out.extend_from_slice(&frame.stored_len.to_le_bytes());
        out.extend_from_slice(&members.to_le_bytes());
        out.extend_from_slice(&[frame.encoding.flags(), frame.depth, frame.bases.len() as u8]);
        for base in &frame.bases {
            out.extend_from_slice(&base.0);
        }
    }
    for blob in &footer.blobs {
        out.extend_from_slice(&blob.id.0);
        out.extend_from_slice(&blob.len.to_le_bytes());
    }
}

fn decode(header: PackHeader, content: &[u8], frames_end: u64) -> Result<PackFooter, FormatError> {
    let mut reader = Reader::new(content, WHAT);
    let frame_count = reader.count(FRAME_ENTRY_LEN)?;
    let blob_count = reader.count(BLOB_ENTRY_LEN)?;
    let mut frames = Vec::with_capacity(frame_count);
    let mut members = Vec::with_capacity(frame_count);
    let mut offset = HEADER_LEN as u64;
    for _ in 0..frame_count {
        let stored_len = reader.u32()?;
        members.push(reader.u32()?);
        let encoding = Encoding::from_flags(WHAT, reader.u8()?)?;
        let (depth, base_count) = (reader.u8()?, reader.u8()?);
        let bases = (0..base_count).map(|_| reader.array().map(BlobId));
        let frame = Frame {
            offset: u32::try_from(offset).map_err(|_| FormatError::Truncated(WHAT))?,
            stored_len,
            plain_len: 0,
            encoding,
            depth,
            bases: bases.collect::<Result<_, _>>()?,
        };
        offset = frame.range().end;
        frames.push(frame);
    }
    if offset != frames_end {
        return Err(reader.wrong("its frames do not fill it"));
    }
    let mut blobs = Vec::with_capacity(blob_count);
    for (number, (frame, members)) in frames.iter_mut().zip(members).enumerate() {
        if members == 0 {
            return Err(reader.wrong("a frame holds no blob"));
        }
        for _ in 0..members {
            let (id, len) = (BlobId(reader.array()?), reader.u32()?);
            if len == 0 || len > FRAME_MAX_BYTES - frame.plain_len {
                return Err(reader.wrong("a blob's length is out of bounds"));
            }
            blobs.push(BlobAt {
                id,
                frame: number as u32,
                offset: frame.plain_len,
                len,
            });
            frame.plain_len += len;
        }
        frame.check(WHAT)?;
    }
    if blobs.len() != blob_count || reader.rest().iter().any(|byte| *byte != 0) {
        return Err(reader.wrong("its footer holds more than it says"));
    }
    Ok(PackFooter {
        header,
        frames,
        blobs,
    })
}

#[cfg(test)]
mod tests {
    use crate::model::ids::{BlobId, RepositoryId};
    use crate::repository::format::blob::BlobKind;
    use crate::repository::format::config::CipherSuite;
    use crate::repository::format::key::{Keyring, Keys};
    use crate::repository::format::pack::footer::padme;
    use crate::repository::format::pack::{Delta, PackWriter, Stored};

    #[test]
    fn what_padding_would_take_is_what_it_takes() {
        let repository = RepositoryId(*b"repository-test!");
        let keys = Keys::new(Keyring::public(), repository, CipherSuite::Aes256Gcm);
        let filled = |frames: u8| {
            let mut pack = PackWriter::new(&keys, BlobKind::Data, [1; 32], Vec::new());
            for number in 0..frames {
                let bytes = vec![number; 1000 + 777 * usize::from(number)];
                let bases = [BlobId([number; 32]), BlobId([1; 32])];
                let delta = Delta {
                    bytes: &bytes,
                    bases: &bases[..usize::from(number % 3).min(2)],
                    depth: 1,
                };
                let stored = match delta.bases {
                    [] => Stored::Raw(&bytes),
                    _ => Stored::Delta(delta),
                };
                let blob = (BlobId([number; 32]), bytes.len() as u32);
                pack.push(&[blob], stored).unwrap();
            }
            pack
        };
        for frames in 1..40 {
            let padding = filled(frames).padding();
            let [plain, padded] = [false, true].map(|pad| filled(frames).finish(pad).bytes.len());
            assert_eq!(padded - plain, padding, "{frames} frames");
        }
    }

    #[test]
    fn padding_is_small_and_leaves_few_lengths() {
        for len in [
            100,
            4096,
            5000,
            1 << 20,
            (1 << 20) + 1,
            16_777_217,
            100_000_001,
        ] {
            let padded = padme(len);
            assert!(
                padded >= len && padded - len <= len / 8,
                "{len} -> {padded}"
            );
            assert_eq!(padme(padded), padded);
        }
        assert_eq!(padme(16_777_217), 17_301_504);
    }
}
