//! A database dump from day to day, a few rows of a hundred changed all over it: stored small, and restored byte for
//! byte whatever happens to the days before: copied, pruned, damaged and healed, the keys rotated.

use crate::repository::given::{
    Files, copied, created, draft, memory, read_back, reopened, repository, secret, stream, walk,
};
use ccb::model::ids::BackupId;
use ccb::model::strategy::Method;
use ccb::model::tree::{Found, Problem};
use ccb::model::units::{Percent, Period};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::manifest::Manifest;
use ccb::repository::{CheckLevel, Commit, PruneRequest, Repack, Repository, rotate};
use ccb::store::{Backend, memory::Memory};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};
use std::io::{Cursor, Read};
use std::sync::Arc;

pub(crate) const NOW: PruneRequest = PruneRequest {
    trash: Period::hours(0),
    grace: Period::hours(0),
    repack: Repack {
        unused_max: Percent(5),
        budget_bytes: 1 << 30,
    },
};

/// A table of so many rows, after `day` days: each has passed over one row of seventy, and a few are new.
pub(crate) fn dump(rows: u64, day: u64) -> Vec<u8> {
    let mut text = Vec::new();
    for row in 0..rows + 20 * day {
        let changed = (1..=day)
            .rev()
            .find(|day| hash(row, *day).is_multiple_of(70));
        let version = changed.unwrap_or(0);
        let words: String = (0..6)
            .map(|n| format!("{:x} ", hash(row * 8 + n, 1000) >> 20))
            .collect();
        text.extend(format!("{row}\t{words}\t{}\t{version}\n", hash(row, 77 + version)).bytes());
    }
    text
}

