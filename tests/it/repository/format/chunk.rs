//! Cut points: the same on every path, where the format says, and stable under changes.

use crate::repository::format::noise;
use ccb::repository::format::chunk::{Chunker, Path, Profile};
use ccb::repository::format::key::{EpochKey, Keyring};
use proptest::prelude::{Strategy, any, prop_oneof, proptest};

const PROFILES: [Profile; 3] = [Profile::Db, Profile::Files, Profile::Media];

fn chunker(profile: Profile, path: Path) -> Chunker {
    Chunker::on_path(&Keyring::new([1; 32], [2; 32]).chunker_key(), profile, path)
}

fn lengths(chunker: &Chunker, mut data: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !data.is_empty() {
        let len = chunker.cut(data);
        assert!(len > 0 && len <= data.len());
        lengths.push(len);
        data = &data[len..];
    }
    lengths
}

fn assert_paths_agree(profile: Profile, data: &[u8]) {
    let scalar = lengths(&chunker(profile, Path::Scalar), data);
    for path in Path::available() {
        assert_eq!(lengths(&chunker(profile, path), data), scalar, "{path:?}");
    }
}

/// Random bytes, bytes of a few values, short periods, and runs of one value between them.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let piece = (any::<u64>(), 1usize..90_000, 1usize..40);
    let piece = prop_oneof![
        piece.clone().prop_map(|(seed, len, _)| noise(seed, len)),
        piece
            .clone()
            .prop_map(|(seed, len, values)| noise(seed, len)
                .iter()
                .map(|byte| byte % values as u8)
                .collect()),
        piece
            .clone()
            .prop_map(|(seed, len, period)| noise(seed, period)
                .into_iter()
                .cycle()
                .take(len)
                .collect()),
        piece.prop_map(|(seed, len, _)| vec![seed as u8; len]),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn every_path_cuts_at_the_same_places(data in data(), skip in 0usize..70) {
        assert_paths_agree(Profile::Db, &data[skip.min(data.len())..]);
    }
}

#[test]
fn every_path_cuts_large_data_at_the_same_places() {
    let mut data = noise(7, 12 << 20);
    data.extend(vec![0; 5 << 20]);
    data.extend(b"0123456789abcdef----".iter().cycle().take(5 << 20));
    for profile in PROFILES {
        assert_paths_agree(profile, &data);
    }
}

#[test]
fn the_fast_paths_are_tested_where_they_exist() {
    #[cfg(target_arch = "x86_64")]
    {
        let available = Path::available();
        assert_eq!(
            available.contains(&Path::Avx2),
            is_x86_feature_detected!("avx2")
        );
        let avx512 = is_x86_feature_detected!("avx512vbmi2");
        assert_eq!(available.contains(&Path::Avx512), avx512);
    }
    assert!(Path::available().contains(&Path::Scalar));
}

#[test]
fn lengths_stay_within_their_limits_and_come_near_their_average() {
    let data = noise(1, 64 << 20);
    for profile in PROFILES {
        let found = lengths(&chunker(profile, Path::available()[0]), &data);
        let (last, rest) = found.split_last().unwrap();
        assert!(*last <= profile.max_len());
        for len in rest {
            assert!(
                (profile.min_len() + 1..=profile.max_len()).contains(len),
                "{len}"
            );
        }
        let average = data.len() / found.len();
        let near = profile.avg_len() * 3 / 4..profile.avg_len() * 3 / 2;
        assert!(near.contains(&average), "{profile:?}: {average}");
    }
}

#[test]
fn the_end_of_a_stream_and_data_without_a_cut_follow_the_rule() {
    for path in Path::available() {
        let chunker = chunker(Profile::Db, path);
        let (min, max) = (Profile::Db.min_len(), Profile::Db.max_len());
        assert_eq!(chunker.cut(&[]), 0);
        for len in [1, 63, 64, min - 1, min, min + 1] {
            assert_eq!(chunker.cut(&vec![0; len]), len, "{path:?}");
        }
        // A run of one value is never proposed: only the longest length ends it.
        assert_eq!(chunker.cut(&vec![0; max - 1]), max - 1);
        assert_eq!(chunker.cut(&vec![0; max + 1]), max);
    }
}

#[test]
fn what_follows_the_look_ahead_does_not_move_a_cut() {
    let data = noise(3, 4 << 20);
    let chunker = chunker(Profile::Db, Path::available()[0]);
    let mut at = 0;
    while at + Profile::Db.max_len() <= data.len() {
        let len = chunker.cut(&data[at..]);
        assert_eq!(chunker.cut(&data[at..at + Profile::Db.max_len()]), len);
        at += len;
    }
}

#[test]
fn an_insertion_moves_few_cuts() {
    let before = noise(5, 8 << 20);
    let mut after = before.clone();
    after.splice(1_000_000..1_000_000, *b"a few more bytes");
    let chunker = chunker(Profile::Db, Path::available()[0]);
    let chunks = |data: &[u8]| {
        let mut rest = data;
        let digests = lengths(&chunker, data).into_iter().map(move |len| {
            let (chunk, tail) = rest.split_at(len);
            rest = tail;
            blake3::hash(chunk)
        });
        digests.collect::<Vec<_>>()
    };
    let old = chunks(&before);
    let new = chunks(&after).iter().filter(|id| !old.contains(id)).count();
    assert!(
        (1..=4).contains(&new),
        "{new} of {} chunks are new",
        old.len()
    );
}

#[test]
fn cuts_depend_on_the_key_and_on_nothing_that_rotates() {
    let data = noise(9, 1 << 20);
    let ring = Keyring::new([1; 32], [2; 32]);
    let cuts = |ring: &Keyring| lengths(&Chunker::new(&ring.chunker_key(), Profile::Db), &data);
    assert_eq!(
        cuts(&ring),
        cuts(&ring.with_epoch(&EpochKey::new(2, [9; 32])).unwrap())
    );
    assert_ne!(cuts(&ring), cuts(&Keyring::new([3; 32], [2; 32])));
}
