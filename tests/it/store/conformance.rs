//! What every backend promises, run against each of them.

use crate::store::{key, s3, sftp};
use crate::support::captured::chain;
use crate::support::ceph::{OWNER, ceph, secret};
use crate::support::s3::Server;
use crate::support::ssh;
use bytes::Bytes;
use ccb::store::s3::S3;
use ccb::store::sftp::Sftp;
use ccb::store::{Backend, Kind, Parts, Put, local::Local, memory::Memory};
use std::{collections::BTreeSet, io, sync::Arc};

/// Runs the suite against an empty store.
async fn conforms(backend: Arc<dyn Backend>) {
    reads_back_what_was_written(&*backend).await;
    new_never_replaces(&*backend).await;
    parts_become_one_object_or_nothing(&*backend).await;
    ranges_are_exact_or_refused(&*backend).await;
    deleting_twice_is_fine(&*backend).await;
    lists_by_prefix_in_order(&*backend).await;
    of_two_creators_one_wins(backend.clone()).await;
    lists_only_whole_objects_while_writing(backend.clone()).await;
    let probe = backend.probe(&key("probe-1")).await.unwrap();
    assert!(probe.creates_only_once && probe.deletes);
    assert_eq!(backend.list("probe").await.unwrap().objects, []);
}

async fn reads_back_what_was_written(backend: &dyn Backend) {
    assert_eq!(backend.list("").await.unwrap().objects, []);
    let missing = backend.get(&key("a/b/c"), None).await.unwrap_err();
    assert_eq!(missing.kind, Kind::NotFound);
    assert!(missing.to_string().contains("read `a/b/c` at "));
    for (name, body) in [
        ("a/b/c", Bytes::from_static(b"abc")),
        ("empty", Bytes::new()),
        ("odd/%41+~=@,:!$&'()*;[]{}", Bytes::from_static(b"odd")),
        ("big", Bytes::from(vec![7; 3 << 20])),
    ] {
        backend
            .put(&key(name), body.clone(), Put::New)
            .await
            .unwrap();
        assert_eq!(backend.get(&key(name), None).await.unwrap(), body);
    }
    // A folder is not an object.
    assert_eq!(
        backend.get(&key("a/b"), None).await.unwrap_err().kind,
        Kind::NotFound
    );
}

async fn new_never_replaces(backend: &dyn Backend) {
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    backend
        .put(&key("one"), first.clone(), Put::New)
        .await
        .unwrap();
    let refused = backend.put(&key("one"), second.clone(), Put::New).await;
    assert_eq!(refused.unwrap_err().kind, Kind::AlreadyExists);
    assert_eq!(backend.get(&key("one"), None).await.unwrap(), first);
    backend
        .put(&key("one"), second.clone(), Put::Replace)
        .await
        .unwrap();
    assert_eq!(backend.get(&key("one"), None).await.unwrap(), second);
}

async fn parts_become_one_object_or_nothing(backend: &dyn Backend) {
    let name = key("in/parts");
    let parts = |broken: bool| -> Parts {
        let whole = [Bytes::from(vec![7; 3 << 20]), Bytes::from_static(b"end")];
        let error = broken.then(|| Err(io::Error::other("it has changed")));
        Box::new(whole.into_iter().map(Ok).chain(error))
    };
    let failed = backend.put_parts(&name, parts(true), Put::New).await;
    let words = chain(&failed.unwrap_err());
    assert!(words.contains("it has changed"), "{words}");
    assert_eq!(backend.list("in/").await.unwrap().objects, []);
    let written = backend.put_parts(&name, parts(false), Put::New).await;
    written.unwrap();
    let refused = backend.put_parts(&name, parts(false), Put::New).await;
    assert_eq!(refused.unwrap_err().kind, Kind::AlreadyExists);
    let there = backend.get(&name, None).await.unwrap();
    assert_eq!(
        (there.len(), &there[3 << 20..]),
        ((3 << 20) + 3, &b"end"[..])
    );
}

async fn ranges_are_exact_or_refused(backend: &dyn Backend) {
    let body = Bytes::from_static(b"0123456789");
    backend.put(&key("ten"), body, Put::New).await.unwrap();
    for (range, want) in [
        (0..10, "0123456789"),
        (3..5, "34"),
        (10..10, ""),
        (4..4, ""),
    ] {
        assert_eq!(backend.get(&key("ten"), Some(range)).await.unwrap(), want);
    }
    for range in [5..11, 11..12, 0..u64::MAX] {
        let short = backend.get(&key("ten"), Some(range)).await.unwrap_err();
        assert_eq!(short.kind, Kind::Corrupt);
    }
}

