//! A bucket that is protected and does not hold still: what can not be read is named, and nothing is put together
//! from two objects.

use crate::cli::mirror::{APPLY, BACKUP, as_user, mirroring};
use crate::cli::outcome;
use crate::support::s3::{ACCESS_KEY, BUCKET, Fault, SECRET_KEY, Server};
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
