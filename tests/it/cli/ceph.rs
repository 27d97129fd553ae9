//! A bucket of a real server as a destination: over TLS, with rights that are just enough, encrypted there, and
//! in the hands of somebody who does it wrong.

use crate::cli::bucket::primary_in;
use crate::cli::{is_back, outcome, under};
use crate::support::ceph::{Ceph, KMS_KEY, OWNER, SMALL, WRITER, ceph, secret};
use crate::support::clock::shifted;
use std::fs;
use std::path::Path;
use std::process::Command;

const APPLY: [&str; 3] = ["apply", "plan.kdl", "--auto-approve"];
const CHECK: [&str; 4] = ["check", "plan.kdl", "--level", "3"];
const RESTORE: [&str; 7] = [
    "restore", "plan.kdl", "data", "--from", "primary", "--to", "restored",
];

/// `ccb` as this user of the server.
fn as_user(at: &Path, user: &str, arguments: &[&str]) -> Command {
    let mut command = under(&[], at, arguments);
    command
        .env("OFFSITE_ACCESS_KEY_ID", user)
        .env("OFFSITE_SECRET_ACCESS_KEY", secret(user));
    command
}

fn expect_as(user: &str, at: &Path, code: i32, arguments: &[&str]) -> String {
    let (ended, said) = outcome(&mut as_user(at, user, arguments));
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    said
}

fn expect(at: &Path, code: i32, arguments: &[&str]) -> String {
    expect_as(OWNER, at, code, arguments)
}

/// `s3 …` of a plan file.
fn node(server: &Ceph, bucket: &str) -> String {
    format!(
        "s3 \"s3://{bucket}/production\" endpoint=\"{}\" path-style=#true",
        server.http()
    )
}

#[test]
fn a_bucket_of_a_real_server_is_written_copied_checked_pruned_and_restored_over_tls() {
    let server = ceph();
    let (bucket, account) = server.bucket();
    let folder = primary_in(&format!(
        "s3 \"s3://{bucket}/production\" endpoint=\"{}\" path-style=#true",
        server.https()
    ));
    let at = folder.path();
    let trusting = |authority: &Path, code: i32, arguments: &[&str]| {
        let mut command = as_user(at, OWNER, arguments);
        let (ended, said) = outcome(command.env("AWS_CA_BUNDLE", authority));
        assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
        said
    };
    for refused in [
        expect(at, 10, &APPLY),
        trusting(&server.other_authority(), 10, &APPLY),
    ] {
        assert!(refused.contains("certificate"), "{refused}");
        assert!(refused.contains("AWS_CA_BUNDLE"), "{refused}");
    }
    let nothing = account.ask("GET", &bucket, "", &[("list-type", "2")], &[], b"");
    assert!(!String::from_utf8_lossy(&nothing.body).contains("<Key>"));

    let authority = server.authority();
    let expect = |code: i32, arguments: &[&str]| trusting(&authority, code, arguments);
    // What was backed up meanwhile, beside, is copied now.
    let applied = expect(0, &APPLY);
    assert!(applied.contains("0 backed up, 1 copied"), "{applied}");
    expect(0, &APPLY);
    let again = expect(0, &APPLY);
    assert!(again.contains("No changes."), "{again}");
    for round in 0..4 {
        fs::write(at.join("data/more"), vec![round; 200_000]).expect("written");
        expect(0, &["backup", "plan.kdl", "data", "--quiet"]);
    }
    let plan = expect(0, &["plan", "plan.kdl"]);
    assert!(!plan.contains("let no two runs write"), "{plan}");
    expect(0, &APPLY);
    expect(0, &["prune", "plan.kdl"]);
    let checked = expect(0, &CHECK);
    assert!(checked.contains("No damage found."), "{checked}");
    // The copy goes away, and is made again from the bucket.
    fs::remove_dir_all(at.join("second")).expect("removed");
    let copied = expect(0, &APPLY);
    assert!(copied.contains("0 failed"), "{copied}");
    expect(0, &RESTORE);
    is_back(at);
    assert_eq!(
        fs::read(at.join("restored/more")).expect("restored"),
        [3; 200_000]
    );
}

#[test]
fn rights_encryption_versions_and_quotas_of_a_real_server_are_taken_as_they_are() {
    let server = ceph();
    a_writer_without_the_right_to_delete_backs_up(server);
    encryption_is_asked_for_and_checked(server);
    a_versioned_bucket_has_one_writer_at_a_time(server);
    a_server_that_is_full_takes_nothing_and_loses_nothing(server);
    who_is_wrong_is_told_how(server);
}

