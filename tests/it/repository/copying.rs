//! What a copy of a whole repository reads: of each pack of data everything once, however many backups share it.

use crate::repository::given::{Files, back_up, copied, created, files, memory, noise, repository};
use ccb::repository::format::config::CipherSuite;
use ccb::store::{Backend, Doing, memory::Fault};
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
