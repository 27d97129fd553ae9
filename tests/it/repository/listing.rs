//! What a repository says it holds.

use crate::repository::given::{
    back_up, draft, files, memory, newest, reopened, repository, secret, store, surroundings,
};
use ccb::model::ids::{BackupId, Digest, RunId};
use ccb::repository::format::manifest::{Annotation, Note, RunRecord, Version};
use ccb::repository::{Commit, Repository, Surroundings};
use ccb::store::{Backend, Key, memory::Memory};

fn hold(backup: BackupId, reason: &str) -> Annotation {
    let at = "2026-02-01T00:00:00Z".parse().unwrap();
    let note = Note::Hold {
        by: "me".to_owned(),
        reason: reason.to_owned(),
    };
    Annotation {
        v: Version,
        backup,
        at,
        note,
    }
}

async fn cached(memory: &Memory, folder: &std::path::Path) -> (Repository, u64) {
    let surroundings = Surroundings {
        cache_dir: Some(folder.to_owned()),
        ..surroundings("cached")
    };
    let store = store(memory);
    let repository = Repository::open(store.clone(), Some(&secret()), &surroundings)
        .await
        .unwrap();
    let gets = store.calls().gets;
    (repository, gets)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_repository_holds_nothing() {
    let holdings = repository(&memory()).await.list().await.unwrap();
    assert!(holdings.backups.is_empty() && holdings.runs.is_empty());
    assert!(holdings.trashed.is_empty() && holdings.damaged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_belong_to_their_backup_and_come_in_order() {
    let memory = memory();
    let repository = repository(&memory).await;
    let manifest = back_up(&repository, &files(&[("a", b"1".to_vec())]))
        .await
        .unwrap();
    for reason in ["audit", "again"] {
        repository
            .annotate(&hold(manifest.id, reason))
            .await
            .unwrap();
    }
    repository
        .annotate(&hold(BackupId([9; 16]), "another"))
        .await
        .unwrap();
    let listed = newest(&repository).await;
    assert_eq!(listed.manifest, manifest);
    assert_eq!(listed.annotations.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_runs_are_listed_newest_first_and_recorded_once() {
    let memory = memory();
    let repository = repository(&memory).await;
    for n in 0..25 {
        let started = jiff::Timestamp::from_second(1_767_225_600 + i64::from(n)).unwrap();
        let run = RunRecord {
            v: Version,
            run: RunId([n as u8; 16]),
            started,
            finished: started,
            plan: "p".to_owned(),
            environment: "e".to_owned(),
            config: Digest([0; 32]),
            files: Vec::new(),
            steps: Vec::new(),
        };
        repository.record_run(&run).await.unwrap();
        repository.record_run(&run).await.unwrap();
    }
    let runs = repository.list().await.unwrap().runs;
    let numbers: Vec<u8> = runs.iter().map(|run| run.run.0[0]).collect();
    assert_eq!(numbers, (5..25).rev().collect::<Vec<u8>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_manifest_does_not_hide_the_others() {
    let memory = memory();
    let repository = repository(&memory).await;
    for n in 0..3 {
        back_up(&repository, &files(&[("a", vec![n])]))
            .await
            .unwrap();
    }
    let backups = repository.list().await.unwrap().backups;
    // The second's bytes under the third's name: whole, and not what the name says.
    let second = memory.get(&backups[1].key, None).await.unwrap();
    memory.damage(&backups[2].key, |bytes| *bytes = second.to_vec());
    memory.damage(&backups[0].key, |bytes| bytes[60] ^= 1);
    let holdings = repository.list().await.unwrap();
    let left: Vec<&Key> = holdings.backups.iter().map(|backup| &backup.key).collect();
    let damaged: Vec<&Key> = holdings.damaged.iter().map(|object| &object.key).collect();
    assert_eq!(left, [&backups[1].key]);
    assert_eq!(damaged, [&backups[0].key, &backups[2].key]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_listed_once_is_not_fetched_again() {
    let (memory, folder) = (memory(), tempfile::tempdir().unwrap());
    repository(&memory).await;
    let (repository, before) = cached(&memory, folder.path()).await;
    for n in 0..3 {
        back_up(&repository, &files(&[("a", vec![n])]))
            .await
            .unwrap();
    }
    let first = repository.list().await.unwrap().backups;
    let (again, opened) = cached(&memory, folder.path()).await;
    assert_eq!(again.list().await.unwrap().backups, first);
    assert_eq!(again.store().calls().gets, opened, "gets to open: {before}");
    // A new one is fetched, a lost one is not listed although it is in the cache.
    memory.lose(&first[0].key);
    back_up(&reopened(&memory, "other").await, &files(&[("a", vec![9])]))
        .await
        .unwrap();
    assert_eq!(again.list().await.unwrap().backups.len(), 3);
    assert_eq!(again.store().calls().gets, opened + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_was_altered_is_not_believed() {
    let (memory, folder) = (memory(), tempfile::tempdir().unwrap());
    repository(&memory).await;
    let (repository, _) = cached(&memory, folder.path()).await;
    back_up(&repository, &files(&[("a", vec![1; 100])]))
        .await
        .unwrap();
    let truth = repository.list().await.unwrap().backups;
    let mut altered = 0;
    for entry in walkdir::WalkDir::new(folder.path()).into_iter().flatten() {
        if entry.file_type().is_file() {
            let mut bytes = std::fs::read(entry.path()).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            std::fs::write(entry.path(), bytes).unwrap();
            altered += 1;
        }
    }
    assert_eq!(altered, 2, "manifests, and one segment");
    let (again, _) = cached(&memory, folder.path()).await;
    assert_eq!(again.list().await.unwrap().backups, truth);
    assert_eq!(again.reader().await.unwrap().blob_count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_sort_by_component_and_time() {
    let memory = memory();
    let repository = repository(&memory).await;
    for component in ["z", "a", "z"] {
        let mut session = repository.begin(draft(component), None).await.unwrap();
        crate::repository::given::write(&mut session, crate::repository::given::walk(&files(&[])))
            .await
            .unwrap();
        session.commit(Commit::default()).await.unwrap();
    }
    let backups = repository.list().await.unwrap().backups;
    let names: Vec<_> = backups
        .iter()
        .map(|backup| backup.manifest.component.as_str())
        .collect();
    assert_eq!(names, ["a", "z", "z"]);
    assert!(backups[1].manifest.started < backups[2].manifest.started);
    assert!(
        backups
            .iter()
            .all(|backup| backup.committed > backup.manifest.server_time)
    );
}
