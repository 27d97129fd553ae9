//! Tables and pages: what they show, and that names of anybody's choice stay on their line.

use crate::render::outputs::golden;
use crate::render::sample::{at, component, destination, id};
use ccb::model::difference::{Difference, How};
use ccb::model::ids::{BlobId, Digest, RunId, SessionId};
use ccb::model::inventory::{Held, Holding, Inventory, Trashed};
use ccb::model::records::{
    Annotation, Check, Evidence, Manifest, Note, PlanRef, Shape, Slot, Stats, Tomb, Version,
};
use ccb::model::rules;
use ccb::model::strategy::{Keep, Method, Pick};
use ccb::model::tree::{Content, Node, NodeKind};
use ccb::model::units::{AsOf, Period};
use ccb::plan::simulate::{Amount, SimulatedDay, Simulation, Space};
use ccb::plan::status::{ComponentStatus, Proof, ScheduleState, ScheduleStatus, Status, Unseen};
use ccb::plan::{HeldBack, Kept, KeptBecause, Plan, Summary, explain as explaining};
use ccb::render::Look;
use ccb::render::listing::backups::{Key, backups, keys, table, trash, trash_table};
use ccb::render::listing::checks::{Checked, CheckedRepository, DamagedObject, HitBackup, checked};
use ccb::render::listing::contents::entry;
use ccb::render::listing::differences::{Counts, counts, difference};
use ccb::render::listing::explain;
use ccb::render::listing::health::status;
use ccb::render::listing::simulation::simulation;
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

/// Two backups, one of them incomplete, held and failed; one in the trash; and a plan that says why they stay.
fn given() -> (ccb::model::strategy::Strategy, Inventory, Plan) {
    let note = |seed: u8, when: &str, note| Annotation {
        v: Version,
        backup: id(seed),
        at: at(when),
        note,
    };
    let proof = |check, passed| {
        Note::Verified(Evidence {
            check,
            at: at("2026-11-21T02:05:00Z"),
            destination: destination("primary"),
            passed,
            facts: BTreeMap::new(),
            message: "2 of 5 directories are missing\x1b".into(),
        })
    };
    let good = Held {
        manifest: manifest(0x51, "2026-11-21", true),
        annotations: vec![
            note(0x51, "2026-11-21T02:05:00Z", proof(Check::Presence, true)),
            note(
                0x51,
                "2026-11-21T02:06:00Z",
                proof(Check::RestoreTest, true),
            ),
        ],
    };
    let hold = Note::Hold {
        by: "ana".into(),
        reason: "incident\x07".into(),
    };
    let bad = Held {
        manifest: manifest(0xe0, "2026-11-22", false),
        annotations: vec![
            note(0xe0, "2026-11-22T02:05:00Z", proof(Check::Contents, false)),
            note(0xe0, "2026-11-22T12:00:00Z", hold),
        ],
    };
    let primary = Holding {
        backups: vec![good.clone(), bad],
        trashed: vec![Trashed {
            manifest: manifest(0x77, "2026-11-01", true),
            tomb: Tomb {
                v: Version,
                backup: id(0x77),
                at: at("2026-11-20T02:00:00Z"),
                run: None,
                reason: "no rule keeps it\x1b".into(),
            },
            since: at("2026-11-20T02:00:00Z"),
        }],
        ..Holding::empty()
    };
    let offsite = Holding {
        backups: vec![good],
        ..Holding::empty()
    };
    let inventory = Inventory {
        destinations: [("primary", primary), ("offsite", offsite)]
            .into_iter()
            .map(|(name, holding)| (destination(name), holding))
            .collect(),
        ..Inventory::default()
    };
    let kept = Kept {
        backup: id(0x51),
        component: component("storage"),
        started: at("2026-11-21T02:00:00Z"),
        method: Method::Full,
        because: vec![KeptBecause::Rule {
            keep: Keep::Daily {
                count: 14,
                pick: Pick::Last,
            },
            bucket: Some("2026-11-21".into()),
        }],
    };
    let plan = Plan {
        kept: vec![kept],
        held: vec![HeldBack {
            backup: id(0xe0),
            component: component("storage"),
            started: at("2026-11-22T02:00:00Z"),
            method: Method::Full,
            because: KeptBecause::Hold {
                by: "ana".into(),
                reason: "incident\x07".into(),
            },
        }],
        ..crate::render::sample::empty()
    };
    (crate::render::sample::strategy(), inventory, plan)
}

