//! A listing may miss what is created while it runs, and show what was created after that; and between two listings
//! somebody commits.

use crate::repository::given::{
    Files, back_up, draft, files, memory, newest, noise, read_back, reopened, repository, walk,
    write,
};
use bytes::Bytes;
use ccb::model::units::{Percent, Period};
use ccb::repository::{Commit, PruneRequest, Repack, Repository, Session};
use ccb::store::{Backend, Key, Listing, Put, StoreError, memory::Memory};
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use jiff::SignedDuration;
use std::{
    collections::VecDeque,
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
};

/// A store whose first listing that could show `missed` does not.
#[derive(Clone)]
struct LateListing {
    memory: Memory,
    missed: Arc<Mutex<Option<Key>>>,
    /// What others do before a listing of leases: before the first of these in the place of the first, and so on.
    before_leases: Arc<Mutex<VecDeque<BoxFuture<'static, ()>>>>,
}

impl fmt::Debug for LateListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a late listing")
    }
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
            if prefix == "leases/" {
                let meanwhile = self.before_leases.lock().unwrap().pop_front();
                meanwhile.unwrap_or_else(|| ready(()).boxed()).await;
            }
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
        before_leases: Arc::default(),
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

/// A session that stands on a backup which is forgotten meanwhile: (the store, what prunes it, the session).
async fn standing_on_what_goes() -> (Memory, Repository, Session) {
    let memory = memory();
    let others = repository(&memory).await;
    back_up(&others, &files(&[("a", noise("a", 5000))]))
        .await
        .unwrap();
    let parent = newest(&others).await;
    let writer = reopened(&memory, "writer").await;
    let mut session = writer.begin(draft("files"), Some(&parent)).await.unwrap();
    assert!(session.parent().is_some());
    let tree = files(&[("b", noise("b", 5000))]);
    write(&mut session, walk(&tree)).await.unwrap();
    others.forget(&parent, "test", None).await.unwrap();
    (memory, others, session)
}

/// Who commits after a prune has listed backups is not among them, and what it stands on is needed.
#[tokio::test]
async fn who_commits_before_leases_are_listed_and_after_backups_still_shows_its_pin() {
    let (memory, _, session) = standing_on_what_goes().await;
    let commit = async move { drop(session.commit(Commit::default()).await.unwrap()) };
    // First a prune looks whose lease is to go.
    let before_leases = VecDeque::from([ready(()).boxed(), commit.boxed()]);
    let between = LateListing {
        memory: memory.clone(),
        missed: Arc::default(),
        before_leases: Arc::new(Mutex::new(before_leases)),
    };
    let report = reopened(&between, "prune").await.prune(DAILY).await;
    let report = report.unwrap();
    assert_eq!((report.emptied.len(), report.condemned.count), (1, 0));
    assert_eq!(memory.list("packs/").await.unwrap().objects.len(), 4);
}

/// Who has committed before that stands on its own backup alone: what only its parent held is condemned at once.
#[tokio::test]
async fn what_somebody_stood_on_who_has_committed_is_needed_no_more() {
    let (memory, others, session) = standing_on_what_goes().await;
    let report = others.prune(DAILY).await.unwrap();
    assert_eq!((report.emptied.len(), report.condemned.count), (1, 0));
    session.commit(Commit::default()).await.unwrap();
    let report = others.prune(DAILY).await.unwrap();
    assert_eq!(report.condemned.count, 2, "{report:?}");
    let made = newest(&others).await;
    // Neither does it matter what became of its backup since.
    others.forget(&made, "test", None).await.unwrap();
    let report = others.prune(DAILY).await.unwrap();
    assert_eq!(report.condemned.count, 2, "{report:?}");
    memory.advance(SignedDuration::from_hours(25));
    let report = others.prune(DAILY).await.unwrap();
    assert_eq!(report.deleted.count, 4, "{report:?}");
}