async fn deleting_twice_is_fine(backend: &dyn Backend) {
    backend
        .put(&key("gone/x"), Bytes::new(), Put::New)
        .await
        .unwrap();
    backend.delete(&key("gone/x")).await.unwrap();
    backend.delete(&key("gone/x")).await.unwrap();
    assert_eq!(
        backend.get(&key("gone/x"), None).await.unwrap_err().kind,
        Kind::NotFound
    );
    backend
        .put(&key("gone/x"), Bytes::new(), Put::New)
        .await
        .unwrap();
}

async fn lists_by_prefix_in_order(backend: &dyn Backend) {
    for name in ["l/b/2", "l/a", "l/b/10", "l/bb", "l/b-", "m"] {
        backend
            .put(&key(name), Bytes::from_static(b"1"), Put::New)
            .await
            .unwrap();
    }
    for (prefix, want) in [
        ("l/", vec!["l/a", "l/b-", "l/b/10", "l/b/2", "l/bb"]),
        ("l/b", vec!["l/b-", "l/b/10", "l/b/2", "l/bb"]),
        ("l/b/", vec!["l/b/10", "l/b/2"]),
        ("l/b/1", vec!["l/b/10"]),
        ("l/a", vec!["l/a"]),
        ("l/a/", vec![]),
        ("nothing/there", vec![]),
        ("../", vec![]),
    ] {
        let listing = backend.list(prefix).await.unwrap();
        let names: Vec<_> = listing.objects.iter().map(|o| o.key.as_str()).collect();
        assert_eq!(names, want, "{prefix}");
        assert!(listing.objects.iter().all(|o| o.size == 1));
        assert!(
            listing
                .objects
                .iter()
                .all(|o| o.modified <= listing.server_time)
        );
    }
}

async fn of_two_creators_one_wins(backend: Arc<dyn Backend>) {
    for round in 0..20 {
        let name = key(&format!("race/{round}"));
        let creators = (0..4).map(|creator: u8| {
            let (backend, name) = (backend.clone(), name.clone());
            tokio::spawn(async move {
                let body = Bytes::from(vec![creator; 100_000]);
                backend.put(&name, body, Put::New).await.map(|()| creator)
            })
        });
        let mut winners = Vec::new();
        for creator in creators.collect::<Vec<_>>() {
            match creator.await.unwrap() {
                Ok(winner) => winners.push(winner),
                Err(e) => assert_eq!(e.kind, Kind::AlreadyExists),
            }
        }
        let there = backend.get(&name, None).await.unwrap();
        assert_eq!(winners.len(), 1);
        assert!(there.len() == 100_000 && there.iter().all(|b| *b == winners[0]));
    }
}

async fn lists_only_whole_objects_while_writing(backend: Arc<dyn Backend>) {
    let writer = {
        let backend = backend.clone();
        tokio::spawn(async move {
            for n in 0..40 {
                let body = Bytes::from(vec![1; 200_000]);
                backend
                    .put(&key(&format!("live/{n}")), body, Put::New)
                    .await
                    .unwrap();
            }
        })
    };
    let mut seen = BTreeSet::new();
    loop {
        // Asked before it is listed: the last listing is of all that was written.
        let is_over = writer.is_finished();
        let now: BTreeSet<_> = backend
            .list("live/")
            .await
            .unwrap()
            .objects
            .into_iter()
            .map(|object| {
                assert_eq!(object.size, 200_000);
                object.key
            })
            .collect();
        assert!(seen.is_subset(&now), "an object vanished from a listing");
        seen = now;
        if is_over {
            break;
        }
    }
    writer.await.unwrap();
    assert_eq!(seen.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_directory_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(Arc::new(Local::new(folder.path().join("not/yet/there")))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conforms(Arc::new(Memory::new(
        "2026-01-01T00:00:00Z".parse().unwrap(),
    )))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms() {
    let server = Server::start();
    conforms(Arc::new(S3::new(s3::settings(&server)).unwrap())).await;
    let all = server.objects();
    assert!(all.keys().all(|key| key.starts_with("of/ccb/")));
}

#[test]
fn a_bucket_of_a_real_server_conforms() {
    let server = ceph();
    let (bucket, _) = server.bucket();
    let settings = s3::settings_of(&server.http(), &bucket, OWNER, &secret(OWNER));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(conforms(Arc::new(S3::new(settings).unwrap())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_over_ssh_conforms() {
    let server = ssh::Server::start();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("not/yet/there");
    conforms(Arc::new(Sftp::new(sftp::settings(&server, &root)))).await;
    // What was being written has a name, or is gone.
    let left = std::fs::read_dir(root.join(".tmp")).unwrap().count();
    assert_eq!(left, 0);
}
