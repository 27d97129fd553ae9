//! A backup that is killed at any call to the store: what exists is whole, and a rerun completes it
//! without uploading much again.

use crate::repository::given::{
    Files, back_up, files, memory, noise, read_back, reopened, repository,
};
use ccb::store::{
    Backend,
    memory::{Fault, Memory},
};

/// Several packs, so that calls to the store interleave.
fn tree(version: &str) -> Files {
    files(&[
        ("kept", noise("kept", 300_000)),
        ("new/a", noise(&format!("{version} a"), 17 << 20)),
        ("new/b", noise(&format!("{version} b"), 2 << 20)),
        ("small", version.as_bytes().to_vec()),
    ])
}

async fn every_listed_backup_is_whole(memory: &Memory, of: &[&Files]) -> usize {
    let repository = reopened(memory, "check").await;
    let holdings = repository.list().await.unwrap();
    assert!(holdings.damaged.is_empty());
    let reader = repository.reader().await.unwrap();
    for backup in &holdings.backups {
        let read = read_back(&reader, &backup.manifest).await.unwrap();
        assert!(of.contains(&&read));
    }
    holdings.backups.len()
}

async fn pack_bytes(memory: &Memory) -> u64 {
    let listing = memory.list("packs/").await.unwrap();
    listing.objects.iter().map(|object| object.size).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_it_leaves_whole_backups_and_is_completed_by_a_rerun() {
    let (first, second) = (tree("first"), tree("second"));
    let before = memory();
    back_up(&repository(&before).await, &first).await.unwrap();
    let whole = before.fork();
    back_up(&reopened(&whole, "0").await, &second)
        .await
        .unwrap();
    let calls = whole.calls();
    let all_bytes = pack_bytes(&whole).await;
    assert!(calls > 12, "{calls} calls");
    for n in 1..=calls {
        let fault = if n % 2 == 0 {
            Fault::Crash
        } else {
            Fault::CrashAfter
        };
        let memory = before.fork();
        let killed = reopened(&memory, &format!("{n}")).await;
        memory.set_hook(Box::new(
            move |at, _, _| if at == n { fault } else { Fault::None },
        ));
        let outcome = back_up(&killed, &second).await;
        memory.clear_hook();
        let listed = every_listed_backup_is_whole(&memory, &[&first, &second]).await;
        assert!(
            listed == 2 || outcome.is_err(),
            "call {n}: reported as done, not listed"
        );
        back_up(&reopened(&memory, &format!("again {n}")).await, &second)
            .await
            .unwrap();
        let listed = every_listed_backup_is_whole(&memory, &[&first, &second]).await;
        assert!(listed >= 2, "call {n}");
        // A rerun uses what was uploaded, with or without an index; what two trees need more than one is
        // the root and a pack that was being uploaded.
        let twice = pack_bytes(&memory).await.saturating_sub(all_bytes);
        assert!(twice <= 18 << 20, "call {n}: {twice} bytes more");
    }
}