#[test]
fn backups_trash_and_keys_are_tables_of_stable_width() {
    let (strategy, inventory, plan) = given();
    let all = backups(&strategy, &inventory, &plan, None);
    let key = |id, label, in_use| Key {
        id,
        kind: "passphrase",
        label,
        created: at("2026-11-21T02:00:00Z"),
        age: Period::days(324),
        in_use,
        is_stale: id == "51f0",
    };
    let keys = keys(
        &destination("primary"),
        &[
            key("9c41", "ana's\x1b", true),
            key("e07b", "safe", false),
            key("51f0", "old", false),
        ],
        &Look::PLAIN,
    );
    let trash = trash_table(&trash(&strategy, &inventory, None), &Look::PLAIN);
    let text = format!("{}\n{trash}\n{keys}", table(&all, &Look::PLAIN));
    golden("backups.txt", &text);
    assert!(!text.contains(['\x07', '\x1b']));
    let nothing = backups(&strategy, &inventory, &plan, Some(&component("other")));
    assert_eq!(table(&nothing, &Look::PLAIN), "No backups.\n");
}

#[test]
fn a_backup_and_a_rule_are_explained() {
    let (_, inventory, plan) = given();
    let page = |seed| {
        let told = explaining::explain(&plan, &inventory, Period::days(7), &id(seed));
        explain::backup(&told.unwrap(), &Look::PLAIN)
    };
    let rule = explain::rule(rules::find("copies").unwrap(), &Look::PLAIN);
    let text = format!("{}\n{}\n{}\n{rule}", page(0x51), page(0xe0), page(0x77));
    golden("explain.txt", &text);
    assert!(text.contains("FAILED") && !text.contains(['\x07', '\x1b']));
    let unwaivable = explain::rule(rules::find("CCB104").unwrap(), &Look::PLAIN);
    assert!(unwaivable.ends_with("waivable: no\n"), "{unwaivable}");
}

fn schedule(name: &str, state: ScheduleState) -> ScheduleStatus {
    let is_missing = state == ScheduleState::Missing;
    ScheduleStatus {
        component: component("storage"),
        schedule: name.parse().unwrap(),
        state,
        newest: (!is_missing).then(|| id(0x51)),
        taken: (!is_missing).then(|| at("2026-11-21T02:00:00Z")),
        age_seconds: (!is_missing).then_some(86_400),
        slot: Some(at("2026-11-22T02:00:00Z")),
        next: Some(at("2026-11-23T02:00:00Z")),
    }
}

#[test]
fn status_says_how_each_schedule_stands_and_what_needs_attention() {
    let proof = Proof {
        check: Check::RestoreTest,
        backup: id(0x51),
        destination: destination("primary"),
        at: at("2026-10-23T02:00:00Z"),
        passed: true,
        message: String::new(),
    };
    let well = ComponentStatus {
        component: component("storage"),
        backups: 42,
        newest_bytes: Some(432_013_312),
        newest_stored_bytes: Some(39_700_000),
        attention: Vec::new(),
        copies_missing: BTreeMap::new(),
        last_check: Some(proof.clone()),
        restore_test: Some(proof),
        restore_test_every: Some(Period::days(30)),
        failed_checks: Vec::new(),
        failures_in_a_row: 0,
        last_error: None,
    };
    let good = Status {
        name: "crew".into(),
        environment: "production".into(),
        at: AsOf(at("2026-11-22T02:07:00Z")),
        ok: true,
        last_apply: Some(at("2026-11-22T01:07:00Z")),
        schedules: vec![
            schedule("daily", ScheduleState::Ok),
            schedule("hourly", ScheduleState::Due),
        ],
        components: vec![well.clone()],
        unseen: BTreeMap::new(),
        due: Summary {
            back_up: 1,
            held: 3,
            ..Summary::default()
        },
    };
    let text = status(&good, &Look::PLAIN);
    assert!(text.ends_with(
        "Due now: 1 to back up; `ccb plan` shows it.\nOK: everything is as new as its schedule asks.\n"
    ));
    let unwell = ComponentStatus {
        attention: vec!["the last 2 runs failed to back it up".into()],
        last_error: Some("connection\nrefused\x1b".into()),
        restore_test: None,
        last_check: None,
        ..well
    };
    let bad = Status {
        ok: false,
        schedules: vec![
            schedule("daily", ScheduleState::Late),
            schedule("weekly", ScheduleState::Missing),
        ],
        components: vec![unwell],
        unseen: [("offsite", false), ("usb", true)]
            .into_iter()
            .map(|(name, optional)| {
                let why = "timed\nout".to_owned();
                (destination(name), Unseen { why, optional })
            })
            .collect(),
        ..good
    };
    golden(
        "status.txt",
        &format!("{text}\n{}", status(&bad, &Look::PLAIN)),
    );
}

