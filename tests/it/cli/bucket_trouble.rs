//! A bucket that is in trouble while ccb works with it: what passes is got over, what does not is told, and
//! nothing that was stored is lost.

use crate::cli::bucket::{expect, in_bucket, run};
use crate::cli::{RESTORE, is_back};
use crate::support::s3::{Fault, SECRET_KEY, Server};
use hyper::Method;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const APPLY: [&str; 3] = ["apply", "plan.kdl", "--auto-approve"];
const BACKUP: [&str; 3] = ["backup", "plan.kdl", "data"];
const CHECK: [&str; 4] = ["check", "plan.kdl", "--level", "3"];
const DENIED: Fault = Fault::Refused(403, "<Error><Code>AccessDenied</Code></Error>");
const SLOW_DOWN: Fault = Fault::Refused(503, "<Error><Code>SlowDown</Code></Error>");

fn is_whole(at: &Path) {
    let checked = expect(at, 0, &CHECK);
    assert!(checked.contains("No damage found."), "{checked}");
    expect(at, 0, &RESTORE);
    is_back(at);
}

#[test]
fn what_breaks_in_the_middle_and_what_is_told_to_wait_is_asked_again() {
    let server = Server::start();
    let folder = in_bucket(&server);
    let mut asked = BTreeMap::new();
    // Everything fails twice: before it is begun, and in the middle of what is sent or answered.
    server.fail(move |method, key| {
        let times: &mut u32 = asked.entry(format!("{method} {key}")).or_default();
        *times += 1;
        match (*times, method) {
            // Each try of a probe has a name of its own.
            _ if key.contains("probes/") => None,
            (1, _) => Some(SLOW_DOWN),
            (2, &Method::PUT) => Some(Fault::Reset(10)),
            (2, &Method::GET) => Some(Fault::Cut(10)),
            _ => None,
        }
    });
    let applied = expect(folder.path(), 0, &APPLY);
    assert!(applied.contains("1 backed up, 1 copied"), "{applied}");
    server.fail(|_, _| None);
    is_whole(folder.path());
}

#[test]
fn an_object_that_was_stored_in_part_makes_no_verified_backup() {
    let server = Server::start();
    let folder = in_bucket(&server);
    let at = folder.path();
    server.fail_once(Fault::Truncated(100), |method, key| {
        method == Method::PUT && key.contains("packs/d/")
    });
    let applied = expect(at, 6, &APPLY);
    assert!(
        applied.contains("verify integrity of incremental"),
        "{applied}"
    );
    assert!(applied.contains("0 copied"), "{applied}");
    let checked = expect(at, 6, &["check", "plan.kdl"]);
    assert!(checked.contains("packs/d/"), "{checked}");
    // What is damaged is not built upon: the next backup stores it again.
    expect(at, 0, &["backup", "plan.kdl", "data", "--quiet"]);
    let to = [
        "restore", "plan.kdl", "data", "--from", "primary", "--to", "restored",
    ];
    expect(at, 0, &to);
    assert_eq!(
        fs::read(at.join("restored/deep/er/file.bin")).expect("restored"),
        [7; 300_000]
    );
}

#[test]
fn a_listing_that_lags_behind_loses_nothing() {
    let server = Server::start();
    let folder = in_bucket(&server);
    let at = folder.path();
    expect(at, 0, &APPLY);
    server.list_late();
    for round in 0..3 {
        fs::write(at.join("data/more"), [round; 100]).expect("written");
        let (code, said) = run(at, SECRET_KEY, &BACKUP);
        // What is not seen is not verified and not copied, and that is said.
        assert!(
            [Some(0), Some(3), Some(6)].contains(&code),
            "{code:?} {said}"
        );
        assert!(said.contains("1 backed up"), "{said}");
    }
    expect(at, 0, &["prune", "plan.kdl"]);
    let applied = expect(at, 0, &APPLY);
    assert!(applied.contains("0 failed"), "{applied}");
    is_whole(at);
    assert_eq!(
        fs::read(at.join("restored/more")).expect("restored"),
        [2; 100]
    );
}

#[test]
fn one_verb_that_is_denied_is_named_and_what_was_stored_stays() {
    let server = Server::start();
    let folder = in_bucket(&server);
    let at = folder.path();
    expect(at, 0, &APPLY);
    fs::write(at.join("data/more"), "more").expect("written");
    let before = server.objects().len();
    for (code, method, key, word) in [
        (3, Method::PUT, "", "write `"),
        (10, Method::GET, "", "list `"),
        (10, Method::GET, "CCB", "read `"),
    ] {
        server.fail(move |asked, of| {
            let is_meant = match key {
                "" => asked == method && (of.is_empty() || asked == Method::PUT),
                key => asked == method && of.contains(key),
            };
            is_meant.then_some(DENIED)
        });
        let said = expect(at, code, &BACKUP);
        assert!(said.contains(word), "{word}: {said}");
        assert!(said.contains("403 AccessDenied"), "{said}");
        assert!(said.contains("access is denied"), "{said}");
        assert_eq!(server.objects().len(), before, "{word}");
    }
    server.fail(|_, _| None);
    expect(at, 0, &BACKUP);
    is_whole(at);
}

#[test]
fn a_region_that_is_wrong_and_a_bucket_that_is_full_are_told() {
    let server = Server::start();
    let folder = in_bucket(&server);
    let at = folder.path();
    server.fail(|_, _| {
        Some(Fault::Refused(
            400,
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>",
        ))
    });
    let said = expect(at, 10, &APPLY);
    assert!(said.contains("write region=\"eu-central-1\""), "{said}");
    server.fail(|_, _| None);
    expect(at, 0, &APPLY);
    fs::write(at.join("data/more"), "more").expect("written");
    server.fail(|method, key| {
        (method == Method::PUT && key.contains("packs/")).then_some(Fault::Refused(
            507,
            "<Error><Code>XMinioStorageFull</Code></Error>",
        ))
    });
    let said = expect(at, 3, &BACKUP);
    assert!(said.contains("no space is left"), "{said}");
    server.fail(|_, _| None);
    is_whole(at);
}
