//! Keys: a slot opens with its secret only, and each way in which it may not open is told apart.

use crate::repository::format::REPO;
use ccb::model::ids::RepositoryId;
use ccb::model::strategy::Kdf;
use ccb::repository::format::FormatError;
use ccb::repository::format::blob::{BlobKind, blob_id};
use ccb::repository::format::config::{CipherSuite, Operation, RepositoryConfig};
use ccb::repository::format::key::{
    EpochKey, KdfParams, KeyError, Keyring, Secret, SlotFile, make_slot, open_slot,
};
use jiff::Timestamp;

const HEX_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const BASE64_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PLACE: (RepositoryId, CipherSuite) = (REPO, CipherSuite::Aes256Gcm);

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

fn slot(text: &str, kdf: Kdf) -> Result<SlotFile, KeyError> {
    let ring = Keyring::new([1; 32], [2; 32]);
    make_slot(
        &ring,
        &secret(text),
        kdf,
        "main",
        PLACE,
        [7; 32],
        Timestamp::UNIX_EPOCH,
    )
}

fn open(file: &SlotFile, text: &str) -> Result<Keyring, KeyError> {
    open_slot(file, &secret(text), "main", PLACE)
}

fn same(a: &Keyring, b: &Keyring) -> bool {
    let id = |ring| blob_id(ring, BlobKind::Data, b"x");
    a.id() == b.id() && a.epoch() == b.epoch() && id(a) == id(b)
}

#[test]
fn a_slot_opens_with_its_secret_in_either_spelling() {
    let file = slot(HEX_KEY, Kdf::Auto).unwrap();
    assert_eq!(file.kdf, KdfParams::Raw);
    let file = SlotFile::decode(&file.encode()).unwrap();
    let original = Keyring::new([1; 32], [2; 32]);
    for text in [HEX_KEY, &HEX_KEY.to_uppercase(), BASE64_KEY] {
        assert!(same(&open(&file, text).unwrap(), &original));
    }
}

#[test]
fn a_passphrase_is_stretched_and_opens_its_slot() {
    let file = slot("correct horse battery staple", Kdf::Auto).unwrap();
    assert_eq!(file.kdf, KdfParams::PASSPHRASE);
    assert!(open(&file, "correct horse battery staple").is_ok());
    let wrong = Some(KeyError::WrongKey("main".into()));
    assert_eq!(open(&file, "correct horse battery stable").err(), wrong);
    assert_eq!(slot("", Kdf::Auto).err(), Some(KeyError::Empty));
    assert_eq!(slot("not a key", Kdf::Raw).err(), Some(KeyError::NotRaw));
}

#[test]
fn a_wrong_key_a_damaged_slot_and_a_foreign_one_are_told_apart() {
    let file = slot(HEX_KEY, Kdf::Raw).unwrap();
    let wrong = Some(KeyError::WrongKey("main".into()));
    assert_eq!(open(&file, &HEX_KEY.replace('0', "1")).err(), wrong);
    assert_eq!(open(&file, "a passphrase").err(), wrong);
    let bytes = file.encode();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(SlotFile::decode(&flipped).is_err(), "byte {at}");
        assert!(SlotFile::decode(&bytes[..at]).is_err(), "length {at}");
    }
    let damaged = Some(KeyError::Format(FormatError::Authentication("key slot")));
    let renamed = open_slot(&file, &secret(HEX_KEY), "other", PLACE);
    assert_eq!(renamed.err(), damaged);
    let downgraded = open_slot(&file, &secret(HEX_KEY), "main", (REPO, CipherSuite::None));
    assert_eq!(downgraded.err(), damaged);
    let elsewhere = (RepositoryId([9; 16]), CipherSuite::Aes256Gcm);
    assert_eq!(
        open_slot(&file, &secret(HEX_KEY), "main", elsewhere).err(),
        wrong
    );
}

#[test]
fn a_slot_can_not_ask_for_all_memory_or_for_ever() {
    for (memory_kib, passes, lanes) in [(u32::MAX, 1, 1), (1024, u32::MAX, 1), (1024, 1, 17)] {
        let mut file = slot("phrase", Kdf::Argon2id).unwrap();
        file.kdf = KdfParams::Argon2id {
            memory_kib,
            passes,
            lanes,
        };
        let refused = open(&file, "phrase").err();
        assert!(
            matches!(refused, Some(KeyError::Excessive { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn later_versions_and_kinds_of_slots_are_named() {
    let text = String::from_utf8(slot(HEX_KEY, Kdf::Raw).unwrap().encode()).unwrap();
    let later = text.replace("\"v\":1", "\"v\":2");
    let refused = SlotFile::decode(later.as_bytes());
    assert!(matches!(
        refused,
        Err(FormatError::Version { found: 2, .. })
    ));
    let other = text.replace("\"secret\"", "\"x25519\"");
    let refused = SlotFile::decode(other.as_bytes());
    assert!(matches!(refused, Err(FormatError::Feature { .. })));
}

#[test]
fn a_new_epoch_keeps_names_and_reads_what_was_sealed_before() {
    let ring = Keyring::new([1; 32], [2; 32]);
    let rotated = ring.with_epoch(&EpochKey::new(2, [3; 32])).unwrap();
    assert_eq!((ring.epoch(), rotated.epoch()), (1, 2));
    assert_eq!(ring.id(), rotated.id());
    for kind in [BlobKind::Data, BlobKind::Tree] {
        assert_eq!(blob_id(&ring, kind, b"x"), blob_id(&rotated, kind, b"x"));
    }
    assert_ne!(
        blob_id(&ring, BlobKind::Data, b"x"),
        blob_id(&ring, BlobKind::Tree, b"x")
    );
}

#[test]
fn an_epoch_is_never_given_another_key() {
    let ring = Keyring::new([1; 32], [2; 32]);
    assert!(ring.with_epoch(&EpochKey::new(1, [2; 32])).is_ok());
    assert!(ring.with_epoch(&EpochKey::new(1, [3; 32])).is_err());
}

#[test]
fn a_repository_description_reads_back_and_names_what_it_needs() {
    let config = RepositoryConfig::new(REPO, CipherSuite::Aes256Gcm, Timestamp::UNIX_EPOCH);
    let bytes = config.encode();
    assert_eq!(RepositoryConfig::decode(&bytes).as_ref(), Ok(&config));
    for len in 0..bytes.len() {
        assert!(RepositoryConfig::decode(&bytes[..len]).is_err());
    }
    let text = String::from_utf8(bytes).unwrap();
    let foreign = RepositoryConfig::decode(b"{\"version\":2,\"id\":\"restic\"}");
    assert!(matches!(foreign, Err(FormatError::Foreign(_))));
    for field in ["format", "chunker_version"] {
        let later = text.replace(&format!("\"{field}\":1"), &format!("\"{field}\":2"));
        let refused = RepositoryConfig::decode(later.as_bytes());
        assert!(
            matches!(refused, Err(FormatError::Version { found: 2, .. })),
            "{field}"
        );
    }
    let featured = text.replace("\"gc\":[]", "\"gc\":[\"pins\"]");
    let featured = RepositoryConfig::decode(featured.as_bytes()).unwrap();
    assert!(featured.permits(Operation::Read).is_ok());
    assert!(featured.permits(Operation::Write).is_ok());
    let refused = featured.permits(Operation::Remove).unwrap_err();
    assert!(refused.to_string().contains("`pins`"), "{refused}");
}
