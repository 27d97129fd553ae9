//! Where a stream is cut into blobs: at places that its content chooses, so that an insertion moves few
//! cuts, and that depend on a key, so that the lengths of blobs do not tell what is in them.
//!
//! A rolling 16-bit hash over 16 bytes proposes places, quickly and in SIMD; a 64-bit hash over 64 bytes
//! confirms them. Cut points are a part of the format: every path gives the same ones, for ever.

use crate::repository::format::key::ChunkerKey;

mod simd;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes that the proposing hash sees.
const SHORT_WINDOW: usize = 16;
/// Bytes that the confirming hash sees.
const LONG_WINDOW: usize = 64;
/// A place is proposed where these bits of the short hash are 0: one in 4096.
const PROPOSE_MASK: u16 = 0xfff0;
const PROPOSE_BITS: u32 = PROPOSE_MASK.count_ones();
/// Lowest bit of the long hash that confirms; below it, not all 64 bytes count.
const CONFIRM_SHIFT: u32 = 40;

/// Lengths of chunks, chosen by what is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Dumps and databases: 4 to 64 KiB, 16 KiB on average.
    Db,
    /// Files: 256 KiB to 4 MiB, 1 MiB on average.
    Files,
    /// Large media: 512 KiB to 8 MiB, 2 MiB on average.
    Media,
}

impl Profile {
    /// A stream is not cut before this, its end excepted.
    pub fn min_len(self) -> usize {
        self.avg_len() / 4
    }

    /// What most chunks come near. A power of two.
    pub fn avg_len(self) -> usize {
        match self {
            Self::Db => 16 * KIB,
            Self::Files => MIB,
            Self::Media => 2 * MIB,
        }
    }

    /// No chunk is longer.
    pub fn max_len(self) -> usize {
        self.avg_len() * 4
    }

    fn code(self) -> u8 {
        match self {
            Self::Db => 0,
            Self::Files => 1,
            Self::Media => 2,
        }
    }
}

/// Finds cut points.
pub struct Chunker {
    tables: Box<Tables>,
    limits: Limits,
    path: Path,
}

/// How cut points are searched; all ways find the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Byte by byte, anywhere.
    Scalar,
    /// 32 bytes at a time, on x86-64 with AVX2.
    Avx2,
    /// 64 bytes at a time, on x86-64 with AVX-512 VBMI2.
    Avx512,
}

impl Path {
    /// The paths that this machine can take, the fastest first.
    pub fn available() -> Vec<Self> {
        [Self::Avx512, Self::Avx2, Self::Scalar]
            .into_iter()
            .filter(|path| simd::is_available(*path))
            .collect()
    }
}

impl Chunker {
    /// A chunker on the fastest path that this machine has.
    pub fn new(key: &ChunkerKey, profile: Profile) -> Self {
        let path = Path::available().first().copied().unwrap_or(Path::Scalar);
        Self::on_path(key, profile, path)
    }

    /// A chunker on `path`; on the scalar one where this machine does not have it.
    pub fn on_path(key: &ChunkerKey, profile: Profile, path: Path) -> Self {
        let available = simd::is_available(path);
        Self {
            tables: Box::new(Tables::derive(key, profile)),
            limits: Limits::of(profile),
            path: if available { path } else { Path::Scalar },
        }
    }

    /// Length of the first chunk of `data`, which is the rest of a stream, or at least
    /// [`Profile::max_len`] bytes of it. 0 only where there is no byte left.
    pub fn cut(&self, data: &[u8]) -> usize {
        if data.len() <= self.limits.min {
            return data.len();
        }
        let data = &data[..data.len().min(self.limits.max)];
        let mut search = Search::new(data, &self.tables, &self.limits);
        simd::find(self.path, &mut search).unwrap_or(data.len())
    }
}

struct Limits {
    min: usize,
    avg: usize,
    max: usize,
    /// Bits of the long hash that must be 0 below the average length.
    strict: u64,
    /// The same from the average length on.
    loose: u64,
}

