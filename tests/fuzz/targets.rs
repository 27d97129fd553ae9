//! What is fuzzed: everything that reads bytes which somebody else may have written. Each target takes any bytes at
//! all and must come back: no panic, no overflow, no hang, no memory out of proportion. Driven by libFuzzer
//! (`tests/fuzz/run`), and for a moment on every run of the tests, by mutations of `tests/fuzz/corpus`.

use ccb::export::gpg::Decrypt;
use ccb::model::ids::{BlobId, RepositoryId};
use ccb::model::secret::Secret;
use ccb::plan::saved;
use ccb::plan_file::{self, Request, UnsetEnv, diagnostic};
use ccb::repository::format::config::{CipherSuite, RepositoryConfig};
use ccb::repository::format::key::{Keyring, Keys};
use ccb::repository::format::manifest::{
    Annotation, ExportRecord, Manifest, Payload, RunRecord, Tomb,
};
use ccb::repository::format::pack::{Encoding, Frame, FrameDecoder, check_pack, decode_frame};
use ccb::repository::format::seal::{self, ObjectType};
use ccb::repository::format::{index, tree};
use ccb::source::postgres::archive::Scanner;
use ccb::source::redis::aof::{AofManifest, End, count_aof};
use ccb::source::redis::rdb;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// One of them.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 11] = [
    ("plan_file", plan_file),
    ("saved_plan", saved_plan),
    ("records", records),
    ("index", index_segment),
    ("tree", trees),
    ("pack", pack),
    ("frame", frame),
    ("rdb", redis_rdb),
    ("aof", redis_aof),
    ("dump", dump),
    ("export", export),
];

/// A plan file with an include, read, formatted, and drawn with what is wrong with it.
pub fn plan_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = plan_file::format("fuzz.kdl", text);
    let read = |path: &str| match path {
        "included.kdl" => Ok("encryption \"default\" { key file=\"k\" }\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let env = |name: &str| (name == "HOME").then(|| "/home/somebody".to_owned());
    let parsed = plan_file::parse(&Request {
        path: "fuzz.kdl",
        text,
        read: &read,
        env: &env,
        vars: &BTreeMap::new(),
        unset_env: UnsetEnv::Warn,
    });
    let problems = match parsed {
        Ok(parsed) => parsed.warnings,
        Err(error) => {
            assert!(!error.problems.is_empty(), "refused without a reason");
            error.problems
        }
    };
    // Drawing hundreds of labels is slow, and no other code than drawing ten.
    diagnostic::report(&problems[..problems.len().min(10)], true, 80);
}

/// A plan as it was saved; one that is read is written again as it was.
pub fn saved_plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(plan) = saved::from_json(text) {
        let again = saved::from_json(&saved::to_json(&plan));
        assert!(again.is_ok_and(|again| saved::id(&again) == saved::id(&plan)));
    }
}

/// The records of a repository that are JSON, once they are opened, and those that anyone may read.
pub fn records(data: &[u8]) {
    let _ = Manifest::decode(data);
    let _ = Tomb::decode(data);
    let _ = Annotation::decode(data);
    let _ = ExportRecord::decode(data);
    let _ = RunRecord::decode(data);
    let _ = RepositoryConfig::decode(data);
    let _ = seal::open(&keys(), ObjectType::Manifest, "backups/a/b", data);
}

/// A segment of the index, once it is opened.
pub fn index_segment(data: &[u8]) {
    let _ = index::decode(data);
}

/// A tree and a content list, once they are opened.
pub fn trees(data: &[u8]) {
    let _ = tree::decode_tree(data);
    let _ = tree::decode_content_list(data);
}

/// A whole pack.
pub fn pack(data: &[u8]) {
    let _ = check_pack(&keys(), data, &mut FrameDecoder::new());
}

/// A frame, once it is opened: how long it says that it is, how it is stored, what it stands on, and its bytes. What
/// comes out is as long as it said, and no more memory was taken.
pub fn frame(data: &[u8]) {
    let Some((head, stored)) = data.split_first_chunk::<6>() else {
        return;
    };
    let plain_len = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    let encoding = [
        Encoding::Raw,
        Encoding::Zeros,
        Encoding::Zstd,
        Encoding::Delta,
    ][usize::from(head[3] % 4)];
    let is_delta = encoding == Encoding::Delta;
    let prefix_len = usize::from(u16::from_le_bytes([head[4], head[5]])).min(stored.len());
    let (prefix, stored) = match is_delta {
        true => stored.split_at(prefix_len),
        false => (&[][..], stored),
    };
    let frame = Frame {
        offset: 0,
        stored_len: stored.len() as u32,
        plain_len: match encoding {
            Encoding::Raw => stored.len() as u32,
            _ => plain_len,
        },
        encoding,
        depth: u8::from(is_delta),
        bases: vec![BlobId([1; 32]); usize::from(is_delta)],
    };
    let mut decoder = FrameDecoder::new();
    if let Ok(plain) = decode_frame(&frame, stored, prefix, &mut decoder) {
        assert_eq!(plain.len(), frame.plain_len as usize);
    }
}

/// A snapshot of Redis.
pub fn redis_rdb(data: &[u8]) {
    let _ = rdb::count(data, 0);
    let _ = rdb::count_alone(data, 0);
}

/// An append-only file of Redis, and the manifest that names such files.
pub fn redis_aof(data: &[u8]) {
    let _ = count_aof(data, End::MayBeCut, 0);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = AofManifest::parse(text);
    }
}

/// A dump of PostgreSQL, which comes in pieces of any length: however it is cut, the same is found.
pub fn dump(data: &[u8]) {
    let scan = |piece: usize| {
        let mut scanner = Scanner::default();
        for piece in data.chunks(piece) {
            scanner.feed(piece).ok()?;
        }
        let archive = scanner.finish().ok()?;
        Some(format!("{archive:?}"))
    };
    assert_eq!(scan(data.len().max(1)), scan(7));
}

/// A file that was exported for gpg, or what is given as one. What the passphrase is made into a key with may take
/// half a second by itself, so only a little is read of what comes out.
pub fn export(data: &[u8]) {
    let passphrase = Secret::new(b"passphrase".to_vec());
    if let Ok(decrypt) = Decrypt::new(data, &passphrase) {
        let _ = io::copy(&mut decrypt.take(1 << 20), &mut io::sink());
    }
}

fn keys() -> Keys {
    let ring = Keyring::new([1; 32], [2; 32]);
    Keys::new(
        ring,
        RepositoryId(*b"repository-test!"),
        CipherSuite::Aes256Gcm,
    )
}
