//! Damage to what is stored is found by whoever reads it, is named, and spreads no further.

use crate::repository::given::{
    Files, back_up, files, generated, memory, noise, read_back, repository,
};
use ccb::model::ids::BlobId;
use ccb::model::tree::NodeKind;
use ccb::repository::{Reader, RepositoryError};
use ccb::store::{Backend, Key, memory::Memory};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

async fn packs(memory: &Memory, prefix: &str) -> Vec<Key> {
    let listing = memory.list(prefix).await.unwrap();
    listing
        .objects
        .into_iter()
        .map(|object| object.key)
        .collect()
}

/// Reads all blobs; which came, and which did not and why.
async fn read_all(
    reader: &Reader,
    blobs: Vec<BlobId>,
) -> (BTreeMap<BlobId, usize>, BTreeMap<BlobId, RepositoryError>) {
    let read = Arc::new(Mutex::new((BTreeMap::new(), BTreeMap::new())));
    let into = read.clone();
    let sink = Arc::new(
        move |id: &BlobId, content: Result<&[u8], &RepositoryError>| {
            let mut into = into.lock().unwrap();
            match content {
                Ok(content) => assert_eq!(into.0.insert(*id, content.len()), None, "read twice"),
                Err(error) => assert!(into.1.insert(*id, error.clone()).is_none(), "told twice"),
            }
            Ok(())
        },
    );
    reader.read_blobs(blobs, sink).await.unwrap();
    let read = read.lock().unwrap();
    (read.0.clone(), read.1.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_blobs_are_told_one_by_one_and_the_others_are_read() {
    let memory = memory();
    let repository = repository(&memory).await;
    let tree: Files = (0..10)
        .map(|n| (format!("{n}"), noise(&format!("{n}"), 70_000)))
        .collect();
    let manifest = back_up(&repository, &tree).await.unwrap();
    let reader = repository.reader().await.unwrap();
    let mut blobs = Vec::new();
    for node in reader.entries(&manifest.root).await.unwrap() {
        let NodeKind::File { content, .. } = node.kind else {
            panic!()
        };
        blobs.extend(content.blobs);
    }
    for pack in packs(&memory, "packs/d/").await {
        // In the middle of whichever frame is 60 000 bytes into the pack.
        memory.damage(&pack, |bytes| {
            if let Some(byte) = bytes.get_mut(60_000) {
                *byte ^= 1
            }
        });
    }
    blobs.push(BlobId([0; 32]));
    let (read, failed) = read_all(&reader, blobs).await;
    assert!(read.len() >= 8 && failed.len() >= 2 && read.len() + failed.len() == 11);
    assert!(matches!(
        failed[&BlobId([0; 32])],
        RepositoryError::BlobMissing { .. }
    ));
    let damaged = failed
        .values()
        .filter(|e| matches!(e, RepositoryError::BlobDamaged { .. }));
    assert_eq!(damaged.count(), failed.len() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_pack_is_an_error_and_is_written_again_by_the_next_backup() {
    let memory = memory();
    let repository = repository(&memory).await;
    let tree = generated();
    let manifest = back_up(&repository, &tree).await.unwrap();
    for kind in ["packs/d/", "packs/m/"] {
        let lost = packs(&memory, kind).await.remove(0);
        memory.lose(&lost);
        let reader = repository.reader().await.unwrap();
        let error = read_back(&reader, &manifest).await.unwrap_err();
        assert!(
            matches!(error, RepositoryError::BlobMissing { .. }),
            "{error:?}"
        );
        // The index still names the pack; the store does not list it, so its blobs count as absent.
        let again = back_up(&repository, &tree).await.unwrap();
        assert_eq!(again.root, manifest.root);
        let reader = repository.reader().await.unwrap();
        assert!(read_back(&reader, &manifest).await.unwrap() == tree);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_pack_is_not_believed_in() {
    let memory = memory();
    let repository = repository(&memory).await;
    let tree = files(&[("a", noise("a", 300_000))]);
    let manifest = back_up(&repository, &tree).await.unwrap();
    let pack = packs(&memory, "packs/d/").await.remove(0);
    memory.damage(&pack, |bytes| bytes.truncate(bytes.len() - 1));
    let error = read_back(&repository.reader().await.unwrap(), &manifest)
        .await
        .unwrap_err();
    assert!(
        matches!(error, RepositoryError::BlobMissing { .. }),
        "{error:?}"
    );
    let again = back_up(&repository, &tree).await.unwrap();
    assert_eq!(again.stats.new_bytes, 300_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_in_one_pack_is_read_from_another() {
    let memory = memory();
    let repository = repository(&memory).await;
    let tree = files(&[("a", noise("a", 300_000))]);
    let manifest = back_up(&repository, &tree).await.unwrap();
    // A second copy of everything: written while the first was not there.
    let first = memory.fork();
    for pack in packs(&memory, "packs/").await {
        memory.lose(&pack);
    }
    back_up(&repository, &tree).await.unwrap();
    for pack in packs(&first, "packs/").await {
        let mut bytes = first.get(&pack, None).await.unwrap().to_vec();
        for byte in &mut bytes[40..] {
            *byte ^= 1;
        }
        memory
            .put(&pack, bytes.into(), ccb::store::Put::New)
            .await
            .unwrap();
    }
    let reader = repository.reader().await.unwrap();
    assert!(read_back(&reader, &manifest).await.unwrap() == tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_segment_described_is_described_again_by_the_next_backup() {
    let memory = memory();
    let repository = repository(&memory).await;
    let tree = files(&[("a", b"1".to_vec())]);
    let manifest = back_up(&repository, &tree).await.unwrap();
    let segment = packs(&memory, "index/").await.remove(0);
    memory.damage(&segment, |bytes| bytes[50] ^= 1);
    let error = read_back(&repository.reader().await.unwrap(), &manifest)
        .await
        .unwrap_err();
    assert!(
        matches!(error, RepositoryError::BlobMissing { .. }),
        "{error:?}"
    );
    assert_eq!(
        back_up(&repository, &tree).await.unwrap().stats.new_bytes,
        0
    );
    let reader = repository.reader().await.unwrap();
    assert!(read_back(&reader, &manifest).await.unwrap() == tree);
}
