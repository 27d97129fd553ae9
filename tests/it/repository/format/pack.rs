//! Packs: single frames, groups and zeros read back; damage, mix-ups and bombs do not get through.

use crate::repository::format::{SUITES, keys, keys_of, noise};
use ccb::model::ids::{BlobId, RepositoryId};
use ccb::repository::format::FormatError;
use ccb::repository::format::blob::{BlobKind, blob_id};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::key::Keys;
use ccb::repository::format::pack::{
    BASES_MAX, Encoding, FinishedPack, Frame, FrameDecoder, FrameEncoder, PackHeader, PackKey,
    PackWriter, Stored, check_pack, decode_frame, pack_name, read_pack_footer, unseal_frame,
};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

const SUITE: CipherSuite = CipherSuite::Aes256Gcm;

/// What a frame that stands alone decodes to.
fn open_frame<'a>(
    key: &PackKey,
    frame: &Frame,
    sealed: &'a mut [u8],
    decoder: &'a mut FrameDecoder,
) -> Result<&'a [u8], FormatError> {
    decode_frame(frame, unseal_frame(key, frame, sealed)?, &[], decoder)
}

/// A pack of one frame for each group.
fn pack(keys: &Keys, groups: &[Vec<Vec<u8>>], pad: bool) -> FinishedPack {
    let mut encoder = FrameEncoder::new(1);
    let mut writer = PackWriter::new(keys, BlobKind::Data, [8; 32], Vec::new());
    for group in groups {
        let blobs: Vec<_> = group
            .iter()
            .map(|blob| {
                let id = blob_id(keys.keyring(), BlobKind::Data, blob);
                (id, blob.len() as u32)
            })
            .collect();
        let plain = group.concat();
        writer.push(&blobs, encoder.encode(&plain)).unwrap();
    }
    writer.finish(pad)
}

fn small(keys: &Keys) -> FinishedPack {
    let groups = [
        vec![b"alone".to_vec()],
        vec![
            b"one of ".to_vec(),
            b"three in ".to_vec(),
            b"a group".to_vec(),
        ],
        vec![vec![0; 9]],
    ];
    pack(keys, &groups, false)
}

/// The plaintext of each blob, read as a restore reads it: by frame, from the index's facts alone.
fn contents(keys: &Keys, pack: &FinishedPack) -> Vec<Vec<u8>> {
    let key = PackKey::new(keys, pack.footer.header).unwrap();
    let mut decoder = FrameDecoder::new();
    let read = pack.footer.blobs.iter().map(|blob| {
        let frame = &pack.footer.frames[blob.frame as usize];
        let range = frame.range();
        let mut sealed = pack.bytes[range.start as usize..range.end as usize].to_vec();
        let plain = open_frame(&key, frame, &mut sealed, &mut decoder).unwrap();
        plain[blob.offset as usize..][..blob.len as usize].to_vec()
    });
    read.collect()
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_packed_reads_back(
        lens in proptest::collection::vec(proptest::collection::vec(1usize..5000, 1..5), 0..12),
        seed in any::<u64>(), pad in any::<bool>(), sparse in any::<bool>(), suite in 0usize..3,
    ) {
        let keys = keys(SUITES[suite]);
        let groups: Vec<Vec<Vec<u8>>> = lens.iter().map(|group| group.iter().map(|len| {
            if sparse && len % 3 == 0 { vec![0; *len] }
            else if len % 2 == 0 { vec![seed as u8; *len] }
            else { noise(seed ^ *len as u64, *len) }
        }).collect()).collect();
        let pack = pack(&keys, &groups, pad);
        prop_assert_eq!(pack_name(&pack.bytes), pack.name);
        let footer = check_pack(&keys, &pack.bytes, &mut FrameDecoder::new());
        prop_assert_eq!(footer.as_ref(), Ok(&pack.footer));
        prop_assert_eq!(contents(&keys, &pack), groups.concat());
        if pad {
            prop_assert!((pack.bytes.len() as u64).is_multiple_of(2) || pack.bytes.len() < 64);
        }
    }
}

