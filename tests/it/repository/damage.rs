//! The damage matrix: each kind of damage on each kind of object. A check reports it and says which backup
//! it hits, nothing panics, and backups that do not stand on what is damaged are read as before.

use crate::repository::given::{
    Files, back_up, files, memory, newest, noise, read_back, reopened, repository, secret, store,
    surroundings,
};
use ccb::model::units::Percent;
use ccb::repository::format::manifest::{Annotation, Manifest, Note, Version};
use ccb::repository::{CheckLevel, OpenError, Repository};
use ccb::store::{Backend, Key, Put, memory::Memory};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Delete,
    Truncate,
    Flip,
    Swap,
    Duplicate,
}

const DAMAGES: [Damage; 5] = [
    Damage::Delete,
    Damage::Truncate,
    Damage::Flip,
    Damage::Swap,
    Damage::Duplicate,
];

/// Two backups with nothing in common, `old` and `new`, each with a hold.
struct Given {
    backend: Memory,
    repository: Repository,
    backups: [(Manifest, Files); 2],
}

async fn given() -> Given {
    let backend = memory();
    let repository = repository(&backend).await;
    let mut backups = Vec::new();
    for name in ["old", "new"] {
        let tree = files(&[
            (name, noise(name, 70_000)),
            ("sub/text", name.as_bytes().to_vec()),
        ]);
        let manifest = back_up(&repository, &tree).await.unwrap();
        let by = name.to_owned();
        let hold = Annotation {
            v: Version,
            backup: manifest.id,
            at: manifest.finished,
            note: Note::Hold {
                by,
                reason: "test".to_owned(),
            },
        };
        repository.annotate(&hold).await.unwrap();
        backups.push((manifest, tree));
    }
    let backups = backups.try_into().unwrap();
    Given {
        backend,
        repository,
        backups,
    }
}

/// The oldest object under a prefix, which belongs to the backup `old`, and the newest.
async fn pair(backend: &Memory, prefix: &str, part: &str) -> [Key; 2] {
    let mut objects = backend.list(prefix).await.unwrap().objects;
    objects.retain(|meta| meta.key.as_str().ends_with(part));
    objects.sort_by_key(|meta| meta.modified);
    [
        objects[0].key.clone(),
        objects[objects.len() - 1].key.clone(),
    ]
}

