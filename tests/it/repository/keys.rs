//! Key slots of an open repository: added, used, removed, and never the last.

use crate::repository::given::{memory, repository, secret, store, surroundings};
use ccb::model::strategy::Kdf;
use ccb::repository::format::key::Secret;
use ccb::repository::{NewSlot, OpenError, Repository, RepositoryError};

#[tokio::test]
async fn a_second_key_opens_until_it_is_removed_and_the_last_one_stays() {
    let backend = memory();
    let repository = repository(&backend).await;
    let other = Secret::new(vec![b'a'; 64]);
    let slot = NewSlot {
        name: "other",
        secret: &other,
        kdf: Kdf::Raw,
    };
    repository.add_key(&slot).await.unwrap();
    assert!(
        repository.add_key(&slot).await.is_err(),
        "its name is taken"
    );
    let slots = repository.key_slots().await.unwrap();
    let names: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
    assert_eq!(names, ["main", "other"]);
    let open = async |secret: &Secret| {
        Repository::open(store(&backend), Some(secret), &surroundings("open")).await
    };
    assert_eq!(
        open(&other).await.unwrap().keyring_id(),
        repository.keyring_id()
    );
    assert_eq!(slots[0].key_id.len(), 16);
    assert_ne!(slots[0].key_id, slots[1].key_id);
    let removed = repository.remove_key("main", &secret()).await;
    assert!(
        matches!(removed, Err(RepositoryError::OnlyOwnKey { .. })),
        "that somebody has the other key is not shown by having this one: {removed:?}"
    );
    repository.remove_key("main", &other).await.unwrap();
    assert!(matches!(
        open(&secret()).await,
        Err(OpenError::WrongKey { .. })
    ));
    let removed = repository.remove_key("other", &other).await;
    assert!(matches!(removed, Err(RepositoryError::LastKey { .. })));
    let removed = repository.remove_key("third", &other).await.unwrap_err();
    assert!(removed.to_string().contains("there are other"), "{removed}");
    assert_eq!(open(&other).await.unwrap().opened_with(), Some("other"));
}
