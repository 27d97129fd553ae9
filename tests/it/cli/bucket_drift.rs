//! How a bucket of a real server is set, drifts and is set right again: what is shown before and after, what is
//! left alone, and what nobody sets without a yes.

use crate::cli::bucket_source::{given_at, has};
use crate::cli::mirror::as_user;
use crate::cli::outcome;
use crate::support::ceph::{OWNER, WRITER, ceph, secret};
use crate::support::s3_client::Account;
use std::path::Path;

/// Somebody else's rule, and one of ours that says something else now.
const RULES: &str = "<LifecycleConfiguration><Rule><ID>logs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule><Rule><ID>ccb</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>400</NoncurrentDays></NoncurrentVersionExpiration></Rule></LifecycleConfiguration>";

fn expect_as(user: &str, at: &Path, code: i32, arguments: &[&str]) -> String {
    let (ended, said) = outcome(&mut as_user(at, (user, &secret(user)), arguments));
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    said
}

fn expect(at: &Path, code: i32, arguments: &[&str]) -> String {
    expect_as(OWNER, at, code, arguments)
}

/// How a part of the bucket is set, as the server tells of it.
fn set(account: &Account, bucket: &str, part: &'static str) -> String {
    let told = account.ask("GET", bucket, "", &[(part, "")], &[], b"");
    assert_eq!(told.status, 200, "{part}: {told:?}");
    String::from_utf8_lossy(&told.body).into_owned()
}

#[test]
fn a_real_bucket_that_drifts_is_shown_set_with_a_yes_only_and_then_as_it_should_be() {
    let (bucket, account) = ceph().bucket();
    account.set_versioning(&bucket, "Enabled");
    account.set_versioning(&bucket, "Suspended");
    account.set(&bucket, "lifecycle", RULES);
    let folder = given_at(&ceph().http(), &bucket, "fix", "");
    let at = folder.path();
    let planned = expect(at, 0, &["plan", "plan.kdl", "--out", "plan.json"]);
    has(
        &planned,
        &[
            "~ change     versioning  suspended -> enabled",
            "noncurrent-expire  400d -> 90d",
            "2 to change",
        ],
    );
    // Not without a yes, and not by who may not.
    let unasked = expect(at, 3, &["apply", "plan.kdl", "--auto-approve"]);
    has(
        &unasked,
        &["not changed: component.media.source.versioning"],
    );
    let denied = expect_as(WRITER, at, 0, &["plan", "plan.kdl"]);
    has(&denied, &["which takes the right s3:GetBucketVersioning"]);
    assert!(set(&account, &bucket, "versioning").contains("Suspended"));

    expect(at, 0, &["plan", "plan.kdl", "--out", "plan.json"]);
    let applied = expect(at, 0, &["apply", "plan.json"]);
    has(&applied, &["versioning suspended -> enabled"]);
    assert!(set(&account, &bucket, "versioning").contains("<Status>Enabled</Status>"));
    let rules = set(&account, &bucket, "lifecycle");
    has(
        &rules,
        &[
            "<ID>logs</ID>",
            "<Prefix>logs/</Prefix>",
            "<Days>30</Days>",
            "<NoncurrentDays>90</NoncurrentDays>",
        ],
    );
    assert!(!rules.contains("400"), "{rules}");
    let again = expect(at, 0, &["plan", "plan.kdl", "--detailed-exitcode"]);
    has(&again, &["No changes. The inventory matches the plan."]);

    // Somebody turns it off again: that alone is seen.
    account.set_versioning(&bucket, "Suspended");
    let planned = expect(at, 2, &["plan", "plan.kdl", "--detailed-exitcode"]);
    has(
        &planned,
        &["versioning  suspended -> enabled", "1 to change"],
    );
    assert!(!planned.contains("noncurrent-expire"), "{planned}");
}
