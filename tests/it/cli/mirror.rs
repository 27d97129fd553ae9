//! A bucket that is protected: its objects are captured, looked at and put back, on a real server.

use crate::cli::reading::keeping_to_its_schema;
use crate::cli::{outcome, under};
use crate::support::ceph::{OWNER, ceph, secret};
use crate::support::restored::wait_for;
use crate::support::s3_client::Account;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

pub(super) const APPLY: [&str; 3] = ["apply", "plan.kdl", "--auto-approve"];
pub(super) const BACKUP: [&str; 5] = ["backup", "plan.kdl", "media", "--method", "mirror"];

/// A folder with a plan file that mirrors a bucket.
pub(super) fn mirroring(endpoint: &str, bucket: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = PLAN.replace("ENDPOINT", endpoint).replace("BUCKET", bucket);
    fs::write(folder.path().join("plan.kdl"), plan).expect("written");
    folder
}

pub(super) fn as_user(at: &Path, (id, secret): (&str, &str), arguments: &[&str]) -> Command {
    let mut command = under(&[], at, arguments);
    command
        .env("MEDIA_ACCESS_KEY_ID", id)
        .env("MEDIA_SECRET_ACCESS_KEY", secret);
    command
}

fn expect(at: &Path, code: i32, arguments: &[&str]) -> String {
    let (ended, said) = outcome(&mut as_user(at, (OWNER, &secret(OWNER)), arguments));
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    said
}

/// Keys that are no paths, and those that are.
const KEYS: [&str; 13] = [
    "a",
    "a/b",
    "a//b",
    "../x",
    "./y",
    "/z",
    "dir/",
    "dir/plain.txt",
    "%41",
    "grün/ü €",
    "a+b c",
    "x\u{1}y",
    "Ends/in/..",
];

/// What is in them.
fn body(key: &str) -> Vec<u8> {
    match key {
        "dir/" => Vec::new(),
        key => format!("this is in {key}\n").into_bytes(),
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// What a restore tells programs; it ends with this code.
fn told_to_programs(at: &Path, code: i32, arguments: &[&str]) -> serde_json::Value {
    let arguments = [arguments, &["--json"]].concat();
    let output = as_user(at, (OWNER, &secret(OWNER)), &arguments).output();
    let output = output.expect("it can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{arguments:?} {text}");
    keeping_to_its_schema(&text)
}

fn fill(account: &Account, bucket: &str) -> String {
    for key in KEYS {
        account.put(bucket, key, &body(key));
    }
    let long = format!("{}/{}", "n".repeat(600), "m".repeat(400));
    account.put(bucket, &long, b"long");
    let tagged = [("x-amz-tagging", "kind=long")];
    let put = account.ask("PUT", bucket, "large", &[], &tagged, &noise(20 << 20));
    assert_eq!(put.status, 200, "{put:?}");
    let headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "max-age=60"),
        ("x-amz-meta-author", "ana"),
        ("x-amz-tagging", "team=a%20b%2Bc&stage=live"),
    ];
    let put = account.ask("PUT", bucket, "page", &[], &headers, b"<p>");
    assert_eq!(put.status, 200, "{put:?}");
    long
}

