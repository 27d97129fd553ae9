//! The README's tours of buckets are what the commands print, with buckets of a real server: as a destination, when
//! the first one is lost; protected, when something was overwritten; and set as the plan file says.

use crate::cli::readme::Tour;
use crate::support::archiving;
use crate::support::ceph::{OWNER, ceph, secret};
use crate::support::postgres::give_to_server_user;
use crate::support::s3_client::Account;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Variables of who may ask for the buckets.
const ACCESS: [(&str, &str); 3] = [
    ("PRIMARY_ACCESS_KEY_ID", "PRIMARY_SECRET_ACCESS_KEY"),
    ("OFFSITE_ACCESS_KEY_ID", "OFFSITE_SECRET_ACCESS_KEY"),
    ("MEDIA_ACCESS_KEY_ID", "MEDIA_SECRET_ACCESS_KEY"),
];

/// A folder with the plan file, where the server's user may write.
fn folder(plan: &str) -> TempDir {
    let folder = archiving::folder();
    let at = folder.path();
    let begin = format!(
        "plan \"shop\" environment=\"development\" timezone=\"UTC\"\n\nencryption \"default\" {{\n    key file=\"{}/key\"\n}}\n",
        at.display()
    );
    fs::write(at.join("shop.kdl"), begin + plan).expect("written");
    give_to_server_user(at);
    folder
}

/// A tour whose buckets are these.
fn tour<'a>(fence: &'static str, folder: &'a Path, buckets: &[(&'static str, &str)]) -> Tour<'a> {
    let mut tour = Tour::today(fence, folder);
    for (name, bucket) in buckets {
        tour = tour.calling(name, bucket);
    }
    for (id, secret_of) in ACCESS {
        tour.env.push((id, OWNER.to_owned()));
        tour.env.push((secret_of, secret(OWNER)));
    }
    tour
}

#[test]
fn the_readme_shows_how_files_come_back_from_the_second_bucket() {
    let (lost, account) = ceph().bucket();
    let (offsite, _) = ceph().bucket();
    let destination = |name: &str, bucket: &str| {
        format!(
            "destination \"{name}\" {{\n    s3 \"s3://{bucket}/production\" endpoint=\"{}\" path-style=#true\n    encrypt \"default\"\n    credentials env-prefix=\"{}_\"\n}}\n",
            ceph().http(),
            name.to_uppercase()
        )
    };
    let folder = folder(&format!(
        r#"{}{}component "files" sensitive=#false {{
    source "files" {{ path "files" }}
    store "primary" "offsite"
    schedule "daily" at="02:00" method="incremental"
    retain {{ daily 30 }}
    verify {{
        presence
        integrity every="7d"
    }}
}}
"#,
        destination("primary", &lost),
        destination("offsite", &offsite)
    ));
    let files = folder.path().join("files");
    fs::create_dir(&files).expect("made");
    for name in ["invoices", "orders", "customers"] {
        fs::write(files.join(format!("{name}.csv")), name.repeat(5_000)).expect("written");
    }
    give_to_server_user(folder.path());
    let empty = |command: &str| {
        if command.starts_with("ccb list") {
            account.empty(&lost);
        }
    };
    let mut tour = tour(
        "```console bucket\n",
        folder.path(),
        &[("acme-primary", &lost), ("acme-backups", &offsite)],
    );
    tour.after = &empty;
    let count = tour.take();
    assert!(count >= 5, "the tour has {count} commands");
}

/// A component that protects a bucket, with a repository beside it.
fn media(bucket: &str, more: &str) -> String {
    format!(
        r#"destination "primary" {{
    local "backups"
    encrypt "default"
}}
component "media" {{
    source "s3" {{
        bucket "{bucket}" endpoint="{}" path-style=#true
        credentials env-prefix="MEDIA_"
        {more}
}}
"#,
        ceph().http()
    )
}

fn recordings(account: &Account, bucket: &str) {
    for number in 1..=40 {
        let body = vec![number; 50_000];
        account.put(bucket, &format!("voiceovers/{number:03}.mp3"), &body);
    }
}

#[test]
fn the_readme_shows_what_a_bucket_held_before() {
    let (bucket, account) = ceph().bucket();
    account.set_versioning(&bucket, "Enabled");
    recordings(&account, &bucket);
    let mirror = "}\n    store \"primary\"\n    schedule \"daily\" at=\"04:00\" method=\"mirror\"\n    verify {\n        presence\n        contents\n    }";
    let folder = folder(&media(&bucket, mirror));
    let at = folder.path();
    let ccb = |arguments: &[&str]| {
        let mut command = archiving::ccb(at, arguments);
        for (id, secret_of) in ACCESS {
            command.env(id, OWNER).env(secret_of, secret(OWNER));
        }
        let output = command.output().expect("it can be started");
        let said = archiving::said(&output);
        assert!(output.status.success(), "{said}");
        said
    };
    ccb(&["backup", "shop.kdl", "media"]);
    let first = ccb(&["list", "shop.kdl", "--json"]);
    let first = serde_json::from_str::<serde_json::Value>(&first).expect("JSON");
    let first = first["backups"][0]["id"].as_str().expect("an id")[..8].to_owned();
    // The server's clock counts versions in seconds.
    std::thread::sleep(Duration::from_millis(1100));
    let between = jiff::Timestamp::now().to_string();
    std::thread::sleep(Duration::from_millis(1100));
    account.put(&bucket, "voiceovers/007.mp3", b"newer\n");
    account.delete(&bucket, "voiceovers/008.mp3");
    account.put(&bucket, "voiceovers/new.mp3", b"new");
    let count = tour(
        "```console mirror\n",
        at,
        &[
            ("acme-media", &bucket),
            ("3a3964af", &first),
            ("2026-11-27T08:55:00Z", &between),
        ],
    )
    .take();
    assert!(count >= 4, "the tour has {count} commands");
}

#[test]
fn the_readme_shows_how_a_bucket_is_set_as_the_plan_file_says() {
    let (bucket, account) = ceph().bucket();
    let foreign = "<LifecycleConfiguration><Rule><ID>logs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule></LifecycleConfiguration>";
    account.set(&bucket, "lifecycle", foreign);
    let set = "versioning \"enabled\"\n        lifecycle noncurrent-expire=\"90d\"\n        on-drift \"fix\"\n    }\n    schedule \"daily\" at=\"04:00\" method=\"check\"";
    let notes = "component \"notes\" sensitive=#false {\n    source \"files\" { path \"notes\" }\n    store \"primary\"\n    schedule \"daily\" at=\"02:00\" method=\"incremental\"\n    retain { daily 30 }\n    verify { presence }\n}\n";
    let folder = folder(&(media(&bucket, set) + notes));
    fs::create_dir(folder.path().join("notes")).expect("made");
    fs::write(folder.path().join("notes/a"), "a\n").expect("written");
    let count = tour(
        "```console settings\n",
        folder.path(),
        &[("acme-media", &bucket)],
    )
    .take();
    assert!(count >= 3, "the tour has {count} commands");
}
