//! Delta frames that no ccb writes: in circles, on nothing, too deep, or on more than memory holds. Who has the keys
//! can make them; whoever reads them gets an error, and soon.

use crate::repository::given::{memory, read_content, store, surroundings};
use ccb::model::ids::{BlobId, SessionId};
use ccb::model::tree::Content;
use ccb::repository::format::FormatError;
use ccb::repository::format::blob::{BlobKind, blob_id};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::index::{Segment, encode};
use ccb::repository::format::key::{Keyring, Keys};
use ccb::repository::format::pack::{Delta, FRAME_MAX_BYTES, FrameEncoder, PackWriter, Stored};
use ccb::repository::format::seal::{ObjectType, seal};
use ccb::repository::{BlobSink, CheckLevel, Creation, Reader, Repository, RepositoryError};
use ccb::store::memory::{Fault, Memory};
use ccb::store::{Backend, Doing, Kind, Put};
use std::sync::{Arc, Mutex};

/// A repository without encryption, whose keys are public, and a pack for it that is being made.
struct Given {
    backend: Memory,
    repository: Repository,
    keys: Keys,
    pack: PackWriter,
    /// How many were stored.
    packs: u8,
}

async fn given() -> Given {
    let backend = memory();
    let creation = Creation {
        cipher: CipherSuite::None,
        slot: None,
        keyring_of: None,
    };
    let surroundings = surroundings("hostile");
    let repository = Repository::create(store(&backend), &creation, &surroundings);
    let repository = repository.await.unwrap();
    let keys = Keys::new(Keyring::public(), repository.id(), CipherSuite::None);
    let pack = PackWriter::new(&keys, BlobKind::Data, [8; 32], Vec::new());
    Given {
        backend,
        repository,
        keys,
        pack,
        packs: 0,
    }
}

impl Given {
    fn id(&self, plain: &[u8]) -> BlobId {
        blob_id(self.keys.keyring(), BlobKind::Data, plain)
    }

    fn alone(&mut self, plain: &[u8]) -> BlobId {
        let id = self.id(plain);
        let mut encoder = FrameEncoder::new(1);
        let blob = [(id, plain.len() as u32)];
        self.pack.push(&blob, encoder.encode(plain)).unwrap();
        id
    }

    /// A delta frame that says it is `plain`, made against `prefix`.
    fn delta(&mut self, plain: &[u8], prefix: &[u8], bases: &[BlobId], depth: u8) -> BlobId {
        let id = self.id(plain);
        let mut encoder = FrameEncoder::new(1);
        let bytes = match encoder.encode_delta(plain, prefix, (bases, depth)) {
            Stored::Delta(delta) => delta.bytes.to_vec(),
            other => panic!("{other:?}"),
        };
        let delta = Delta {
            bytes: &bytes,
            bases,
            depth,
        };
        let blob = [(id, plain.len() as u32)];
        self.pack.push(&blob, Stored::Delta(delta)).unwrap();
        id
    }

    /// Begins another pack; the one before is stored.
    async fn another_pack(&mut self) {
        let salt = [self.packs + 9; 32];
        let next = PackWriter::new(&self.keys, BlobKind::Data, salt, Vec::new());
        let pack = std::mem::replace(&mut self.pack, next);
        if !pack.is_empty() {
            self.store(pack).await;
        }
    }

    /// Stores the pack and its index.
    async fn reader(mut self) -> Reader {
        self.another_pack().await;
        self.repository.reader().await.unwrap()
    }

    /// Stores the pack and its index, and reads a blob.
    async fn read(self, id: BlobId) -> Result<Vec<u8>, RepositoryError> {
        let reader = self.reader().await;
        let content = Content {
            blobs: vec![id],
            is_list: false,
        };
        read_content(&reader, &content).await
    }