/// Damages the first of the two. What is duplicated comes to lie under the name of another object that
/// never was: of its kind, but not its own.
async fn damage(backend: &Memory, [victim, other]: &[Key; 2], damage: Damage) {
    match damage {
        Damage::Delete => backend.lose(victim),
        Damage::Truncate => backend.damage(victim, |bytes| bytes.truncate(bytes.len() / 2)),
        Damage::Flip => backend.damage(victim, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
        Damage::Swap => {
            let bytes = backend.get(other, None).await.unwrap().to_vec();
            backend.damage(victim, |damaged| *damaged = bytes);
        }
        Damage::Duplicate => {
            let bytes = backend.get(victim, None).await.unwrap();
            let name = victim.as_str();
            let flipped = name.rfind(|c: char| c.is_ascii_hexdigit()).unwrap();
            let digit = if &name[flipped..=flipped] == "0" {
                "1"
            } else {
                "0"
            };
            let copy = format!("{}{digit}{}", &name[..flipped], &name[flipped + 1..]);
            backend
                .put(&Key::new(copy).unwrap(), bytes, Put::New)
                .await
                .unwrap();
        }
    }
}

async fn read(repository: &Repository, (manifest, tree): &(Manifest, Files)) -> bool {
    match repository.reader().await {
        Ok(reader) => read_back(&reader, manifest)
            .await
            .is_ok_and(|read| read == *tree),
        Err(_) => false,
    }
}

#[tokio::test]
async fn damage_to_packs_is_found_with_the_backup_it_hits_and_the_other_stays_readable() {
    for kind in ["packs/d/", "packs/m/"] {
        for how in DAMAGES {
            let given = given().await;
            let pair = pair(&given.backend, kind, "").await;
            damage(&given.backend, &pair, how).await;
            let case = format!("{how:?} {kind}");
            let report = given.repository.check(CheckLevel::Full).await.unwrap();
            if how == Damage::Duplicate {
                // A pack that nothing describes harms nobody, and goes with the next prune.
                assert!(
                    report.is_clean() && report.undescribed.count == 1,
                    "{case}: {report:?}"
                );
                assert!(read(&given.repository, &given.backups[0]).await);
                continue;
            }
            let keys: Vec<&str> = report
                .damaged
                .iter()
                .map(|damaged| damaged.key.as_str())
                .collect();
            assert!(keys.contains(&pair[0].as_str()), "{case}: {report:?}");
            let [hit] = &report.hit[..] else {
                panic!("{case}: {:?}", report.hit)
            };
            assert_eq!(hit.component.as_str(), "files");
            assert!(
                hit.key.ends_with(&given.backups[0].0.session.to_string()),
                "{case}"
            );
            assert!(
                hit.packs
                    .iter()
                    .all(|pack| pair[0].as_str().ends_with(&pack.to_string())),
                "{case}"
            );
            assert_eq!(hit.path_count, hit.paths.len() as u64, "{case}: {hit:?}");
            assert!(hit.path_count > 0 && hit.path_count < 3, "{case}: {hit:?}");
            assert!(!read(&given.repository, &given.backups[0]).await, "{case}");
            assert!(read(&given.repository, &given.backups[1]).await, "{case}");
        }
    }
}

#[tokio::test]
async fn damage_to_manifests_hides_no_other_backup() {
    for how in DAMAGES {
        let given = given().await;
        let pair = pair(&given.backend, "backups/", "").await;
        damage(&given.backend, &pair, how).await;
        let holdings = given.repository.list().await.unwrap();
        let report = given.repository.check(CheckLevel::Structure).await.unwrap();
        // A manifest that is gone is a backup that never was: only who keeps a list of his own can tell.
        assert_eq!(
            report.is_clean(),
            how == Damage::Delete,
            "{how:?}: {report:?}"
        );
        assert_eq!(
            holdings.damaged.len(),
            usize::from(how != Damage::Delete),
            "{how:?}"
        );
        let left = if how == Damage::Duplicate { 2 } else { 1 };
        assert_eq!(holdings.backups.len(), left, "{how:?}");
        assert_eq!(newest(&given.repository).await.manifest, given.backups[1].0);
        assert!(read(&given.repository, &given.backups[1]).await, "{how:?}");
    }
}

#[tokio::test]
async fn damage_to_the_index_is_found_and_costs_no_backup_that_it_does_not_describe() {
    for how in DAMAGES {
        let given = given().await;
        let pair = pair(&given.backend, "index/", "").await;
        damage(&given.backend, &pair, how).await;
        let report = given.repository.check(CheckLevel::Full).await.unwrap();
        assert_eq!(
            report.is_clean(),
            how == Damage::Duplicate,
            "{how:?}: {report:?}"
        );
        assert_eq!(
            report.hit.len(),
            usize::from(how != Damage::Duplicate),
            "{how:?}: {report:?}"
        );
        assert!(
            report.hit.iter().all(|hit| hit.paths == ["."]),
            "{how:?}: {report:?}"
        );
        assert!(read(&given.repository, &given.backups[1]).await, "{how:?}");
        // Nobody may conclude from half an index what is needed.
        let pruned = given
            .repository
            .prune(ccb::repository::PruneRequest::default())
            .await;
        assert_eq!(
            pruned.is_ok(),
            how == Damage::Duplicate,
            "{how:?}: {pruned:?}"
        );
    }
}

#[tokio::test]
async fn damage_to_the_key_slot_is_told_from_a_wrong_key() {
    for how in DAMAGES {
        let given = given().await;
        let slot = Key::new("keys/main.json").unwrap();
        let manifest = pair(&given.backend, "backups/", "").await[0].clone();
        damage(&given.backend, &[slot, manifest], how).await;
        let report = given.repository.check(CheckLevel::Presence).await.unwrap();
        // The slot that is gone was perhaps removed on purpose; this repository is open all the same.
        assert_eq!(
            report.is_clean(),
            how == Damage::Delete,
            "{how:?}: {report:?}"
        );
        let secret = secret();
        let opened =
            Repository::open(store(&given.backend), Some(&secret), &surroundings("again")).await;
        match (how, opened) {
            (Damage::Duplicate, Ok(again)) => assert!(read(&again, &given.backups[0]).await),
            (Damage::Duplicate, Err(error)) => panic!("{error}"),
            (_, Err(OpenError::Damaged { .. })) => {}
            (_, opened) => panic!("{how:?}: {opened:?}"),
        }
    }
}

#[tokio::test]
async fn damage_to_leases_and_annotations_costs_no_backup() {
    for (prefix, part) in [
        ("leases/", "/view"),
        ("leases/", "/start"),
        ("annotations/", ""),
    ] {
        for how in [Damage::Delete, Damage::Truncate, Damage::Flip, Damage::Swap] {
            let given = given().await;
            let pair = pair(&given.backend, prefix, part).await;
            damage(&given.backend, &pair, how).await;
            let case = format!("{how:?} {prefix}…{part}");
            let report = given.repository.check(CheckLevel::Presence).await.unwrap();
            // Of what is gone without a trace nothing can be said.
            assert_eq!(
                report.is_clean(),
                how == Damage::Delete,
                "{case}: {report:?}"
            );
            assert_eq!(report.hit, [], "{case}");
            let again = reopened(&given.backend, "again").await;
            for backup in &given.backups {
                assert!(read(&again, backup).await, "{case}");
            }
            back_up(&again, &files(&[("more", b"more".to_vec())]))
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_sample_reads_its_share_and_other_seeds_choose_other_packs() {
    let given = given().await;
    let mut chosen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let percent = Percent(50);
        let level = CheckLevel::Sample { percent, seed };
        let read = given.repository.check(level).await.unwrap().packs_read;
        assert_eq!(
            given.repository.check(level).await.unwrap().packs_read,
            read
        );
        chosen.insert(read.bytes);
    }
    assert!(chosen.len() > 3, "{chosen:?}");
    for (percent, share) in [(0, 0), (100, 4)] {
        let level = CheckLevel::Sample {
            percent: Percent(percent),
            seed: 1,
        };
        assert_eq!(
            given
                .repository
                .check(level)
                .await
                .unwrap()
                .packs_read
                .count,
            share
        );
    }
    assert_eq!(
        given
            .repository
            .check(CheckLevel::Full)
            .await
            .unwrap()
            .packs_read
            .count,
        4
    );
}
