//! What happens to the bytes of a frame before they are sealed and after they are opened. Both sides
//! keep their buffers, so a thread allocates once.

use crate::model::ids::BlobId;
use crate::repository::format::FormatError;
use crate::repository::format::blob::blob_id;
use crate::repository::format::key::Keys;
use crate::repository::format::pack::{
    Encoding, Frame, PackFooter, PackKey, WHAT, read_pack_footer,
};
use zstd::zstd_safe::{CCtx, CParameter, DCtx};

/// The bytes of a frame as they will be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored<'a> {
    /// As they are.
    Raw(&'a [u8]),
    /// One zstd frame.
    Zstd(&'a [u8]),
    /// All zero.
    Zeros,
    /// One zstd frame against the plaintext of other blobs.
    Delta(Delta<'a>),
}

/// The bytes of a delta frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta<'a> {
    /// What zstd made of it.
    pub bytes: &'a [u8],
    /// The blobs whose plaintext, in this order, it stands on.
    pub bases: &'a [BlobId],
    /// One more than the depth of the deepest of their frames.
    pub depth: u8,
}

/// Compresses frames, one at a time.
pub struct FrameEncoder {
    zstd: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
    delta: Vec<u8>,
}

impl FrameEncoder {
    /// An encoder at this zstd level.
    pub fn new(level: i32) -> Self {
        let zstd =
            zstd::bulk::Compressor::new(level).expect("zstd clamps every level to its range");
        let (buffer, delta) = (Vec::new(), Vec::new());
        Self {
            zstd,
            buffer,
            delta,
        }
    }

    /// Compresses `plain` against `prefix`, which are the plaintexts of `bases`, where that takes less than half of
    /// what it takes alone; or else alone.
    pub fn encode_delta<'a>(
        &'a mut self,
        plain: &'a [u8],
        prefix: &[u8],
        (bases, depth): (&'a [BlobId], u8),
    ) -> Stored<'a> {
        if is_zero(plain)
            || !compress_against(prefix, plain, &mut self.delta)
            || !is_of(plain, prefix, &self.delta)
        {
            return self.encode(plain);
        }
        // What naming the bases takes, in the pack and in the index, is a part of the price.
        let price = self.delta.len() + bases.len() * 2 * size_of::<BlobId>();
        if price > plain.len() / SURELY_SMALL {
            // Compressing twice is dear, and nearly all deltas are so small that nobody need ask.
            let alone = match self.encode(plain) {
                Stored::Zstd(bytes) => bytes.len(),
                _ => plain.len(),
            };
            if price > alone / 2 {
                return match alone < plain.len() {
                    true => Stored::Zstd(&self.buffer),
                    false => Stored::Raw(plain),
                };
            }
        }
        Stored::Delta(Delta {
            bytes: &self.delta,
            bases,
            depth,
        })
    }

    /// The smallest of the ways to store `plain`; raw where zstd would save less than 3 %.
    pub fn encode<'a>(&'a mut self, plain: &'a [u8]) -> Stored<'a> {
        if is_zero(plain) {
            return Stored::Zeros;
        }
        if self.seems_random(plain) {
            return Stored::Raw(plain);
        }
        let worthwhile = plain.len() - plain.len() / 32;
        self.buffer.clear();
        self.buffer
            .reserve(zstd::zstd_safe::compress_bound(plain.len()));
        match self.zstd.compress_to_buffer(plain, &mut self.buffer) {
            Ok(len) if len < worthwhile => Stored::Zstd(&self.buffer),
            _ => Stored::Raw(plain),
        }
    }
}

impl FrameEncoder {
    /// Whether samples from all over a long frame say that nothing in it compresses: to try media as a whole costs more
    /// than to encrypt it. What compresses must be shorter than the distance of two samples not to be seen.
    fn seems_random(&mut self, plain: &[u8]) -> bool {
        if plain.len() < SAMPLED_MIN_BYTES {
            return false;
        }
        let distance = (plain.len() - SAMPLE_LEN_BYTES) / (SAMPLES - 1);
        let samples = (0..SAMPLES).flat_map(|n| &plain[n * distance..][..SAMPLE_LEN_BYTES]);
        let samples: Vec<u8> = samples.copied().collect();
        if is_uneven(&samples) {
            return false;
        }
        self.buffer.clear();
        self.buffer
            .reserve(zstd::zstd_safe::compress_bound(samples.len()));
        let packed = self.zstd.compress_to_buffer(&samples, &mut self.buffer);
        packed.is_ok_and(|len| len > samples.len() - samples.len() / 64)
    }
}

