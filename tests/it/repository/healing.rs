//! Healing: what is damaged in one repository is stored again from another of the same keyring, and afterwards
//! the damaged one is as good as new by itself.

use crate::repository::damage::{DAMAGES, Damage, damage, pair};
use crate::repository::given::{
    Files, copied, created, draft, files, memory, noise, read_back, repository, walk, write,
};
use ccb::model::ids::BackupId;
use ccb::model::units::Period;
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::manifest::Manifest;
use ccb::repository::{CheckLevel, Commit, PruneRequest, Repack, Repository};
use ccb::store::memory::Memory;
use jiff::SignedDuration;

/// Two repositories of one keyring, each with the same backups.
struct Given {
    backend: Memory,
    repository: Repository,
    other: Repository,
    backups: Vec<(Manifest, Files)>,
}

async fn given() -> Given {
    let backend = memory();
    let repository = repository(&backend).await;
    let other = another(Some(&repository)).await;
    let mut backups = Vec::new();
    for (number, name) in ["old", "new"].into_iter().enumerate() {
        let tree = files(&[
            (name, noise(name, 3_000_000)),
            ("sub/text", name.as_bytes().to_vec()),
            ("sub/deeper/small", noise(name, 10_000)),
        ]);
        let mut draft = draft("files");
        draft.id = BackupId([number as u8; 16]);
        let mut session = repository.begin(draft, None).await.unwrap();
        write(&mut session, walk(&tree)).await.unwrap();
        backups.push((session.commit(Commit::default()).await.unwrap(), tree));
    }
    for backup in repository.list().await.unwrap().backups {
        copied(&repository, &backup, &other).await.unwrap();
    }
    Given {
        backend,
        repository,
        other,
        backups,
    }
}

/// Another repository, of the keyring of `from` or of its own.
async fn another(from: Option<&Repository>) -> Repository {
    created(&memory(), (CipherSuite::Aes256Gcm, from), "other").await
}

async fn restores(repository: &Repository, backups: &[(Manifest, Files)]) {
    let reader = repository.reader().await.unwrap();
    for (manifest, tree) in backups {
        assert!(read_back(&reader, manifest).await.unwrap() == *tree);
    }
}

#[tokio::test]
async fn what_is_damaged_is_stored_again_from_another_repository() {
    for kind in ["packs/d/", "packs/m/", "index/"] {
        for how in DAMAGES {
            if how == Damage::Duplicate {
                continue;
            }
            let case = format!("{how:?} {kind}");
            let given = given().await;
            let pair = pair(&given.backend, kind, "").await;
            damage(&given.backend, &pair, how).await;
            let repository = &given.repository;
            let report = repository.check(CheckLevel::Full).await.unwrap();
            assert!(!report.is_clean(), "{case}");
            let others = std::slice::from_ref(&given.other);
            let healed = repository.heal(&report, others).await.unwrap();
            assert!(healed.left.is_empty(), "{case}: {:?}", healed.left);
            let again = repository.check(CheckLevel::Full).await.unwrap();
            assert!(again.is_clean(), "{case}: {again:?}");
            restores(repository, &given.backups).await;
            // Nothing is left of the damage when what is of no use was pruned.
            prune_twice(&given, &case).await;
            let last = repository.check(CheckLevel::Full).await.unwrap();
            assert!(last.is_clean(), "{case}: {last:?}");
            restores(repository, &given.backups).await;
        }
    }
}

async fn prune_twice(given: &Given, case: &str) {
    let request = PruneRequest {
        trash: Period::hours(0),
        grace: Period::hours(1),
        repack: Repack {
            budget_bytes: 0,
            ..PruneRequest::default().repack
        },
    };
    for _ in 0..2 {
        given.backend.advance(SignedDuration::from_hours(3));
        let pruned = given.repository.prune(request).await.unwrap();
        assert!(pruned.damaged.is_empty(), "{case}: {pruned:?}");
    }
}

#[tokio::test]
async fn what_is_whole_nowhere_is_said_and_the_rest_is_saved() {
    let given = given().await;
    let repository = &given.repository;
    let pair = pair(&given.backend, "packs/d/", "").await;
    damage(&given.backend, &pair, Damage::Flip).await;
    let report = repository.check(CheckLevel::Full).await.unwrap();
    let [hit] = &report.hit[..] else {
        panic!("{report:?}")
    };
    let lost_paths = hit.path_count;
    let stranger = another(None).await;
    let healed = repository.heal(&report, &[stranger]).await.unwrap();
    assert!(!healed.left.is_empty());
    assert_eq!(healed.condemned, 1);
    let again = repository.check(CheckLevel::Full).await.unwrap();
    assert_eq!(again.hit.len(), 1, "{again:?}");
    assert_eq!(again.hit[0].path_count, lost_paths);
    restores(repository, &given.backups[1..]).await;
    // It is not given up: another repository may come back later.
    prune_twice(&given, "nowhere whole").await;
    let report = repository.check(CheckLevel::Full).await.unwrap();
    let healed = repository
        .heal(&report, std::slice::from_ref(&given.other))
        .await
        .unwrap();
    assert!(healed.blobs > 0 && healed.left.is_empty(), "{healed:?}");
    assert!(repository.check(CheckLevel::Full).await.unwrap().is_clean());
    restores(repository, &given.backups).await;
}

#[tokio::test]
async fn what_is_sound_is_left_alone() {
    let given = given().await;
    let report = given.repository.check(CheckLevel::Full).await.unwrap();
    let puts = given.repository.store().calls().puts;
    let healed = given
        .repository
        .heal(&report, std::slice::from_ref(&given.other))
        .await
        .unwrap();
    assert_eq!((healed.blobs, healed.condemned, healed.segments), (0, 0, 0));
    assert_eq!(given.repository.store().calls().puts, puts);
}

#[tokio::test]
async fn a_backup_made_after_healing_stands_on_nothing_damaged() {
    let given = given().await;
    let repository = &given.repository;
    let pair = pair(&given.backend, "packs/d/", "").await;
    damage(&given.backend, &pair, Damage::Flip).await;
    let report = repository.check(CheckLevel::Full).await.unwrap();
    // Nothing else is there to heal from: the damaged pack is only condemned.
    repository.heal(&report, &[]).await.unwrap();
    let mut draft = draft("files");
    draft.id = BackupId([7; 16]);
    let mut session = repository.begin(draft, None).await.unwrap();
    write(&mut session, walk(&given.backups[0].1))
        .await
        .unwrap();
    session.commit(Commit::default()).await.unwrap();
    // The source still had what was lost, so that the old backup is whole again with the new one.
    assert!(repository.check(CheckLevel::Full).await.unwrap().is_clean());
    restores(repository, &given.backups).await;
}
