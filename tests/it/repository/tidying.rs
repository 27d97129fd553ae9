//! What a prune does besides removing packs that nothing needs: packs that are used in part are emptied, and
//! small objects go when they have been of no use for long.

use crate::repository::given::{
    Files, back_up, draft, files, memory, newest, noise, read_back, reopened, repository, walk,
    write,
};
use ccb::model::ids::{Digest, RunId};
use ccb::model::units::{Percent, Period};
use ccb::repository::format::manifest::{RunRecord, Version};
use ccb::repository::{CheckLevel, Commit, PruneRequest, Repack, Repository};
use ccb::store::{Backend, Doing, Kind, Put, memory::Fault, memory::Memory};
use jiff::SignedDuration;

const NOW: PruneRequest = PruneRequest {
    trash: Period::hours(0),
    grace: Period::hours(24),
    repack: Repack {
        unused_max: Percent(5),
        budget_bytes: 1 << 30,
    },
};

async fn count(memory: &Memory, prefix: &str) -> usize {
    memory.list(prefix).await.unwrap().objects.len()
}

async fn bytes(memory: &Memory, prefix: &str) -> u64 {
    let objects = memory.list(prefix).await.unwrap().objects;
    objects.iter().map(|object| object.size).sum()
}

/// A backup of `kept`, and one of `kept` and `gone`, which was first: they share one pack.
async fn partly_used(kept: usize, gone: usize) -> (Memory, Repository, Files) {
    let memory = memory();
    let repository = repository(&memory).await;
    let small = files(&[("kept", noise("kept", kept))]);
    let mut large = small.clone();
    large.insert("gone".to_owned(), noise("gone", gone));
    back_up(&repository, &large).await.unwrap();
    let first = newest(&repository).await;
    back_up(&repository, &small).await.unwrap();
    repository.forget(&first, "test", None).await.unwrap();
    (memory, repository, small)
}

