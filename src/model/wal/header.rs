//! The first bytes of a segment. They say which cluster wrote it, where in the log it belongs and how long it
//! is, so that a file under a wrong name, of another server, or cut short is seen before it is kept or used.

use crate::model::wal::name::{Lsn, SegmentBytes, SegmentName, SystemId};

/// Length of the long header that every segment starts with.
pub const HEADER_LEN: usize = 40;

/// The flag of the long header.
const IS_LONG: u16 = 0x0002;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The version of the log's format: one for each major version of PostgreSQL.
    pub magic: u16,
    /// The timeline of its first page. The first segment of a timeline begins with pages of the one before.
    pub timeline: u32,
    /// Where in the log it begins.
    pub starts_at: Lsn,
    /// The cluster that wrote it.
    pub system: SystemId,
    /// How long the cluster's segments are.
    pub segment_bytes: SegmentBytes,
}

/// Why a file is not the segment that its name says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum WalError {
    #[error("`{name}` does not begin like a WAL segment: {why}")]
    NoSegment { name: SegmentName, why: String },
    #[error(
        "`{name}` has {len} bytes, and segments of this cluster have {want}: it is cut short or still being written"
    )]
    Length {
        name: SegmentName,
        len: u64,
        want: u64,
    },
    #[error(
        "`{name}` holds the log from {found} on timeline {timeline}: it is another segment under this name"
    )]
    Misnamed {
        name: SegmentName,
        found: Lsn,
        timeline: u32,
    },
}

impl SegmentHeader {
    /// Reads the header of the segment `name`.
    pub fn read(name: SegmentName, bytes: &[u8]) -> Result<Self, WalError> {
        let no_segment = |why: &str| WalError::NoSegment {
            name,
            why: why.to_owned(),
        };
        let head: &[u8; HEADER_LEN] = bytes
            .first_chunk()
            .ok_or_else(|| no_segment("it is shorter than a header"))?;
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let magic = u16_at(0);
        // 0xD097 is version 10, 0xD118 is 18. The next ones will count on.
        if !(0xD000..=0xD7FF).contains(&magic) {
            return Err(no_segment("its magic number is not that of a log"));
        }
        if u16_at(2) & IS_LONG == 0 {
            return Err(no_segment("its first page is not the first of a segment"));
        }
        let segment_bytes = SegmentBytes::new(u32_at(32).into())
            .ok_or_else(|| no_segment("the length of segments that it states is impossible"))?;
        Ok(Self {
            magic,
            timeline: u32_at(4),
            starts_at: Lsn(u64_at(8)),
            system: SystemId(u64_at(24)),
            segment_bytes,
        })
    }
}

/// Holds a segment's name and length against what it says of itself. `head` are its first bytes.
pub fn check_segment(name: SegmentName, len: u64, head: &[u8]) -> Result<SegmentHeader, WalError> {
    let header = SegmentHeader::read(name, head)?;
    let want = header.segment_bytes.get();
    if len != want {
        return Err(WalError::Length { name, len, want });
    }
    let starts_at = name.number(header.segment_bytes).map(|n| Lsn(n * want));
    let is_of_timeline = (1..=name.timeline).contains(&header.timeline);
    if starts_at != Some(header.starts_at) || !is_of_timeline {
        return Err(WalError::Misnamed {
            name,
            found: header.starts_at,
            timeline: header.timeline,
        });
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use crate::model::wal::{Lsn, SegmentName, SystemId, WalError, check_segment};

    /// As PostgreSQL 15 writes them: magic, flags, timeline, address, remaining length, system, lengths.
    fn head(timeline: u32, starts_at: u64, segment: u32) -> Vec<u8> {
        let mut head = vec![0x10, 0xD1, 0x02, 0x00];
        head.extend(timeline.to_le_bytes());
        head.extend(starts_at.to_le_bytes());
        head.extend([0; 8]);
        head.extend(7_213_906_123_u64.to_le_bytes());
        head.extend(segment.to_le_bytes());
        head.extend(8192_u32.to_le_bytes());
        head
    }

    const MIB: u64 = 1 << 20;

    fn name(text: &str) -> SegmentName {
        text.parse().unwrap()
    }

    #[test]
    fn a_segment_is_known_by_its_first_bytes() {
        let third = name("000000020000000000000003");
        let header = check_segment(third, 16 * MIB, &head(2, 3 * 16 * MIB, 16 << 20)).unwrap();
        assert_eq!(header.system, SystemId(7_213_906_123));
        assert_eq!(header.starts_at, Lsn(0x300_0000));
        // The first segment of a timeline begins with what the one before had written.
        check_segment(third, 16 * MIB, &head(1, 3 * 16 * MIB, 16 << 20)).unwrap();
    }

    #[test]
    fn what_its_name_does_not_say_is_refused() {
        let third = name("000000020000000000000003");
        let good = head(2, 3 * 16 * MIB, 16 << 20);
        let misnamed = |head: &[u8]| {
            let found = check_segment(third, 16 * MIB, head);
            assert!(matches!(found, Err(WalError::Misnamed { .. })), "{found:?}");
        };
        misnamed(&head(2, 4 * 16 * MIB, 16 << 20));
        misnamed(&head(3, 3 * 16 * MIB, 16 << 20));
        misnamed(&head(0, 3 * 16 * MIB, 16 << 20));
        let cut = check_segment(third, 15 * MIB, &good);
        assert!(matches!(cut, Err(WalError::Length { .. })), "{cut:?}");
        let nonsense = [
            vec![0; 40],
            good[..39].to_vec(),
            [&[0x10, 0xD1, 0, 0][..], &good[4..]].concat(),
            head(2, 3 * 16 * MIB, 12345),
        ];
        for head in nonsense {
            let found = check_segment(third, 16 * MIB, &head);
            assert!(
                matches!(found, Err(WalError::NoSegment { .. })),
                "{found:?}"
            );
        }
    }
}
