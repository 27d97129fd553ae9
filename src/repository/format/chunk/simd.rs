//! The search for cut points on AVX-512 and AVX2. Each path finds exactly what `Search::scalar` finds.
//!
//! The 16-byte rolling hash of every position is computed at once by doubling: with `g` the table values,
//! `s1 = g`, `s2[i] = s1[i] + 2*s1[i-1]`, `s4[i] = s2[i] + 4*s2[i-2]`, `s8[i] = s4[i] + 16*s4[i-4]` and
//! `s16[i] = s8[i] + 256*s8[i-8]`, where each sum needs the end of the block before. A search starts one
//! block early to have it, and what the first block proposes is not looked at.
#![allow(unsafe_code)]

use crate::repository::format::chunk::{Path, Search};

/// Whether this machine can take `path`.
pub(super) fn is_available(path: Path) -> bool {
    match path {
        Path::Scalar => true,
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => is_x86_feature_detected!("avx2"),
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vbmi2")
        }
        #[cfg(not(target_arch = "x86_64"))]
        Path::Avx2 | Path::Avx512 => false,
    }
}

/// The length of the first chunk, if a place within the data is confirmed. The data is longer than the
/// shortest chunk, and so longer than any window.
pub(super) fn find(path: Path, search: &mut Search<'_>) -> Option<usize> {
    let from = search.limits.min;
    match path {
        // SAFETY: a chunker is only made for a path for which `is_available` was true on this machine.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => unsafe { x86::find_avx512(search, from) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => unsafe { x86::find_avx2(search, from) },
        _ => search.scalar(from),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::repository::format::chunk::{PROPOSE_MASK, Search, Tables};
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi16, _mm256_alignr_epi8, _mm256_and_si256,
        _mm256_cmpeq_epi16, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_packs_epi16, _mm256_permute2x128_si256, _mm256_permute4x64_epi64, _mm256_set1_epi8,
        _mm256_set1_epi16, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16,
        _mm256_srli_epi16, _mm256_testz_si256, _mm256_unpackhi_epi8, _mm256_unpacklo_epi8,
        _mm256_xor_si256, _mm512_add_epi16, _mm512_alignr_epi32, _mm512_castsi512_si256,
        _mm512_cvtepu8_epi16, _mm512_extracti64x4_epi64, _mm512_loadu_si512,
        _mm512_mask_blend_epi8, _mm512_movepi8_mask, _mm512_or_si512, _mm512_permutex2var_epi8,
        _mm512_set1_epi16, _mm512_setzero_si512, _mm512_shldi_epi32, _mm512_slli_epi16,
        _mm512_testn_epi16_mask,
    };

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load512(block: &[u8; 64]) -> __m512i {
        // SAFETY: the load may be unaligned, and the reference is to all of its 64 bytes.
        unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load256(block: &[u8; 32]) -> __m256i {
        // SAFETY: the load may be unaligned, and the reference is to all of its 32 bytes.
        unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
    }

    /// One byte of each value of the short table, in four registers.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2")]
    fn byte_table512(tables: &Tables, shift: u32) -> [__m512i; 4] {
        std::array::from_fn(|quarter| {
            load512(&std::array::from_fn(|at| {
                (tables.short[quarter * 64 + at] >> shift) as u8
            }))
        })
    }

    /// Looks 64 bytes up in a table of 256: both halves by the low 7 bits, chosen by the highest.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2")]
    fn look_up512(table: &[__m512i; 4], bytes: __m512i) -> __m512i {
        _mm512_mask_blend_epi8(
            _mm512_movepi8_mask(bytes),
            _mm512_permutex2var_epi8(table[0], bytes, table[1]),
            _mm512_permutex2var_epi8(table[2], bytes, table[3]),
        )
    }

    /// `block` moved up by `$lanes` pairs of 16-bit lanes, filled from the end of `before`.
    macro_rules! shifted512 {
        ($block:expr, $before:expr, $pairs:literal) => {
            _mm512_alignr_epi32::<{ 16 - $pairs }>($block, $before)
        };
    }

    /// One step of the doubling on two registers in a row; `before` becomes what the next block needs.
    macro_rules! double512 {
        ($first:ident, $second:ident, $before:ident, $pairs:literal, $bits:literal) => {{
            let first = _mm512_slli_epi16::<$bits>(shifted512!($first, $before, $pairs));
            let second = _mm512_slli_epi16::<$bits>(shifted512!($second, $first, $pairs));
            let sums = (
                _mm512_add_epi16($first, first),
                _mm512_add_epi16($second, second),
            );
            $before = $second;
            sums
        }};
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2")]
    pub(super) fn find_avx512(search: &mut Search<'_>, from: usize) -> Option<usize> {
        let data = search.data;
        let low_bytes = byte_table512(search.tables, 0);
        let high_bytes = byte_table512(search.tables, 8);
        let mask = _mm512_set1_epi16(PROPOSE_MASK as i16);
        let zero = _mm512_setzero_si512();
        let (mut before1, mut before2, mut before4, mut before8) = (zero, zero, zero, zero);
        let mut start = from - 64;
        let (blocks, _) = data[start..].as_chunks::<64>();
        for block in blocks {
            let bytes = load512(block);
            let low = look_up512(&low_bytes, bytes);
            let high = look_up512(&high_bytes, bytes);
            let first = _mm512_or_si512(
                _mm512_cvtepu8_epi16(_mm512_castsi512_si256(low)),
                _mm512_slli_epi16::<8>(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(high))),
            );
            let second = _mm512_or_si512(
                _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(low)),
                _mm512_slli_epi16::<8>(_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(high))),
            );
            // One 16-bit lane is half of what `alignr` moves: a funnel shift does the other half.
            let by_one = |block, pairs_up| _mm512_shldi_epi32::<16>(block, pairs_up);
            let (first1, second1) = (
                by_one(first, shifted512!(first, before1, 1)),
                by_one(second, shifted512!(second, first, 1)),
            );
            before1 = second;
            let first = _mm512_add_epi16(first, _mm512_slli_epi16::<1>(first1));
            let second = _mm512_add_epi16(second, _mm512_slli_epi16::<1>(second1));
            let (first, second) = double512!(first, second, before2, 1, 2);
            let (first, second) = double512!(first, second, before4, 2, 4);
            let (first, second) = double512!(first, second, before8, 4, 8);
            let proposed = u64::from(_mm512_testn_epi16_mask(first, mask))
                | u64::from(_mm512_testn_epi16_mask(second, mask)) << 32;
            if proposed != 0 && start >= from {
                let found = search.first_confirmed(start, proposed);
                if found.is_some() {
                    return found;
                }
            }
            start += 64;
        }
        search.scalar(start.max(from))
    }

    /// A table of 16 values, one byte of each, in both halves of a register.
    #[target_feature(enable = "avx2")]
    fn nibble_table(table: &[u16; 16], shift: u32) -> __m256i {
        load256(&std::array::from_fn(|at| (table[at % 16] >> shift) as u8))
    }

    /// One step of the doubling on two registers in a row. `alignr` works within halves, so the half
    /// before each comes from a permutation first; `$keep` is 16 less the bytes moved.
    macro_rules! double256 {
        ($first:ident, $second:ident, $before:ident, $keep:literal, $bits:literal) => {{
            let across = _mm256_permute2x128_si256::<0x21>($before, $first);
            let first = _mm256_alignr_epi8::<$keep>($first, across);
            let across = _mm256_permute2x128_si256::<0x21>($first, $second);
            let second = _mm256_alignr_epi8::<$keep>($second, across);
            let sums = (
                _mm256_add_epi16($first, _mm256_slli_epi16::<$bits>(first)),
                _mm256_add_epi16($second, _mm256_slli_epi16::<$bits>(second)),
            );
            $before = $second;
            sums
        }};
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn find_avx2(search: &mut Search<'_>, from: usize) -> Option<usize> {
        const SWAP_MIDDLE: i32 = 0b11_01_10_00;
        let data = search.data;
        let (high0, high8) = (
            nibble_table(&search.tables.high, 0),
            nibble_table(&search.tables.high, 8),
        );
        let (low0, low8) = (
            nibble_table(&search.tables.low, 0),
            nibble_table(&search.tables.low, 8),
        );
        let mask = _mm256_set1_epi16(PROPOSE_MASK as i16);
        let nibble = _mm256_set1_epi8(15);
        let zero = _mm256_setzero_si256();
        let (mut before1, mut before2, mut before4, mut before8) = (zero, zero, zero, zero);
        let mut start = from - 32;
        let (blocks, _) = data[start..].as_chunks::<32>();
        for block in blocks {
            // `unpack` interleaves within halves: with the middle quarters swapped first, what comes
            // out is in order.
            let bytes = _mm256_permute4x64_epi64::<SWAP_MIDDLE>(load256(block));
            let low = _mm256_and_si256(bytes, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
            let value0 = _mm256_xor_si256(
                _mm256_shuffle_epi8(low0, low),
                _mm256_shuffle_epi8(high0, high),
            );
            let value8 = _mm256_xor_si256(
                _mm256_shuffle_epi8(low8, low),
                _mm256_shuffle_epi8(high8, high),
            );
            let first = _mm256_unpacklo_epi8(value0, value8);
            let second = _mm256_unpackhi_epi8(value0, value8);
            let (first, second) = double256!(first, second, before1, 14, 1);
            let (first, second) = double256!(first, second, before2, 12, 2);
            let (first, second) = double256!(first, second, before4, 8, 4);
            let (first, second) = double256!(first, second, before8, 0, 8);
            let first = _mm256_cmpeq_epi16(_mm256_and_si256(first, mask), zero);
            let second = _mm256_cmpeq_epi16(_mm256_and_si256(second, mask), zero);
            let any = _mm256_or_si256(first, second);
            if _mm256_testz_si256(any, any) == 0 && start >= from {
                let packed = _mm256_packs_epi16(first, second);
                let ordered = _mm256_permute4x64_epi64::<SWAP_MIDDLE>(packed);
                let proposed = u64::from(_mm256_movemask_epi8(ordered) as u32);
                let found = search.first_confirmed(start, proposed);
                if found.is_some() {
                    return found;
                }
            }
            start += 32;
        }
        search.scalar(start.max(from))
    }
}