/// A restore of days: what it needs is moved twice meanwhile, and what held it is removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_finds_what_was_moved_and_removed_since_it_looked() {
    let memory = memory();
    let repository = repository(&memory).await;
    let mut tree = files(&[("a", noise("a", 200_000))]);
    let kept = tree.clone();
    let mut trees = vec![tree.clone()];
    for more in ["b", "c"] {
        tree.insert(more.to_owned(), noise(more, 400_000));
        trees.push(tree.clone());
    }
    // All of them in the pack of the largest one.
    let mut larger = Vec::new();
    for tree in trees.iter().rev() {
        back_up(&repository, tree).await.unwrap();
        larger.push(newest(&repository).await);
    }
    let backup = larger.pop().unwrap();
    let _pinned = repository.pin(&[&backup]).await.unwrap();
    let reader = repository.reader().await.unwrap();
    for gone in larger {
        repository.forget(&gone, "test", None).await.unwrap();
        let report = repository.prune(NOW).await.unwrap();
        assert_eq!(report.repacked.count, 1, "{report:?}");
        memory.advance(SignedDuration::from_hours(25));
        let report = repository.prune(NOW).await.unwrap();
        assert_eq!(report.deleted.count, 2, "{report:?}");
        let read = read_back(&reader, &backup.manifest).await.unwrap();
        assert!(read == kept, "after {} was forgotten", gone.key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_used_in_part_is_emptied_and_goes_after_the_grace() {
    let (memory, repository, tree) = partly_used(300_000, 700_000).await;
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!(
        (report.repacked.count, report.deleted.count),
        (1, 0),
        "{report:?}"
    );
    // The data pack that both shared, and the directory of the one that is forgotten.
    assert_eq!(report.condemned.count, 2, "{report:?}");
    assert_eq!(report.unused_bytes, 0, "{report:?}");
    assert!(
        (300_000..330_000).contains(&report.rewritten_bytes),
        "{report:?}"
    );
    memory.advance(SignedDuration::from_hours(25));
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!(
        (report.repacked.count, report.deleted.count),
        (0, 2),
        "{report:?}"
    );
    assert!(bytes(&memory, "packs/").await < 330_000);
    let reader = repository.reader().await.unwrap();
    let kept = newest(&repository).await;
    assert_eq!(read_back(&reader, &kept.manifest).await.unwrap(), tree);
    let report = repository.check(CheckLevel::Full).await.unwrap();
    assert!(
        report.is_clean() && report.undescribed.count == 0,
        "{report:?}"
    );
    // The session that did it is over, and its end does not stay for ever.
    assert_eq!(repository.list().await.unwrap().backups.len(), 1);
    assert_eq!(count(&memory, "backups/_repack/").await, 1);
    memory.advance(SignedDuration::from_hours(49));
    repository.prune(NOW).await.unwrap();
    memory.advance(SignedDuration::from_hours(49));
    repository.prune(NOW).await.unwrap();
    assert_eq!(count(&memory, "backups/_repack/").await, 0);
    assert_eq!(count(&memory, "leases/").await, 0);
}

/// Two hosts back up at once, and store twice what both have: the pack that is emptied for it stays emptied.
#[tokio::test(flavor = "multi_thread")]
async fn what_two_hosts_stored_twice_is_moved_once_and_not_by_every_prune() {
    let memory = memory();
    let repository = repository(&memory).await;
    let both = noise("both", 50_000);
    let trees = [
        files(&[("both", both.clone()), ("more", noise("more", 90_000))]),
        files(&[("both", both), ("less", noise("less", 20_000))]),
    ];
    let mut sessions = Vec::new();
    for tree in &trees {
        let mut session = repository.begin(draft("files"), None).await.unwrap();
        write(&mut session, walk(tree)).await.unwrap();
        sessions.push(session);
    }
    for session in sessions {
        session.commit(Commit::default()).await.unwrap();
    }
    let mut request = NOW;
    request.repack.unused_max = Percent(0);
    let report = repository.prune(request).await.unwrap();
    assert_eq!(report.repacked.count, 1, "{report:?}");
    assert_eq!(report.unused_bytes, 0, "{report:?}");
    for _ in 0..2 {
        memory.advance(SignedDuration::from_hours(25));
        let report = repository.prune(request).await.unwrap();
        assert_eq!(report.repacked.count, 0, "{report:?}");
        assert_eq!(report.condemned.count, 0, "{report:?}");
    }
    assert!(bytes(&memory, "packs/d").await < 165_000);
    let reader = repository.reader().await.unwrap();
    let held = repository.list().await.unwrap().backups;
    for backup in &held {
        let read = read_back(&reader, &backup.manifest).await.unwrap();
        assert!(trees.contains(&read));
    }
}

/// Small files of one directory are one frame: what is of no use in it counts, and goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_which_little_is_needed_is_made_anew_without_the_rest() {
    let memory = memory();
    let repository = repository(&memory).await;
    let file = |n: usize| (format!("{n:02}"), noise(&n.to_string(), 1000));
    let all: Files = (0..100).map(file).collect();
    let kept: Files = (0..10).map(|n| file(n * 10)).collect();
    back_up(&repository, &all).await.unwrap();
    let first = newest(&repository).await;
    back_up(&repository, &kept).await.unwrap();
    repository.forget(&first, "test", None).await.unwrap();
    let mut request = NOW;
    request.repack.unused_max = Percent(100);
    let report = repository.prune(request).await.unwrap();
    assert_eq!(report.repacked.count, 0, "{report:?}");
    assert!(
        (90_000..91_000).contains(&report.unused_bytes),
        "{report:?}"
    );
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!(report.repacked.count, 1, "{report:?}");
    assert_eq!(report.unused_bytes, 0, "{report:?}");
    memory.advance(SignedDuration::from_hours(25));
    repository.prune(NOW).await.unwrap();
    assert!(bytes(&memory, "packs/d").await < 12_000);
    let reader = repository.reader().await.unwrap();
    let backup = newest(&repository).await;
    assert_eq!(read_back(&reader, &backup.manifest).await.unwrap(), kept);
}

/// The first byte of what compresses well takes less than a byte of its frame: its pack is needed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_next_to_nothing_is_kept() {
    for unused_max in [100, 0] {
        let memory = memory();
        let repository = repository(&memory).await;
        let kept = files(&[("a", b"x".to_vec())]);
        let mut all = kept.clone();
        all.insert("b".to_owned(), b"some text ".repeat(6_000));
        back_up(&repository, &all).await.unwrap();
        let first = newest(&repository).await;
        back_up(&repository, &kept).await.unwrap();
        repository.forget(&first, "test", None).await.unwrap();
        let mut request = NOW;
        request.repack.unused_max = Percent(unused_max);
        for _ in 0..3 {
            repository.prune(request).await.unwrap();
            memory.advance(SignedDuration::from_hours(25));
        }
        let reader = repository.reader().await.unwrap();
        let backup = newest(&repository).await;
        assert_eq!(read_back(&reader, &backup.manifest).await.unwrap(), kept);
        let report = repository.check(CheckLevel::Full).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
    }
}

