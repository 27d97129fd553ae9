//! The wrapper: what it retries, what it does not, and how it tells a lost answer from a lost race.

use bytes::Bytes;
use ccb::store::{
    Doing, Key, Kind, Parts, Put, Retries, Store,
    memory::{Fault, Memory},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

fn store_with(hook: impl FnMut(u64, Doing, &str) -> Fault + Send + 'static) -> (Memory, Store) {
    let memory = Memory::new("2026-01-01T00:00:00Z".parse().unwrap());
    memory.set_hook(Box::new(hook));
    let retries = Retries {
        attempts: 3,
        first_pause: Duration::from_millis(1),
        pause_max: Duration::from_millis(1),
    };
    (
        memory.clone(),
        Store::with_retries(Arc::new(memory), 2, retries),
    )
}

fn key() -> Key {
    Key::new("k").unwrap()
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_asked_again() {
    let (_, store) = store_with(|n, _, _| {
        if n < 3 {
            Fault::Fail(Kind::Unreachable)
        } else {
            Fault::None
        }
    });
    store.put(&key(), Bytes::new(), Put::New).await.unwrap();
    assert_eq!(store.calls().puts, 3);
}

#[tokio::test]
async fn it_gives_up_after_the_last_attempt() {
    let (_, store) = store_with(|_, _, _| Fault::Fail(Kind::Unreachable));
    assert_eq!(store.list("").await.unwrap_err().kind, Kind::Unreachable);
    assert_eq!(store.calls().lists, 3);
}

#[tokio::test]
async fn what_is_refused_is_not_asked_again() {
    for kind in [
        Kind::Denied,
        Kind::Full,
        Kind::ReadOnly,
        Kind::Corrupt,
        Kind::NotFound,
        Kind::Other,
    ] {
        let (_, store) = store_with(move |_, _, _| Fault::Fail(kind));
        assert_eq!(store.get(&key(), None).await.unwrap_err().kind, kind);
        assert_eq!(store.calls().gets, 1);
    }
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_succeeds_when_its_own_bytes_are_there() {
    let (_, store) = store_with(|n, _, _| {
        if n == 1 {
            Fault::LoseAnswer
        } else {
            Fault::None
        }
    });
    store
        .put(&key(), Bytes::from_static(b"mine"), Put::New)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_object_in_the_making_is_made_anew_and_may_then_be_there() {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let parts = move || -> Parts {
        let attempt = counted.fetch_add(1, Relaxed).to_string();
        let parts = ["attempt ".to_owned(), attempt];
        Box::new(parts.into_iter().map(|part| Ok(part.into())))
    };
    let (memory, store) = store_with(|n, _, _| match n {
        1 => Fault::Fail(Kind::Unreachable),
        2 => Fault::LoseAnswer,
        _ => Fault::None,
    });
    let put = store.put_parts(&key(), &parts, Put::New).await;
    assert_eq!(put.unwrap_err().kind, Kind::AlreadyExists);
    assert_eq!(asked.load(Relaxed), 3);
    memory.set_hook(Box::new(|_, _, _| Fault::None));
    assert_eq!(store.get(&key(), None).await.unwrap(), "attempt 1");
}

#[tokio::test]
async fn a_retried_put_that_finds_other_bytes_has_lost() {
    let (memory, store) = store_with(|_, _, _| Fault::None);
    store
        .put(&key(), Bytes::from_static(b"theirs"), Put::New)
        .await
        .unwrap();
    memory.set_hook(Box::new(|n, _, _| {
        if n == 1 {
            Fault::Fail(Kind::Unreachable)
        } else {
            Fault::None
        }
    }));
    let lost = store
        .put(&key(), Bytes::from_static(b"mine"), Put::New)
        .await
        .unwrap_err();
    assert_eq!(lost.kind, Kind::AlreadyExists);
}

#[tokio::test]
async fn after_a_crash_nothing_has_an_effect() {
    let (memory, store) = store_with(|n, _, _| if n == 2 { Fault::Crash } else { Fault::None });
    let name = |n| Key::new(format!("k{n}")).unwrap();
    store.put(&name(1), Bytes::new(), Put::New).await.unwrap();
    for n in 2..4 {
        store
            .put(&name(n), Bytes::new(), Put::New)
            .await
            .unwrap_err();
    }
    memory.clear_hook();
    assert_eq!(store.list("").await.unwrap().objects.len(), 1);
}
