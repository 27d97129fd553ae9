//! The damage matrix: each kind of damage on each kind of object. A check reports it and says which backup
//! it hits, nothing panics, and backups that do not stand on what is damaged are read as before.

use crate::repository::given::{
    Files, back_up, files, memory, newest, noise, read_back, reopened, repository, secret, store,
    surroundings,
};
use ccb::model::units::Percent;
use ccb::repository::format::manifest::{Annotation, Manifest, Note, Version};
use ccb::repository::{CheckLevel, CheckReport, OpenError, Repository, RepositoryError};
use ccb::store::{
    Backend, Doing, Key, Kind, Put,
    memory::{Fault, Memory},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    Delete,
    Truncate,
    Flip,
    Swap,
    Duplicate,
}

pub(super) const DAMAGES: [Damage; 5] = [
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
pub(super) async fn pair(backend: &Memory, prefix: &str, part: &str) -> [Key; 2] {
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
pub(super) async fn damage(backend: &Memory, [victim, other]: &[Key; 2], damage: Damage) {
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

/// Backups with one data pack and one tree pack each.
async fn many(count: usize) -> (Memory, Repository) {
    let backend = memory();
    let repository = repository(&backend).await;
    for n in 0..count {
        let name = n.to_string();
        let tree = files(&[(name.as_str(), noise(&name, 3000))]);
        back_up(&repository, &tree).await.unwrap();
    }
    (backend, repository)
}

async fn sample(repository: &Repository, percent: u8) -> CheckReport {
    let percent = Percent(percent);
    repository
        .check(CheckLevel::Sample { percent })
        .await
        .unwrap()
}

#[tokio::test]
async fn samples_go_round_whoever_takes_them_and_each_pack_is_read_once_a_turn() {
    let (backend, first) = many(10).await;
    let second = reopened(&backend, "another host").await;
    for _ in 0..2 {
        let mut read = 0;
        for turn in 0..10 {
            let who = if turn % 2 == 0 { &first } else { &second };
            let report = sample(who, 10).await;
            assert!(report.is_clean() && report.is_remembered, "{report:?}");
            assert!(report.packs_read.count < 10, "{report:?}");
            read += report.packs_read.count;
        }
        // 10 % of the circle is a little more than a tenth, so that a turn is never too short.
        assert!((20..=21).contains(&read), "{read}");
    }
    assert_eq!(sample(&first, 100).await.packs_read.count, 20);
    assert_eq!(sample(&first, 0).await.packs_read.count, 0);
    let report = first.check(CheckLevel::Full).await.unwrap();
    assert_eq!(report.packs_read.count, 20);
}

#[tokio::test]
async fn damage_that_a_sample_found_is_looked_at_again_until_it_is_gone() {
    let (backend, repository) = many(4).await;
    let pack = backend
        .list("packs/d/")
        .await
        .unwrap()
        .objects
        .remove(0)
        .key;
    let whole = backend.get(&pack, None).await.unwrap();
    backend.damage(&pack, |bytes| bytes[60] ^= 1);
    let mut found = 0;
    for _ in 0..10 {
        found += usize::from(!sample(&repository, 10).await.is_clean());
    }
    assert!(found >= 1);
    for _ in 0..3 {
        let report = sample(&repository, 0).await;
        assert_eq!(report.damaged.len(), 1, "{report:?}");
        assert_eq!(report.hit.len(), 1, "{report:?}");
    }
    backend.damage(&pack, |bytes| *bytes = whole.to_vec());
    assert!(sample(&repository, 0).await.is_clean());
    assert_eq!(sample(&repository, 0).await.packs_read.count, 0);
}

#[tokio::test]
async fn a_sample_that_can_not_be_remembered_is_still_taken() {
    let (backend, repository) = many(3).await;
    backend.set_hook(Box::new(|_, doing, _| match doing {
        Doing::Put => Fault::Fail(Kind::ReadOnly),
        _ => Fault::None,
    }));
    let report = sample(&repository, 100).await;
    assert!(!report.is_remembered && report.is_clean());
    assert_eq!(report.packs_read.count, 6);
}

#[tokio::test]
async fn damage_to_the_log_of_prunes_keeps_nobody_from_restoring_and_is_never_concluded_from() {
    for how in [Damage::Truncate, Damage::Flip] {
        let given = given().await;
        let newest = newest(&given.repository).await;
        given
            .repository
            .forget(&newest, "test", None)
            .await
            .unwrap();
        let now = ccb::repository::PruneRequest {
            trash: ccb::model::units::Period::hours(0),
            ..Default::default()
        };
        given.repository.prune(now).await.unwrap();
        let record = Key::new("gc/1").unwrap();
        damage(&given.backend, &[record.clone(), record.clone()], how).await;
        let again = reopened(&given.backend, "again").await;
        assert!(read(&again, &given.backups[0]).await, "{how:?}");
        let report = again.check(CheckLevel::Full).await.unwrap();
        assert_eq!(report.damaged.len(), 1, "{how:?}: {report:?}");
        assert_eq!(report.damaged[0].key, "gc/1");
        let facts = again.facts().await.unwrap();
        assert_eq!(facts.damaged.unwrap().key, record);
        // Nobody may write: what may be referred to is not known. Nor remove.
        let error = back_up(&again, &files(&[("x", b"x".to_vec())]))
            .await
            .unwrap_err();
        assert!(
            error.is_damage() && error.to_string().contains("gc/1"),
            "{error}"
        );
        assert!(again.prune(now).await.unwrap_err().is_damage());
    }
}

#[tokio::test]
async fn damage_to_tombs_and_runs_revives_no_backup_and_stops_removal() {
    for how in [Damage::Truncate, Damage::Flip] {
        let given = given().await;
        let newest = newest(&given.repository).await;
        given
            .repository
            .forget(&newest, "test", None)
            .await
            .unwrap();
        let tomb = pair(&given.backend, "tombs/", "").await;
        damage(&given.backend, &tomb, how).await;
        let holdings = given.repository.list().await.unwrap();
        assert_eq!(
            (holdings.backups.len(), holdings.damaged.len()),
            (1, 1),
            "{how:?}"
        );
        let report = given.repository.check(CheckLevel::Presence).await.unwrap();
        assert_eq!(report.damaged[0].key, tomb[0].as_str());
        let pruned = given.repository.prune(Default::default()).await;
        assert!(
            matches!(pruned, Err(RepositoryError::PruneStopped { .. })),
            "{pruned:?}"
        );
        assert!(
            read(&given.repository, &given.backups[1]).await,
            "its packs are there"
        );
    }
}
