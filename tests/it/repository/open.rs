//! Creating and opening: each way it can fail is told apart from the others.

use crate::repository::given::{
    back_up, files, memory, newest, read_back, reopened, repository, secret, store, surroundings,
};
use bytes::Bytes;
use ccb::model::strategy::Kdf;
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::key::Secret;
use ccb::repository::{
    CheckLevel, Creation, NewSlot, OpenError, PruneRequest, Repository, RepositoryError,
};
use ccb::store::{
    Backend, Doing, Key, Put,
    local::Local,
    memory::{Fault, Memory},
};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

async fn open(memory: &Memory, secret: Option<&Secret>) -> Result<Repository, OpenError> {
    Repository::open(store(memory), secret, &surroundings("open")).await
}

fn creation(secret: &Secret) -> Creation<'_> {
    let slot = NewSlot {
        name: "main",
        secret,
        kdf: Kdf::Raw,
    };
    Creation {
        cipher: CipherSuite::ChaCha20Poly1305,
        slot: Some(slot),
        keyring_of: None,
    }
}

async fn create(memory: &Memory) -> Result<Repository, OpenError> {
    Repository::create(store(memory), &creation(&secret()), &surroundings("again")).await
}

#[tokio::test]
async fn nothing_there_is_absent() {
    let error = open(&memory(), Some(&secret())).await.unwrap_err();
    assert!(matches!(error, OpenError::Absent(_)), "{error}");
}

