//! A listing may miss what is created while it runs, and show what was created after that.

use crate::repository::given::{
    Files, back_up, draft, files, memory, newest, noise, read_back, reopened, repository, walk,
    write,
};
use bytes::Bytes;
use ccb::model::units::{Percent, Period};
use ccb::repository::{Commit, PruneRequest, Repack, Repository};
use ccb::store::{Backend, Key, Listing, Put, StoreError, memory::Memory};
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A store whose first listing that could show `missed` does not.
#[derive(Debug, Clone)]
struct LateListing {
    memory: Memory,
    missed: Arc<Mutex<Option<Key>>>,
}

impl Backend for LateListing {
    fn location(&self) -> String {
        self.memory.location()
    }

    fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        self.memory.get(key, range)
    }

    fn put(&self, key: &Key, body: Bytes, how: Put) -> BoxFuture<'_, Result<(), StoreError>> {
        self.memory.put(key, body, how)
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            let mut listing = self.memory.list(&prefix).await?;
            let mut missed = self.missed.lock().unwrap();
            if let Some(key) = missed.take_if(|key| key.as_str().starts_with(&prefix)) {
                listing.objects.retain(|meta| meta.key != key);
            }
            Ok(listing)
        })
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        self.memory.delete(key)
    }
}

const DAILY: PruneRequest = PruneRequest {
    trash: Period::hours(0),
    grace: Period::hours(24),
    repack: Repack {
        unused_max: Percent(5),
        budget_bytes: 0,
    },
};

/// Backs `tree` up, forgets it, and condemns its packs.
async fn condemn(repository: &Repository, tree: &Files) {
    back_up(repository, tree).await.unwrap();
    let backup = newest(repository).await;
    repository.forget(&backup, "test", None).await.unwrap();
    let report = repository.prune(DAILY).await.unwrap();
    assert!(report.condemned.count > 0, "{report:?}");
}

#[tokio::test]
async fn a_writer_that_missed_a_record_does_not_use_the_packs_that_it_condemns() {
    let memory = memory();
    let others = repository(&memory).await;
    let tree = files(&[("a", noise("a", 5000))]);
    condemn(&others, &tree).await;
    condemn(&others, &files(&[("b", noise("b", 5000))])).await;
    let records = memory.list("gc/").await.unwrap().objects;
    let [first, _] = &records[..] else {
        panic!("{records:?}")
    };
    let late = LateListing {
        memory: memory.clone(),
        missed: Arc::new(Mutex::new(Some(first.key.clone()))),
    };
    let writer = reopened(&late, "writer").await;
    let mut session = writer.begin(draft("files"), None).await.unwrap();
    write(&mut session, walk(&tree)).await.unwrap();
    assert_eq!(*late.missed.lock().unwrap(), None);
    // What was condemned goes meanwhile.
    memory.advance(SignedDuration::from_hours(25));
    let report = others.prune(DAILY).await.unwrap();
    assert!(report.deleted.count > 0, "{report:?}");
    session.commit(Commit::default()).await.unwrap();
    let made = newest(&others).await;
    let reader = others.reader().await.unwrap();
    assert_eq!(read_back(&reader, &made.manifest).await.unwrap(), tree);
}
