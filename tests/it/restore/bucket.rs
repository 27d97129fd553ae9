//! Versions of a bucket's objects that a real server copies back, also those that are too long to be copied at once.

use crate::support::ceph::{Ceph, OWNER, ceph, secret};
use crate::support::s3_client::{Account, access};
use crate::support::tcp::lost_answer;
use ccb::restore::bucket::{Limits, Report, Target, copy_back};
use ccb::source::bucket::{Bucket, ObjectVersion};
use std::sync::Arc;

/// As short as a server lets a part be.
const LIMITS: Limits = Limits {
    whole_max_bytes: 5 << 20,
    part_len_bytes: 5 << 20,
};
const LONG: usize = (11 << 20) + 7;

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// A bucket with versions: of each of two objects an old one and a newer.
fn with_versions(server: &Ceph) -> (String, Account) {
    let (bucket, account) = server.bucket();
    account.set_versioning(&bucket, "Enabled");
    let headers = [
        ("content-type", "audio/mpeg"),
        ("cache-control", "max-age=60"),
        ("content-language", "de"),
        ("x-amz-meta-author", "ana"),
        ("x-amz-tagging", "team=audio"),
    ];
    let long = noise(LONG);
    for (key, body) in [("in parts", &long[..]), ("whole", b"short")] {
        let put = account.ask("PUT", &bucket, key, &[], &headers, body);
        assert_eq!(put.status, 200, "{put:?}");
        account.put(&bucket, key, b"newer");
    }
    (bucket, account)
}

/// What was there before the newest.
async fn earlier(from: &Bucket) -> Vec<ObjectVersion> {
    let all = from.versions("").await.expect("listed");
    all.into_iter().filter(|one| !one.is_latest).collect()
}

fn target(bucket: &Arc<Bucket>) -> Target {
    Target {
        bucket: bucket.clone(),
        prefix: String::new(),
        overwrite: true,
        dry_run: false,
    }
}

async fn copy(
    from: &Bucket,
    versions: Vec<ObjectVersion>,
    into: &Target,
    limits: Limits,
) -> Report {
    let copied = copy_back(from, versions, into, limits, &mut |_, _| {}).await;
    copied.expect("the bucket answers")
}

/// What was begun and not ended.
fn uploads(account: &Account, bucket: &str) -> String {
    let listed = account.ask("GET", bucket, "", &[("uploads", "")], &[], b"");
    assert_eq!(listed.status, 200, "{listed:?}");
    String::from_utf8_lossy(&listed.body).into_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

#[test]
fn a_version_that_is_too_long_to_be_copied_at_once_is_copied_in_parts_with_what_is_beside_it() {
    let server = ceph();
    let (bucket, account) = with_versions(server);
    let access = access(&server.http(), &bucket, OWNER, &secret(OWNER));
    let from = Arc::new(Bucket::new(&access).expect("it can be asked"));
    let into = target(&from);
    let versions = runtime().block_on(earlier(&from));
    let report = runtime().block_on(copy(&from, versions.clone(), &into, LIMITS));
    assert_eq!((report.objects, report.kept), (2, 0), "{report:?}");
    assert_eq!(report.bytes, (LONG + 5) as u64);
    assert!(account.get(&bucket, "in parts") == noise(LONG));
    assert_eq!(account.get(&bucket, "whole"), "short");
    for (key, parts) in [("in parts", true), ("whole", false)] {
        let head = account.ask("HEAD", &bucket, key, &[], &[], b"");
        assert_eq!(head.header("content-type"), "audio/mpeg", "{key}");
        assert_eq!(head.header("cache-control"), "max-age=60", "{key}");
        assert_eq!(head.header("content-language"), "de", "{key}");
        assert_eq!(head.header("x-amz-meta-author"), "ana", "{key}");
        let tags = account.tags(&bucket, key);
        assert!(tags.contains("<Value>audio</Value>"), "{key}: {tags}");
        let is_of_three = head.header("etag").ends_with("-3\"");
        assert_eq!(is_of_three, parts, "{key}: {head:?}");
    }
    // Its ETag is another now, its bytes are not: it is not copied once more.
    let again = runtime().block_on(copy(&from, versions.clone(), &into, LIMITS));
    assert_eq!((again.objects, again.kept), (0, 2), "{again:?}");
    // Of what fails at its end nothing stays: no server makes an object of parts that are so short.
    account.put(&bucket, "in parts", b"newest");
    let short = Limits {
        part_len_bytes: 1 << 20,
        ..LIMITS
    };
    let failed = runtime().block_on(copy(&from, versions, &into, short));
    assert_eq!((failed.objects, failed.problem_count), (0, 1), "{failed:?}");
    assert!(failed.problems[0].contains("EntityTooSmall"), "{failed:?}");
    let left = uploads(&account, &bucket);
    assert!(!left.contains("<UploadId>"), "{left}");
    assert_eq!(account.get(&bucket, "in parts"), "newest");
}

#[test]
fn an_upload_that_ended_without_an_answer_is_there() {
    let server = ceph();
    let (bucket, account) = with_versions(server);
    let port = lost_answer(server.port(), "POST ", "uploadId=");
    let endpoint = format!("http://127.0.0.1:{port}");
    let access = access(&endpoint, &bucket, OWNER, &secret(OWNER));
    let from = Arc::new(Bucket::new(&access).expect("it can be asked"));
    let into = target(&from);
    let versions = runtime().block_on(earlier(&from));
    let report = runtime().block_on(copy(&from, versions, &into, LIMITS));
    assert_eq!((report.objects, report.problem_count), (2, 0), "{report:?}");
    assert!(account.get(&bucket, "in parts") == noise(LONG));
    let left = uploads(&account, &bucket);
    assert!(!left.contains("<UploadId>"), "{left}");
}