fn a_writer_without_the_right_to_delete_backs_up(server: &Ceph) {
    let (bucket, account) = server.bucket();
    let folder = primary_in(&node(server, &bucket));
    let at = folder.path();
    let refused = expect_as(WRITER, at, 10, &APPLY);
    assert!(refused.contains("403 AccessDenied"), "{refused}");
    // As README.md has it.
    account.set_policy(
        &bucket,
        &format!(
            r#"{{"Version": "2012-10-17", "Statement": [
            {{"Effect": "Allow", "Principal": {{"AWS": ["arn:aws:iam:::user/{WRITER}"]}},
              "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["arn:aws:s3:::{bucket}/production/*"]}},
            {{"Effect": "Allow", "Principal": {{"AWS": ["arn:aws:iam:::user/{WRITER}"]}},
              "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::{bucket}"]}}]}}"#
        ),
    );
    expect_as(WRITER, at, 0, &APPLY);
    fs::write(at.join("data/more"), "more").expect("written");
    let made = expect_as(WRITER, at, 0, &["backup", "plan.kdl", "data"]);
    assert!(made.contains("1 backed up, 1 copied"), "{made}");
    expect_as(WRITER, at, 0, &CHECK);
    expect_as(WRITER, at, 0, &RESTORE);
    is_back(at);
}

fn encryption_is_asked_for_and_checked(server: &Ceph) {
    let asking = |sse: &str| {
        let (bucket, account) = server.bucket();
        let folder = primary_in(&format!("{}\n    {sse}", node(server, &bucket)));
        (folder, bucket, account)
    };
    // This server takes the header, says 200, and encrypts nothing.
    let (folder, ..) = asking("sse \"AES256\"");
    let refused = expect(folder.path(), 3, &APPLY);
    assert!(
        refused.contains("`AES256` was asked for and the server used nothing"),
        "{refused}"
    );
    let (folder, bucket, account) = asking(&format!("sse \"aws:kms\" key-id=\"{KMS_KEY}\""));
    expect(folder.path(), 0, &APPLY);
    let key = "production/CCB";
    let head = account.ask("HEAD", &bucket, key, &[], &[], b"");
    assert_eq!(
        head.header("x-amz-server-side-encryption"),
        "aws:kms",
        "{head:?}"
    );
    expect(folder.path(), 0, &RESTORE);
    is_back(folder.path());
    let (folder, ..) = asking("sse \"aws:kms\" key-id=\"no-such-key\"");
    let refused = expect(folder.path(), 3, &APPLY);
    assert!(refused.contains("no-such-key"), "{refused}");
}

fn a_versioned_bucket_has_one_writer_at_a_time(server: &Ceph) {
    let (bucket, account) = server.bucket();
    account.set_versioning(&bucket, "Enabled");
    let folder = primary_in(&node(server, &bucket));
    expect(folder.path(), 0, &APPLY);
    let plan = expect(folder.path(), 0, &["plan", "plan.kdl"]);
    assert!(plan.contains("let no two runs write"), "{plan}");
    expect(folder.path(), 0, &CHECK);
    expect(folder.path(), 0, &RESTORE);
    is_back(folder.path());
}

fn a_server_that_is_full_takes_nothing_and_loses_nothing(server: &Ceph) {
    let (bucket, _) = server.bucket_of(SMALL);
    let folder = primary_in(&node(server, &bucket));
    let at = folder.path();
    expect_as(SMALL, at, 0, &APPLY);
    let mut noise = vec![0; 6 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    fs::write(at.join("data/more"), noise).expect("written");
    let full = expect_as(SMALL, at, 3, &["backup", "plan.kdl", "data"]);
    assert!(full.contains("QuotaExceeded"), "{full}");
    assert!(full.contains("no space is left"), "{full}");
    expect_as(SMALL, at, 0, &CHECK);
    expect_as(SMALL, at, 0, &RESTORE);
    is_back(at);
}

fn who_is_wrong_is_told_how(server: &Ceph) {
    let (bucket, account) = server.bucket();
    let folder = primary_in(&node(server, &bucket));
    let at = folder.path();
    let mut command = as_user(at, OWNER, &APPLY);
    command.env("OFFSITE_SECRET_ACCESS_KEY", "secret-of-somebody-else");
    let (code, said) = outcome(&mut command);
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("403 SignatureDoesNotMatch"), "{said}");
    assert!(said.contains("the secret key does not belong"), "{said}");
    let said = expect_as("nobody", at, 10, &APPLY);
    assert!(said.contains("the access key is not known there"), "{said}");
    let nowhere = primary_in(&node(server, "bucket-of-nobody"));
    let said = expect(nowhere.path(), 10, &APPLY);
    assert!(
        said.contains("create the bucket `bucket-of-nobody`"),
        "{said}"
    );
    // A clock that is ahead is no matter to this server; one that is behind makes requests that are over.
    let mut command = as_user(at, OWNER, &APPLY);
    let (code, said) = outcome(command.envs(shifted(-1800)));
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("clock"), "{said}");
    let all = account.ask("GET", &bucket, "", &[("list-type", "2")], &[], b"");
    assert!(!String::from_utf8_lossy(&all.body).contains("<Key>"));
}