/// Moving what is of use out of a pack that is nearly full of it takes much for what it frees.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_mostly_of_use_is_moved_when_a_tenth_is_of_none() {
    for (kept, gone, moved) in [(920_000, 80_000, 0), (880_000, 120_000, 1)] {
        let (_, repository, _) = partly_used(kept, gone).await;
        let report = repository.prune(NOW).await.unwrap();
        assert_eq!(report.repacked.count, moved, "{gone}: {report:?}");
    }
    // One of which less is used is moved when a twentieth is of no use.
    for (elsewhere, moved) in [(1_500_000, 1), (2_000_000, 0)] {
        let (_, repository, mut tree) = partly_used(300_000, 100_000).await;
        tree.insert("more".to_owned(), noise("more", elsewhere));
        back_up(&repository, &tree).await.unwrap();
        let report = repository.prune(NOW).await.unwrap();
        assert_eq!(report.repacked.count, moved, "{elsewhere}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn little_waste_and_a_spent_budget_move_nothing() {
    let (_, repository, _) = partly_used(1_000_000, 40_000).await;
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!(report.repacked.count, 0, "{report:?}");
    assert!(
        (40_000..41_000).contains(&report.unused_bytes),
        "{report:?}"
    );
    let (memory, repository, _) = partly_used(300_000, 700_000).await;
    let mut request = NOW;
    request.repack.budget_bytes = 0;
    let report = repository.prune(request).await.unwrap();
    assert_eq!(report.repacked.count, 0, "{report:?}");
    assert!(report.unused_bytes >= 700_000, "{report:?}");
    // Any budget moves one pack, else the smallest would never do anything.
    request.repack.budget_bytes = 1;
    assert_eq!(repository.prune(request).await.unwrap().repacked.count, 1);
    assert_eq!(count(&memory, "backups/_repack/").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repack_that_is_killed_at_any_call_leaves_everything_readable_and_is_done_again() {
    let (given, _, tree) = partly_used(300_000, 700_000).await;
    let whole = given.fork();
    let host = reopened(&whole, "whole").await;
    let before = whole.calls();
    host.prune(NOW).await.unwrap();
    let calls = whole.calls() - before;
    for n in 1..=calls {
        let memory = given.fork();
        let host = reopened(&memory, &format!("{n}")).await;
        let fault = if n % 2 == 0 {
            Fault::Crash
        } else {
            Fault::CrashAfter
        };
        memory.set_hook(Box::new(
            move |at, _, _| if at == n { fault } else { Fault::None },
        ));
        let _ = host.prune(NOW).await;
        memory.clear_hook();
        let again = reopened(&memory, &format!("again {n}")).await;
        for hours in [0, 25, 25] {
            memory.advance(SignedDuration::from_hours(hours));
            let reader = again.reader().await.unwrap();
            let kept = newest(&again).await;
            assert_eq!(
                read_back(&reader, &kept.manifest).await.unwrap(),
                tree,
                "{n}"
            );
            let report = again.prune(NOW).await.unwrap();
            assert!(report.damaged.is_empty(), "{n}: {report:?}");
        }
        let report = again.check(CheckLevel::Full).await.unwrap();
        assert!(report.is_clean(), "{n}: {report:?}");
        assert!(report.packs.bytes < 340_000, "{n}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_what_is_moved_is_told_and_the_rest_is_pruned() {
    let (memory, repository, _) = partly_used(300_000, 700_000).await;
    let pack = memory.list("packs/d/").await.unwrap().objects.remove(0).key;
    // In the middle of whatever is there; what is needed and what is not are both read or neither is.
    memory.damage(&pack, |bytes| {
        bytes
            .iter_mut()
            .skip(200)
            .step_by(5000)
            .for_each(|b| *b ^= 1)
    });
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert!(report.damaged[0].cause.is_damage());
    assert_eq!(
        report.condemned.count, 1,
        "the directory that nothing needs"
    );
    memory.advance(SignedDuration::from_hours(25));
    repository.prune(NOW).await.unwrap();
    assert!(
        memory.list(pack.as_str()).await.unwrap().objects.len() == 1,
        "never what is needed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_condemned_and_yet_needed_is_moved_out_by_the_next_prune() {
    let memory = memory();
    let repository = repository(&memory).await;
    let tree = files(&[("a", noise("a", 50_000))]);
    back_up(&repository, &tree).await.unwrap();
    let first = newest(&repository).await;
    repository.forget(&first, "test", None).await.unwrap();
    let trashed = repository.list().await.unwrap().trashed.remove(0);
    // The manifest leaves the trash and the packs are condemned while the undelete is about to commit.
    let fork = memory.fork();
    let other = reopened(&fork, "other").await;
    other.undelete(&trashed, RunId([8; 16])).await.unwrap();
    repository.prune(NOW).await.unwrap();
    for object in fork.list("backups/").await.unwrap().objects {
        let bytes = fork.get(&object.key, None).await.unwrap();
        if object.key != first.key {
            memory.put(&object.key, bytes, Put::New).await.unwrap();
        }
    }
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!(
        (report.repacked.count, report.condemned.count),
        (2, 0),
        "{report:?}"
    );
    memory.advance(SignedDuration::from_hours(25));
    let report = repository.prune(NOW).await.unwrap();
    assert_eq!(report.deleted.count, 2, "{report:?}");
    let reader = repository.reader().await.unwrap();
    let back = newest(&repository).await;
    assert_eq!(read_back(&reader, &back.manifest).await.unwrap(), tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn tombs_runs_records_and_notes_go_when_they_are_old_and_not_before() {
    let memory = memory();
    let repository = repository(&memory).await;
    back_up(&repository, &files(&[("kept", noise("kept", 2000))]))
        .await
        .unwrap();
    let run = |n: u8| RunRecord {
        v: Version,
        run: RunId([n; 16]),
        started: repository.config().created,
        finished: repository.config().created,
        plan: "test".to_owned(),
        environment: "test".to_owned(),
        config: Digest([0; 32]),
        files: Vec::new(),
        steps: Vec::new(),
    };
    for n in 0..120 {
        repository.record_run(&run(n)).await.unwrap();
    }
    for n in 0..3 {
        let name = n.to_string();
        back_up(&repository, &files(&[(name.as_str(), noise(&name, 2000))]))
            .await
            .unwrap();
        let backup = newest(&repository).await;
        repository.forget(&backup, "test", None).await.unwrap();
        repository.prune(NOW).await.unwrap();
        memory.advance(SignedDuration::from_hours(26));
    }
    // Day, then what is there: tombs, runs, records of the log.
    let steps = [
        (0, 3, 120, 3),
        (26, 3, 120, 3),
        (33, 3, 120, 1),
        (101, 3, 100, 1),
        (396, 3, 100, 1),
        (404, 0, 100, 1),
    ];
    let mut day = 0;
    for (next, tombs, runs, records) in steps {
        memory.advance(SignedDuration::from_hours((next - day) * 24));
        day = next;
        repository.prune(NOW).await.unwrap();
        let there = (
            count(&memory, "tombs/").await,
            count(&memory, "runs/").await,
            count(&memory, "gc/").await,
        );
        assert_eq!(there, (tombs, runs, records), "day {day}");
        assert!(count(&memory, "probes/").await <= 11, "day {day}");
    }
    assert!(count(&memory, "probes/").await <= 6);
    assert!(repository.check(CheckLevel::Full).await.unwrap().is_clean());
    // The number of the next record follows that of the last, however old that is.
    let backup = newest(&repository).await;
    repository.forget(&backup, "test", None).await.unwrap();
    repository.prune(NOW).await.unwrap();
    let numbers = memory.list("gc/").await.unwrap().objects;
    let keys: Vec<&str> = numbers.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, ["gc/4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tomb_of_a_backup_that_is_locked_stays_as_long_as_its_manifest() {
    let memory = memory();
    let repository = repository(&memory).await;
    back_up(&repository, &files(&[("a", b"1".to_vec())]))
        .await
        .unwrap();
    let backup = newest(&repository).await;
    repository.forget(&backup, "test", None).await.unwrap();
    memory.set_hook(Box::new(|_, doing, what| {
        match doing == Doing::Delete && what.starts_with("backups/") {
            true => Fault::Fail(Kind::Denied),
            false => Fault::None,
        }
    }));
    memory.advance(SignedDuration::from_hours(500 * 24));
    repository.prune(NOW).await.unwrap();
    let holdings = repository.list().await.unwrap();
    assert_eq!((holdings.backups.len(), holdings.trashed.len()), (0, 1));
}
