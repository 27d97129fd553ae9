//! A bucket that is protected and does not hold still: what can not be read is named, and nothing is put together
//! from two objects.

use crate::cli::mirror::{APPLY, BACKUP, as_user, mirroring};
use crate::cli::{outcome, under};
use crate::support::ceph::{OWNER, ceph, secret};
use crate::support::http;
use crate::support::s3::{ACCESS_KEY, BUCKET, Fault, SECRET_KEY, Server};
use hyper::Method;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

fn expect(at: &Path, code: i32, arguments: &[&str]) -> String {
    let (ended, said) = outcome(&mut as_user(at, (ACCESS_KEY, SECRET_KEY), arguments));
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    said
}

const NO_SUCH_KEY: Fault = Fault::Refused(404, "<Error><Code>NoSuchKey</Code></Error>");
const DENIED: Fault = Fault::Refused(403, "<Error><Code>AccessDenied</Code></Error>");

#[test]
fn what_is_unchanged_is_not_read_and_what_can_not_be_read_is_named() {
    let server = Server::start();
    for n in 0..30 {
        server.place(&format!("n/{n:02}"), vec![n; 1000]);
    }
    let folder = mirroring(&server.endpoint(), BUCKET);
    let at = folder.path();
    expect(at, 0, &APPLY);
    server.place("n/03", &b"changed"[..]);
    let before = server.asked().len();
    expect(at, 0, &BACKUP);
    let read: Vec<_> = server.asked().split_off(before);
    let objects: Vec<_> = read.iter().filter(|asked| asked.contains("n/")).collect();
    assert_eq!(objects, ["GET n/03"], "{read:?}");

    // One that may not be read, one that is gone since it was listed.
    for key in ["n/04", "n/05", "n/06"] {
        server.place(key, &b"other"[..]);
    }
    server.fail(|_, key| match key {
        "n/04" => Some(DENIED),
        "n/05" => Some(NO_SUCH_KEY),
        _ => None,
    });
    let said = expect(at, 3, &BACKUP);
    assert!(said.contains("n/04"), "{said}");
    assert!(said.contains("403 AccessDenied"), "{said}");
    assert!(!said.contains("n/05"), "{said}");
    server.fail(|_, _| None);
    expect(at, 0, &BACKUP);
    let cat = outcome(&mut as_user(
        at,
        ("", ""),
        &["cat", "plan.kdl", "latest", "n/04"],
    ));
    assert_eq!(cat, (Some(0), "other".to_owned()));
}