#[tokio::test]
async fn somebody_elses_directory_is_foreign_and_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Brief an Oma.txt"), "Liebe Oma").unwrap();
    let local = Local::new(folder.path());
    let opened = Repository::open(store(&local), None, &surroundings("x"))
        .await
        .unwrap_err();
    assert!(matches!(opened, OpenError::Foreign(_)), "{opened}");
    let secret = secret();
    let created = Repository::create(store(&local), &creation(&secret), &surroundings("x")).await;
    assert!(matches!(created.unwrap_err(), OpenError::Foreign(_)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn another_programs_ccb_file_is_foreign() {
    let memory = memory();
    memory
        .put(&key("CCB"), Bytes::from_static(b"hello"), Put::New)
        .await
        .unwrap();
    let error = open(&memory, Some(&secret())).await.unwrap_err();
    assert!(matches!(error, OpenError::Foreign(_)), "{error}");
}

#[tokio::test]
async fn a_repository_is_created_once() {
    let memory = memory();
    let first = repository(&memory).await;
    assert!(matches!(
        create(&memory).await.unwrap_err(),
        OpenError::Exists(_)
    ));
    let again = reopened(&memory, "x").await;
    assert_eq!(
        (again.id(), again.keyring_id()),
        (first.id(), first.keyring_id())
    );
    assert!(again.is_encrypted());
}

#[tokio::test]
async fn keys_are_missing_or_wrong() {
    let memory = memory();
    repository(&memory).await;
    let missing = open(&memory, None).await.unwrap_err();
    assert!(matches!(missing, OpenError::KeyMissing(_)), "{missing}");
    let other = Secret::new(vec![b'8'; 64]);
    let wrong = open(&memory, Some(&other)).await.unwrap_err();
    assert!(
        matches!(&wrong, OpenError::WrongKey { slots, .. } if slots == &["main"]),
        "{wrong}"
    );
    assert!(
        wrong.to_string().contains("fits none of its slots (main)"),
        "{wrong}"
    );
}

#[tokio::test]
async fn a_later_format_is_told_from_damage() {
    for (change, is_later) in [
        (("\"format\":1", "\"format\":2"), true),
        (("\"chunker_version\":1", "\"chunker_version\":9"), true),
        (("\"read\":[]", "\"read\":[\"quantum\"]"), true),
        (("\"created\":\"", "\"created\":\"x"), false),
    ] {
        let memory = memory();
        repository(&memory).await;
        memory.damage(&key("CCB"), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.contains(change.0), "{text}");
            *bytes = text.replace(change.0, change.1).into_bytes();
        });
        let error = open(&memory, Some(&secret())).await.unwrap_err();
        let fits = match &error {
            OpenError::UnknownFormat { .. } => is_later,
            OpenError::Damaged { .. } => !is_later,
            _ => false,
        };
        assert!(fits, "{change:?}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_feature_refuses_only_what_it_is_named_for() {
    let given = memory();
    back_up(&repository(&given).await, &files(&[("a", b"1".to_vec())]))
        .await
        .unwrap();
    for flag in ["write", "gc", "verify"] {
        let memory = given.fork();
        memory.damage(&key("CCB"), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let flagged = text.replace(
                &format!("\"{flag}\":[]"),
                &format!("\"{flag}\":[\"quantum\"]"),
            );
            *bytes = flagged.into_bytes();
        });
        let repository = reopened(&memory, flag).await;
        let listed = newest(&repository).await;
        let reader = repository.reader().await.unwrap();
        read_back(&reader, &listed.manifest).await.unwrap();
        let before = memory.list("").await.unwrap().objects;
        let forgotten = repository.forget(&listed, "test", None).await;
        let refused = [
            ("write", back_up(&repository, &files(&[])).await.map(drop)),
            (
                "gc",
                repository.prune(PruneRequest::default()).await.map(drop),
            ),
            ("gc", forgotten),
            ("verify", repository.check(CheckLevel::Full).await.map(drop)),
        ];
        for (needs, outcome) in refused {
            let is_refused = needs == flag;
            match outcome {
                Err(RepositoryError::Refused(cause)) => {
                    assert!(is_refused, "{flag}: {needs}");
                    let said = cause.to_string();
                    assert!(
                        said.contains("`quantum`") && said.contains("use a newer ccb"),
                        "{said}"
                    );
                }
                outcome => assert!(!is_refused, "{flag}: {needs}: {outcome:?}"),
            }
        }
        let after = memory.list("").await.unwrap().objects;
        assert!(before.iter().all(|object| after.contains(object)), "{flag}");
    }
}

#[tokio::test]
async fn a_damaged_slot_is_no_wrong_key() {
    let memory = memory();
    repository(&memory).await;
    memory.damage(&key("keys/main.json"), |bytes| bytes.truncate(40));
    let error = open(&memory, Some(&secret())).await.unwrap_err();
    assert!(matches!(&error, OpenError::Damaged { object, .. } if object == "keys/main.json"));
    memory.lose(&key("keys/main.json"));
    memory
        .put(&key("packs/d/00/x"), Bytes::new(), Put::New)
        .await
        .unwrap();
    let error = open(&memory, Some(&secret())).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_creation_that_was_killed_is_completed_by_the_next() {
    let whole = memory();
    repository(&whole).await;
    let calls = whole.calls();
    for n in 1..=calls {
        for fault in [Fault::Crash, Fault::CrashAfter] {
            let memory = memory();
            memory.set_hook(Box::new(
                move |at, _, _| if at == n { fault } else { Fault::None },
            ));
            let _ = create(&memory).await;
            memory.clear_hook();
            match create(&memory).await {
                Ok(_) | Err(OpenError::Exists(_)) => {}
                Err(error) => panic!("call {n}, {fault:?}: {error:?}"),
            }
            reopened(&memory, "x").await;
        }
    }
}

#[tokio::test]
async fn of_two_creators_both_end_in_one_repository() {
    let memory = memory();
    let (a, b) = tokio::join!(create(&memory), create(&memory));
    assert!(
        a.is_ok() != b.is_ok() || matches!((&a, &b), (Err(_), Err(_))),
        "{a:?} {b:?}"
    );
    // The description, the slot, and what the one that was first found out about the store.
    let puts = memory.list("").await.unwrap().objects.len();
    assert_eq!(puts, 3);
    reopened(&memory, "x").await;
}

#[tokio::test]
async fn a_shared_keyring_is_wrapped_anew() {
    let (here, there) = (memory(), memory());
    let first = repository(&here).await;
    let other = Secret::new(vec![b'9'; 64]);
    let slot = NewSlot {
        name: "offsite",
        secret: &other,
        kdf: Kdf::Raw,
    };
    let creation = Creation {
        cipher: CipherSuite::Aes256Gcm,
        slot: Some(slot),
        keyring_of: Some(&first),
    };
    let second = Repository::create(store(&there), &creation, &surroundings("y"))
        .await
        .unwrap();
    assert_eq!(first.keyring_id(), second.keyring_id());
    assert_ne!(first.id(), second.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_encryption_no_key_is_asked_for() {
    let memory = memory();
    let creation = Creation {
        cipher: CipherSuite::None,
        slot: None,
        keyring_of: None,
    };
    let created = Repository::create(store(&memory), &creation, &surroundings("z"))
        .await
        .unwrap();
    back_up(&created, &files(&[("a", b"1".to_vec())]))
        .await
        .unwrap();
    let opened = open(&memory, None).await.unwrap();
    assert!(!opened.is_encrypted());
    assert_eq!(opened.list().await.unwrap().backups.len(), 1);
}

#[tokio::test]
async fn an_unreachable_store_is_not_absent() {
    let memory = memory();
    let kind = ccb::store::Kind::Denied;
    memory.set_hook(Box::new(move |_, doing, _| {
        if doing == Doing::List {
            Fault::Fail(kind)
        } else {
            Fault::None
        }
    }));
    let error = open(&memory, None).await.unwrap_err();
    assert!(
        matches!(&error, OpenError::Store(e) if e.kind == kind),
        "{error}"
    );
}