#[test]
fn a_check_says_what_is_damaged_and_what_it_hits() {
    let sound = CheckedRepository {
        destination: destination("primary"),
        backups: 12,
        packs: 340,
        pack_bytes: 1 << 30,
        packs_read: 34,
        read_bytes: 100 << 20,
        healed: None,
        damaged: Vec::new(),
        hit: Vec::new(),
    };
    let all = |one: &CheckedRepository| Checked {
        clean: false,
        level: 2,
        repositories: vec![one.clone()],
    };
    assert_eq!(
        checked(&all(&sound), &Look::PLAIN),
        "destination.primary: 12 backups, 340 packs of 1.00 GiB, 34 of them read (100 MiB)\nNo damage found.\n"
    );
    let damaged = CheckedRepository {
        damaged: vec![DamagedObject {
            key: "packs/51".into(),
            why: "does not authenticate".into(),
        }],
        hit: vec![HitBackup {
            backup: id(0x51),
            component: component("storage"),
            paths: vec!["a\x1b/b".into()],
            path_count: 7,
        }],
        ..sound
    };
    let text = checked(&all(&damaged), &Look::PLAIN);
    for part in [
        "damaged packs/51: ",
        "hit 51515151 of component.storage: 7 paths",
        "a\\u{1b}/b",
        "and 6 more",
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
    let one = |path: &[u8], how, before, after| Difference {
        path: path.to_vec(),
        how,
        before,
        after,
    };
    let changed = |what: &[&'static str]| How::Changed(what.to_vec());
    let table = [
        (one(b"new\n", How::Added, None, Some(7)), "+ new\\n  (7 B)"),
        (one(b"old", How::Removed, Some(7), None), "- old"),
        (
            one(b"", changed(&["mode", "owner"]), None, None),
            "~ .  (mode, owner)",
        ),
        (
            one(b"x", changed(&["content"]), Some(1024), Some(2048)),
            "~ x  (content: 1.00 KiB -> 2.00 KiB)",
        ),
        (
            one(
                b"x",
                changed(&["content"]),
                Some(1_500_000),
                Some(1_500_001),
            ),
            "~ x  (content: 1500000 B -> 1500001 B)",
        ),
    ];
    let mut all = Counts::default();
    for (one, text) in table {
        assert_eq!(difference(&one, &Look::PLAIN), text);
        all.add(&one.how);
    }
    assert_eq!(counts(&all), "1 added, 1 removed, 3 changed.");
}

#[test]
fn a_simulation_is_a_chart_tables_and_its_first_peak() {
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
    let amount = |backups| Amount {
        backups,
        stored_bytes: backups * 40_000_000,
    };
    let simulated = Simulation {
        at: AsOf(at("2026-11-22T02:07:00Z")),
        days,
        space: vec![Space {
            component: component("storage"),
            destination: destination("primary"),
            now: amount(1),
            peak: amount(31),
            peak_day: Some("2026-12-22".parse().unwrap()),
            end: amount(31),
        }],
        unknown_size: vec![component("media")],
        assumed_change_percent: BTreeMap::from([(component("storage"), 5)]),
        unseen: vec![destination("offsite")],
    };
    golden("simulation.txt", &simulation(&simulated, &Look::PLAIN));
    let nothing = Simulation {
        days: Vec::new(),
        ..simulated
    };
    assert_eq!(simulation(&nothing, &Look::PLAIN), "No days to simulate.\n");
}
