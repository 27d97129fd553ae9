//! The test vectors of schemas/repository.md are what this code computes. A difference is a change of
//! the format, which no release may make.

use crate::repository::format::{keys, noise};
use ccb::model::ids::{BlobId, Digest, SessionId, hex};
use ccb::model::strategy::Kdf;
use ccb::model::tree::{Content, Node, NodeKind};
use ccb::repository::format::blob::{BlobKind, blob_id};
use ccb::repository::format::chunk::{Chunker, Profile};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::index::{Segment, encode};
use ccb::repository::format::key::{Keyring, Secret, make_slot};
use ccb::repository::format::pack::{PackWriter, Stored};
use ccb::repository::format::parts::{PackedPart, PartSealer, open_parts};
use ccb::repository::format::seal::{ObjectType, OpenType, Packer, seal, sign};
use ccb::repository::format::tree::encode_leaves;
use jiff::Timestamp;
use std::fmt::Write;

#[test]
fn the_vectors_of_the_specification_hold() {
    let specification = include_str!("../../../../schemas/repository.md");
    let (_, rest) = specification.split_once("```vectors\n").unwrap();
    let (written, _) = rest.split_once("```").unwrap();
    assert_eq!(written, vectors());
}

fn vectors() -> String {
    let mut out = String::new();
    let mut put = |name: &str, value: String| {
        writeln!(out, "{name} = {value}").unwrap();
    };
    let aes = keys(CipherSuite::Aes256Gcm);
    let ring = aes.keyring();
    put("keyring-id", ring.id().to_string());
    for (name, kind) in [("data", BlobKind::Data), ("tree", BlobKind::Tree)] {
        put(
            &format!("blob-id {name} abc"),
            blob_id(ring, kind, b"abc").to_string(),
        );
    }
    put("public keyring-id", Keyring::public().id().to_string());
    for (name, profile) in [
        ("db", Profile::Db),
        ("files", Profile::Files),
        ("media", Profile::Media),
    ] {
        put(&format!("cuts {name}"), cuts(ring, profile));
    }
    put("slot", String::from_utf8(slot(ring)).unwrap());
    let tree = tree();
    put("tree", hex(&tree));
    for (name, suite) in [
        ("aes256gcm", CipherSuite::Aes256Gcm),
        ("chacha20poly1305", CipherSuite::ChaCha20Poly1305),
        ("none", CipherSuite::None),
    ] {
        let keys = keys(suite);
        let object = seal(&keys, ObjectType::Manifest, "backups/a/b", b"", [5; 32]);
        put(&format!("manifest {name}"), hex(&object));
        let mut packer = Packer::new(1);
        let parts = [&b"abc"[..], b"defg"].map(|part| PackedPart::new(&mut packer, part));
        let wal = "wal/a/7/00000001/000000010000000000000001";
        let mut sealer = PartSealer::new(&keys, wal, [5; 32]);
        let mut object: Vec<u8> = parts
            .into_iter()
            .flat_map(|part| sealer.part(part))
            .collect();
        object.extend(sealer.end());
        assert_eq!(open_parts(&keys, wal, &object).unwrap(), b"abcdefg");
        put(&format!("wal {name}"), hex(&object));
        let mut writer = PackWriter::new(&keys, BlobKind::Data, [8; 32], Vec::new());
        let id = |content: &[u8]| blob_id(keys.keyring(), BlobKind::Data, content);
        let group = [(id(b"abc"), 3), (id(b"defg"), 4)];
        writer.push(&group, Stored::Raw(b"abcdefg")).unwrap();
        writer.push(&[(id(&[0; 9]), 9)], Stored::Zeros).unwrap();
        let pack = writer.finish(false);
        put(&format!("pack {name}"), hex(&pack.bytes));
        put(&format!("pack-name {name}"), pack.name.to_string());
        if suite == CipherSuite::Aes256Gcm {
            let mut segment = Segment::new(SessionId([6; 16]), 2);
            segment.add(pack.name, pack.bytes.len() as u64, &pack.footer);
            put("index payload", hex(&encode(&segment)));
        }
    }
    let lease = sign(
        &aes,
        OpenType::Lease,
        "leases/a/start",
        &serde_json::json!({"a": 1}),
    );
    put(
        "lease",
        String::from_utf8(lease).unwrap().replace('\n', "\\n"),
    );
    out
}

fn cuts(ring: &Keyring, profile: Profile) -> String {
    let data = noise(0, 16 << 20);
    let chunker = Chunker::new(&ring.chunker_key(), profile);
    let mut rest = &data[..];
    let mut lengths = Vec::new();
    while !rest.is_empty() {
        let len = chunker.cut(rest);
        lengths.push(len);
        rest = &rest[len..];
    }
    let first: Vec<String> = lengths.iter().take(6).map(ToString::to_string).collect();
    let all: Vec<u8> = lengths
        .iter()
        .flat_map(|len| (*len as u32).to_le_bytes())
        .collect();
    format!(
        "{} … {} chunks, {}",
        first.join(" "),
        lengths.len(),
        Digest::of(&all)
    )
}

fn slot(ring: &Keyring) -> Vec<u8> {
    let secret = Secret::new(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_vec());
    let place = (crate::repository::format::REPO, CipherSuite::Aes256Gcm);
    let created = Timestamp::UNIX_EPOCH;
    make_slot(ring, &secret, Kdf::Auto, "main", place, [7; 32], created)
        .unwrap()
        .encode()
}

fn tree() -> Vec<u8> {
    let file = Node {
        name: b"a".to_vec(),
        kind: NodeKind::File {
            size: 3,
            content: Content {
                blobs: vec![BlobId([9; 32])],
                is_list: false,
            },
            extents: Vec::new(),
        },
        mode: 0o644,
        uid: 1000,
        gid: 0,
        user: Some("ada".into()),
        group: None,
        mtime_ns: 1_000_000_000,
        ctime_ns: -1,
        inode: 300,
        device: 0,
        hard_link: None,
        xattrs: vec![(b"user.k".to_vec(), b"v".to_vec())],
        unknown: Vec::new(),
    };
    encode_leaves(&[file]).unwrap().remove(0).blob
}
