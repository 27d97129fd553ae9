//! A bucket that is protected: what it is set to is seen, shown, and set where that is asked for.

use crate::cli::{outcome, under};
use crate::support::s3::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use hyper::Method;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Somebody else's rule.
const FOREIGN: &str = "<Rule><ID>logs</ID><Filter><Prefix>logs/</Prefix></Filter>\n  <Status>Enabled</Status><Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>";

fn versioning(state: &str) -> String {
    format!("<VersioningConfiguration><Status>{state}</Status></VersioningConfiguration>")
}

fn lifecycle(rules: &str) -> String {
    format!("<LifecycleConfiguration xmlns=\"x\">{rules}</LifecycleConfiguration>")
}

fn suspended() -> Server {
    let server = Server::start();
    server.settings(|it| {
        it.set("versioning", &versioning("Suspended"));
        it.set("lifecycle", &lifecycle(FOREIGN));
    });
    server
}

/// A folder with a plan file for the bucket of `server`; `more` goes into its source.
fn given(server: &Server, drift: &str, more: &str) -> tempfile::TempDir {
    given_at(&server.endpoint(), BUCKET, drift, more)
}

/// The same for a bucket of any server.
pub(super) fn given_at(endpoint: &str, bucket: &str, drift: &str, more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = format!(
        r#"plan "shop" environment="production"
destination "primary" {{
    local "repository"
    encrypt none=#true
}}
component "notes" sensitive=#false {{
    source "files" {{ path "notes" }}
    store "primary"
    schedule "daily" at="02:00" method="incremental"
    retain {{ last 3 }}
    verify {{ presence }}
}}
component "media" {{
    source "s3" {{
        bucket "{bucket}" endpoint="{endpoint}" path-style=#true
        credentials env-prefix="MEDIA_"
        versioning "enabled"
        lifecycle noncurrent-expire="90d"
        {more}
        on-drift "{drift}"
    }}
    schedule "daily" at="04:00" method="check"
}}
policy preset="development"
"#
    );
    fs::create_dir(folder.path().join("notes")).expect("made");
    fs::write(folder.path().join("notes/a"), "a\n").expect("written");
    fs::write(folder.path().join("plan.kdl"), plan).expect("written");
    folder
}

fn expect(at: &Path, code: i32, arguments: &[&str]) -> String {
    let mut command = under(&[], at, arguments);
    command
        .env("MEDIA_ACCESS_KEY_ID", ACCESS_KEY)
        .env("MEDIA_SECRET_ACCESS_KEY", SECRET_KEY);
    let (ended, said) = outcome(&mut command);
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    said
}

