//! Envelopes: what is sealed opens under its own name, type and repository, and nowhere else.

use crate::repository::format::{REPO, SUITES, keys, keys_of, noise};
use ccb::model::ids::RepositoryId;
use ccb::repository::format::FormatError;
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::key::{EpochKey, Keyring, Keys};
use ccb::repository::format::seal::{ObjectType, OpenType, open, open_signed, seal, sign};
use serde_json::{Value, json};

const NAME: &str = "backups/db/one";

#[test]
fn a_payload_reads_back_under_every_cipher() {
    for suite in SUITES {
        for payload in [
            vec![],
            b"text".to_vec(),
            noise(1, 100_000),
            vec![0; 1 << 20],
        ] {
            let object = seal(&keys(suite), ObjectType::Manifest, NAME, &payload, [5; 32]);
            let opened = open(&keys(suite), ObjectType::Manifest, NAME, &object);
            assert_eq!(opened, Ok(payload));
        }
    }
}

#[test]
fn cut_off_and_flipped_objects_are_refused_at_every_byte() {
    for suite in SUITES {
        let keys = keys(suite);
        let object = seal(&keys, ObjectType::Index, "", b"some payload", [5; 32]);
        for at in 0..object.len() {
            assert!(open(&keys, ObjectType::Index, "", &object[..at]).is_err());
            for bit in 0..8 {
                let mut flipped = object.clone();
                flipped[at] ^= 1 << bit;
                let opened = open(&keys, ObjectType::Index, "", &flipped);
                assert!(opened.is_err(), "{suite:?}: bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn the_same_bytes_elsewhere_are_refused() {
    for suite in SUITES {
        let own = keys(suite);
        let object = seal(&own, ObjectType::Manifest, NAME, b"payload", [5; 32]);
        let damaged = Err(FormatError::Authentication("manifest"));
        let renamed = open(&own, ObjectType::Manifest, "backups/db/two", &object);
        assert_eq!(renamed, damaged);
        let elsewhere = keys_of(RepositoryId([9; 16]), suite);
        assert_eq!(
            open(&elsewhere, ObjectType::Manifest, NAME, &object),
            damaged
        );
        let retyped = open(&own, ObjectType::Tomb, NAME, &object);
        assert_eq!(retyped, Err(FormatError::Foreign("tomb")));
        let mut forged = object.clone();
        forged[4] = 5; // the code of tombs
        let retyped = open(&own, ObjectType::Tomb, NAME, &forged);
        assert_eq!(retyped, Err(FormatError::Authentication("tomb")));
    }
}

#[test]
fn an_older_epoch_opens_and_an_unknown_one_is_named() {
    let suite = CipherSuite::Aes256Gcm;
    let first = Keyring::new([1; 32], [2; 32]);
    let second = first.with_epoch(&EpochKey::new(2, [3; 32])).unwrap();
    let (first, second) = (
        Keys::new(first, REPO, suite),
        Keys::new(second, REPO, suite),
    );
    let old = seal(&first, ObjectType::Run, "runs/1", b"old", [5; 32]);
    let new = seal(&second, ObjectType::Run, "runs/1", b"new", [6; 32]);
    assert_eq!(
        open(&second, ObjectType::Run, "runs/1", &old),
        Ok(b"old".to_vec())
    );
    let refused = open(&first, ObjectType::Run, "runs/1", &new).unwrap_err();
    assert!(
        matches!(refused, FormatError::NoKey { epoch: 2, .. }),
        "{refused}"
    );
}

#[test]
fn a_later_version_is_named() {
    let keys = keys(CipherSuite::Aes256Gcm);
    let mut object = seal(&keys, ObjectType::Manifest, NAME, b"payload", [5; 32]);
    object[5] = 2;
    let refused = open(&keys, ObjectType::Manifest, NAME, &object).unwrap_err();
    assert!(matches!(
        refused,
        FormatError::Version {
            found: 2,
            known: 1,
            ..
        }
    ));
    assert!(refused.to_string().contains("use a newer ccb"), "{refused}");
}

#[test]
fn leases_are_readable_and_can_not_be_altered_or_moved() {
    for suite in SUITES {
        let keys = keys(suite);
        let record = json!({"host": "a", "ttl": 900});
        let name = "leases/1/start";
        let object = sign(&keys, OpenType::Lease, name, &record);
        assert!(object.starts_with(b"{\"host\":\"a\",\"ttl\":900}\nhmac-sha256 1 "));
        let read = |kind, name, bytes: &[u8]| open_signed::<Value>(&keys, kind, name, bytes);
        assert_eq!(read(OpenType::Lease, name, &object), Ok(record));
        assert!(read(OpenType::Lease, "leases/2/start", &object).is_err());
        assert!(read(OpenType::Prune, name, &object).is_err());
        for at in 0..object.len() {
            assert!(
                read(OpenType::Lease, name, &object[..at]).is_err(),
                "length {at}"
            );
            for bit in 0..8 {
                let mut flipped = object.clone();
                flipped[at] ^= 1 << bit;
                assert!(read(OpenType::Lease, name, &flipped).is_err(), "byte {at}");
            }
        }
    }
}