/// The newest backup, also one that is incomplete.
fn newest(at: &Path) -> String {
    let listed = expect(at, 0, &["list", "plan.kdl", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let all = listed["backups"].as_array().expect("a list").iter();
    let newest = all.max_by_key(|backup| backup["started"].as_str());
    let id = newest.and_then(|backup| backup["id"].as_str());
    id.expect("there is one").to_owned()
}

#[test]
fn tags_cost_one_request_more_of_what_changed_and_are_missed_where_they_may_not_be_read() {
    let server = Server::start();
    for n in 0..4 {
        server.place(&format!("n/{n}"), vec![n; 1000]);
        server.tag(&format!("n/{n}"), "team=audio");
    }
    server.place("plain", &b"no tags"[..]);
    let folder = mirroring(&server.endpoint(), BUCKET);
    let at = folder.path();
    let asked_by = |code: i32, words: &str| {
        let before = server.asked().len();
        let said = expect(at, code, &BACKUP);
        assert!(said.contains(words), "{words}: {said}");
        let asked = server.asked().split_off(before).into_iter();
        let mut objects: Vec<_> = asked.filter(|asked| !asked.ends_with("GET ")).collect();
        objects.sort();
        objects
    };
    let first = asked_by(0, "");
    let twice = |n: u32| vec![format!("GET n/{n}"); 2];
    let all = [
        twice(0),
        twice(1),
        twice(2),
        twice(3),
        vec!["GET plain".to_owned()],
    ]
    .concat();
    assert_eq!(first, all);
    server.place("n/1", &b"changed"[..]);
    server.tag("n/1", "team=video");
    assert_eq!(asked_by(0, ""), twice(1));

    // Without the right to read them: the bytes are there, what is missing is named until it is not.
    server.place("n/2", &b"changed"[..]);
    server.tag("n/2", "team=video");
    let count = AtomicU32::new(0);
    server.fail(move |_, key| {
        (key == "n/2" && count.fetch_add(1, Relaxed) % 2 == 1).then_some(DENIED)
    });
    for _ in 0..2 {
        assert_eq!(asked_by(3, "read the tags of an object"), twice(2));
        let newest = newest(at);
        let mut cat = as_user(at, ("", ""), &["cat", "plan.kdl", &newest, "n/2"]);
        assert_eq!(cat.output().expect("started").stdout, b"changed");
    }
    server.fail(|_, _| None);
    assert_eq!(asked_by(0, ""), twice(2));
    assert_eq!(asked_by(0, ""), Vec::<String>::new());
    expect(
        at,
        0,
        &["restore", "plan.kdl", "media", "--to", "s3://backups/back"],
    );
    let tags = |key: &str| server.objects()[key].tag.clone();
    assert_eq!(tags("back/n/2").as_deref(), Some("team=video"));
    assert_eq!(tags("back/n/0").as_deref(), Some("team=audio"));
    assert_eq!(tags("back/plain"), None);
}

#[test]
fn an_object_that_changes_while_it_is_read_is_named_and_read_the_next_time() {
    let server = Arc::new(Server::start());
    server.place("large", vec![1; 30 << 20]);
    server.place("small", vec![1; 1 << 20]);
    let folder = mirroring(&server.endpoint(), BUCKET);
    let at = folder.path();
    let asked = AtomicU32::new(0);
    let during = Arc::downgrade(&server);
    server.fail(move |_, key| {
        // Before its second part.
        if key == "large" && asked.fetch_add(1, Relaxed) == 1 {
            let server = during.upgrade()?;
            server.place("large", vec![2; 30 << 20]);
        }
        None
    });
    let said = expect(at, 3, &APPLY);
    assert!(said.contains("it was changed while it was read"), "{said}");
    server.fail(|_, _| None);
    expect(at, 0, &BACKUP);
    let mut cat = as_user(at, ("", ""), &["cat", "plan.kdl", "latest", "large"]);
    assert_eq!(cat.output().expect("started").stdout, vec![2; 30 << 20]);
}

#[test]
fn bytes_that_are_not_those_of_the_etag_are_read_again_and_cuts_are_no_ends() {
    let server = Server::start();
    server.place("one", vec![1; 100_000]);
    server.place("large", vec![1; 20 << 20]);
    let folder = mirroring(&server.endpoint(), BUCKET);
    let at = folder.path();
    let mut count = 0;
    server.fail(move |_, _| {
        count += 1;
        match count % 3 {
            0 => Some(Fault::Cut(1000)),
            1 => Some(Fault::Refused(503, "<Error><Code>SlowDown</Code></Error>")),
            _ => None,
        }
    });
    expect(at, 0, &APPLY);
}

#[test]
fn who_may_not_look_makes_no_backup() {
    let server = Server::start();
    server.place("one", &b"1"[..]);
    let folder = mirroring(&server.endpoint(), BUCKET);
    let (code, said) = outcome(&mut as_user(folder.path(), (ACCESS_KEY, "wrong"), &APPLY));
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");
    let said = outcome(&mut as_user(folder.path(), ("", ""), &APPLY)).1;
    assert!(said.contains("MEDIA_ACCESS_KEY_ID"), "{said}");
    let nowhere = mirroring(&server.endpoint(), "nowhere");
    let said = expect(nowhere.path(), 3, &APPLY);
    assert!(said.contains("create the bucket `nowhere`"), "{said}");
}

#[test]
fn what_is_put_back_is_there_once_when_answers_are_lost_and_a_bucket_that_is_full_is_told() {
    let server = Server::start();
    for n in 0..3 {
        server.place(&format!("n/{n}"), vec![n; 1000]);
    }
    let folder = mirroring(&server.endpoint(), BUCKET);
    let at = folder.path();
    expect(at, 0, &APPLY);
    let back = |to: &str| ["restore", "plan.kdl", "media", "--to", to].map(str::to_owned);
    let restore = |code: i32, to: &str| {
        let words = back(to);
        expect(at, code, &words.each_ref().map(String::as_str))
    };
    let mut lost = BTreeSet::new();
    server.fail(move |method, key| {
        let is_first = method == Method::PUT && lost.insert(key.to_owned());
        is_first.then_some(Fault::AnswerLost)
    });
    let said = restore(0, "s3://backups/back");
    assert!(said.contains("Restored 3 objects"), "{said}");
    assert_eq!(server.objects()["back/n/2"].body, vec![2; 1000]);
    // What a server stores in part is not taken for the whole.
    server.fail_once(Fault::Truncated(10), |method, key| {
        method == Method::PUT && key == "part/n/1"
    });
    let said = restore(3, "s3://backups/part");
    assert!(
        said.contains("`part/n/1`: the server stored other bytes than it was sent"),
        "{said}"
    );
    assert!(said.contains("Restored 2 objects"), "{said}");
    server.fail(|method, _| {
        let full = "<Error><Code>XMinioStorageFull</Code></Error>";
        (method == Method::PUT).then_some(Fault::Refused(507, full))
    });
    let said = restore(3, "s3://backups/full");
    assert!(said.contains("`full/n/0`"), "{said}");
    assert!(said.contains("507 XMinioStorageFull"), "{said}");
    assert!(said.contains("Restored 0 objects"), "{said}");
}

#[test]
fn a_clock_a_region_and_a_certificate_that_are_wrong_are_told_of_a_protected_bucket_too() {
    let server = Server::start();
    server.place("one", &b"1"[..]);
    let folder = mirroring(&server.endpoint(), BUCKET);
    let at = folder.path();
    for (status, document, words) in [
        (
            403,
            "<Error><Code>RequestTimeTooSkewed</Code><RequestTime>20260102T030405Z</RequestTime><ServerTime>2026-01-02T03:24:05Z</ServerTime></Error>",
            "this machine's clock is 20 min behind; set it",
        ),
        (
            400,
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>",
            "write region=\"eu-central-1\"",
        ),
        (
            403,
            "<Error><Code>InvalidAccessKeyId</Code></Error>",
            "the access key is not known there",
        ),
    ] {
        server.fail(move |_, _| Some(Fault::Refused(status, document)));
        let said = expect(at, 3, &APPLY);
        assert!(said.contains(words), "{words}: {said}");
    }
    let folder = mirroring(&ceph().https(), "any");
    let asked = &mut as_user(folder.path(), (OWNER, &secret(OWNER)), &APPLY);
    let (code, said) = outcome(asked);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("AWS_CA_BUNDLE"), "{said}");
}

#[test]
fn a_container_gets_its_credentials_from_where_its_environment_says() {
    let server = Server::start();
    server.place("one", &b"1"[..]);
    let given = http::Server::answering(Box::new(|_| {
        let body = format!(
            "{{\"AccessKeyId\":\"{ACCESS_KEY}\",\"SecretAccessKey\":\"{SECRET_KEY}\",\"Token\":\"t\",\"Expiration\":\"2099-01-01T00:00:00Z\"}}"
        );
        let len = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}")
    }));
    let folder = mirroring(&server.endpoint(), BUCKET);
    let at = folder.path();
    let plan = std::fs::read_to_string(at.join("plan.kdl")).expect("read");
    let plan = plan.replace("credentials env-prefix=\"MEDIA_\"", "");
    std::fs::write(at.join("plan.kdl"), plan).expect("written");
    let within = |url: &str| {
        let mut command = under(&[], at, &BACKUP);
        command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", url);
        outcome(&mut command)
    };
    let (code, said) = within(&given.url("/credentials"));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(given.paths()[0], "/credentials");
    // Not in the clear from another machine; and nothing is said of what it would be.
    let (code, said) = within("http://192.0.2.1/credentials");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("there are no credentials"), "{said}");
    assert!(said.contains("loopback"), "{said}");
}
