//! What goes wrong around a repository: clocks that are years off, a disk that is full, a store that takes
//! nothing. Each says what to do, and nothing that was there is lost.

use crate::repository::given::{
    Files, back_up, draft, files, memory, newest, noise, read_back, reopened, repository, secret,
    store, surroundings, walk, write,
};
use ccb::model::units::{Percent, Period};
use ccb::repository::format::manifest::{Annotation, Note, Version};
use ccb::repository::{
    CheckLevel, Commit, PruneRequest, Repository, RepositoryError, Surroundings,
};
use ccb::store::{
    Backend, Doing, Kind,
    memory::{Fault, Memory},
};
use jiff::{SignedDuration, Timestamp};
use std::error::Error;
use std::sync::Arc;

const NOW: PruneRequest = PruneRequest {
    trash: Period::hours(0),
    grace: Period::hours(0),
    repack: ccb::repository::Repack {
        unused_max: Percent(5),
        budget_bytes: 0,
    },
};

fn tree(name: &str) -> Files {
    files(&[
        (name, noise(name, 60_000)),
        ("sub/text", name.as_bytes().to_vec()),
    ])
}

async fn all_are_readable(memory: &Memory, count: usize) {
    let repository = reopened(memory, "look").await;
    let holdings = repository.list().await.unwrap();
    assert_eq!((holdings.backups.len(), holdings.damaged.len()), (count, 0));
    let reader = repository.reader().await.unwrap();
    for backup in &holdings.backups {
        read_back(&reader, &backup.manifest).await.unwrap();
    }
}

