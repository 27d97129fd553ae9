//! Forgetting, undeleting, copying and pruning, one after the other: what goes, what stays, and when.

use crate::repository::given::{
    back_up, copied, created, draft, files, memory, newest, noise, read_back, reopened, repository,
    store, surroundings, walk_since, write,
};
use ccb::model::ids::RunId;
use ccb::model::units::{Percent, Period};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::manifest::{Annotation, Note, Version};
use ccb::repository::{
    Commit, Creation, Packs, PruneReport, PruneRequest, Repack, Repository, RepositoryError,
};
use ccb::store::{Backend, memory::Memory};
use jiff::SignedDuration;

const NOW: PruneRequest = PruneRequest {
    trash: Period::hours(0),
    grace: Period::hours(0),
    repack: Repack {
        unused_max: Percent(5),
        budget_bytes: 0,
    },
};

async fn packs(backend: &Memory) -> usize {
    backend.list("packs/").await.unwrap().objects.len()
}

async fn forget_newest(repository: &Repository) {
    let backup = newest(repository).await;
    repository.forget(&backup, "test", None).await.unwrap();
}

#[tokio::test]
async fn a_forgotten_backup_is_in_the_trash_and_forgetting_twice_is_the_same() {
    let backend = memory();
    let repository = repository(&backend).await;
    back_up(&repository, &files(&[("a", noise("a", 5000))]))
        .await
        .unwrap();
    let backup = newest(&repository).await;
    repository
        .forget(&backup, "beyond daily 7", Some(RunId([9; 16])))
        .await
        .unwrap();
    repository
        .forget(&backup, "another reason", None)
        .await
        .unwrap();
    let holdings = repository.list().await.unwrap();
    assert_eq!(holdings.backups, []);
    assert_eq!(holdings.trashed.len(), 1);
    assert_eq!(holdings.trashed[0].tomb.reason, "beyond daily 7");
    assert_eq!(holdings.trashed[0].backup, backup);
}

#[tokio::test]
async fn what_is_undeleted_is_a_new_backup_of_the_same_content_and_outlives_the_trash() {
    let backend = memory();
    let repository = repository(&backend).await;
    let tree = files(&[("a", noise("a", 5000)), ("b/c", b"text".to_vec())]);
    let old = back_up(&repository, &tree).await.unwrap();
    forget_newest(&repository).await;
    let trashed = repository.list().await.unwrap().trashed.remove(0);
    let new = repository.undelete(&trashed, RunId([8; 16])).await.unwrap();
    assert_eq!(new.restored_from, Some(old.id));
    assert_ne!(new.id, old.id);
    assert_eq!((new.started, new.root), (old.started, old.root));
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!(report.emptied, [old.id]);
    assert_eq!(report.deleted, Packs::default());
    let listed = newest(&repository).await;
    assert_eq!(listed.manifest, new);
    let reader = repository.reader().await.unwrap();
    assert_eq!(read_back(&reader, &new).await.unwrap(), tree);
    let gone = repository.undelete(&trashed, RunId([8; 16])).await;
    assert!(matches!(gone, Err(RepositoryError::Gone { id }) if id == old.id));
}

#[tokio::test]
async fn packs_go_only_after_trash_and_grace_and_those_of_other_backups_stay() {
    let backend = memory();
    let repository = repository(&backend).await;
    let kept = files(&[("kept", noise("kept", 50_000))]);
    let manifest = back_up(&repository, &kept).await.unwrap();
    back_up(&repository, &files(&[("gone", noise("gone", 50_000))]))
        .await
        .unwrap();
    forget_newest(&repository).await;
    let request = PruneRequest {
        trash: Period::days(7),
        grace: Period::hours(24),
        ..PruneRequest::default()
    };
    // What the table's steps find after this much time: emptied, condemned, deleted, waiting.
    let steps = [
        (0, 0, 0, 0, 0),
        (6 * 24, 0, 0, 0, 0),
        (25, 1, 2, 0, 2),
        (23, 0, 0, 0, 2),
        (2, 0, 0, 2, 0),
    ];
    for (hours, emptied, condemned, deleted, waiting) in steps {
        backend.advance(SignedDuration::from_hours(hours));
        let report = repository.prune(request).await.unwrap();
        let PruneReport {
            condemned: c,
            deleted: d,
            waiting: w,
            ..
        } = &report;
        let found = (report.emptied.len(), c.count, d.count, w.count);
        assert_eq!(
            found,
            (emptied, condemned, deleted, waiting),
            "after {hours} h: {report:?}"
        );
        assert_eq!(report.waiting_until.is_some(), waiting > 0);
    }
    assert_eq!(packs(&backend).await, 2);
    let reader = repository.reader().await.unwrap();
    assert_eq!(read_back(&reader, &manifest).await.unwrap(), kept);
}

#[tokio::test]
async fn a_pack_that_is_condemned_and_used_by_a_session_that_did_not_know_stays() {
    let backend = memory();
    let repository = repository(&backend).await;
    let tree = files(&[("a", noise("a", 50_000))]);
    back_up(&repository, &tree).await.unwrap();
    let parent = newest(&repository).await;
    let other = reopened(&backend, "other").await;
    let mut session = other.begin(draft("files"), Some(&parent)).await.unwrap();
    let previous = session.parent_tree().unwrap();
    forget_newest(&repository).await;
    // On a thread of its own, as a walk is: the parent's tree may not be asked from async code.
    let walked = tokio::task::spawn_blocking({
        let tree = tree.clone();
        move || walk_since(&tree, Some(Box::new(previous)))
    });
    write(&mut session, walked.await.unwrap()).await.unwrap();
    assert_eq!(
        repository.prune(NOW).await.unwrap().deleted,
        Packs::default()
    );
    let manifest = session.commit(Commit::default()).await.unwrap();
    assert_eq!(
        repository.prune(NOW).await.unwrap().deleted,
        Packs::default()
    );
    let reader = repository.reader().await.unwrap();
    assert_eq!(read_back(&reader, &manifest).await.unwrap(), tree);
}