/// Whether some bytes are so much more frequent than others that zstd need not be asked, which for text takes a
/// thirtieth of what compressing it takes: equal ones meet `UNEVEN_TIMES` as often as where all are as frequent.
fn is_uneven(samples: &[u8]) -> bool {
    let mut counts = [0_u64; 256];
    for byte in samples {
        counts[usize::from(*byte)] += 1;
    }
    let meet: u64 = counts.iter().map(|count| count * count).sum();
    let len = samples.len() as u64;
    meet * 256 > UNEVEN_TIMES * len * len
}

const UNEVEN_TIMES: u64 = 4;

/// Shorter frames are tried as they are.
const SAMPLED_MIN_BYTES: usize = 128 << 10;
const SAMPLES: usize = 16;
const SAMPLE_LEN_BYTES: usize = 1 << 10;

/// A delta that takes less than this part of its plaintext is kept without asking what the frame takes alone.
const SURELY_SMALL: usize = 32;

/// Compresses `plain` into `out`, with `prefix` as what zstd has just seen. `false` where zstd can not.
fn compress_against(prefix: &[u8], plain: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
    // Its context lives no longer than what it refers to.
    let Some(mut zstd) = CCtx::try_create() else {
        return false;
    };
    let window = (prefix.len() + plain.len()).next_power_of_two().ilog2();
    // The table that goes with the level loses what was seen a megabyte ago. zstd puts every third position of the
    // prefix into it: one that has room for all of them takes longer to fill, and finds no more.
    let parameters = [
        CParameter::CompressionLevel(DELTA_LEVEL),
        CParameter::WindowLog(window.clamp(10, 27)),
        CParameter::HashLog(window.saturating_sub(2).clamp(14, 21)),
        CParameter::MinMatch(7),
    ];
    let is_set = parameters
        .into_iter()
        .all(|parameter| zstd.set_parameter(parameter).is_ok());
    is_set && zstd.ref_prefix(prefix).is_ok() && zstd.compress2(out, plain).is_ok()
}

/// Whether `delta` decodes to `plain`: a check of all packs costs more where one stands on others, so what is
/// written is looked at once.
fn is_of(plain: &[u8], prefix: &[u8], delta: &[u8]) -> bool {
    let mut decoded = Vec::with_capacity(plain.len());
    decompress_against(prefix, delta, &mut decoded).is_some() && decoded == plain
}

/// Decompresses `delta` into the room that `out` has. Gives the length.
fn decompress_against(prefix: &[u8], delta: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut zstd = DCtx::try_create()?;
    zstd.ref_prefix(prefix).ok()?;
    zstd.decompress(out, delta).ok()
}

/// Most of a delta is long matches, which level 1 finds, with matches of at least 7 bytes, in a third of the time of
/// level 3; and as it does not look for short ones it needs less to say where the long ones are.
const DELTA_LEVEL: i32 = 1;

fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(4096)
        .all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Decompresses frames, one at a time.
pub struct FrameDecoder {
    zstd: zstd::bulk::Decompressor<'static>,
    buffer: Vec<u8>,
}

impl FrameDecoder {
    /// A decoder.
    pub fn new() -> Self {
        let zstd = zstd::bulk::Decompressor::new().expect("zstd makes a context from memory alone");
        let buffer = Vec::new();
        Self { zstd, buffer }
    }

    /// What was decoded last, unless that was a raw frame; the decoder goes on with another buffer.
    pub fn take(&mut self, spare: Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.buffer, spare)
    }
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The bytes of a frame as they were sealed, once they are known to be whole: what [`decode_frame`] takes. `sealed` are
/// those of [`Frame::range`]; they are overwritten.
pub fn unseal_frame<'a>(
    key: &PackKey,
    frame: &Frame,
    sealed: &'a mut [u8],
) -> Result<&'a [u8], FormatError> {
    frame.check(WHAT)?;
    Ok(key.unseal_frame(frame, sealed)?)
}

