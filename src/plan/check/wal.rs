//! CCB222: whether the WAL that is held really leads from the base backups to the present. Judges only where
//! every destination of the component was seen: elsewhere, what is missing may be out of sight.

use crate::model::ids::Address;
use crate::model::inventory::Inventory;
use crate::model::records::Manifest;
use crate::model::strategy::{Component, Method, Strategy};
use crate::model::units::{counted, to_minute};
use crate::model::wal::{Archive, BaseFacts, Gap, WalFacts};
use crate::plan::check::verification::is_of;
use crate::plan::check::{Broken, backed_up};
use jiff::Timestamp;
use std::collections::BTreeMap;

pub(crate) fn check(strategy: &Strategy, inventory: &Inventory) -> Vec<Broken> {
    let of_component = |component: &Component| {
        let at = Address::component(&component.name);
        lacks(component, inventory).into_iter().map(move |lack| {
            let message = format!("WAL of {at} {}", lack.words);
            Broken::new("CCB222", at.child("schedule"), message, lack.help)
        })
    };
    backed_up(strategy).flat_map(of_component).collect()
}

/// What stands between base backups of a component and the present.
pub(crate) struct Lack {
    /// What its WAL lacks, and what that costs: `lacks the segment …`.
    pub(crate) words: String,
    /// The way out.
    help: String,
}

/// What a component's WAL lacks, as far as every destination was seen.
pub(crate) fn lacks(component: &Component, inventory: &Inventory) -> Vec<Lack> {
    let is_seen = component.store.iter().all(|name| {
        let holding = inventory.destinations.get(name);
        holding.is_some_and(|holding| holding.coverage.is_complete())
    });
    if component.source.kind() != "postgres" || !is_seen {
        return Vec::new();
    }
    let (bases, wal) = held(component, inventory);
    let newest = bases.keys().next_back().copied();
    let mut lacks: BTreeMap<String, Lack> = BTreeMap::new();
    for (started, base) in &bases {
        let Some(trouble) = trouble(base, &wal) else {
            continue;
        };
        let (key, words) = trouble.of_base(*started);
        let help = match Some(*started) == newest {
            true => format!(
                "make a base to go on from: ccb backup FILE {} --method base",
                component.name
            ),
            false => format!(
                "a newer base covers the time since; if the server still has the segments: ccb wal push FILE {} PATH",
                component.name
            ),
        };
        // Of several bases before one gap, the newest says most.
        lacks.insert(key, Lack { words, help });
    }
    lacks.into_values().collect()
}

/// Complete bases by when they began, and all WAL, wherever it is.
fn held(
    component: &Component,
    inventory: &Inventory,
) -> (BTreeMap<Timestamp, BaseFacts>, Vec<WalFacts>) {
    let (mut bases, mut wal) = (BTreeMap::new(), Vec::new());
    for holding in inventory.destinations.values() {
        let names = || std::iter::once(&component.name).chain(&component.moved_from);
        let waiting = holding.wal.iter();
        wal.extend(
            waiting
                .filter(|waiting| names().any(|name| *name == waiting.component))
                .map(|waiting| waiting.facts.clone()),
        );
        for held in holding.backups.iter().filter(|held| is_of(held, component)) {
            let manifest: &Manifest = &held.manifest;
            match manifest.method {
                Method::Wal => wal.extend(WalFacts::all_of(manifest)),
                Method::Base if manifest.complete => {
                    let facts = BaseFacts::of(manifest);
                    bases.extend(facts.map(|facts| (manifest.started, facts)));
                }
                _ => {}
            }
        }
    }
    (bases, wal)
}

/// What stands between a base and the present.
enum Trouble {
    /// Segments are missing, and what comes after them can not be reached.
    Gap { gap: Gap, until: Option<Timestamp> },
    /// The archive ends before the base is even consistent.
    Short { needed: String },
}

fn trouble(base: &BaseFacts, wal: &[WalFacts]) -> Option<Trouble> {
    let (first, last) = (base.first_segment()?, base.last_segment()?);
    let short = || Trouble::Short {
        needed: last.to_string(),
    };
    let Some(archive) = Archive::of(base.system_identifier, wal) else {
        return Some(short());
    };
    let chain = archive.chain(&first, archive.latest(base.timeline, base.stop_lsn))?;
    if let Some(gap) = chain.gaps.into_iter().next() {
        let is_end = archive
            .comes_later(&crate::model::wal::WalName::Segment(gap.last))
            .is_none();
        return Some(match is_end {
            true => short(),
            false => Trouble::Gap {
                gap,
                until: chain.until,
            },
        });
    }
    (chain.timeline == base.timeline && !archive.holds(&last)).then(short)
}

impl Trouble {
    /// What it is told apart by, and in words.
    fn of_base(self, started: Timestamp) -> (String, String) {
        let base = to_minute(started);
        match self {
            Self::Gap { gap, until } => {
                let missing = match gap.count {
                    1 => format!("lacks the segment {}", gap.first),
                    _ => format!(
                        "lacks {}, {} to {}",
                        counted(gap.count, "segment", "segments"),
                        gap.first,
                        gap.last
                    ),
                };
                let lost = match until {
                    Some(until) => format!(
                        "from the base of {base} no moment after {} can be restored",
                        to_minute(until)
                    ),
                    None => format!("the base of {base} can not be restored"),
                };
                (gap.first.to_string(), format!("{missing}: {lost}"))
            }
            Self::Short { needed } => (
                "short".to_owned(),
                format!(
                    "ends before {needed}, without which the base of {base} can not be restored"
                ),
            ),
        }
    }
}
