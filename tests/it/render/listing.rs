//! Tables and pages: what they show, and that names of anybody's choice stay on their line.

use crate::render::outputs::golden;
use crate::render::sample::{at, component, destination, id};
use ccb::model::ids::{BlobId, Digest, RunId, SessionId};
use ccb::model::records::{Check, Evidence, Manifest, PlanRef, Shape, Slot, Stats, Version};
use ccb::model::rules;
use ccb::model::strategy::{Keep, Method, Pick};
use ccb::model::tree::{Content, Node, NodeKind};
use ccb::model::units::Period;
use ccb::plan::KeptBecause;
use ccb::render::Look;
use ccb::render::listing::backups::{Key, Row, backups, keys};
use ccb::render::listing::contents::{Difference, How, differences, entry};
use ccb::render::listing::explain;
use ccb::render::listing::health::{Checked, Status, checked, status};
use ccb::render::listing::simulation::{SimulatedDay, simulation};
use std::collections::BTreeMap;

fn manifest(seed: u8, day: &str, complete: bool) -> Manifest {
    let started = at(&format!("{day}T02:00:00Z"));
    Manifest {
        v: Version,
        id: id(seed),
        component: component("storage"),
        method: Method::Full,
        shape: Shape::Tree,
        slots: vec![Slot {
            schedule: "daily".parse().unwrap(),
            at: started,
        }],
        tags: vec!["pre-deploy".parse().unwrap()],
        parent: None,
        restored_from: None,
        run: RunId([1; 16]),
        plan: PlanRef {
            name: "crew".into(),
            digest: Digest([2; 32]),
        },
        environment: "production".into(),
        host: "db1\x1b[2J".into(),
        started,
        finished: started,
        server_time: started,
        root: BlobId([3; 32]),
        session: SessionId([4; 16]),
        epoch: 1,
        stats: Stats {
            files: 1200,
            bytes: 432_013_312,
            stored_bytes: 39_700_000,
            ..Stats::default()
        },
        directories: BTreeMap::new(),
        source: BTreeMap::new(),
        tools: BTreeMap::new(),
        content: None,
        complete,
        errors: Vec::new(),
        error_count: if complete { 0 } else { 3 },
        retain_until: None,
    }
}

#[test]
fn backups_and_keys_are_tables_of_stable_width() {
    let (good, bad) = (
        manifest(0x51, "2026-11-21", true),
        manifest(0xe0, "2026-11-22", false),
    );
    let both = [destination("primary"), destination("offsite")];
    let rows = [
        Row {
            manifest: &good,
            at: &both,
            reasons: &["daily 2026-11-21".into(), "held by ana\n".into()],
            passed: &[Check::Presence, Check::RestoreTest],
        },
        Row {
            manifest: &bad,
            at: &both[..1],
            reasons: &[],
            passed: &[],
        },
    ];
    let key = |id, label, in_use| Key {
        id,
        kind: "passphrase",
        label,
        created: good.started,
        age: Period::days(324),
        in_use,
        is_stale: id == "51f0",
    };
    golden(
        "backups.txt",
        &(backups(&rows, &Look::PLAIN)
            + "\n"
            + &keys(
                &both[0],
                &[
                    key("9c41", "ana's\x1b", true),
                    key("e07b", "safe", false),
                    key("51f0", "old", false),
                ],
                &Look::PLAIN,
            )),
    );
    assert_eq!(backups(&[], &Look::PLAIN), "No backups.\n");
}

#[test]
fn a_backup_and_a_rule_are_explained() {
    let evidence = Evidence {
        check: Check::Contents,
        at: at("2026-11-21T02:05:00Z"),
        destination: destination("primary"),
        passed: false,
        facts: BTreeMap::new(),
        message: "2 of 5 directories are missing".into(),
    };
    let because = [
        KeptBecause::Rule {
            keep: Keep::Daily {
                count: 14,
                pick: Pick::Last,
            },
            bucket: Some("2026-11-21".into()),
        },
        KeptBecause::Hold {
            by: "ana".into(),
            reason: "incident\x07".into(),
        },
    ];
    let manifest = manifest(0x51, "2026-11-21", true);
    let page = explain::backup(&manifest, &because, &[&evidence], &Look::PLAIN);
    let rule = explain::rule(rules::find("copies").unwrap(), &Look::PLAIN);
    golden("explain.txt", &format!("{page}\n{rule}"));
    assert!(page.contains("FAILED") && !page.contains(['\x07', '\x1b']));
    let unwaivable = explain::rule(rules::find("CCB104").unwrap(), &Look::PLAIN);
    assert!(unwaivable.ends_with("waivable: no\n"), "{unwaivable}");
}