/// The same repository on a host whose clock stands at `at`.
async fn at_clock(memory: &Memory, at: &str) -> Repository {
    let now: Timestamp = at.parse().unwrap();
    let surroundings = Surroundings {
        now: Arc::new(move || now),
        ..surroundings(at)
    };
    Repository::open(store(memory), Some(&secret()), &surroundings)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ten_years_off_costs_no_backup_and_hurries_no_removal() {
    for clock in ["2016-01-01T00:00:00Z", "2036-01-01T00:00:00Z"] {
        let memory = memory();
        let right = repository(&memory).await;
        let wrong = at_clock(&memory, clock).await;
        back_up(&right, &tree("right")).await.unwrap();
        let made = back_up(&wrong, &tree("wrong")).await.unwrap();
        // It says when it really was.
        assert_eq!(made.started.to_string(), clock);
        assert_eq!(made.server_time.to_string()[..7], *"2026-01");
        all_are_readable(&memory, 2).await;
        // A session of either host is alive to a prune of the other.
        let mut session = wrong.begin(draft("files"), None).await.unwrap();
        write(&mut session, walk(&tree("third"))).await.unwrap();
        memory.advance(SignedDuration::from_mins(10));
        assert_eq!(right.prune(NOW).await.unwrap().revoked, 0, "{clock}");
        session.commit(Commit::default()).await.unwrap();
        // What is forgotten by one clock has its days in the trash by the store's.
        let listed = right.list().await.unwrap().backups;
        let gone = listed
            .iter()
            .find(|backup| backup.manifest == made)
            .unwrap();
        wrong.forget(gone, "test", None).await.unwrap();
        for host in [&right, &wrong] {
            let report = host.prune(PruneRequest::default()).await.unwrap();
            assert_eq!(
                (report.emptied.len(), report.deleted.count),
                (0, 0),
                "{clock}"
            );
        }
        memory.advance(SignedDuration::from_hours(7 * 24 + 1));
        let report = wrong.prune(PruneRequest::default()).await.unwrap();
        assert_eq!(
            (report.emptied.len(), report.deleted.count),
            (1, 0),
            "{clock}"
        );
        assert_eq!(report.condemned.count, 2, "{clock}");
        memory.advance(SignedDuration::from_hours(25));
        let report = right.prune(PruneRequest::default()).await.unwrap();
        assert_eq!(report.deleted.count, 2, "{clock}");
        all_are_readable(&memory, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_counts_after_a_release_that_a_clock_in_the_future_dated() {
    let memory = memory();
    let right = repository(&memory).await;
    let future = at_clock(&memory, "2036-01-01T00:00:00Z").await;
    let manifest = back_up(&right, &tree("a")).await.unwrap();
    let note = |note, at: &str| Annotation {
        v: Version,
        backup: manifest.id,
        at: at.parse().unwrap(),
        note,
    };
    let (by, reason) = ("ana".to_owned(), "audit".to_owned());
    let release = Note::Release {
        by: by.clone(),
        reason: String::new(),
    };
    future
        .annotate(&note(release, "2036-01-01T00:00:00Z"))
        .await
        .unwrap();
    memory.advance(SignedDuration::from_secs(5));
    let hold = Note::Hold { by, reason };
    right
        .annotate(&note(hold, "2026-01-01T00:00:09Z"))
        .await
        .unwrap();
    let said = newest(&right).await.annotations;
    assert!(ccb::model::inventory::hold(&said).is_some(), "{said:?}");
}

/// The chain of causes, as the command line prints it.
fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words} > {error}");
        cause = error.source();
    }
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_at_any_write_costs_the_session_only_and_a_rerun_completes_it() {
    let given = memory();
    back_up(&repository(&given).await, &tree("old"))
        .await
        .unwrap();
    let new = files(&[
        ("long", noise("long", 40 << 20)),
        ("short", b"short".to_vec()),
    ]);
    for room in 0.. {
        let memory = given.fork();
        let host = reopened(&memory, &format!("full {room}")).await;
        let mut puts = 0;
        memory.set_hook(Box::new(move |_, doing, _| {
            puts += u64::from(doing == Doing::Put);
            match doing {
                Doing::Put if puts > room => Fault::Fail(Kind::Full),
                _ => Fault::None,
            }
        }));
        let outcome = back_up(&host, &new).await;
        memory.clear_hook();
        let Err(error) = outcome else {
            assert!(room > 5, "{room} writes were enough");
            all_are_readable(&memory, 2).await;
            return;
        };
        assert!(
            matches!(&error, RepositoryError::Store(e) if e.kind == Kind::Full),
            "{error:?}"
        );
        let said = words(&error);
        assert!(said.contains("no space is left; free some there"), "{said}");
        all_are_readable(&memory, 1).await;
        let made = back_up(&reopened(&memory, "again").await, &new)
            .await
            .unwrap();
        assert!(made.stats.new_bytes < (40 << 20) + 2000, "{room}");
        all_are_readable(&memory, 2).await;
        let report = host.check(CheckLevel::Full).await.unwrap();
        assert!(report.is_clean(), "{room}: {report:?}");
    }
}

/// Nothing more fits, until something was removed.
fn full_until_removed(memory: &Memory) {
    let mut is_full = true;
    memory.set_hook(Box::new(move |_, doing, what| {
        is_full &= !(doing == Doing::Delete && what.starts_with("packs/"));
        match doing {
            Doing::Put if is_full => Fault::Fail(Kind::Full),
            _ => Fault::None,
        }
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_makes_room_on_a_disk_that_is_full() {
    let memory = memory();
    let repository = repository(&memory).await;
    for name in ["kept", "second", "first"] {
        back_up(&repository, &tree(name)).await.unwrap();
    }
    let forget = async || {
        let backup = newest(&repository).await;
        repository.forget(&backup, "test", None).await.unwrap();
    };
    forget().await;
    let week = PruneRequest {
        trash: Period::hours(0),
        ..PruneRequest::default()
    };
    assert_eq!(repository.prune(week).await.unwrap().condemned.count, 2);
    forget().await;
    memory.advance(SignedDuration::from_hours(25));
    full_until_removed(&memory);
    // What was condemned goes; then there is room for a record of what else may.
    let report = repository.prune(week).await.unwrap();
    assert_eq!(
        (report.deleted.count, report.condemned.count),
        (2, 2),
        "{report:?}"
    );
    memory.clear_hook();
    all_are_readable(&memory, 1).await;
    let report = repository.check(CheckLevel::Full).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    memory.advance(SignedDuration::from_hours(25));
    assert_eq!(repository.prune(week).await.unwrap().deleted.count, 2);
    let report = repository.check(CheckLevel::Full).await.unwrap();
    assert!(report.is_clean() && report.packs.count == 2, "{report:?}");
    // With nothing to remove it can not help, and says so.
    forget().await;
    full_until_removed(&memory);
    let error = repository.prune(week).await.unwrap_err();
    assert!(words(&error).contains("no space is left"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_nothing_can_be_read_listed_checked_and_restored_from() {
    for kind in [Kind::ReadOnly, Kind::Denied] {
        let memory = memory();
        let host = repository(&memory).await;
        for name in ["one", "two"] {
            back_up(&host, &tree(name)).await.unwrap();
        }
        memory.set_hook(Box::new(move |_, doing, _| match doing {
            Doing::Put | Doing::Delete => Fault::Fail(kind),
            _ => Fault::None,
        }));
        let before = memory.list("").await.unwrap().objects;
        let repository = reopened(&memory, "reader").await;
        let backup = newest(&repository).await;
        let pinned = repository.pin(&[&backup]).await.unwrap();
        all_are_readable(&memory, 2).await;
        drop(pinned);
        for level in [
            CheckLevel::Presence,
            CheckLevel::Structure,
            CheckLevel::Sample {
                percent: Percent(50),
            },
            CheckLevel::Full,
        ] {
            assert!(repository.check(level).await.unwrap().is_clean());
        }
        repository.facts().await.unwrap();
        assert_eq!(repository.key_slots().await.unwrap().len(), 1);
        let refused = [
            back_up(&repository, &tree("three")).await.map(drop),
            repository.forget(&backup, "test", None).await,
            repository.prune(NOW).await.map(drop),
        ];
        for outcome in refused {
            let said = words(&outcome.unwrap_err());
            let want = match kind {
                Kind::ReadOnly => "mount it writable",
                _ => "check the owner, the permissions or the credentials",
            };
            assert!(said.contains(want), "{said}");
        }
        assert_eq!(memory.list("").await.unwrap().objects, before);
    }
}
