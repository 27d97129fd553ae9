//! A listing may miss what is created while it runs, and show what was created after that; and between two listings
//! somebody commits.

use crate::repository::given::{
    Files, back_up, draft, files, memory, newest, noise, read_back, reopened, repository, walk,
    write,
};
use bytes::Bytes;
use ccb::model::units::{Percent, Period};
use ccb::repository::{Commit, PruneRequest, Repack, Repository, RepositoryError, Session};
use ccb::store::{Backend, Key, Listing, Put, StoreError, memory::Memory};
use futures_util::{FutureExt, future::BoxFuture};
use jiff::SignedDuration;
use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
};

/// A store whose first listing that could show `missed` does not.
#[derive(Clone)]
struct LateListing {
    memory: Memory,
    missed: Arc<Mutex<Option<Key>>>,
    before: Arc<Mutex<Option<Meanwhile>>>,
}

/// What somebody does before a prefix is listed for the so manieth time, from 1.
type Meanwhile = (&'static str, usize, BoxFuture<'static, ()>);

impl fmt::Debug for LateListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a late listing")
    }
}

impl LateListing {
    /// What is done before this listing.
    fn meanwhile(&self, prefix: &str) -> Option<BoxFuture<'static, ()>> {
        let mut before = self.before.lock().unwrap();
        let (_, left, _) = before.as_mut().filter(|(of, ..)| *of == prefix)?;
        *left -= 1;
        let is_due = |(_, left, _): &mut Meanwhile| *left == 0;
        Some(before.take_if(is_due)?.2)
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
            if let Some(meanwhile) = self.meanwhile(&prefix) {
                meanwhile.await;
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
        before: Arc::default(),
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

/// Who commits after a prune has listed backups is not among them, and what it stands on is needed; who commits before,
/// and after it was asked who had ended, is among them.
#[tokio::test]
async fn who_commits_while_a_prune_looks_is_seen_by_its_backup_or_by_its_pin() {
    // First a prune looks whose lease is to go, and what is in the trash: each lists backups once.
    for (prefix, time, condemned) in [("leases/", 2, 0), ("backups/", 4, 2)] {
        let (memory, _, session) = standing_on_what_goes().await;
        let tree = files(&[("b", noise("b", 5000))]);
        let commit = async move { drop(session.commit(Commit::default()).await.unwrap()) };
        let between = LateListing {
            memory: memory.clone(),
            missed: Arc::default(),
            before: Arc::new(Mutex::new(Some((prefix, time, commit.boxed())))),
        };
        let prune = reopened(&between, "prune").await;
        let report = prune.prune(DAILY).await.unwrap();
        assert!(between.before.lock().unwrap().is_none(), "{prefix}");
        assert_eq!(report.emptied.len(), 1, "{prefix}: {report:?}");
        assert_eq!(report.condemned.count, condemned, "{prefix}: {report:?}");
        memory.advance(SignedDuration::from_hours(25));
        prune.prune(DAILY).await.unwrap();
        let made = newest(&prune).await;
        let reader = prune.reader().await.unwrap();
        assert_eq!(read_back(&reader, &made.manifest).await.unwrap(), tree);
    }
}

/// A session that a prune has ended commits nothing: what it stood on is needed no more.
#[tokio::test]
async fn what_somebody_stood_on_who_was_ended_is_needed_no_more() {
    let (memory, others, session) = standing_on_what_goes().await;
    memory.advance(SignedDuration::from_hours(49));
    let report = others.prune(DAILY).await.unwrap();
    assert_eq!(report.condemned.count, 2, "{report:?}");
    let ended = session.commit(Commit::default()).await;
    assert!(matches!(ended, Err(RepositoryError::Revoked)), "{ended:?}");
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