pub(crate) fn hash(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    x = (x ^ (x >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ (x >> 29)
}

/// Backs one stream up against the newest backup.
pub(crate) async fn back_up(repository: &Repository, number: u8, bytes: Vec<u8>) -> Manifest {
    let walk = stream("db.dump", move || {
        Ok(Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>)
    });
    back_up_walk(repository, number, walk).await
}

/// Backs files up against the newest backup.
pub(crate) async fn back_up_files(repository: &Repository, number: u8, files: &Files) -> Manifest {
    back_up_walk(repository, number, Box::new(walk(files).into_iter())).await
}

async fn back_up_walk(
    repository: &Repository,
    number: u8,
    walk: Box<dyn Iterator<Item = Result<Found, Problem>> + Send>,
) -> Manifest {
    let mut draft = draft("db");
    draft.method = Method::Dump;
    draft.id = BackupId([number; 16]);
    let mut session = repository.begin(draft, None).await.unwrap();
    if let Some(previous) = repository.list().await.unwrap().backups.pop() {
        session.stand_on(previous);
    }
    session.write_tree(walk, Arc::new(())).await.unwrap();
    session.commit(Commit::default()).await.unwrap()
}

async fn len_of(backend: &Memory, prefix: &str) -> u64 {
    let listing = backend.list(prefix).await.unwrap();
    listing.objects.iter().map(|object| object.size).sum()
}

/// Backups of days, and what each holds.
pub(crate) struct Days {
    pub(crate) backend: Memory,
    pub(crate) repository: Repository,
    pub(crate) days: Vec<(Manifest, Vec<u8>)>,
}

pub(crate) async fn days(count: u64) -> Days {
    let backend = memory();
    let repository = repository(&backend).await;
    let mut days = Vec::new();
    for day in 0..count {
        let bytes = dump(8_000, day);
        let manifest = back_up(&repository, day as u8, bytes.clone()).await;
        days.push((manifest, bytes));
    }
    Days {
        backend,
        repository,
        days,
    }
}

pub(crate) async fn restores(repository: &Repository, days: &[(Manifest, Vec<u8>)]) {
    let reader = repository.reader().await.unwrap();
    for (manifest, bytes) in days {
        let files = read_back(&reader, manifest).await.unwrap();
        assert!(files["db.dump"] == *bytes, "{}", manifest.id);
    }
}

pub(crate) async fn is_clean(repository: &Repository) {
    let report = repository.check(CheckLevel::Full).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_days_of_scattered_changes_take_little_and_each_is_restored() {
    let given = days(10).await;
    restores(&given.repository, &given.days).await;
    is_clean(&given.repository).await;
    let stored = |of: &Manifest| of.stats.stored_bytes;
    let first = stored(&given.days[0].0);
    let later: u64 = given.days[1..].iter().map(|(day, _)| stored(day)).sum();
    // A fifteenth of the rows and more are others each day, and nearly all chunks. The ninth goes back to the first.
    assert!(later * 3 < first * 2, "{first} and then {later}");
    assert!(given.days[9].0.stats.stored_bytes * 2 < first);
    // Nearly all chunks were new, and are small.
    assert!(given.days[5].0.stats.new_bytes > given.days[5].0.stats.bytes / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_stay_small_where_what_they_stand_on_is_there_and_are_whole_where_not() {
    let given = days(4).await;
    let aes = (CipherSuite::Aes256Gcm, Some(&given.repository));
    let (all, last) = (memory(), memory());
    let to_all = created(&all, aes, "all").await;
    let to_last = created(&last, aes, "last").await;
    let listed = given.repository.list().await.unwrap().backups;
    for backup in &listed {
        copied(&given.repository, backup, &to_all).await.unwrap();
    }
    let backup = &listed[3];
    copied(&given.repository, backup, &to_last).await.unwrap();
    drop(given.repository);
    restores(&to_all, &given.days).await;
    restores(&to_last, &given.days[3..]).await;
    is_clean(&to_all).await;
    is_clean(&to_last).await;
    let there = len_of(&given.backend, "packs/d/").await;
    let copied = len_of(&all, "packs/d/").await;
    assert!(copied * 10 < there * 11, "{there} became {copied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_later_days_stand_on_outlives_the_early_days() {
    let mut given = days(6).await;
    for backup in given.repository.list().await.unwrap().backups.drain(..4) {
        given
            .repository
            .forget(&backup, "test", None)
            .await
            .unwrap();
    }
    given.days.drain(..4);
    for _ in 0..3 {
        given.backend.advance(jiff::SignedDuration::from_hours(1));
        given.repository.prune(NOW).await.unwrap();
        restores(&given.repository, &given.days).await;
    }
    is_clean(&given.repository).await;
    // And the next day finds what it needs.
    let bytes = dump(8_000, 6);
    let next = back_up(&given.repository, 6, bytes.clone()).await;
    assert!(next.stats.stored_bytes * 3 < given.days[0].1.len() as u64);
    given.days.push((next, bytes));
    restores(&given.repository, &given.days).await;
    is_clean(&given.repository).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_what_all_stand_on_hits_all_and_is_healed_from_a_copy() {
    let given = days(3).await;
    let aes = (CipherSuite::Aes256Gcm, Some(&given.repository));
    let other = created(&memory(), aes, "other").await;
    for backup in given.repository.list().await.unwrap().backups {
        copied(&given.repository, &backup, &other).await.unwrap();
    }
    let packs = given.backend.list("packs/d/").await.unwrap().objects;
    let pack = packs.iter().max_by_key(|pack| pack.size).unwrap();
    given.backend.damage(&pack.key, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let report = given.repository.check(CheckLevel::Full).await.unwrap();
    let hit: Vec<BackupId> = report.hit.iter().map(|hit| hit.backup).collect();
    let all: Vec<BackupId> = given.days.iter().map(|(day, _)| day.id).collect();
    assert_eq!(hit, all, "{report:?}");
    let name = pack.key.as_str().rsplit('/').next().unwrap();
    assert!(
        report
            .hit
            .iter()
            .all(|hit| hit.packs.iter().any(|pack| pack.to_string() == name))
    );
    let healed = given.repository.heal(&report, &[other]).await.unwrap();
    assert!(healed.left.is_empty(), "{:?}", healed.left);
    is_clean(&given.repository).await;
    restores(&given.repository, &given.days).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_base_is_never_referred_to_and_the_next_backup_is_whole() {
    let given = days(2).await;
    let packs = given.backend.list("packs/d/").await.unwrap().objects;
    let pack = packs.iter().max_by_key(|pack| pack.size).unwrap();
    given.backend.lose(&pack.key);
    let report = given.repository.check(CheckLevel::Presence).await.unwrap();
    assert_eq!(report.hit.len(), 2, "{report:?}");
    // The same bytes again: what the second day stored stands on what is gone.
    let again = back_up(&given.repository, 7, given.days[1].1.clone()).await;
    restores(&given.repository, &[(again, given.days[1].1.clone())]).await;
    restores(&given.repository, &given.days[1..]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_before_and_after_a_rotation_of_keys_stand_on_each_other() {
    let mut given = days(2).await;
    rotate(&[&given.repository], &[&secret()]).await.unwrap();
    let rotated = reopened(&given.backend, "rotated").await;
    let bytes = dump(8_000, 2);
    let day = back_up(&rotated, 2, bytes.clone()).await;
    assert!(day.stats.stored_bytes * 4 < bytes.len() as u64);
    assert_eq!(day.epoch, 2);
    given.days.push((day, bytes));
    restores(&rotated, &given.days).await;
    is_clean(&rotated).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_changed_comes_back(
        edits in prop::collection::vec(prop::collection::vec((any::<u32>(), 0..3000_usize, 0..3000_usize), 0..40), 1..4)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let outcome = runtime.block_on(async {
            let backend = memory();
            let repository = repository(&backend).await;
            let mut bytes = dump(5_000, 0);
            let mut days = Vec::new();
            for (number, edits) in std::iter::once(Vec::new()).chain(edits).enumerate() {
                for (at, removed, added) in edits {
                    let at = at as usize % bytes.len();
                    let end = (at + removed).min(bytes.len() - 1).max(at);
                    let more = dump(60, u64::from(at as u32 % 50) + 1);
                    bytes.splice(at..end, more.into_iter().take(added));
                }
                days.push((back_up(&repository, number as u8, bytes.clone()).await, bytes.clone()));
            }
            let reader = repository.reader().await.unwrap();
            for (manifest, bytes) in &days {
                if read_back(&reader, manifest).await.unwrap()["db.dump"] != *bytes {
                    return false;
                }
            }
            repository.check(CheckLevel::Full).await.unwrap().is_clean()
        });
        prop_assert!(outcome);
    }
}