/// Decodes what [`unseal_frame`] gave. `prefix` is the plaintext of the frame's bases, in order. What comes out is the
/// plaintext of all its blobs, whose ids are for the caller to check with [`blob_id`]: a frame's tag says that it is
/// whole, an id that it is the right one.
pub fn decode_frame<'a>(
    frame: &Frame,
    stored: &'a [u8],
    prefix: &[u8],
    decoder: &'a mut FrameDecoder,
) -> Result<&'a [u8], FormatError> {
    let plain_len = frame.plain_len as usize;
    let buffer = &mut decoder.buffer;
    match frame.encoding {
        Encoding::Raw => Ok(stored),
        Encoding::Zeros => {
            buffer.clear();
            buffer.resize(plain_len, 0);
            Ok(buffer)
        }
        Encoding::Zstd => {
            buffer.clear();
            buffer.reserve_exact(plain_len);
            // zstd writes up to the capacity, which may be that of a longer frame before.
            let len = decoder.zstd.decompress_to_buffer(stored, buffer);
            decompressed(len.ok(), plain_len).map(|()| &**buffer)
        }
        Encoding::Delta => {
            buffer.clear();
            buffer.reserve_exact(plain_len);
            let len = decompress_against(prefix, stored, buffer);
            decompressed(len, plain_len).map(|()| &**buffer)
        }
    }
}

fn decompressed(len: Option<usize>, plain_len: usize) -> Result<(), FormatError> {
    let why = match len {
        Some(len) if len == plain_len => return Ok(()),
        Some(_) => "a frame has another length than it says",
        None => "a frame does not decompress",
    };
    Err(FormatError::malformed(WHAT, why))
}

/// Reads a whole pack as a reader of any of its blobs would: every frame opens, every blob has its id. What
/// delta frames decode to is for those to check who have their bases: these only open.
pub fn check_pack(
    keys: &Keys,
    pack: &[u8],
    decoder: &mut FrameDecoder,
) -> Result<PackFooter, FormatError> {
    let footer = read_pack_footer(keys, pack)?;
    let key = PackKey::new(keys, footer.header)?;
    let mut sealed = Vec::new();
    let mut blobs = footer.blobs.iter().peekable();
    for (number, frame) in footer.frames.iter().enumerate() {
        let range = frame.range();
        sealed.clear();
        sealed.extend_from_slice(&pack[range.start as usize..range.end as usize]);
        let stored = unseal_frame(&key, frame, &mut sealed)?;
        if frame.encoding == Encoding::Delta {
            while blobs
                .next_if(|blob| blob.frame as usize == number)
                .is_some()
            {}
            continue;
        }
        let plain = decode_frame(frame, stored, &[], decoder)?;
        while let Some(blob) = blobs.next_if(|blob| blob.frame as usize == number) {
            let content = &plain[blob.offset as usize..][..blob.len as usize];
            if blob_id(keys.keyring(), footer.header.kind, content) != blob.id {
                return Err(misnamed(blob.id));
            }
        }
    }
    Ok(footer)
}

fn misnamed(id: BlobId) -> FormatError {
    FormatError::malformed(WHAT, format!("the blob {} has other content", id.short()))
}

#[cfg(test)]
mod tests {
    use crate::model::ids::{BlobId, RepositoryId};
    use crate::repository::format::FormatError;
    use crate::repository::format::blob::BlobKind;
    use crate::repository::format::config::CipherSuite;
    use crate::repository::format::key::{Keyring, Keys};
    use crate::repository::format::pack::{
        Frame, FrameDecoder, FrameEncoder, PackKey, PackWriter, Stored, decode_frame, unseal_frame,
    };

    const BASE: BlobId = BlobId([1; 32]);

    fn noise(seed: &[u8], len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new()
            .update(seed)
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }

    /// What it was and what it is now: a few bytes of many are others.
    fn versions() -> (Vec<u8>, Vec<u8>) {
        let old = noise(b"old", 200_000);
        let mut new = old.clone();
        new.splice(90_000..90_010, *b"something else");
        (old, new)
    }