#[test]
fn a_bucket_is_mirrored_with_every_key_and_looked_at() {
    let server = ceph();
    let (bucket, account) = server.bucket();
    let folder = mirroring(&server.http(), &bucket);
    let at = folder.path();
    let empty = expect(at, 3, &APPLY);
    assert!(empty.contains("is empty: is it the right one?"), "{empty}");
    let long = fill(&account, &bucket);
    let applied = expect(at, 0, &APPLY);
    assert!(applied.contains("1 backed up"), "{applied}");
    assert!(applied.contains("16 files"), "{applied}");
    assert!(
        applied.contains("16 are in the bucket as they were"),
        "{applied}"
    );
    assert!(applied.contains("16 also equal to the source"), "{applied}");

    // What was deleted is not in the next, what is new is, and what is the same was not read.
    account.delete(&bucket, "a/b");
    account.put(&bucket, "dir/new", b"new");
    expect(at, 0, &BACKUP);
    let listed = expect(at, 0, &["ls", "plan.kdl", "latest"]);
    for path in [
        "%../x",
        "%./y",
        "%/z",
        "%%41",
        "Ends/in/%..",
        "a/%/b",
        "dir/%",
        "dir/new",
    ] {
        assert!(listed.contains(path), "{path}: {listed}");
    }
    assert!(!listed.contains("a/b\n"), "{listed}");
    let cat = outcome(&mut as_user(
        at,
        (OWNER, ""),
        &["cat", "plan.kdl", "latest", "page"],
    ));
    assert_eq!(cat, (Some(0), "<p>".to_owned()));
    let found = expect(at, 0, &["find", "plan.kdl", "media", "*.txt"]);
    assert!(found.contains("dir/plain.txt"), "{found}");

    // Back into the bucket: what is gone is there again, what is the same stays, what differs is not replaced.
    account.put(&bucket, "page", b"other");
    account.delete(&bucket, "large");
    let first = expect(at, 0, &["list", "plan.kdl", "--json"]);
    let first: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    let first = first["backups"]
        .as_array()
        .or(first.as_array())
        .expect("a list");
    let oldest = first
        .iter()
        .min_by_key(|backup| backup["started"].as_str().map(str::to_owned))
        .and_then(|backup| backup["id"].as_str().or(backup["backup"].as_str()))
        .expect("it has an id");
    let back = [
        "restore",
        "plan.kdl",
        "media",
        "--backup",
        oldest,
        "--auto-approve",
    ];
    let dry = expect(at, 3, &[&back[..], &["--dry-run"]].concat());
    assert!(dry.contains("refuse     page"), "{dry}");
    assert!(dry.contains("create     large"), "{dry}");
    assert!(dry.contains("keep       ../x"), "{dry}");
    let told = told_to_programs(at, 3, &[&back[..], &["--dry-run"]].concat());
    assert_eq!(told["kind"], "restored");
    assert_eq!(told["target"], format!("s3://{bucket}/"));
    assert_eq!((&told["written"], &told["kept"]), (&2.into(), &13.into()));
    assert_eq!(told["dry_run"], true);
    let entries = told["entries"].as_array().expect("a list");
    let page = serde_json::json!({"path": "page", "intent": "refuse"});
    assert!(entries.len() == 16 && entries.contains(&page), "{told}");
    assert_eq!(told["problem_count"], 1);
    let refused = expect(at, 3, &back);
    assert!(
        refused.contains("`page`: another object is there"),
        "{refused}"
    );
    assert_eq!(account.get(&bucket, "page"), "other");
    assert_eq!(account.get(&bucket, "a/b"), body("a/b"));
    assert!(account.get(&bucket, "large") == noise(20 << 20), "in parts");
    let told = expect(at, 0, &[&back[..], &["--overwrite"]].concat());
    assert!(told.contains("15 were there already"), "{told}");
    let page = account.ask("HEAD", &bucket, "page", &[], &[], b"");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "max-age=60");
    assert_eq!(page.header("x-amz-meta-author"), "ana");
    let tags = account.tags(&bucket, "page");
    assert!(
        tags.contains("<Value>a b+c</Value>") && tags.contains("<Value>live</Value>"),
        "{tags}"
    );
    assert!(
        account
            .tags(&bucket, "large")
            .contains("<Value>long</Value>")
    );
    assert_eq!(account.get(&bucket, "dir/new"), "new", "nothing is deleted");

    // Into another bucket, below a prefix.
    let (other, _) = server.bucket();
    let to = format!("s3://{other}/from/media");
    let elsewhere = [
        "restore", "plan.kdl", "media", "--backup", oldest, "--to", &to,
    ];
    expect(at, 0, &elsewhere);
    for key in KEYS {
        assert_eq!(
            account.get(&other, &format!("from/media/{key}")),
            body(key),
            "{key}"
        );
    }

    // Into a directory: below it, whatever the keys are.
    let into = [
        "restore", "plan.kdl", "media", "--backup", oldest, "--to", "restored",
    ];
    expect(at, 0, &into);
    let same = |path: &str| fs::read(at.join("restored").join(path)).expect(path);
    assert_eq!(same("%../x"), body("../x"));
    assert_eq!(same("%=a"), body("a"));
    assert_eq!(same("a/b"), body("a/b"));
    assert_eq!(same("dir/%"), b"");
    assert!(same("large") == noise(20 << 20));
    let entries = walkdir::WalkDir::new(at.join("restored")).into_iter();
    let is_long = |name: &str| name.starts_with("%-m");
    assert!(
        entries
            .flatten()
            .any(|entry| entry.file_name().to_str().is_some_and(is_long)),
        "{long}"
    );
    assert!(!at.join("x").exists() && !Path::new("/z").exists());
}

