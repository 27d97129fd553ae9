//! JSON payloads: equal facts are equal bytes, what is unknown is ignored, another version refused.

use ccb::model::ids::{
    Address, BackupId, BlobId, ComponentName, DestinationName, Digest, RunId, ScheduleName,
    SessionId, Tag,
};
use ccb::model::strategy::{Method, Tier};
use ccb::repository::format::FormatError;
use ccb::repository::format::manifest::{
    Annotation, Check, Evidence, ExportRecord, Manifest, Note, Payload, PlanRef, PlanText,
    ReadError, RunRecord, Shape, Slot, Stats, StepOutcome, StepRecord, Subtotal, Tomb, Version,
};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A manifest with every field in use.
pub(crate) fn manifest() -> Manifest {
    Manifest {
        v: Version,
        id: BackupId([1; 16]),
        component: ComponentName::new("uploads").unwrap(),
        method: Method::Incremental,
        shape: Shape::Tree,
        slots: vec![Slot {
            schedule: ScheduleName::new("daily").unwrap(),
            at: at("2026-03-01T02:00:00Z"),
        }],
        tags: vec![Tag::new("pre-deploy").unwrap()],
        parent: Some(BackupId([2; 16])),
        restored_from: None,
        run: RunId([3; 16]),
        plan: PlanRef {
            name: "shop".into(),
            digest: Digest([4; 32]),
        },
        environment: "production".into(),
        host: "web-1".into(),
        started: at("2026-03-01T02:00:01Z"),
        finished: at("2026-03-01T02:00:09.5Z"),
        server_time: at("2026-03-01T02:00:10Z"),
        root: BlobId([5; 32]),
        session: SessionId([6; 16]),
        epoch: 1,
        stats: Stats {
            files: 10,
            directories: 3,
            symlinks: 1,
            specials: 0,
            bytes: 12_345,
            changed_files: 2,
            new_bytes: 400,
            stored_bytes: 300,
        },
        directories: BTreeMap::from([(
            "images".into(),
            Subtotal {
                files: 9,
                bytes: 12_000,
            },
        )]),
        source: BTreeMap::from([("root".into(), json!("/srv/uploads"))]),
        tools: BTreeMap::from([("ccb".into(), "0.1.0".into())]),
        content: Some(Digest([7; 32])),
        complete: false,
        errors: vec![ReadError {
            path: "private".into(),
            message: "permission denied".into(),
        }],
        error_count: 1,
        retain_until: None,
    }
}

fn assert_round_trip<P: Payload + PartialEq + std::fmt::Debug>(payload: &P) {
    let bytes = payload.encode();
    assert_eq!(P::decode(&bytes).as_ref(), Ok(payload));
    assert_eq!(P::decode(&bytes).unwrap().encode(), bytes);
    for len in 0..bytes.len() {
        assert!(P::decode(&bytes[..len]).is_err(), "length {len}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let richer = text.replacen('{', "{\"added_later\":[1,{\"x\":2}],", 1);
    assert_eq!(P::decode(richer.as_bytes()).as_ref(), Ok(payload));
    let later = text.replace("\"v\":1", "\"v\":2");
    let refused = P::decode(later.as_bytes());
    assert!(matches!(
        refused,
        Err(FormatError::Version { found: 2, .. })
    ));
}

#[test]
fn every_payload_reads_back_and_refuses_another_version() {
    assert_round_trip(&manifest());
    assert_round_trip(&Tomb {
        v: Version,
        backup: BackupId([1; 16]),
        at: at("2026-03-01T02:00:00Z"),
        run: None,
        reason: "beyond daily 7".into(),
    });
    let evidence = Evidence {
        check: Check::RestoreTest,
        at: at("2026-03-02T00:00:00Z"),
        destination: DestinationName::new("offsite").unwrap(),
        passed: true,
        facts: BTreeMap::from([("files".into(), json!(10))]),
        message: "10 files equal".into(),
    };
    assert_round_trip(&ExportRecord {
        v: Version,
        component: ComponentName::new("db").unwrap(),
        backup: BackupId([1; 16]),
        method: Method::Dump,
        started: at("2026-03-01T02:00:00Z"),
        name: "gpg dump".into(),
        tiers: vec![Tier::Daily],
        destination: DestinationName::new("offsite").unwrap(),
        key: "db/daily/db_2026-03-01.dump.gpg".into(),
        at: at("2026-03-01T02:01:00Z"),
        bytes: 5,
        digest: Digest([1; 32]),
    });
    let (by, reason) = ("ada".to_owned(), "audit".to_owned());
    let notes = [
        Note::Hold {
            by: by.clone(),
            reason: reason.clone(),
        },
        Note::Release { by, reason },
        Note::Verified(evidence),
    ];
    for note in notes {
        assert_any_order(&note);
        assert_round_trip(&Annotation {
            v: Version,
            backup: BackupId([1; 16]),
            at: at("2026-03-02T00:00:00Z"),
            note,
        });
    }
    assert_round_trip(&RunRecord {
        v: Version,
        run: RunId([3; 16]),
        started: at("2026-03-01T02:00:00Z"),
        finished: at("2026-03-01T02:10:00Z"),
        plan: "shop".into(),
        environment: "production".into(),
        config: Digest([4; 32]),
        files: vec![PlanText {
            path: "plans/shop.kdl".into(),
            text: "plan \"shop\"\n".into(),
        }],
        steps: vec![StepRecord {
            address: Address("component.db".into()),
            verb: "back up".into(),
            outcome: StepOutcome::Failed,
            message: Some("exited with 1".into()),
            backup: None,
        }],
    });
}

/// A note is the same with its kind first, as ccb writes it, and last, as JSON allows.
fn assert_any_order(note: &Note) {
    let text = serde_json::to_string(note).unwrap();
    let (kind, rest) = text[1..].split_once(',').unwrap();
    assert!(kind.starts_with("\"note\":"), "{text}");
    let last = format!("{{{},{kind}}}", rest.strip_suffix('}').unwrap());
    assert_ne!(last, text);
    assert_eq!(serde_json::from_str::<Note>(&last).unwrap(), *note);
    let none = format!("{{{rest}");
    let error = serde_json::from_str::<Note>(&none).unwrap_err();
    assert!(
        error.to_string().contains("missing field `note`"),
        "{error}"
    );
}

#[test]
fn a_manifest_is_these_bytes() {
    let text = String::from_utf8(manifest().encode()).unwrap();
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/repository"),
        prepend_module_to_snapshot => false,
    }, {
        insta::assert_snapshot!("manifest", text);
    });
}
