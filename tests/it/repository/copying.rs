//! What a copy of a whole repository reads, of each pack of data everything once, however many backups share it; and
//! what it does with frames: those of which all is wanted are taken over as they are.

use crate::repository::given::{
    Files, back_up, copied, created, draft, files, memory, newest, noise, read_back, repository,
    walk, write,
};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::{Commit, Draft, Effort, Repository, copy};
use ccb::store::{Backend, Doing, memory::Fault, memory::Memory};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Files that all backups have, and one of their own.
fn tree(of: u8) -> Files {
    let mut tree = files(&[("shared", noise("shared", 300_000))]);
    tree.insert("own".to_owned(), noise(&format!("own {of}"), 200_000));
    tree
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_all_backups_reads_each_pack_of_data_once() {
    let (from_memory, to_memory) = (memory(), memory());
    let from = repository(&from_memory).await;
    for of in 0..4 {
        back_up(&from, &tree(of)).await.unwrap();
    }
    let aes = (CipherSuite::Aes256Gcm, Some(&from));
    let to = created(&to_memory, aes, "to").await;
    let read: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let counted = read.clone();
    from_memory.set_hook(Box::new(move |_, doing, key| {
        if doing == Doing::Get && key.starts_with("packs/d/") {
            *counted.lock().unwrap().entry(key.to_owned()).or_default() += 1;
        }
        Fault::None
    }));
    // All have the id of the draft: a copy is made of the first, and each other one would be taken for it.
    let mut held = from.list().await.unwrap().backups;
    for (of, backup) in held.iter_mut().enumerate() {
        backup.manifest.id.0[0] = of as u8;
        copied(&from, backup, &to).await.unwrap();
    }
    from_memory.clear_hook();
    let packs = from_memory.list("packs/d/").await.unwrap().objects.len();
    let read = read.lock().unwrap().clone();
    assert_eq!(read.len(), packs, "{read:?}");
    assert!(read.values().all(|times| *times == 1), "{read:?}");
    assert_eq!(to.list().await.unwrap().backups.len(), 4);
}

/// Text that a higher level makes shorter, in files of all lengths.
fn text() -> Files {
    let words = |seed: u32, len: usize| -> Vec<u8> {
        let numbers = (0..).map(|n: u32| n.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 20);
        let words = numbers.flat_map(|n| format!("{} of {} {n}\n", n % 61, n % 7).into_bytes());
        words.take(len).collect()
    };
    let mut tree = files(&[("long", words(1, 3 << 20)), ("zeros", vec![0; 1 << 20])]);
    for n in 0..300 {
        tree.insert(format!("many/{n:03}"), words(n + 2, 3000));
    }
    tree
}

async fn data_len(memory: &Memory) -> u64 {
    let listing = memory.list("packs/d/").await.unwrap();
    listing.objects.iter().map(|meta| meta.size).sum()
}

async fn backed_up_at(repository: &Repository, tree: &Files, level: i32) {
    let draft = Draft {
        effort: Effort::always(level),
        ..draft("files")
    };
    let mut session = repository.begin(draft, None).await.unwrap();
    write(&mut session, walk(tree)).await.unwrap();
    session.commit(Commit::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_takes_frames_over_as_they_are_and_compresses_only_what_is_parted() {
    const LOW: i32 = 1;
    const HIGH: i32 = 15;
    let tree = text();
    let ((from_memory, high_memory), to_memory) = ((memory(), memory()), memory());
    let from = repository(&from_memory).await;
    backed_up_at(&from, &tree, LOW).await;
    let high = repository(&high_memory).await;
    backed_up_at(&high, &tree, HIGH).await;
    let (low_len, high_len) = (data_len(&from_memory).await, data_len(&high_memory).await);
    assert!(high_len < low_len - low_len / 10, "{high_len} of {low_len}");

    let suite = CipherSuite::ChaCha20Poly1305;
    let to = created(&to_memory, (suite, Some(&from)), "to").await;
    let backup = newest(&from).await;
    let effort = Effort::always(HIGH);
    copy(&from, &backup, &to, effort, Arc::new(()))
        .await
        .unwrap();
    let copied_len = data_len(&to_memory).await;
    assert!(
        copied_len > low_len - low_len / 100 && copied_len < low_len + low_len / 100,
        "{copied_len} for {low_len}"
    );
    let reader = to.reader().await.unwrap();
    let manifest = newest(&to).await.manifest;
    assert_eq!(read_back(&reader, &manifest).await.unwrap(), tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_takes_only_what_is_not_there_out_of_a_group() {
    let tree = text();
    let (from_memory, to_memory) = (memory(), memory());
    let from = repository(&from_memory).await;
    back_up(&from, &tree).await.unwrap();
    let aes = (CipherSuite::Aes256Gcm, Some(&from));
    let to = created(&to_memory, aes, "to").await;
    // Every second small file, so that of each group a part is there.
    let half = tree.iter().enumerate().filter(|(n, _)| n % 2 == 0);
    let half: Files = half
        .map(|(_, (path, bytes))| (path.clone(), bytes.clone()))
        .collect();
    back_up(&to, &half).await.unwrap();
    let before = data_len(&to_memory).await;

    let mut backup = newest(&from).await;
    // Both have the id of the draft.
    backup.manifest.id.0[0] = 7;
    copied(&from, &backup, &to).await.unwrap();
    let reader = to.reader().await.unwrap();
    assert_eq!(read_back(&reader, &backup.manifest).await.unwrap(), tree);
    let (added, whole) = (
        data_len(&to_memory).await - before,
        data_len(&from_memory).await,
    );
    assert!(
        added < whole - before / 2,
        "{added} of {whole} beside {before}"
    );
}