    /// A delta frame of the new version, its key and its sealed bytes.
    fn sealed() -> (PackKey, Frame, Vec<u8>) {
        let ring = Keyring::new([1; 32], [2; 32]);
        let keys = Keys::new(ring, RepositoryId([3; 16]), CipherSuite::Aes256Gcm);
        let (old, new) = versions();
        let mut encoder = FrameEncoder::new(1);
        let stored = encoder.encode_delta(&new, &old, (&[BASE], 1));
        assert!(matches!(stored, Stored::Delta(delta) if delta.bytes.len() < 200));
        let mut pack = PackWriter::new(&keys, BlobKind::Data, [8; 32], Vec::new());
        let blobs = [(BlobId([9; 32]), new.len() as u32)];
        let frame = pack.push(&blobs, stored).unwrap();
        let pack = pack.finish(false);
        let range = frame.range();
        let sealed = pack.bytes[range.start as usize..range.end as usize].to_vec();
        let key = PackKey::new(&keys, pack.footer.header).unwrap();
        (key, frame, sealed)
    }

    #[test]
    fn long_frames_are_stored_raw_where_samples_of_them_do_not_compress() {
        let text = b"insert into t values (17, 'seventeen');\n".repeat(8000);
        // Every byte is as frequent as any other.
        let steps: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        let mut encoder = FrameEncoder::new(1);
        for plain in [text, steps] {
            assert!(matches!(encoder.encode(&plain), Stored::Zstd(bytes) if bytes.len() < 10_000));
        }
        let media = noise(b"media", 300_000);
        assert_eq!(encoder.encode(&media), Stored::Raw(&media));
    }

    #[test]
    fn a_delta_frame_decodes_with_its_bases_and_with_no_others() {
        let (key, frame, mut sealed) = sealed();
        let (old, new) = versions();
        assert_eq!((frame.depth, frame.bases.as_slice()), (1, &[BASE][..]));
        let mut decoder = FrameDecoder::new();
        let stored = unseal_frame(&key, &frame, &mut sealed).unwrap();
        let plain = decode_frame(&frame, stored, &old, &mut decoder).unwrap();
        assert!(plain == new);
        // Another base of the same length gives other bytes, which have another id; a short one gives none.
        let other = decode_frame(&frame, stored, &noise(b"other", 200_000), &mut decoder);
        assert!(other.is_err() || other.is_ok_and(|plain| plain != new));
        let short = decode_frame(&frame, stored, &old[..1000], &mut decoder);
        assert!(short.is_err() || short.is_ok_and(|plain| plain != new));
    }

    #[test]
    fn bases_and_depth_of_a_delta_frame_are_authenticated() {
        let (key, frame, sealed) = sealed();
        let other_base = Frame {
            bases: vec![BlobId([2; 32])],
            ..frame.clone()
        };
        let deeper = Frame { depth: 2, ..frame };
        for altered in [other_base, deeper] {
            let mut sealed = sealed.clone();
            let opened = unseal_frame(&key, &altered, &mut sealed);
            assert_eq!(opened, Err(FormatError::Authentication("pack")));
        }
    }

    #[test]
    fn a_delta_that_saves_less_than_half_is_stored_alone() {
        let mut encoder = FrameEncoder::new(1);
        let base = noise(b"base", 50_000);
        let mut new = base[..20_000].to_vec();
        new.extend(noise(b"new", 30_000));
        let bases = [BASE];
        assert_eq!(
            encoder.encode_delta(&new, &base, (&bases, 1)),
            Stored::Raw(&new)
        );
        let text = b"all the same ".repeat(4000);
        let stored = encoder.encode_delta(&text, &text, (&bases, 1));
        assert!(matches!(stored, Stored::Zstd(_) | Stored::Delta(_)));
        assert_eq!(
            encoder.encode_delta(&[0; 500], &base, (&bases, 1)),
            Stored::Zeros
        );
        let short = encoder.encode_delta(b"a", b"b", (&bases, 1));
        assert_eq!(short, Stored::Raw(b"a"));
    }
}