pub(super) fn has(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` is not in\n{said}");
    }
}

/// What a bucket's versioning is.
fn state(server: &Server) -> String {
    let document = server.settings(|it| it.document("versioning").map(str::to_owned));
    document.unwrap_or_default()
}

#[test]
fn drift_that_is_only_reported_is_shown_with_before_and_after_and_left_alone() {
    let server = suspended();
    let folder = given(&server, "report", "");
    let at = folder.path();
    let planned = expect(at, 0, &["plan", "plan.kdl"]);
    has(
        &planned,
        &[
            "Not as the plan file says, and left alone:",
            "component.media.source.versioning                   suspended -> enabled",
            "component.media.source.lifecycle.noncurrent-expire  (none) -> 90d",
            "? inspect    how it is set, and what waits to be replicated",
            "1 to change",
        ],
    );
    let markdown = expect(at, 0, &["plan", "plan.kdl", "--format", "markdown"]);
    has(&markdown, &["! component.media.source.versioning "]);
    let json = expect(at, 0, &["plan", "plan.kdl", "--json"]);
    has(
        &json,
        &[
            r#"{"address":"component.media.source.versioning","after":"enabled","before":"suspended"}"#,
        ],
    );
    let status = expect(at, 2, &["status", "plan.kdl"]);
    has(&status, &["versioning of its bucket: suspended -> enabled"]);
    let applied = expect(at, 6, &["apply", "plan.kdl", "--auto-approve"]);
    has(
        &applied,
        &["1 backed up", "versioning suspended -> enabled", "1 failed"],
    );
    assert_eq!(state(&server), versioning("Suspended"), "nothing was set");
    // The look is owed until it is good, and everybody hears of it.
    let status = expect(at, 2, &["status", "plan.kdl"]);
    has(
        &status,
        &["the last look at it failed: bucket backups: versioning"],
    );

    let text = fs::read_to_string(at.join("plan.kdl")).expect("read");
    fs::write(
        at.join("plan.kdl"),
        text.replace("preset=\"development\"", "preset=\"production\""),
    )
    .expect("written");
    let planned = expect(at, 4, &["plan", "plan.kdl"]);
    has(
        &planned,
        &[
            "Error: CCB216 versioning-off: versioning of bucket backups: suspended -> enabled",
            "Error: CCB217 lifecycle-short: noncurrent-expire of bucket backups: none -> 90d",
            "help: write on-drift \"fix\"",
        ],
    );
}

#[test]
fn drift_is_fixed_and_read_back_and_what_is_not_ours_stays_to_the_letter() {
    let server = suspended();
    let folder = given(&server, "fix", "");
    let at = folder.path();
    let planned = expect(at, 0, &["plan", "plan.kdl", "--out", "plan.json"]);
    has(
        &planned,
        &[
            "~ change     versioning  suspended -> enabled",
            "noncurrent-expire  none -> 90d",
            "what it removes then does not come back",
            "2 to change",
        ],
    );
    // What makes a bucket remove things takes more than --auto-approve; the rest is done.
    let applied = expect(at, 3, &["apply", "plan.kdl", "--auto-approve"]);
    has(
        &applied,
        &[
            "not changed: component.media.source.versioning",
            "1 backed up",
        ],
    );
    assert_eq!(state(&server), versioning("Suspended"), "nothing was set");

    let applied = expect(at, 0, &["apply", "plan.json"]);
    has(&applied, &["versioning suspended -> enabled"]);
    assert!(state(&server).contains("<Status>Enabled</Status>"));
    let rules = server.settings(|it| it.document("lifecycle").map(str::to_owned));
    let rules = rules.expect("there are some");
    has(&rules, &[FOREIGN, "<NoncurrentDays>90</NoncurrentDays>"]);
    let again = expect(at, 0, &["plan", "plan.kdl", "--detailed-exitcode"]);
    has(&again, &["No changes. The inventory matches the plan."]);
    expect(at, 0, &["apply", "plan.json"]);
    expect(at, 0, &["status", "plan.kdl"]);
}

#[test]
fn what_somebody_else_set_meanwhile_is_not_overwritten() {
    let server = suspended();
    let folder = given(&server, "fix", "");
    let at = folder.path();
    expect(at, 0, &["plan", "plan.kdl", "--out", "plan.json"]);
    let theirs = "<Rule><ID>theirs</ID><Filter/><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>400</NoncurrentDays></NoncurrentVersionExpiration></Rule>";
    server.settings(|it| it.set("lifecycle", &lifecycle(theirs)));
    let stale = expect(at, 5, &["apply", "plan.json"]);
    has(
        &stale,
        &["noncurrent-expire changed: it was none, it is 400d"],
    );
    assert_eq!(state(&server), versioning("Suspended"), "nothing was set");
    // A rule of somebody else's that removes sooner is in the way, and said.
    let sooner = theirs.replace("400", "30");
    server.settings(|it| it.set("lifecycle", &lifecycle(&sooner)));
    let planned = expect(at, 0, &["plan", "plan.kdl"]);
    has(
        &planned,
        &["component.media.source.lifecycle.noncurrent-expire  30d -> 90d"],
    );
    expect(at, 5, &["apply", "plan.json"]);
    let left = server.settings(|it| it.document("lifecycle").map(str::to_owned));
    assert_eq!(left, Some(lifecycle(&sooner)));
    // What cannot be seen any more is no reason to go on.
    server.settings(|it| {
        it.answer_with(
            &Method::GET,
            "versioning",
            404,
            "<Error><Code>NoSuchBucket</Code></Error>",
        );
    });
    let gone = expect(at, 5, &["apply", "plan.json"]);
    has(
        &gone,
        &["could not be looked at", "create the bucket `backups`"],
    );
}

#[test]
fn what_waits_to_be_replicated_fails_the_daily_look() {
    let server = Server::start();
    let replica = Server::start();
    server.settings(|it| it.set("versioning", &versioning("Enabled")));
    let more = format!(
        "replication to=\"{BUCKET}\" endpoint=\"{}\" max-lag=\"1h\"",
        replica.endpoint()
    );
    let folder = given(&server, "fix", &more);
    let at = folder.path();
    let text = fs::read_to_string(at.join("plan.kdl")).expect("read");
    let text = text.replace("lifecycle noncurrent-expire=\"90d\"", "");
    fs::write(at.join("plan.kdl"), text).expect("written");
    for (key, age) in [("here/and/there", 7200), ("only here", 7300), ("young", 60)] {
        server.place(key, "bytes");
        server.age(key, Duration::from_secs(age));
    }
    replica.place("here/and/there", "bytes");
    let planned = expect(at, 0, &["plan", "plan.kdl"]);
    has(&planned, &["~ change     replication  none -> to backups"]);
    let applied = expect(at, 6, &["apply", "plan.kdl", "--auto-approve"]);
    has(
        &applied,
        &["1 of 3 objects wait longer than 1h to be in backups: `only here` since"],
    );
    let rule = server.settings(|it| it.document("replication").map(str::to_owned));
    has(
        &rule.expect("it is set"),
        &[
            "<Bucket>arn:aws:s3:::backups</Bucket>",
            "<Status>Enabled</Status>",
        ],
    );
    replica.place("only here", "bytes");
    let applied = expect(at, 0, &["apply", "plan.kdl", "--auto-approve"]);
    has(&applied, &["1 verified"]);
    let again = expect(at, 0, &["plan", "plan.kdl", "--detailed-exitcode"]);
    has(&again, &["No changes."]);
}

#[test]
fn servers_that_tell_little_are_understood() {
    let denied = "<Error><Code>AccessDenied</Code></Error>";
    let server = Server::start();
    server.settings(|it| it.set("versioning", &versioning("Enabled")));
    let more = format!("replication to=\"{BUCKET}\"");
    let folder = given(&server, "fix", &more);
    let at = folder.path();
    for (part, status, body, words) in [
        (
            "lifecycle",
            403,
            denied,
            "which takes the right s3:GetLifecycleConfiguration",
        ),
        (
            "versioning",
            403,
            denied,
            "which takes the right s3:GetBucketVersioning",
        ),
        (
            "policyStatus",
            403,
            denied,
            "whether everybody may read bucket backups is not known",
        ),
        ("acl", 403, denied, "which takes the right s3:GetBucketAcl"),
        (
            "replication",
            501,
            "<Error><Code>NotImplemented</Code></Error>",
            "501 NotImplemented",
        ),
        ("replication", 200, "", "replication  none -> to backups"),
        ("versioning", 200, "", "versioning  off -> enabled"),
        (
            "versioning",
            404,
            "<Error><Code>NoSuchBucket</Code></Error>",
            "create the bucket",
        ),
        (
            "versioning",
            200,
            "no XML <",
            "read the versioning of bucket `backups`",
        ),
        (
            "versioning",
            301,
            "<Error><Code>PermanentRedirect</Code><Region>eu-west-1</Region></Error>",
            "write region=\"eu-west-1\"",
        ),
    ] {
        server.settings(|it| it.answer_with(&Method::GET, part, status, body));
        let planned = expect(at, 0, &["plan", "plan.kdl"]);
        has(&planned, &[words, "+ back up"]);
        server.settings(|it| it.answer_as_usual());
    }
    // One verb that is denied: said, nothing else is hurt.
    server.settings(|it| {
        it.set("versioning", &versioning("Suspended"));
        it.answer_with(&Method::PUT, "versioning", 403, denied);
    });
    expect(at, 0, &["plan", "plan.kdl", "--out", "plan.json"]);
    let applied = expect(at, 3, &["apply", "plan.json"]);
    has(
        &applied,
        &[
            "1 backed up",
            "which takes the right s3:PutBucketVersioning",
        ],
    );
}

#[test]
fn a_bucket_that_everybody_may_read_or_that_removes_backups_is_a_finding() {
    let server = Server::start();
    let everybody = "<AccessControlPolicy><AccessControlList><Grant><Grantee><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>";
    let expiring = "<Rule><ID>tidy</ID><Filter><Prefix>production/packs/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>";
    server.settings(|it| {
        it.set("acl", everybody);
        it.set("lifecycle", &lifecycle(expiring));
    });
    let folder = given(&server, "report", "");
    let at = folder.path();
    let text = fs::read_to_string(at.join("plan.kdl")).expect("read");
    let to = format!(
        "s3 \"s3://{BUCKET}/production\" endpoint=\"{}\" path-style=#true\n    credentials env-prefix=\"MEDIA_\"",
        server.endpoint()
    );
    let text = text.replace("local \"repository\"", &to);
    fs::write(at.join("plan.kdl"), text).expect("written");
    let planned = expect(at, 0, &["plan", "plan.kdl"]);
    has(
        &planned,
        &[
            "Warning: CCB108 bucket-public: everybody may read bucket backups, by its access control list",
            "Warning: CCB226 lifecycle-removes-backups: the lifecycle rule \"tidy\" of bucket backups removes objects below production/packs/ after 30d",
        ],
    );
    server.settings(|it| {
        it.set(
            "publicAccessBlock",
            "<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls></PublicAccessBlockConfiguration>",
        );
        it.set("lifecycle", &lifecycle(&expiring.replace("production/", "elsewhere/")));
    });
    let planned = expect(at, 0, &["plan", "plan.kdl"]);
    assert!(
        !planned.contains("CCB108") && !planned.contains("CCB226"),
        "{planned}"
    );
}