impl Limits {
    fn of(profile: Profile) -> Self {
        let avg = profile.avg_len();
        let bits = avg.ilog2() - PROPOSE_BITS;
        let mask = |bits: u32| ((1u64 << bits) - 1) << CONFIRM_SHIFT;
        Self {
            min: profile.min_len(),
            avg,
            max: profile.max_len(),
            strict: mask(bits + 1),
            loose: mask(bits - 1),
        }
    }
}

/// What each byte value adds to the hashes.
struct Tables {
    long: [u64; 256],
    /// The short table is `high[byte / 16] ^ low[byte % 16]`: two lookups of 16 fit a register.
    high: [u16; 16],
    low: [u16; 16],
    short: [u16; 256],
}

impl Tables {
    fn derive(key: &ChunkerKey, profile: Profile) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&key.0);
        hasher.update(b"ccb/v1/chunker");
        hasher.update(&[profile.code()]);
        let mut stream = hasher.finalize_xof();
        let long = std::array::from_fn(|_| {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            u64::from_le_bytes(bytes)
        });
        loop {
            let mut half = || {
                std::array::from_fn(|_| {
                    let mut bytes = [0; 2];
                    stream.fill(&mut bytes);
                    u16::from_le_bytes(bytes)
                })
            };
            let (high, low): ([u16; 16], [u16; 16]) = (half(), half());
            let short: [u16; 256] = std::array::from_fn(|byte| high[byte >> 4] ^ low[byte & 15]);
            // The hash of 16 equal bytes is minus their value. A table that proposes each place of a run
            // of equal bytes would be slow on them; the next one is taken.
            if short
                .iter()
                .all(|value| value.wrapping_neg() & PROPOSE_MASK != 0)
            {
                return Self {
                    long,
                    high,
                    low,
                    short,
                };
            }
        }
    }
}

/// One search for one cut. Positions are those of the last byte before a cut.
struct Search<'a> {
    data: &'a [u8],
    tables: &'a Tables,
    limits: &'a Limits,
    /// Position and value of the long hash that was last computed.
    last: Option<(usize, u64)>,
}

impl<'a> Search<'a> {
    fn new(data: &'a [u8], tables: &'a Tables, limits: &'a Limits) -> Self {
        Self {
            data,
            tables,
            limits,
            last: None,
        }
    }

    /// The first position from `from` on that is proposed and confirmed, as a length.
    fn scalar(&mut self, from: usize) -> Option<usize> {
        let mut hash = 0u16;
        for &byte in &self.data[from - SHORT_WINDOW..from] {
            hash = (hash << 1).wrapping_add(self.tables.short[usize::from(byte)]);
        }
        for (position, &byte) in self.data.iter().enumerate().skip(from) {
            hash = (hash << 1).wrapping_add(self.tables.short[usize::from(byte)]);
            if hash & PROPOSE_MASK == 0 && self.confirms(position) {
                return Some(position + 1);
            }
        }
        None
    }

    /// The first of the proposed positions that is confirmed, as a length. Bit n stands for the
    /// position `start + n`.
    #[inline]
    fn first_confirmed(&mut self, start: usize, mut proposed: u64) -> Option<usize> {
        while proposed != 0 {
            let position = start + proposed.trailing_zeros() as usize;
            if self.confirms(position) {
                return Some(position + 1);
            }
            proposed &= proposed - 1;
        }
        None
    }

    #[inline(never)]
    fn confirms(&mut self, position: usize) -> bool {
        // Data that proposes often (short periods) would hash 64 bytes per byte: go on from the last.
        let (mut hash, next) = match self.last {
            Some((last, hash)) if position - last < LONG_WINDOW => (hash, last + 1),
            _ => (0, position + 1 - LONG_WINDOW),
        };
        for &byte in &self.data[next..=position] {
            hash = (hash << 1).wrapping_add(self.tables.long[usize::from(byte)]);
        }
        self.last = Some((position, hash));
        let is_short = position + 1 < self.limits.avg;
        let mask = if is_short {
            self.limits.strict
        } else {
            self.limits.loose
        };
        hash & mask == 0
    }
}