#[test]
fn earlier_versions_come_back_without_any_repository() {
    let server = ceph();
    let (bucket, account) = server.bucket();
    account.set_versioning(&bucket, "Enabled");
    let folder = mirroring(&server.http(), &bucket);
    let at = folder.path();
    let first = account.put(&bucket, "docs/a", b"first");
    account.put(&bucket, "docs/gone", b"gone");
    account.put(&bucket, "docs/same", b"same");
    account.put(&bucket, "docs2/x", b"x");
    let version = first.header("x-amz-version-id").to_owned();
    let then = newest(&account, &bucket);
    wait_for(|| {
        account.put(&bucket, "docs/a", b"second");
        newest(&account, &bucket) != then
    });
    account.put(&bucket, "docs/new", b"new");
    account.delete(&bucket, "docs/gone");

    let restore = ["restore", "plan.kdl", "media"];
    let with = |more: &[&str]| -> Vec<String> {
        restore
            .iter()
            .chain(more)
            .map(|word| (*word).to_owned())
            .collect()
    };
    let run = |code: i32, more: &[&str]| {
        let words = with(more);
        expect(
            at,
            code,
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };
    // One object by its version.
    run(0, &["--object-version", &version, "docs/a", "--to", "one"]);
    assert_eq!(fs::read(at.join("one/docs/a")).expect("restored"), b"first");
    // Ids may begin with a hyphen; this one is of nothing.
    let unknown = ["--object-version", "-qiBGVftGfBwHm-1x56p7RViVlKEhGp"];
    let unknown = [&restore[..], &unknown, &["docs/a", "--to", "none"]].concat();
    let asked = &mut as_user(at, (OWNER, &secret(OWNER)), &unknown);
    let (code, said) = outcome(asked);
    assert!(
        code == Some(10) && said.contains("no such object"),
        "{code:?} {said}"
    );
    // A prefix as it was: what was deleted since is there, what came since is not.
    let words = with(&["--versions", "--time", &then, "docs", "--to", "then"]);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let told = told_to_programs(at, 0, &words);
    assert_eq!((&told["written"], &told["bytes"]), (&3.into(), &13.into()));
    assert_eq!(
        (&told["target"], &told["entries"]),
        (&"then".into(), &serde_json::json!([]))
    );
    let read = |path: &str| fs::read(at.join("then").join(path)).ok();
    assert_eq!(read("docs/a").as_deref(), Some(&b"first"[..]));
    assert_eq!(read("docs/gone").as_deref(), Some(&b"gone"[..]));
    assert_eq!((read("docs/new"), read("docs2/x")), (None, None));
    // Now: a deleted object is not there.
    run(0, &["--versions", "--to", "now"]);
    assert!(!at.join("now/docs/gone").exists() && at.join("now/docs2/x").exists());

    // Back into the bucket, as new versions.
    let back = ["--versions", "--time", &then, "docs/"];
    let unasked = run(7, &back);
    assert!(unasked.contains("--auto-approve"), "{unasked}");
    let refused = run(3, &[&back[..], &["--auto-approve"]].concat());
    assert!(
        refused.contains("`docs/a`: another object is there"),
        "{refused}"
    );
    assert_eq!(account.get(&bucket, "docs/gone"), "gone");
    assert_eq!(account.get(&bucket, "docs/a"), "second");
    let words = with(&[&back[..], &["--auto-approve"]].concat());
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let told = told_to_programs(at, 3, &words);
    assert_eq!((&told["written"], &told["kept"]), (&0.into(), &2.into()));
    let problems = told["problems"].as_array().expect("a list");
    assert!(problems[0].as_str().expect("words").contains("`docs/a`"));
    let told = run(0, &[&back[..], &["--auto-approve", "--overwrite"]].concat());
    assert!(told.contains("2 were there already"), "{told}");
    assert_eq!(account.get(&bucket, "docs/a"), "first");
    assert_eq!(
        account.get(&bucket, "docs/new"),
        "new",
        "nothing is deleted"
    );
    let nothing = run(10, &["--versions", "never/there", "--to", "nothing"]);
    assert!(nothing.contains("no such object"), "{nothing}");

    // A mirror knows what was deleted.
    account.delete(&bucket, "docs/gone");
    expect(at, 0, &APPLY);
    let listed = expect(at, 0, &["ls", "plan.kdl", "latest"]);
    assert!(
        listed.contains("docs/a") && !listed.contains("docs/gone"),
        "{listed}"
    );
}

/// The time of the newest version, as the server has it.
fn newest(account: &Account, bucket: &str) -> String {
    let listed = account.ask("GET", bucket, "", &[("versions", "")], &[], b"");
    let text = String::from_utf8_lossy(&listed.body).into_owned();
    let times = text.split("<LastModified>").skip(1);
    let newest = times.filter_map(|rest| rest.split('<').next()).max();
    newest.expect("there is one").to_owned()
}

const PLAN: &str = r#"
plan "test" environment="development"

destination "primary" {
    local "repository"
    encrypt none=#true
}

component "media" sensitive=#false {
    source "s3" {
        bucket "BUCKET" endpoint="ENDPOINT" path-style=#true
        credentials env-prefix="MEDIA_"
    }
    store "primary"
    schedule "daily" every="24h" method="mirror"
    retain {
        last 5
    }
    verify {
        presence
        integrity every="7d"
        contents
        restore-test every="30d" into="temporary-directory"
    }
}
"#;
