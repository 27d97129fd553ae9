//! Rotation of keys: whatever was stored stays readable with every key, whoever is killed, whoever else is at
//! it; and what is stored from then on is sealed under the new key.

use crate::repository::given::{
    Files, back_up, files, generated, memory, noise, read_back, repository, secret, store,
    surroundings,
};
use ccb::model::strategy::Kdf;
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::key::Secret;
use ccb::repository::{
    CheckLevel, Creation, NewSlot, OpenError, Repository, RepositoryError, rotate,
};
use ccb::store::{
    Backend, Doing, Key, Kind, Put,
    memory::{Fault, Memory},
};

fn recovery() -> Secret {
    Secret::new(vec![b'c'; 64])
}

fn slot<'a>(name: &'a str, secret: &'a Secret) -> NewSlot<'a> {
    NewSlot {
        name,
        secret,
        kdf: Kdf::Raw,
    }
}

async fn open(memory: &Memory, secret: &Secret, seed: &str) -> Result<Repository, OpenError> {
    Repository::open(store(memory), Some(secret), &surroundings(seed)).await
}

/// Two repositories that share a keyring, each with the slots `main` and `recovery` and one backup.
async fn pair() -> ([Memory; 2], Files) {
    let (here, there) = (memory(), memory());
    let first = repository(&here).await;
    let main = secret();
    let creation = Creation {
        cipher: CipherSuite::ChaCha20Poly1305,
        slot: Some(slot("main", &main)),
        keyring_of: Some(&first),
    };
    let second = Repository::create(store(&there), &creation, &surroundings("second"))
        .await
        .unwrap();
    let tree = files(&[("a", noise("a", 50_000)), ("b/c", b"text".to_vec())]);
    let other = recovery();
    for repository in [&first, &second] {
        repository.add_key(&slot("recovery", &other)).await.unwrap();
        back_up(repository, &tree).await.unwrap();
    }
    ([here, there], tree)
}

/// Rotates the keys of all as one command does, and says which epochs they have then.
async fn rotate_all(memories: &[Memory], seed: &str) -> Result<Vec<u16>, RepositoryError> {
    let (main, other) = (secret(), recovery());
    let mut opened = Vec::new();
    for memory in memories {
        let repository = open(memory, &main, seed).await;
        opened.push(repository.map_err(|_| RepositoryError::Interrupted)?);
    }
    let repositories: Vec<&Repository> = opened.iter().collect();
    let done = rotate(&repositories, &[&main, &other]).await?;
    Ok(done.iter().map(|done| done.epoch).collect())
}

/// Every key opens the repository, reads all of `trees`, and reads what the other one stores.
async fn all_is_readable(memory: &Memory, seed: &str) -> u16 {
    let memory = memory.fork();
    let (main, other) = (secret(), recovery());
    let mut epochs: Vec<u16> = Vec::new();
    for (writer, reader) in [(&main, &other), (&other, &main)] {
        let tree = files(&[("new", seed.as_bytes().to_vec())]);
        let turn = epochs.len();
        let writing = open(&memory, writer, &format!("{seed} {turn} w"))
            .await
            .unwrap();
        back_up(&writing, &tree).await.unwrap();
        let reading = open(&memory, reader, &format!("{seed} {turn} r"))
            .await
            .unwrap();
        let holdings = reading.list().await.unwrap();
        assert!(holdings.damaged.is_empty(), "{:?}", holdings.damaged);
        let blobs = reading.reader().await.unwrap();
        for backup in &holdings.backups {
            read_back(&blobs, &backup.manifest).await.unwrap();
        }
        epochs.extend([writing.key_epoch(), reading.key_epoch()]);
        let report = reading.check(CheckLevel::Full).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1, "all keys seal under one epoch");
    epochs[0]
}

