//! Index segments: they read back, and no number in one points outside of it.

use ccb::model::ids::{BlobId, Digest, SessionId};
use ccb::repository::format::blob::BlobKind;
use ccb::repository::format::index::{BlobPrefix, IndexEntry, Segment, decode, encode};
use ccb::repository::format::pack::{BlobAt, Encoding, Frame, PackFooter, PackHeader};

fn footer(kind: BlobKind, salt: u8) -> PackFooter {
    let frame = |offset, stored_len, encoding| Frame {
        offset,
        stored_len,
        plain_len: 100,
        encoding,
        depth: 0,
        bases: Vec::new(),
    };
    let delta = Frame {
        depth: 3,
        bases: vec![BlobId([4; 32]), BlobId([5; 32])],
        ..frame(212, 9, Encoding::Delta)
    };
    let blob = |id, frame, offset, len| BlobAt {
        id: BlobId([id; 32]),
        frame,
        offset,
        len,
    };
    PackFooter {
        header: PackHeader {
            kind,
            epoch: 2,
            salt: [salt; 32],
        },
        frames: vec![
            frame(40, 40, Encoding::Zstd),
            frame(96, 100, Encoding::Raw),
            delta,
        ],
        blobs: vec![
            blob(9 ^ salt, 0, 0, 60),
            blob(3 ^ salt, 0, 60, 40),
            blob(7 ^ salt, 1, 0, 100),
            blob(1 ^ salt, 2, 0, 100),
        ],
    }
}

fn segment() -> Segment {
    let mut segment = Segment::new(SessionId([6; 16]), 12);
    segment.supersedes.push(Digest([1; 32]));
    segment.add(Digest([2; 32]), 400, &footer(BlobKind::Data, 16));
    segment.add(Digest([3; 32]), 500, &footer(BlobKind::Tree, 32));
    segment
}

#[test]
fn a_segment_reads_back_with_its_entries_sorted() {
    let mut expected = segment();
    expected.entries.sort_by_key(|entry| entry.id);
    let read = decode(&encode(&segment())).unwrap();
    assert_eq!(read, expected);
    let id = BlobPrefix::from(&BlobId([3 ^ 32; 32]));
    let entry = IndexEntry {
        id,
        frame: 3,
        offset: 60,
        len: 40,
    };
    assert_eq!(
        read.entries.iter().find(|entry| entry.id == id),
        Some(&entry)
    );
    let frame = &read.frames[entry.frame as usize];
    assert_eq!(read.packs[frame.pack as usize].name, Digest([3; 32]));
}

#[test]
fn a_cut_off_segment_is_refused_at_every_byte() {
    let payload = encode(&segment());
    for len in 0..payload.len() {
        assert!(decode(&payload[..len]).is_err(), "length {len}");
    }
    assert!(decode(&[payload, vec![0]].concat()).is_err());
}

#[test]
fn no_altered_byte_leads_to_a_panic_or_to_an_entry_outside_of_its_frame() {
    let payload = encode(&segment());
    for at in 0..payload.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut altered = payload.clone();
            altered[at] = value;
            let Ok(read) = decode(&altered) else { continue };
            for entry in &read.entries {
                let frame = &read.frames[entry.frame as usize];
                assert!(
                    u64::from(entry.offset) + u64::from(entry.len)
                        <= u64::from(frame.frame.plain_len)
                );
                assert!((frame.pack as usize) < read.packs.len());
            }
        }
    }
}

#[test]
fn a_false_count_is_no_allocation() {
    let mut payload = encode(&Segment::new(SessionId([6; 16]), 0));
    for count in 0..4 {
        let at = 26 + count * 4;
        payload[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(decode(&payload).is_err());
        payload[at..at + 4].fill(0);
    }
    assert!(decode(&payload).is_ok());
}
