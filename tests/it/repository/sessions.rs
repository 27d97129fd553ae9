//! Sessions beside one another, after one another, and ended from outside.

use crate::repository::given::{
    back_up, draft, files, generated, memory, newest, noise, read_back, reopened, repository, walk,
    write,
};
use bytes::Bytes;
use ccb::repository::{Commit, RepositoryError};
use ccb::store::{Backend, Doing, Key, Kind, Put, memory::Fault};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_at_once_both_get_their_backups() {
    let memory = memory();
    repository(&memory).await;
    let (first, second) = (reopened(&memory, "1").await, reopened(&memory, "2").await);
    let tree = generated();
    let mut other = tree.clone();
    other.insert("only/here".to_owned(), noise("only", 3 << 20));
    let (a, b) = tokio::join!(back_up(&first, &tree), back_up(&second, &other));
    let reader = reopened(&memory, "3").await.reader().await.unwrap();
    assert!(read_back(&reader, &a.unwrap()).await.unwrap() == tree);
    assert!(read_back(&reader, &b.unwrap()).await.unwrap() == other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_session_leaves_no_backup_and_its_packs_are_used() {
    let memory = memory();
    let repository = repository(&memory).await;
    let tree = generated();
    let mut session = repository.begin(draft("files"), None).await.unwrap();
    write(&mut session, walk(&tree)).await.unwrap();
    drop(session);
    assert!(repository.list().await.unwrap().backups.is_empty());
    let manifest = back_up(&repository, &tree).await.unwrap();
    let reader = repository.reader().await.unwrap();
    assert!(read_back(&reader, &manifest).await.unwrap() == tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_a_prune_ended_says_so_and_the_next_one_uses_its_packs() {
    let memory = memory();
    let repository = repository(&memory).await;
    let tree = files(&[("a", noise("a", 100_000))]);
    let mut session = repository.begin(draft("files"), None).await.unwrap();
    write(&mut session, walk(&tree)).await.unwrap();
    let leases = memory.list("leases/").await.unwrap().objects;
    let start = leases
        .iter()
        .find(|object| object.key.as_str().ends_with("/start"))
        .unwrap();
    let start = memory.get(&start.key, None).await.unwrap();
    let line = String::from_utf8(start.to_vec()).unwrap();
    let fence = line
        .split("\"backup_key\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    memory
        .put(&key(&fence), Bytes::from_static(b"REVOKED\n"), Put::New)
        .await
        .unwrap();
    let revoked = session.commit(Commit::default()).await.unwrap_err();
    assert!(matches!(revoked, RepositoryError::Revoked), "{revoked}");
    let holdings = repository.list().await.unwrap();
    assert!(holdings.backups.is_empty() && holdings.damaged.is_empty());
    let again = back_up(&repository, &tree).await.unwrap();
    assert_eq!(again.stats.new_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_a_success() {
    let memory = memory();
    let repository = repository(&memory).await;
    // No retries in this store: the session itself must find out.
    let mut session = repository.begin(draft("files"), None).await.unwrap();
    write(&mut session, walk(&files(&[("a", b"1".to_vec())])))
        .await
        .unwrap();
    memory.set_hook(Box::new(|_, doing, what| {
        let is_commit = doing == Doing::Put && what.starts_with("backups/");
        if is_commit {
            Fault::LoseAnswer
        } else {
            Fault::None
        }
    }));
    let lost = session.commit(Commit::default()).await.unwrap_err();
    assert!(
        matches!(&lost, RepositoryError::Store(e) if e.kind == Kind::Unreachable),
        "{lost}"
    );
    memory.clear_hook();
    assert_eq!(repository.list().await.unwrap().backups.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_parent_is_not_taken_over_from() {
    let memory = memory();
    let repository = repository(&memory).await;
    back_up(&repository, &files(&[("a", b"1".to_vec())]))
        .await
        .unwrap();
    let parent = newest(&repository).await;
    let tomb = parent.key.as_str().replace("backups/", "tombs/");
    memory
        .put(
            &key(&tomb),
            Bytes::from_static(b"unreadable, yet it counts"),
            Put::New,
        )
        .await
        .unwrap();
    let session = repository
        .begin(draft("files"), Some(&parent))
        .await
        .unwrap();
    assert!(session.parent().is_none() && session.parent_tree().is_none());
    let holdings = repository.list().await.unwrap();
    assert!(holdings.backups.is_empty());
    assert_eq!(holdings.damaged.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_what_is_on_the_way_in_and_out_of_leases() {
    let memory = memory();
    let repository = repository(&memory).await;
    back_up(&repository, &files(&[("a", b"1".to_vec())]))
        .await
        .unwrap();
    let backup = newest(&repository).await;
    let lease = repository.pin(&[&backup]).await.unwrap();
    let keys: Vec<String> = memory
        .list("leases/")
        .await
        .unwrap()
        .objects
        .iter()
        .map(|object| object.key.to_string().split_off("leases/".len() + 33))
        .collect();
    assert_eq!(keys, ["start", "view", "start", "view"]);
    drop(lease);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_ends_the_session_with_its_reason() {
    for kind in [Kind::Full, Kind::ReadOnly, Kind::Denied, Kind::Unreachable] {
        for prefix in ["packs/", "index/", "backups/"] {
            let memory = memory();
            let repository = repository(&memory).await;
            memory.set_hook(Box::new(move |_, doing, what| {
                let fails = doing == Doing::Put && what.starts_with(prefix);
                if fails {
                    Fault::Fail(kind)
                } else {
                    Fault::None
                }
            }));
            // Long enough that all threads are waiting for uploads when the first one fails.
            let tree = files(&[("long", noise("long", 80 << 20))]);
            let error = back_up(&repository, &tree).await.unwrap_err();
            assert!(
                matches!(&error, RepositoryError::Store(e) if e.kind == kind),
                "{prefix} {error:?}"
            );
            memory.clear_hook();
            assert!(repository.list().await.unwrap().backups.is_empty());
        }
    }
}
