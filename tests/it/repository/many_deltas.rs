//! Deltas beside the rest of the world: several that write at once while prunes run, what they save against full
//! storage, and what a restore of a late day asks of the store.

use crate::repository::deltas::{
    NOW, back_up, back_up_files, days, dump, hash, is_clean, restores,
};
use crate::repository::given::{Files, created, files, memory, read_back, reopened, repository};
use bytes::Bytes;
use ccb::model::difference::How;
use ccb::repository::Comparison;
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::manifest::Manifest;
use ccb::store::{Backend, Key, Listing, Put, StoreError, memory::Memory};
use futures_util::future::BoxFuture;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A database file of so many pages, half of each in use, after `day` days: each has changed one page of a hundred.
fn pages(count: u64, day: u64) -> Vec<u8> {
    let mut file = Vec::new();
    for page in 0..count {
        let changed = (1..=day)
            .rev()
            .find(|day| hash(page, *day).is_multiple_of(100));
        let words = (0..256).flat_map(|n| hash(page * 256 + n, 5).to_le_bytes());
        let mut content: Vec<u8> = words.collect();
        content[..8].copy_from_slice(&changed.unwrap_or(0).to_le_bytes());
        content.resize(4096, 0);
        file.extend(content);
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_file_of_changed_pages_costs_what_changed() {
    let of = |day| -> Files { files(&[("app.sqlite", pages(1_500, day))]) };
    let deltas = repository(&memory()).await;
    let first = back_up_files(&deltas, 0, &of(0)).await;
    let second = back_up_files(&deltas, 1, &of(1)).await;
    let full = back_up_files(&repository(&memory()).await, 1, &of(1)).await;
    let stored = |of: &Manifest| of.stats.stored_bytes;
    assert!(stored(&first) > 1_500 * 2048);
    // Every chunk has a page that is another.
    assert!(second.stats.new_bytes > second.stats.bytes * 9 / 10);
    assert!(
        stored(&second) * 50 < stored(&full),
        "{} instead of {}",
        stored(&second),
        stored(&full)
    );
    let reader = deltas.reader().await.unwrap();
    assert!(read_back(&reader, &second).await.unwrap() == of(1));
    is_clean(&deltas).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_changes_after_one_with_them_stores_nothing() {
    let given = days(2).await;
    let (second, bytes) = &given.days[1];
    let third = back_up(&given.repository, 2, bytes.clone()).await;
    assert_eq!((third.root, third.stats.new_bytes), (second.root, 0));
    assert_eq!(third.stats.stored_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_write_deltas_at_once_beside_prunes_and_all_of_it_is_whole() {
    let mut given = days(3).await;
    // What later days stand on keeps what is left of these.
    for backup in given.repository.list().await.unwrap().backups.drain(..2) {
        let forgotten = given.repository.forget(&backup, "test", None).await;
        forgotten.unwrap();
    }
    given.days.drain(..2);
    let mut writers = Vec::new();
    for writer in 1..4_u8 {
        let backend = given.backend.clone();
        writers.push(tokio::spawn(async move {
            let repository = reopened(&backend, &format!("writer {writer}")).await;
            let mut made = Vec::new();
            for day in 0..2 {
                // The same day by two of them, and another by the third.
                let bytes = dump(8_000, 3 + u64::from(day + writer / 3));
                let number = 10 * writer + day;
                made.push((back_up(&repository, number, bytes.clone()).await, bytes));
            }
            made
        }));
    }
    let pruner = reopened(&given.backend, "pruner").await;
    while !writers.iter().all(|writer| writer.is_finished()) {
        pruner.prune(NOW).await.unwrap();
    }
    for writer in writers {
        given.days.extend(writer.await.unwrap());
    }
    restores(&given.repository, &given.days).await;
    is_clean(&given.repository).await;
    for _ in 0..2 {
        given.backend.advance(jiff::SignedDuration::from_hours(1));
        given.repository.prune(NOW).await.unwrap();
    }
    restores(&given.repository, &given.days).await;
    is_clean(&given.repository).await;
    // They stood on each other's, or on what was there before: in full, one takes half of its bytes.
    let added = given.days[1..].iter();
    let added: u64 = added.map(|(day, _)| day.stats.stored_bytes).sum();
    assert!(added < given.days[0].1.len() as u64, "{added}");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_bytes_that_are_named_as_deltas_and_as_chunks_do_not_differ() {
    let given = days(2).await;
    let aes = (CipherSuite::Aes256Gcm, Some(&given.repository));
    let (second, bytes) = &given.days[1];
    let mut other = bytes.clone();
    let last = other.len() - 9;
    other[last] ^= 1;
    for (bytes, differences) in [(bytes, 0), (&other, 1)] {
        let alone = created(&memory(), aes, "alone").await;
        let alone_manifest = back_up(&alone, 1, bytes.clone()).await;
        assert_ne!(alone_manifest.root, second.root);
        let readers = [&given.repository, &alone].map(|repository| repository.reader());
        let [one, other] = futures_util::future::join_all(readers)
            .await
            .try_into()
            .ok()
            .unwrap();
        let mut comparison = Comparison::new(
            (one.unwrap(), second.root),
            (other.unwrap(), alone_manifest.root),
        );
        let mut found = 0;
        while let Some(next) = comparison.next().await {
            assert_eq!(next.unwrap().how, How::Changed(vec!["content"]));
            found += 1;
        }
        assert_eq!(found, differences);
    }
}

/// A store that counts what is read of packs.
#[derive(Debug, Clone)]
struct Counting {
    memory: Memory,
    requests: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Backend for Counting {
    fn location(&self) -> String {
        self.memory.location()
    }

    fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        if key.as_str().starts_with("packs/d/") {
            let len = range.as_ref().map_or(0, |range| range.end - range.start);
            self.requests.fetch_add(1, Relaxed);
            self.bytes.fetch_add(len, Relaxed);
        }
        self.memory.get(key, range)
    }

    fn put(&self, key: &Key, body: Bytes, how: Put) -> BoxFuture<'_, Result<(), StoreError>> {
        self.memory.put(key, body, how)
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        self.memory.list(prefix)
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        self.memory.delete(key)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenth_day_is_restored_with_little_more_reading_than_the_first() {
    let given = days(10).await;
    let counting = Counting {
        memory: given.backend.clone(),
        requests: Arc::default(),
        bytes: Arc::default(),
    };
    let repository = reopened(&counting, "reader").await;
    let mut read = Vec::new();
    for day in [0, 9] {
        let reader = repository.reader().await.unwrap();
        let (manifest, bytes) = &given.days[day];
        assert!(read_back(&reader, manifest).await.unwrap()["db.dump"] == *bytes);
        read.push((
            counting.requests.swap(0, Relaxed),
            counting.bytes.swap(0, Relaxed),
        ));
    }
    let [(first_requests, first_bytes), (requests, bytes)] = read[..] else {
        panic!("{read:?}");
    };
    // One more for the pack of each day that it goes back through, and nothing is read twice.
    assert!(requests <= first_requests + 10, "{read:?}");
    let stored: u64 = given
        .days
        .iter()
        .map(|(day, _)| day.stats.stored_bytes)
        .sum();
    assert!(
        bytes <= stored && bytes * 2 < first_bytes * 3,
        "{read:?}, {stored}"
    );
}
