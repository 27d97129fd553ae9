//! WAL that was handed over: kept once, told apart by cluster, and removed only when a backup has had it for
//! the grace.

use crate::repository::given::{
    draft, files, memory, noise, repository, secret, surroundings, walk, write,
};
use crate::support::captured::chain;
use ccb::model::ids::ComponentName;
use ccb::model::strategy::Method;
use ccb::model::units::{Percent, Period};
use ccb::model::wal::{SegmentBytes, SystemId, WalFacts, WalName};
use ccb::repository::{
    CheckLevel, Commit, NamedBy, PackedWal, PruneRequest, Repack, Repository, RepositoryError,
    WalPut,
};
use ccb::store::memory::Fault;
use ccb::store::{Doing, Kind, Retries, Store};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

const SYSTEM: SystemId = SystemId(7_001);

fn component() -> ComponentName {
    "db".parse().unwrap()
}

fn name(text: &str) -> WalName {
    text.parse().unwrap()
}

async fn put(
    repository: &Repository,
    file: &str,
    bytes: Vec<u8>,
) -> Result<WalPut, RepositoryError> {
    repository
        .put_wal(
            &component(),
            SYSTEM,
            &name(file),
            PackedWal::of(bytes.into()),
        )
        .await
}

async fn hand_over(repository: &Repository, file: &str, bytes: Vec<u8>) -> WalPut {
    put(repository, file, bytes).await.unwrap()
}

async fn names(repository: &Repository) -> Vec<String> {
    let objects = repository.list_wal(Some(&component())).await.unwrap();
    objects
        .into_iter()
        .map(|object| object.name.to_string())
        .collect()
}

/// A WAL backup that says it has these files.
async fn take_over(repository: &Repository, held: &[&str]) {
    let facts = WalFacts::empty(SYSTEM, SegmentBytes::USUAL)
        .with(held.iter().map(|file| (name(file), Timestamp::UNIX_EPOCH)));
    let mut draft = draft("db");
    draft.method = Method::Wal;
    draft.id.0[0] = held.len() as u8;
    let mut session = repository.begin(draft, None).await.unwrap();
    write(&mut session, walk(&files(&[("x", noise("x", 10))])))
        .await
        .unwrap();
    let commit = Commit {
        source: BTreeMap::from([("wal".to_owned(), serde_json::to_value([facts]).unwrap())]),
        ..Commit::default()
    };
    session.commit(commit).await.unwrap();
}

const FIRST: &str = "000000010000000000000001";
const SECOND: &str = "000000010000000000000002";
const HISTORY: &str = "00000002.history";

#[tokio::test]
async fn a_file_is_kept_once_and_comes_back_as_it_was() {
    let backend = memory();
    let repository = repository(&backend).await;
    let bytes = noise("segment", 3 << 20);
    assert_eq!(
        hand_over(&repository, FIRST, bytes.clone()).await,
        WalPut::New
    );
    assert_eq!(
        hand_over(&repository, FIRST, bytes.clone()).await,
        WalPut::Same
    );
    let other = put(&repository, FIRST, noise("other", 3 << 20)).await;
    assert!(
        matches!(other, Err(RepositoryError::OtherWal { .. })),
        "{other:?}"
    );
    let got = repository
        .get_wal(&component(), SYSTEM, &name(FIRST))
        .await
        .unwrap();
    assert!(got.unwrap() == bytes);
    let absent = repository
        .get_wal(&component(), SystemId(8), &name(FIRST))
        .await
        .unwrap();
    assert_eq!(absent, None);
    assert_eq!(names(&repository).await, [FIRST]);
}

