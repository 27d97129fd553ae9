//! The second day of what servers give: it costs what changed, and not what there is, though nearly everything is
//! written anew. What it costs is what `ccb list` and `ccb status` say, and what the repository has grown by.

use crate::cli::{ccb, expect};
use crate::support::archiving::Archiving;
use crate::support::redis::Server;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const PLAN: &str = r#"
plan "test" environment="development" format=1
encryption "default" {
    key env="KEY"
}
destination "primary" {
    local "repository"
    encrypt "default"
}
component "cache" {
    source "redis" {
        url file="url"
        data-dir DATA
    }
    store "primary"
    schedule "rdb" when="on-demand" method="rdb"
    schedule "aof" when="on-demand" method="aof"
}
"#;

/// A folder with a plan for a server, and no repository yet.
fn given(server: &Server) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = PLAN.replace("DATA", &format!("{:?}", server.data()));
    fs::write(folder.path().join("plan.kdl"), plan).expect("written");
    fs::write(folder.path().join("url"), server.url()).expect("written");
    folder
}

/// Lets every `every`th of the keys have another value.
fn change(server: &Server, every: u64, day: u64) {
    let mut pipe = redis::pipe();
    for key in (0..6_000_u64).step_by(every as usize) {
        let value = blake3::hash(&[key.to_le_bytes(), day.to_le_bytes()].concat());
        pipe.set(
            format!("session:{key}"),
            format!("{value} of the day {day}"),
        );
    }
    server.pipe(&pipe);
}

/// From now on its append-only file is a snapshot, under a name of its own.
fn rewrite(server: &Server) {
    server.call::<()>(&["BGREWRITEAOF"]);
    server.wait_for("aof_rewrite_scheduled", "0");
    server.wait_for("aof_rewrite_in_progress", "0");
}

/// What the backups of a component took, oldest first, as `ccb list` says.
fn stored(listed: &str, method: &str) -> Vec<(u64, u64)> {
    let listed: Value = serde_json::from_str(listed).expect("JSON");
    let rows = listed["backups"].as_array().expect("rows").iter();
    let rows = rows.filter(|row| row["method"] == method);
    let figure = |row: &Value, name: &str| row["stats"][name].as_u64().expect("a number");
    rows.map(|row| (figure(row, "stored_bytes"), figure(row, "new_bytes")))
        .collect()
}

fn list(folder: &Path) -> String {
    String::from_utf8(ccb(folder, &["list", "plan.kdl", "--json"]).stdout).expect("text")
}

/// Packs and index.
fn len_of(repository: &Path) -> u64 {
    let mut len = 0;
    for folder in ["packs", "index"] {
        for entry in walkdir::WalkDir::new(repository.join(folder)) {
            let metadata = entry.expect("read").metadata().expect("there");
            len += if metadata.is_file() {
                metadata.len()
            } else {
                0
            };
        }
    }
    len
}

#[test]
fn snapshots_and_rewritten_append_only_files_of_a_cache_cost_what_changed() {
    let server = Server::start(&[("appendonly", "yes")]);
    let each = ["rdb", "aof"].map(|method| (method, given(&server), given(&server)));
    let back_up = |method: &str, folder: &TempDir| {
        let words = ["backup", "plan.kdl", "cache", "--method", method];
        expect(folder.path(), 0, &words);
    };
    change(&server, 1, 0);
    rewrite(&server);
    for (method, folder, _) in &each {
        back_up(method, folder);
    }
    change(&server, 50, 1);
    rewrite(&server);
    for (method, folder, in_full) in &each {
        back_up(method, folder);
        back_up(method, in_full);
    }
    for (method, folder, in_full) in &each {
        let at = folder.path();
        let (days, full) = (
            stored(&list(at), method),
            stored(&list(in_full.path()), method),
        );
        let ([first, second], [full]) = (&days[..], &full[..]) else {
            panic!("{method}: {days:?}, {full:?}");
        };
        assert!(
            second.0 * 4 < full.0,
            "{method}: {second:?} instead of {full:?}"
        );
        // Nearly all of it was written anew.
        assert!(second.1 > 400_000, "{method}: {second:?}");
        // What they say is what it took.
        assert_eq!(first.0 + second.0, len_of(&at.join("repository")));
        let status = ccb(at, &["status", "plan.kdl", "--json"]).stdout;
        let status: Value = serde_json::from_slice(&status).expect("JSON");
        let newest = &status["components"][0]["newest_stored_bytes"];
        assert_eq!(newest.as_u64(), Some(second.0));
        expect(at, 0, &["check", "plan.kdl", "--level", "3"]);
    }
}

#[test]
fn a_base_backup_of_changed_tables_costs_what_changed() {
    let given = Archiving::start();
    let rows =
        "CREATE TABLE orders AS SELECT n, md5(n::text) || md5((n + 1)::text) AS about, 0 AS state
        FROM generate_series(1, 40000) AS n";
    given.cluster.create("shop", rows);
    given.cluster.sql("shop", "VACUUM FREEZE orders");
    given.cluster.sql("postgres", "CHECKPOINT");
    given.base();
    let change = "UPDATE orders SET state = state + 1 WHERE n % 50 = 0";
    given.cluster.sql("shop", change);
    given.cluster.sql("postgres", "CHECKPOINT");
    given.base();
    let listed = given.expect(0, &["list", "plan.kdl", "--json"]);
    let [first, second] = stored(&listed, "base")[..] else {
        panic!("{listed}");
    };
    // Nearly every page of the table is another, and 2 MB of its text can not be compressed away.
    assert!(second.1 > 3_000_000, "{second:?}");
    assert!(second.0 * 12 < second.1, "{first:?} and then {second:?}");
    given.expect(0, &["check", "plan.kdl", "--level", "3"]);
}