#[test]
fn cut_off_and_flipped_packs_are_refused_at_every_byte() {
    for suite in SUITES {
        let keys = keys(suite);
        let pack = small(&keys);
        let mut decoder = FrameDecoder::new();
        for at in 0..pack.bytes.len() {
            assert!(check_pack(&keys, &pack.bytes[..at], &mut decoder).is_err());
            for bit in 0..8 {
                let mut flipped = pack.bytes.clone();
                flipped[at] ^= 1 << bit;
                let checked = check_pack(&keys, &flipped, &mut decoder);
                assert!(checked.is_err(), "{suite:?}: bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn frames_can_not_be_swapped_moved_or_redescribed() {
    let keys = keys(SUITE);
    let groups = [vec![noise(1, 100)], vec![noise(2, 100)]];
    let pack = pack(&keys, &groups, false);
    let key = PackKey::new(&keys, pack.footer.header).unwrap();
    let mut decoder = FrameDecoder::new();
    let [first, second] = &pack.footer.frames[..] else {
        panic!("two frames")
    };
    let bytes = |frame: &Frame| {
        pack.bytes[frame.range().start as usize..frame.range().end as usize].to_vec()
    };
    let damaged = Err(FormatError::Authentication("pack"));
    assert_eq!(
        open_frame(&key, first, &mut bytes(second), &mut decoder),
        damaged
    );
    let zstd = Frame {
        encoding: Encoding::Zstd,
        ..first.clone()
    };
    assert_eq!(
        open_frame(&key, &zstd, &mut bytes(first), &mut decoder),
        damaged
    );
    let longer = Frame {
        plain_len: 101,
        ..zstd
    };
    assert_eq!(
        open_frame(&key, &longer, &mut bytes(first), &mut decoder),
        damaged
    );
}

#[test]
fn a_pack_of_another_repository_kind_or_key_is_refused() {
    let own = keys(SUITE);
    let pack = small(&own);
    let damaged = Err(FormatError::Authentication("pack"));
    let elsewhere = keys_of(RepositoryId([9; 16]), SUITE);
    assert_eq!(read_pack_footer(&elsewhere, &pack.bytes), damaged);
    let mut retyped = pack.bytes.clone();
    retyped[5] = 2;
    assert_eq!(read_pack_footer(&own, &retyped), damaged);
    let mut later = pack.bytes.clone();
    later[4] = 2;
    let refused = read_pack_footer(&own, &later);
    assert!(matches!(
        refused,
        Err(FormatError::Version { found: 2, .. })
    ));
    let mut unknown = pack.bytes.clone();
    unknown[5] = 3;
    let refused = read_pack_footer(&own, &unknown);
    assert!(matches!(refused, Err(FormatError::Feature { .. })));
    assert_eq!(
        PackHeader::decode(b"no pack at all"),
        Err(FormatError::Foreign("pack"))
    );
}

#[test]
fn a_blob_under_another_blobs_id_is_found_out() {
    let keys = keys(SUITE);
    let mut writer = PackWriter::new(&keys, BlobKind::Data, [8; 32], Vec::new());
    writer
        .push(&[(BlobId([7; 32]), 5)], Stored::Raw(b"bytes"))
        .unwrap();
    let pack = writer.finish(false);
    let refused = check_pack(&keys, &pack.bytes, &mut FrameDecoder::new()).unwrap_err();
    assert!(refused.to_string().contains("07070707"), "{refused}");
}

#[test]
fn a_frame_that_decodes_to_another_length_is_refused() {
    let keys = keys(SUITE);
    let bomb = zstd::bulk::compress(&vec![1; 4 << 20], 3).unwrap();
    let mut decoder = FrameDecoder::new();
    for len in [10u32, (4 << 20) - 1, (4 << 20) + 1] {
        let mut writer = PackWriter::new(&keys, BlobKind::Data, [8; 32], Vec::new());
        writer
            .push(&[(BlobId([7; 32]), len)], Stored::Zstd(&bomb))
            .unwrap();
        let pack = writer.finish(false);
        let refused = check_pack(&keys, &pack.bytes, &mut decoder);
        assert!(
            matches!(refused, Err(FormatError::Malformed { .. })),
            "{refused:?}"
        );
    }
    let mut writer = PackWriter::new(&keys, BlobKind::Data, [8; 32], Vec::new());
    let refused = writer.push(&[(BlobId([7; 32]), 33 << 20)], Stored::Zstd(&bomb));
    assert!(matches!(refused, Err(FormatError::TooLarge { .. })));
    assert!(writer.push(&[], Stored::Zstd(&bomb)).is_err());
}

#[test]
fn a_frame_whose_bases_do_not_fit_its_flags_is_refused() {
    let keys = keys(SUITE);
    let header = PackHeader {
        kind: BlobKind::Data,
        epoch: 1,
        salt: [8; 32],
    };
    let key = PackKey::new(&keys, header).unwrap();
    let frame = Frame {
        offset: 40,
        stored_len: 3,
        plain_len: 9,
        encoding: Encoding::Delta,
        depth: 1,
        bases: vec![BlobId([1; 32])],
    };
    let mut decoder = FrameDecoder::new();
    for wrong in [
        Frame {
            depth: 0,
            ..frame.clone()
        },
        Frame {
            depth: 9,
            ..frame.clone()
        },
        Frame {
            bases: vec![],
            ..frame.clone()
        },
        Frame {
            bases: vec![BlobId([1; 32]); BASES_MAX + 1],
            ..frame.clone()
        },
        Frame {
            encoding: Encoding::Zstd,
            ..frame
        },
    ] {
        let mut sealed = [0; 19];
        let refused = open_frame(&key, &wrong, &mut sealed, &mut decoder);
        assert!(
            matches!(refused, Err(FormatError::Malformed { .. })),
            "{wrong:?}"
        );
    }
}

#[test]
fn compressible_incompressible_and_zero_bytes_are_stored_accordingly() {
    let mut encoder = FrameEncoder::new(3);
    let noise = noise(4, 100_000);
    assert_eq!(encoder.encode(&noise), Stored::Raw(&noise));
    assert_eq!(encoder.encode(&[0; 100_000]), Stored::Zeros);
    let Stored::Zstd(bytes) = encoder.encode(&[7; 100_000]) else {
        panic!("equal bytes compress")
    };
    assert!(bytes.len() < 1000);
}

#[test]
fn padding_hides_the_length_and_changes_nothing_else() {
    let keys = keys(SUITE);
    let lengths = (20_000..20_200).map(|len| pack(&keys, &[vec![noise(1, len)]], true).bytes.len());
    let different: std::collections::BTreeSet<_> = lengths.collect();
    assert!(different.len() <= 2, "{different:?}");
}

#[test]
fn what_compresses_in_a_long_frame_is_found_by_samples() {
    let mut noise = vec![0; 1 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let mut encoder = FrameEncoder::new(1);
    assert!(matches!(encoder.encode(&noise), Stored::Raw(_)));
    for at in [0, 300_000, (1 << 20) - 80_000] {
        let mut partly = noise.clone();
        partly[at..at + 80_000].fill(b'a');
        let stored = encoder.encode(&partly);
        assert!(matches!(stored, Stored::Zstd(_)), "from {at} on");
    }
}