#[tokio::test]
async fn a_file_that_can_not_be_read_to_its_end_is_not_kept() {
    let backend = memory();
    let repository = repository(&backend).await;
    let bytes = noise("segment", 3 << 20);
    let cut = bytes.clone();
    let broken = move || io::Cursor::new(cut.clone()).take(2 << 20).chain(Broken);
    let packed = PackedWal::start(broken(), move || Ok(broken()));
    let put = repository
        .put_wal(&component(), SYSTEM, &name(FIRST), packed)
        .await;
    let said = chain(&put.unwrap_err());
    assert!(said.contains("the disk is worn out"), "{said}");
    assert!(names(&repository).await.is_empty());
    assert_eq!(hand_over(&repository, FIRST, bytes).await, WalPut::New);
}

#[tokio::test]
async fn a_file_whose_answer_was_lost_is_found_to_be_the_same_or_another() {
    let backend = memory();
    repository(&backend).await;
    let at_once = Duration::from_millis(1);
    let retries = Retries {
        attempts: 3,
        first_pause: at_once,
        pause_max: at_once,
    };
    let store = Store::with_retries(Arc::new(backend.clone()), 4, retries);
    let (secret, surroundings) = (secret(), surroundings("again"));
    let repository = Repository::open(store, Some(&secret), &surroundings).await;
    let repository = repository.unwrap();
    let bytes = noise("segment", 3 << 20);
    let lose_the_first = || {
        let puts = AtomicU32::new(0);
        backend.set_hook(Box::new(move |_, doing, key| {
            let is_it = doing == Doing::Put && key.ends_with(FIRST);
            match is_it && puts.fetch_add(1, Relaxed) == 0 {
                true => Fault::LoseAnswer,
                false => Fault::None,
            }
        }));
    };
    lose_the_first();
    let kept = hand_over(&repository, FIRST, bytes.clone()).await;
    assert_eq!(kept, WalPut::Same);
    lose_the_first();
    let other = put(&repository, FIRST, noise("other", 3 << 20)).await;
    assert!(
        matches!(other, Err(RepositoryError::OtherWal { .. })),
        "{other:?}"
    );
    backend.set_hook(Box::new(|_, _, _| Fault::None));
    let got = repository
        .get_wal(&component(), SYSTEM, &name(FIRST))
        .await
        .unwrap();
    assert!(got.unwrap() == bytes);
}

/// A file on a bad disk.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is worn out"))
    }
}

#[tokio::test]
async fn a_push_is_one_write() {
    let backend = memory();
    let repository = repository(&backend).await;
    let cluster = (SYSTEM, SegmentBytes::USUAL);
    repository
        .accept_wal_of(&component(), cluster, NamedBy::Push)
        .await
        .unwrap();
    let before = repository.store().calls();
    repository
        .accept_wal_of(&component(), cluster, NamedBy::Push)
        .await
        .unwrap();
    hand_over(&repository, FIRST, noise("a", 1000)).await;
    let after = repository.store().calls();
    assert_eq!(
        (after.puts - before.puts, after.lists - before.lists),
        (1, 0)
    );
}

#[tokio::test]
async fn the_first_cluster_is_the_one_until_a_base_of_another_is_taken() {
    let backend = memory();
    let repository = repository(&backend).await;
    let accept = async |system: u64, by: NamedBy| {
        let cluster = (SystemId(system), SegmentBytes::USUAL);
        repository.accept_wal_of(&component(), cluster, by).await
    };
    accept(1, NamedBy::Push).await.unwrap();
    accept(1, NamedBy::Archive).await.unwrap();
    let refused = accept(2, NamedBy::Push).await;
    assert!(
        matches!(refused, Err(RepositoryError::OtherCluster { .. })),
        "{refused:?}"
    );
    accept(2, NamedBy::Base).await.unwrap();
    accept(2, NamedBy::Push).await.unwrap();
    assert!(accept(1, NamedBy::Push).await.is_err());
    accept(1, NamedBy::Base).await.unwrap();
    accept(1, NamedBy::Push).await.unwrap();
    assert_eq!(
        repository.wal_clusters(&component()).await.unwrap().len(),
        3
    );
}

