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
    repository.remove_key("main").await.unwrap();
    assert!(matches!(
        open(&secret()).await,
        Err(OpenError::WrongKey { .. })
    ));
    let removed = repository.remove_key("other").await;
    assert!(matches!(removed, Err(RepositoryError::LastKey { .. })));
    assert!(open(&other).await.is_ok());
}