    async fn store(&mut self, pack: PackWriter) {
        self.packs += 1;
        let pack = pack.finish(false);
        let mut segment = Segment::new(SessionId([6; 16]), 0);
        segment.add(pack.name, pack.bytes.len() as u64, &pack.footer);
        let name = pack.name.to_string();
        let key = format!("packs/d/{}/{name}", &name[..2]).parse().unwrap();
        self.backend
            .put(&key, pack.bytes.into(), Put::New)
            .await
            .unwrap();
        let sealed = seal(
            &self.keys,
            ObjectType::Index,
            "",
            &encode(&segment),
            [self.packs; 32],
        );
        let key = format!("index/{}", blake3::hash(&sealed).to_hex())
            .parse()
            .unwrap();
        self.backend
            .put(&key, sealed.into(), Put::New)
            .await
            .unwrap();
    }
}

fn text(of: u64) -> Vec<u8> {
    let mut text = vec![0; 10_000];
    blake3::Hasher::new()
        .update(&of.to_le_bytes())
        .finalize_xof()
        .fill(&mut text);
    text
}

fn changed(text: &[u8], by: u8) -> Vec<u8> {
    let mut text = text.to_vec();
    text[5000] ^= by;
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_read_to_its_end() {
    let mut given = given().await;
    let mut plain = text(1);
    let mut id = given.alone(&plain);
    for depth in 1..=8 {
        let next = changed(&plain, depth);
        id = given.delta(&next, &plain, &[id], depth);
        plain = next;
    }
    assert!(given.read(id).await.unwrap() == plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_in_a_circle_are_not_there() {
    let mut given = given().await;
    let (a, b) = (text(1), changed(&text(1), 1));
    let (id_a, id_b) = (given.id(&a), given.id(&b));
    given.delta(&a, &b, &[id_b], 4);
    given.delta(&b, &a, &[id_a], 4);
    let read = given.read(id_a).await;
    assert!(
        matches!(read, Err(RepositoryError::BlobMissing { .. })),
        "{read:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_on_itself_or_on_nothing_is_not_there() {
    for on_itself in [true, false] {
        let mut given = given().await;
        let (a, b) = (text(1), changed(&text(1), 1));
        let base = given.id(if on_itself { &a } else { &b });
        let id = given.delta(&a, &b, &[base], 8);
        let read = given.read(id).await;
        assert!(
            matches!(read, Err(RepositoryError::BlobMissing { .. })),
            "{read:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_less_deep_than_it_says_it_stands_is_not_there() {
    let mut given = given().await;
    let (a, b, c) = (text(1), changed(&text(1), 1), changed(&text(1), 2));
    let id_a = given.alone(&a);
    let id_b = given.delta(&b, &a, &[id_a], 3);
    let id_c = given.delta(&c, &b, &[id_b], 3);
    let read = given.read(id_c).await;
    assert!(
        matches!(read, Err(RepositoryError::BlobMissing { .. })),
        "{read:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_that_decodes_to_something_else_is_damage() {
    let mut given = given().await;
    let (a, b) = (text(1), changed(&text(1), 1));
    let id_other = given.alone(&text(2));
    let id = given.delta(&b, &a, &[id_other], 1);
    let read = given.read(id).await;
    assert!(
        matches!(read, Err(RepositoryError::BlobDamaged { .. })),
        "{read:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_beside_one_that_is_something_else_is_passed_on_once() {
    let mut given = given().await;
    let (a, b) = (text(1), changed(&text(1), 1));
    let on = [given.alone(&a)];
    let (good, bad) = (given.id(&b[..6000]), given.id(b"something else"));
    let mut encoder = FrameEncoder::new(1);
    let delta = encoder.encode_delta(&b, &a, (&on, 1));
    assert!(matches!(delta, Stored::Delta(_)), "{delta:?}");
    given
        .pack
        .push(&[(good, 6000), (bad, 4000)], delta)
        .unwrap();
    let reader = given.reader().await;
    let passed = Arc::new(Mutex::new(Vec::new()));
    let noted = passed.clone();
    let sink: BlobSink = Arc::new(move |id, content| {
        noted.lock().unwrap().push((*id, content.is_ok()));
        Ok(())
    });
    reader.read_blobs(vec![good, bad], sink).await.unwrap();
    assert_eq!(*passed.lock().unwrap(), [(good, true), (bad, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_on_more_than_memory_should_hold_is_refused() {
    let mut given = given().await;
    // Each is a frame of 32 MiB that takes no room.
    let bases: Vec<BlobId> = (0..2)
        .map(|number| {
            let blob = (BlobId([number; 32]), FRAME_MAX_BYTES);
            given.pack.push(&[blob], Stored::Zeros).unwrap();
            blob.0
        })
        .collect();
    let a = text(1);
    // zstd takes a prefix that is the content itself, in the same place, for none.
    let id = given.delta(&a, &a.clone(), &bases, 1);
    is_too_large(given.read(id).await, u64::from(FRAME_MAX_BYTES));
}

fn is_too_large(read: Result<Vec<u8>, RepositoryError>, limit: u64) {
    let Err(RepositoryError::BlobDamaged { cause, .. }) = read else {
        panic!("{read:?}");
    };
    assert!(
        matches!(cause, FormatError::TooLarge { limit_bytes, .. } if limit_bytes == limit),
        "{cause:?}"
    );
}

/// A frame that stands on `count` frames, each of which stands on one of 32 MiB that takes no room.
fn broad(given: &mut Given, count: u8) -> BlobId {
    let mut middle = Vec::new();
    for number in 0..count {
        let bottom = BlobId([number + 1; 32]);
        let blob = [(bottom, FRAME_MAX_BYTES)];
        given.pack.push(&blob, Stored::Zeros).unwrap();
        let plain = text(u64::from(number));
        let id = given.delta(&plain, &changed(&plain, 9), &[bottom], 1);
        middle.push((id, plain));
    }
    let (ids, plain): (Vec<BlobId>, Vec<Vec<u8>>) = middle.into_iter().unzip();
    let prefix = plain.concat();
    given.delta(&changed(&plain[0], 1), &prefix, &ids, 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_decodes_to_more_than_256_mib_on_the_way_down_is_refused_before_it_is_read() {
    let mut given = given().await;
    let id = broad(&mut given, 8);
    given.another_pack().await;
    let report = given.repository.check(CheckLevel::Full).await.unwrap();
    // A check says what a restore would.
    assert!(!report.is_clean(), "{report:?}");
    let is_pack = |doing, what: &str| doing == Doing::Get && what.starts_with("packs/");
    given
        .backend
        .set_hook(Box::new(move |_, doing, what| match is_pack(doing, what) {
            true => Fault::Fail(Kind::Other),
            false => Fault::None,
        }));
    is_too_large(given.read(id).await, 256 << 20);
    // A little less is read, and found to be what it is.
    let mut given = self::given().await;
    let id = broad(&mut given, 7);
    let read = given.read(id).await;
    assert!(
        matches!(&read, Err(RepositoryError::BlobDamaged { cause, .. }) if !matches!(cause, FormatError::TooLarge { .. })),
        "{read:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_stand_on_each_other_in_other_frames_are_not_looked_for_for_ever() {
    let mut given = given().await;
    let (a, b) = (text(1), changed(&text(1), 1));
    let (id_a, id_b) = (given.id(&a), given.id(&b));
    // The only one that stands alone is in a pack of its own, which is damaged.
    given.alone(&b);
    given.another_pack().await;
    let packs = given.backend.list("packs/d/").await.unwrap().objects;
    given.backend.damage(&packs[0].key, |bytes| bytes[100] ^= 1);
    given.delta(&a, &b, &[id_b], 3);
    given.delta(&b, &a, &[id_a], 7);
    let read = given.read(id_a).await;
    assert!(
        matches!(read, Err(RepositoryError::BlobDamaged { .. })),
        "{read:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ways_down_are_gone_once() {
    let mut given = given().await;
    let bottom: Vec<Vec<u8>> = (0..20).map(text).collect();
    let mut level: Vec<Vec<u8>> = bottom;
    let mut ids: Vec<BlobId> = level.iter().map(|plain| given.alone(plain)).collect();
    for depth in 1..=8 {
        // Each stands on all of the level below: 20^8 ways to the bottom.
        let prefix = level.concat();
        let next: Vec<Vec<u8>> = level.iter().map(|plain| changed(plain, depth)).collect();
        ids = next
            .iter()
            .map(|plain| given.delta(plain, &prefix, &ids.clone(), depth))
            .collect();
        level = next;
    }
    assert!(given.read(ids[7]).await.unwrap() == level[7]);
}