async fn keys_of(memory: &Memory) -> Vec<String> {
    let listing = memory.list("keys/").await.unwrap();
    let keys = listing.objects.iter().map(|object| object.key.to_string());
    keys.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_all_keys_read_old_and_new_and_old_slots_are_gone() {
    let (memories, tree) = pair().await;
    let before = open(&memories[0], &secret(), "before").await.unwrap();
    let slots = before.key_slots().await.unwrap();
    assert_eq!(rotate_all(&memories, "1").await.unwrap(), [2, 2]);
    for memory in &memories {
        assert_eq!(all_is_readable(memory, "after").await, 2);
        let want = ["keys/epoch-2", "keys/main.2.json", "keys/recovery.2.json"];
        assert_eq!(keys_of(memory).await, want);
    }
    let after = open(&memories[0], &secret(), "after").await.unwrap();
    assert_eq!(after.keyring_id(), before.keyring_id());
    // A key is as old as it was; what tells it apart is new.
    let rotated = after.key_slots().await.unwrap();
    for (old, new) in slots.iter().zip(&rotated) {
        assert_eq!((&old.name, old.created), (&new.name, new.created));
        assert_ne!(old.key_id, new.key_id);
    }
    // Ids and cut points do not change: the same tree is known, the same long file is cut alike.
    assert_eq!(back_up(&after, &tree).await.unwrap().stats.new_bytes, 0);
    let long = files(&[("long", generated()["long"].clone())]);
    let other = repository(&memory()).await;
    back_up(&other, &long).await.unwrap();
    let first = back_up(&before, &long).await.unwrap();
    let again = back_up(&after, &long).await.unwrap();
    assert_eq!((first.root, again.stats.new_bytes), (again.root, 0));
    // And once more.
    assert_eq!(rotate_all(&memories, "2").await.unwrap(), [3, 3]);
    assert_eq!(all_is_readable(&memories[1], "third").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_packs_are_sealed_under_the_new_key_and_old_rings_say_what_is_wrong() {
    let (memories, _) = pair().await;
    let before = open(&memories[0], &secret(), "before").await.unwrap();
    rotate_all(&memories, "1").await.unwrap();
    let after = open(&memories[0], &secret(), "after").await.unwrap();
    let known = memories[0].list("packs/").await.unwrap().objects;
    back_up(&after, &files(&[("n", noise("n", 9000))]))
        .await
        .unwrap();
    let packs = memories[0].list("packs/").await.unwrap().objects;
    for pack in packs.iter().filter(|pack| !known.contains(pack)) {
        let bytes = memories[0].get(&pack.key, None).await.unwrap();
        assert_eq!(bytes[6..8], 2_u16.to_le_bytes());
    }
    let holdings = before.list().await.unwrap();
    let said = holdings.damaged[0].cause.to_string();
    assert!(
        said.contains("keys were rotated after this run began"),
        "{said}"
    );
    // A run that began before concludes nothing from what it can not read.
    assert!(matches!(
        before.prune(Default::default()).await,
        Err(RepositoryError::PruneStopped { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_every_key_still_reads_everything_and_a_rerun_completes_it() {
    let (given, _) = pair().await;
    let calls = {
        let forks = [given[0].fork(), given[1].fork()];
        rotate_all(&forks, "whole").await.unwrap();
        [forks[0].calls(), forks[1].calls()]
    };
    assert!(calls[0] > 15 && calls[1] > 15, "{calls:?}");
    for (at, calls) in calls.into_iter().enumerate() {
        for n in 1..=calls {
            let fault = match n % 2 {
                0 => Fault::Crash,
                _ => Fault::CrashAfter,
            };
            let forks = [given[0].fork(), given[1].fork()];
            forks[at].set_hook(Box::new(
                move |call, _, _| if call == n { fault } else { Fault::None },
            ));
            let _ = rotate_all(&forks, &format!("killed {n}")).await;
            forks[at].clear_hook();
            for memory in &forks {
                all_is_readable(memory, &format!("killed {n} {at}")).await;
            }
            let epochs = rotate_all(&forks, &format!("again {n}")).await.unwrap();
            assert_eq!(epochs[0], epochs[1], "call {n} at {at}");
            // What was begun is completed; only what was complete is begun anew.
            assert!(
                epochs[0] == 2 || n + 3 >= calls,
                "call {n} at {at}: {epochs:?}"
            );
            for memory in &forks {
                assert_eq!(all_is_readable(memory, "again").await, epochs[0]);
                assert_eq!(keys_of(memory).await.len(), 2 + usize::from(epochs[0]) - 1);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_key_is_not_at_hand_stops_the_rotation_before_anything_is_written() {
    let (memories, _) = pair().await;
    let main = secret();
    let opened = open(&memories[0], &main, "x").await.unwrap();
    let before = keys_of(&memories[0]).await;
    let refused = rotate(&[&opened], &[&main]).await.unwrap_err();
    assert!(
        matches!(&refused, RepositoryError::KeyNeeded { slots } if slots == &["recovery"]),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("--key"), "{refused}");
    assert_eq!(keys_of(&memories[0]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_at_once_end_in_one_key_or_in_a_clean_error() {
    for turn in 0..12 {
        let (memories, _) = pair().await;
        let (a, b) = (format!("a{turn}"), format!("b{turn}"));
        let (a, b) = tokio::join!(rotate_all(&memories, &a), rotate_all(&memories, &b));
        for outcome in [a, b] {
            let fits = match &outcome {
                Ok(epochs) => epochs.iter().all(|epoch| *epoch >= 2),
                // Slots went away while the other was looking for them.
                Err(RepositoryError::KeysChanged | RepositoryError::Interrupted) => true,
                Err(RepositoryError::KeyNeeded { .. }) => true,
                Err(_) => false,
            };
            assert!(fits, "{outcome:?}");
        }
        let epochs = rotate_all(&memories, "then").await.unwrap();
        for memory in &memories {
            assert_eq!(all_is_readable(memory, "then").await, epochs[0]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_a_rotation_passed_over_says_so_instead_of_reading_half() {
    let (memories, _) = pair().await;
    let third = Secret::new(vec![b'3'; 64]);
    let late = open(&memories[0], &secret(), "late").await.unwrap();
    // Listed by the rotation before it is there, written when the rotation is over, and never looked at
    // again: its writer was killed.
    rotate_all(&memories, "1").await.unwrap();
    let mut lists = 0;
    memories[0].set_hook(Box::new(move |_, doing, _| {
        lists += u64::from(doing == Doing::List);
        if doing == Doing::List && lists == 2 {
            Fault::Crash
        } else {
            Fault::None
        }
    }));
    late.add_key(&slot("third", &third)).await.unwrap_err();
    memories[0].clear_hook();
    let opened = open(&memories[0], &third, "third").await.unwrap_err();
    assert!(
        matches!(&opened, OpenError::StaleKey { slot, .. } if slot == "third"),
        "{opened:?}"
    );
    assert_eq!(all_is_readable(&memories[0], "others").await, 2);
    // One that lives to look again takes its slot back.
    let again = late.add_key(&slot("fourth", &third)).await.unwrap_err();
    assert!(matches!(again, RepositoryError::KeysChanged), "{again:?}");
    assert!(
        !keys_of(&memories[0])
            .await
            .contains(&"keys/fourth.json".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_may_be_deleted_old_slots_stay_and_the_newest_counts() {
    let (memories, _) = pair().await;
    memories[0].set_hook(Box::new(|_, doing, _| match doing {
        Doing::Delete => Fault::Fail(Kind::Denied),
        _ => Fault::None,
    }));
    let main = secret();
    let opened = open(&memories[0], &main, "x").await.unwrap();
    let done = rotate(&[&opened], &[&main, &recovery()]).await.unwrap();
    assert_eq!(done[0].kept, ["keys/main.json", "keys/recovery.json"]);
    assert_eq!(all_is_readable(&memories[0], "locked").await, 2);
    let slots = opened.key_slots().await.unwrap();
    assert_eq!(slots.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_or_damaged_record_of_an_epoch_shuts_nobody_out_and_is_found() {
    let (memories, _) = pair().await;
    let stray = Key::new("keys/epoch-9").unwrap();
    memories[0]
        .put(&stray, "no record".into(), Put::New)
        .await
        .unwrap();
    rotate_all(&memories, "1").await.unwrap();
    let opened = open(&memories[0], &secret(), "x").await.unwrap();
    let report = opened.check(CheckLevel::Presence).await.unwrap();
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].key, "keys/epoch-9");
    let real = Key::new("keys/epoch-2").unwrap();
    memories[1].damage(&real, |bytes| bytes[5] ^= 1);
    assert_eq!(
        open(&memories[1], &secret(), "y")
            .await
            .unwrap()
            .key_epoch(),
        2
    );
}
