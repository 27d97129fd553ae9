//! `ccb check --heal`: damage at one destination, healed from another.

use crate::cli::{RESTORE, expect, given, is_back};
use std::fs;
use std::path::{Path, PathBuf};

const CHECK: &[&str] = &[
    "check",
    "plan.kdl",
    "--destination",
    "primary",
    "--level",
    "3",
];
/// What an exit code says of damage.
const DAMAGED: i32 = 6;

fn heal() -> Vec<&'static str> {
    [CHECK, &["--heal"]].concat()
}

/// Every file below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("there") {
        let path = entry.expect("read").path();
        match path.is_dir() {
            true => found.extend(below(&path)),
            false => found.push(path),
        }
    }
    found
}

fn flip_the_middle(path: &Path) {
    let mut bytes = fs::read(path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("written");
}

#[test]
fn damage_is_healed_from_the_other_destination_and_said() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    let packs = below(&at.join("repository/packs"));
    assert!(packs.len() >= 2, "{packs:?}");
    packs.iter().for_each(|pack| flip_the_middle(pack));
    let found = expect(at, DAMAGED, CHECK);
    assert!(found.contains("damaged or missing"), "{found}");
    assert!(found.contains("--heal"), "the way out is named: {found}");

    let healed = expect(at, 0, &heal());
    for words in [
        "was damaged",
        "stored again",
        "destination.second",
        "condemned",
        "No damage found.",
    ] {
        assert!(healed.contains(words), "{words}: {healed}");
    }
    let again = expect(at, 0, &heal());
    assert!(!again.contains("stored again"), "{again}");

    // By itself.
    fs::remove_dir_all(at.join("second")).expect("removed");
    expect(at, 0, &RESTORE);
    is_back(at);
}

#[test]
fn what_no_destination_has_whole_stays_damage() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    for repository in ["repository/packs", "second/packs"] {
        below(&at.join(repository))
            .iter()
            .for_each(|pack| flip_the_middle(pack));
    }
    let healed = expect(at, DAMAGED, &heal());
    assert!(healed.contains("damaged or missing"), "{healed}");
    let refused = expect(at, 1, &["check", "plan.kdl", "--level", "0", "--heal"]);
    assert!(refused.contains("--level 1, 2 or 3"), "{refused}");
}

#[test]
fn what_several_backups_share_is_copied_once() {
    let folder = given();
    let at = folder.path();
    let mut noise = vec![0; 4 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    fs::write(at.join("data/noise"), noise).expect("written");
    for round in ["one", "two", "three"] {
        fs::write(at.join("data/readme.txt"), round).expect("written");
        expect(at, 0, &["backup", "plan.kdl", "data", "--quiet"]);
    }
    fs::remove_dir_all(at.join("second")).expect("removed");
    let copied = expect(at, 0, &["apply", "plan.kdl", "--auto-approve"]);
    assert!(copied.contains("3 copied"), "{copied}");
    let stored = |repository: &str| -> u64 {
        let packs = below(&at.join(repository).join("packs"));
        let lens = packs.iter().map(|pack| fs::metadata(pack).expect("there"));
        lens.map(|pack| pack.len()).sum()
    };
    let (first, second) = (stored("repository"), stored("second"));
    assert!(second < first + (1 << 20), "{second} bytes of {first}");
}
