//! The drill: a plan in the shape of a production's, with a database, a cache and files at two buckets and a local
//! directory, is applied; then the first bucket is emptied, and everything comes back from the one off site.

use crate::cli::bucket::with_access;
use crate::cli::outcome;
use crate::cli::postgres::{APPLY, ccb_in, component, given};
use crate::source::postgres::given::LAB;
use crate::support::postgres::Cluster;
use crate::support::postgres_backup::everything;
use crate::support::redis::{Server as Redis, fill};
use crate::support::s3::{BUCKET, Server};
use std::fs;
use std::path::Path;

const EXPORT: &str = r#"store "primary" "offsite" "backup-server"
    export "openssl" to="primary" method="dump" {
        layout "postgres/{tier}/{database}_{time:%Y-%m-%d_%H%M%S}.dump.enc"
        key env="KEY"
        keep tiers="daily" count=7
        keep tiers="weekly" count=4
    }
    retain {
        daily 30 method="dump"
        weekly 4 on="sunday" method="dump"
    }"#;

const OTHERS: &str = r#"
component "redis" {
    source "redis" {
        url file="url"
        data-dir "DATA"
    }
    store "primary" "offsite"
    schedule "daily" at="02:30" method="aof"
    schedule "weekly" on="sunday" at="02:30" method="rdb"
    retain {
        within "7d"
        last 1
    }
    verify {
        presence
        contents keys-tolerance="1%"
    }
}

component "storage" {
    source "files" {
        path "storage"
        subdirectories "voiceovers" "videos"
    }
    after "lab"
    store "primary" "offsite"
    schedule "daily" at="03:00" method="incremental"
    schedule "weekly" on="sunday" at="03:00" method="full"
    retain {
        within "30d" method="full"
        within "7d" method="incremental"
    }
    verify {
        presence
        contents
    }
}
"#;

fn ccb(at: &Path, arguments: &[&str]) -> String {
    let mut command = ccb_in(at, arguments);
    let (ended, said) = outcome(with_access(&mut command));
    assert_eq!(ended, Some(0), "ccb {arguments:?}\n{said}");
    said
}

fn bucket(server: &Server) -> String {
    let place = format!("s3 \"s3://{BUCKET}/content-crew\" endpoint=");
    let access = "path-style=#true\n    credentials env-prefix=\"OFFSITE_\"";
    format!("{place}\"{}\" {access}", server.endpoint())
}

/// A folder with the plan file, and the files that it protects.
fn production(
    cluster: &Cluster,
    redis: &Redis,
    primary: &Server,
    offsite: &Server,
) -> tempfile::TempDir {
    let lab = component(cluster.host(), cluster.port(), "lab", "");
    let lab = lab.replace("store \"primary\"", EXPORT);
    let data = redis.data().display().to_string();
    let folder = given(&[lab, OTHERS.replace("DATA", &data)]);
    let at = folder.path();
    let plan = fs::read_to_string(at.join("plan.kdl")).expect("read");
    let further = format!(
        "destination \"offsite\" {{\n    {}\n    encrypt \"default\"\n}}\n\ndestination \"backup-server\" optional=#true {{\n    local \"backup-01\"\n    encrypt \"default\"\n}}\n\ncomponent",
        bucket(offsite)
    );
    let plan = plan.replace("local \"repository\"", &bucket(primary));
    let plan = plan.replacen("component", &further, 1);
    fs::write(at.join("plan.kdl"), plan).expect("written");
    fs::write(at.join("url"), redis.url()).expect("written");
    for name in ["voiceovers", "videos"] {
        let folder = at.join("storage").join(name);
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("file"), name.repeat(10_000)).expect("written");
    }
    folder
}

#[test]
fn everything_comes_back_from_off_site_when_the_first_destination_is_gone() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let redis = Redis::start(&[("appendonly", "yes")]);
    fill(&redis);
    let (primary, offsite) = (Server::start(), Server::start());
    let folder = production(&cluster, &redis, &primary, &offsite);
    let at = folder.path();
    let applied = ccb(at, &APPLY);
    assert!(applied.contains("2 exported"), "{applied}");
    assert!(applied.contains("0 failed"), "{applied}");
    let exports = primary.objects();
    let daily = |key: &&String| key.starts_with("content-crew/postgres/daily/lab_");
    assert!(
        exports.keys().any(|key| daily(&key)),
        "{:?}",
        exports.keys()
    );

    let digest = redis.digest();
    primary.empty();
    fs::remove_dir_all(at.join("backup-01")).expect("removed");
    fs::remove_dir_all(at.join("cache")).expect("removed");
    fs::rename(at.join("storage"), at.join("lost")).expect("renamed");

    let back = |component: &str, to: &str| {
        let from = ["restore", "plan.kdl", component, "--from", "offsite"];
        ccb(at, &[&from[..], &["--to", to]].concat())
    };
    back("lab", "database=again");
    assert_eq!(everything(&cluster, "again"), everything(&cluster, "lab"));
    back("redis", "redis-back");
    let settings = [("appendonly", "yes"), ("aof-load-truncated", "no")];
    let again = Redis::start_on(&at.join("redis-back"), &settings);
    assert_eq!(again.digest(), digest);
    back("storage", "storage");
    for name in ["voiceovers", "videos"] {
        let file = at.join("storage").join(name).join("file");
        assert_eq!(
            fs::read_to_string(file).expect("there"),
            name.repeat(10_000)
        );
    }
}