#[tokio::test]
async fn a_live_session_holds_packs_up_and_a_dead_one_can_not_commit_any_more() {
    let backend = memory();
    let repository = repository(&backend).await;
    back_up(&repository, &files(&[("a", noise("a", 50_000))]))
        .await
        .unwrap();
    let other = reopened(&backend, "other").await;
    let tree = files(&[("b", noise("b", 50_000))]);
    let mut session = other.begin(draft("files"), None).await.unwrap();
    write(&mut session, crate::repository::given::walk(&tree))
        .await
        .unwrap();
    forget_newest(&repository).await;
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!((report.deleted.count, report.waiting.count), (0, 2));
    assert_eq!(report.waiting_for, ["test-host"]);
    backend.advance(SignedDuration::from_mins(17));
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!((report.deleted.count, report.revoked), (2, 1));
    let committed = session.commit(Commit::default()).await;
    assert!(
        matches!(committed, Err(RepositoryError::Revoked)),
        "{committed:?}"
    );
    // The next session uses nothing that may go.
    let manifest = back_up(&other, &tree).await.unwrap();
    let reader = repository.reader().await.unwrap();
    assert_eq!(read_back(&reader, &manifest).await.unwrap(), tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_came_too_late_holds_a_prune_up_and_is_not_called_damage() {
    let backend = memory();
    let repository = repository(&backend).await;
    back_up(&repository, &files(&[("a", noise("a", 50_000))]))
        .await
        .unwrap();
    let gone = newest(&repository).await;
    forget_newest(&repository).await;
    for _ in 0..3 {
        repository.prune(NOW).await.unwrap();
        backend.advance(SignedDuration::from_hours(3));
    }
    assert_eq!(packs(&backend).await, 0);
    // A host that has slept since it listed the backups.
    let other = reopened(&backend, "other").await;
    let mut session = other.begin(draft("files"), Some(&gone)).await.unwrap();
    assert!(session.parent().is_none());
    let tree = files(&[("b", noise("b", 50_000))]);
    write(&mut session, crate::repository::given::walk(&tree))
        .await
        .unwrap();
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!(report.waiting_for, ["test-host"], "{report:?}");
    // Its lease stays for some hours; but what it stands on is known now.
    let manifest = session.commit(Commit::default()).await.unwrap();
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!(report.waiting_for, [""; 0], "{report:?}");
    let reader = repository.reader().await.unwrap();
    assert_eq!(read_back(&reader, &manifest).await.unwrap(), tree);
}

#[tokio::test]
async fn a_prune_removes_nothing_while_something_that_is_needed_can_not_be_read() {
    for what in ["packs/m/", "packs/d/", "backups/"] {
        let backend = memory();
        let repository = repository(&backend).await;
        back_up(&repository, &files(&[("a", noise("a", 50_000))]))
            .await
            .unwrap();
        let broken = backend.list(what).await.unwrap().objects.remove(0).key;
        back_up(&repository, &files(&[("b", noise("b", 50_000))]))
            .await
            .unwrap();
        forget_newest(&repository).await;
        if what == "backups/" {
            backend.damage(&broken, |bytes| bytes[50] ^= 1);
        } else {
            backend.lose(&broken);
        }
        let before = packs(&backend).await;
        let pruned = repository.prune(NOW).await;
        assert!(
            matches!(pruned, Err(RepositoryError::PruneStopped { .. })),
            "{what}: {pruned:?}"
        );
        assert_eq!(packs(&backend).await, before);
    }
}

#[tokio::test]
async fn a_copy_keeps_id_and_content_takes_holds_along_and_is_made_once() {
    let (here, there) = (memory(), memory());
    let from = repository(&here).await;
    let to = created(&there, (CipherSuite::ChaCha20Poly1305, Some(&from)), "to").await;
    let tree = crate::repository::given::generated();
    let manifest = back_up(&from, &tree).await.unwrap();
    let hold = Annotation {
        v: Version,
        backup: manifest.id,
        at: manifest.finished,
        note: Note::Hold {
            by: "me".to_owned(),
            reason: "audit".to_owned(),
        },
    };
    copied(&from, &newest(&from).await, &to).await.unwrap();
    from.annotate(&hold).await.unwrap();
    let puts = to.store().calls().puts;
    for more in [1, 0] {
        let before = to.store().calls().puts;
        let copied = copied(&from, &newest(&from).await, &to).await.unwrap();
        assert_eq!(
            (copied.id, copied.root, copied.started),
            (manifest.id, manifest.root, manifest.started)
        );
        assert_eq!(
            to.store().calls().puts - before,
            more,
            "the hold alone is new, then nothing"
        );
    }
    assert!(puts > 3);
    let listed = to.list().await.unwrap().backups;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].annotations, [hold]);
    let reader = to.reader().await.unwrap();
    assert_eq!(read_back(&reader, &listed[0].manifest).await.unwrap(), tree);
}

#[tokio::test]
async fn a_copy_to_another_keyring_is_refused() {
    let from = repository(&memory()).await;
    back_up(&from, &files(&[("a", b"a".to_vec())]))
        .await
        .unwrap();
    let creation = Creation {
        cipher: CipherSuite::None,
        slot: None,
        keyring_of: None,
    };
    let to = Repository::create(store(&memory()), &creation, &surroundings("to"))
        .await
        .unwrap();
    let copied = copied(&from, &newest(&from).await, &to).await;
    assert!(matches!(copied, Err(RepositoryError::OtherKeyring)));
}