#[tokio::test]
async fn only_what_a_backup_has_had_for_the_grace_is_removed() {
    let backend = memory();
    let repository = repository(&backend).await;
    for file in [FIRST, SECOND, HISTORY] {
        hand_over(&repository, file, noise(file, 2000)).await;
    }
    let day = PruneRequest {
        trash: Period::days(7),
        grace: Period::hours(24),
        repack: Repack {
            unused_max: Percent(5),
            budget_bytes: 0,
        },
    };
    backend.advance(SignedDuration::from_hours(100));
    assert_eq!(repository.prune(day).await.unwrap().wal_removed.count, 0);
    backend.advance(SignedDuration::from_secs(1));
    take_over(&repository, &[FIRST]).await;
    assert_eq!(repository.prune(day).await.unwrap().wal_removed.count, 0);
    // Handed over again after the backup: this very object is in none.
    backend.advance(SignedDuration::from_hours(25));
    take_over(&repository, &[FIRST, HISTORY]).await;
    backend.advance(SignedDuration::from_hours(23));
    let report = repository.prune(day).await.unwrap();
    assert_eq!(report.wal_removed.count, 1);
    assert_eq!(names(&repository).await, [SECOND, HISTORY]);
    hand_over(&repository, FIRST, noise(FIRST, 2000)).await;
    backend.advance(SignedDuration::from_hours(100));
    assert_eq!(repository.prune(day).await.unwrap().wal_removed.count, 0);
    assert_eq!(names(&repository).await, [FIRST, SECOND, HISTORY]);
    // Another component's backup of the same cluster counts for nothing.
    take_over(&repository, &[]).await;
    backend.advance(SignedDuration::from_hours(100));
    assert_eq!(repository.prune(day).await.unwrap().wal_removed.count, 0);
}

#[tokio::test]
async fn what_waits_is_told_as_stretches_and_a_damaged_file_hides_no_other() {
    let backend = memory();
    let repository = repository(&backend).await;
    let cluster = (SYSTEM, SegmentBytes::USUAL);
    repository
        .accept_wal_of(&component(), cluster, NamedBy::Push)
        .await
        .unwrap();
    for file in [FIRST, SECOND, "000000010000000000000004"] {
        hand_over(&repository, file, noise(file, 100)).await;
    }
    hand_over(&repository, HISTORY, b"1\t0/4000148\tx\n".to_vec()).await;
    let (waiting, damaged) = repository.waiting_wal(None).await.unwrap();
    assert!(damaged.is_empty());
    assert_eq!((waiting.len(), waiting[0].files), (1, 4));
    let runs: Vec<String> = waiting[0]
        .facts
        .runs
        .iter()
        .map(|run| format!("{} {}", run.first, run.last))
        .collect();
    assert_eq!(
        runs,
        [
            format!("{FIRST} {SECOND}"),
            "000000010000000000000004 000000010000000000000004".to_owned()
        ]
    );
    assert_eq!(waiting[0].facts.histories[0].forks[0].timeline, 1);

    let key = format!("wal/db/{SYSTEM}/00000002/{HISTORY}")
        .parse()
        .unwrap();
    backend.damage(&key, |bytes| bytes[60] ^= 1);
    let (waiting, damaged) = repository.waiting_wal(None).await.unwrap();
    assert_eq!((waiting[0].facts.runs.len(), damaged.len()), (2, 1));
    let report = repository.check(CheckLevel::Full).await.unwrap();
    assert_eq!(report.damaged.len(), 1);
    assert!(report.damaged[0].key.ends_with(HISTORY));
}

#[tokio::test]
async fn a_store_that_is_full_or_away_takes_nothing() {
    let backend = memory();
    let repository = repository(&backend).await;
    for kind in [Kind::Full, Kind::Unreachable] {
        backend.set_hook(Box::new(move |_, doing, _| match doing {
            Doing::Put => Fault::Fail(kind),
            _ => Fault::None,
        }));
        let put = put(&repository, FIRST, noise("a", 10)).await;
        assert!(matches!(put, Err(RepositoryError::Store(e)) if e.kind == kind));
        assert_eq!(names(&repository).await, [""; 0]);
    }
}