fn schedule(name: &str) -> Status {
    Status {
        component: component("storage"),
        schedule: Some(name.parse().unwrap()),
        newest: Some((id(0x51), at("2026-11-21T02:00:00Z"))),
        age: Some(Period::hours(24)),
        due: Some(at("2026-11-22T02:00:00Z")),
        late: false,
        copies: (2, 2),
        verified: Some((Check::RestoreTest, at("2026-10-23T02:00:00Z"))),
    }
}

#[test]
fn status_is_ok_only_when_every_row_is_and_all_was_seen() {
    let late = Status {
        late: true,
        ..schedule("weekly")
    };
    let missing = Status {
        newest: None,
        age: None,
        verified: None,
        copies: (0, 2),
        ..late.clone()
    };
    let thin = Status {
        copies: (1, 2),
        ..schedule("hourly")
    };
    let unseen = [(destination("offsite"), "timed\nout".to_owned())];
    let all = [schedule("daily"), late, missing, thin];
    golden("status.txt", &status(&all, &unseen, &Look::PLAIN));
    let last = |rows: &[Status], unseen: &[_]| {
        status(rows, unseen, &Look::PLAIN)
            .lines()
            .last()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        last(&all[..1], &[]),
        "OK: everything is as new as its schedule asks."
    );
    assert_eq!(
        last(&all[..1], &unseen),
        "Unknown: not everything was seen."
    );
    assert_eq!(last(&all, &[]), "NOT OK: 3 of 4 need attention.");
}

#[test]
fn a_check_says_what_is_damaged_and_what_it_hits() {
    let sound = Checked {
        destination: destination("primary"),
        looked_at: "12 backups, 340 packs".into(),
        damaged: Vec::new(),
        hit: Vec::new(),
    };
    assert_eq!(
        checked(std::slice::from_ref(&sound), &Look::PLAIN),
        "destination.primary: 12 backups, 340 packs\nNo damage found.\n"
    );
    let damaged = Checked {
        damaged: vec![("packs/51".into(), "does not authenticate".into())],
        hit: vec![(id(0x51), component("storage"), vec!["a\x1b/b".into()], 7)],
        ..sound
    };
    let text = checked(&[damaged], &Look::PLAIN);
    for part in [
        "damaged packs/51: ",
        "hit 51515151 storage: 7 paths",
        "a\\u{1b}/b",
        "1 object damaged or missing, 1 backup hit",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn names_in_listings_stay_on_their_line() {
    let node = Node {
        name: b"x".to_vec(),
        kind: NodeKind::File {
            size: 1536,
            content: Content::default(),
            extents: Vec::new(),
        },
        mode: 0o4750,
        uid: 1000,
        gid: 100,
        user: Some("ana".into()),
        group: None,
        mtime_ns: 1_763_776_800_000_000_000,
        ctime_ns: 0,
        inode: 0,
        device: 0,
        hard_link: None,
        xattrs: Vec::new(),
        unknown: Vec::new(),
    };
    assert_eq!(
        entry(b"a\n\x1b[2J\xff\xe2\x80\xae", &node),
        "-rwsr-x---  ana      100       1.50 KiB  2025-11-22T02:00Z  a\\n\\u{1b}[2J\\xff\\u{202e}"
    );
    let all = [
        Difference {
            path: b"new\n".to_vec(),
            how: How::Added,
        },
        Difference {
            path: b"old".to_vec(),
            how: How::Removed,
        },
        Difference {
            path: Vec::new(),
            how: How::Changed(vec!["mode", "owner"]),
        },
    ];
    assert_eq!(
        differences(&all, &Look::PLAIN),
        "+ new\\n\n- old\n~ .  (mode, owner)\n1 added, 1 removed, 1 changed.\n"
    );
}

#[test]
fn a_simulation_is_a_chart_a_table_and_a_peak() {
    let mut day: jiff::civil::Date = "2026-11-22".parse().unwrap();
    let mut days = Vec::new();
    for nth in 0..60u64 {
        days.push(SimulatedDay {
            day,
            backups: nth.min(30) + 1,
            stored_bytes: (nth.min(30) + 1) * 40_000_000,
            made: 1,
            forgotten: u64::from(nth > 30),
        });
        day = day.tomorrow().unwrap();
    }
    golden("simulation.txt", &simulation(&days, &Look::PLAIN));
    assert_eq!(simulation(&[], &Look::PLAIN), "No days to simulate.\n");
}
