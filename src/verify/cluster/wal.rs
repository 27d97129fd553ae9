//! Whether a WAL backup is what it says: each of its segments begins as its name says, none is missing, and
//! what comes before it is there too. Reads the beginning of each file.

use crate::model::records::{Check, Manifest};
use crate::model::tree::{Content, Node, printable};
use crate::model::wal::{
    Archive, Gap, HEADER_LEN, SegmentName, SystemId, WalFacts, WalName, check_segment,
};
use crate::repository::{Reader, RepositoryError};
use crate::restore::wal::path_of;
use crate::verify::cluster::files;
use crate::verify::{Against, Finding, chain};
use std::collections::BTreeMap;

/// What else is held at the destination.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// WAL, in backups or as it was handed over.
    pub wal: Vec<WalFacts>,
    /// Where bases begin.
    pub bases: Vec<(SystemId, SegmentName)>,
}

/// Checks the WAL backup under `root`.
pub async fn wal(manifest: &Manifest, around: &Around, reader: &Reader, root: &Node) -> Finding {
    let facts = WalFacts::all_of(manifest);
    let mut against = Against::default();
    let found = files(reader, root, &mut against).await.into_iter();
    let mut found: BTreeMap<String, (u64, Content)> =
        found.map(|(path, file)| (printable(&path), file)).collect();
    let mut segments = 0_u64;
    for of_cluster in &facts {
        for name in names(of_cluster) {
            let path = path_of(of_cluster.system_identifier, &name);
            match found.remove(&path) {
                None => against.push(format!("`{path}` is not in it")),
                Some((size, content)) => {
                    if let Err(why) = check(reader, of_cluster, &name, size, &content).await {
                        against.push(format!("`{path}`: {why}"));
                    }
                    segments += u64::from(name.segment().is_some());
                }
            }
        }
        for gap in gaps_before(of_cluster, around) {
            let (first, count) = (gap.first, gap.count);
            against.push(format!(
                "{count} segments before it are missing, from {first} on"
            ));
        }
    }
    for path in found.keys() {
        against.push(format!("`{path}` is not in its list"));
    }
    let of_source = manifest
        .errors
        .iter()
        .map(|e| format!("`{}`: {}", e.path, e.message));
    let known: Vec<String> = of_source.collect();
    let facts = [("segments", segments.into()), ("lacking", known.into())];
    let good = format!("{segments} segments, each what its name says, and none missing before");
    Finding::new(Check::Contents, facts, &against, good)
}

/// Every file that is in the backup by its list.
fn names(facts: &WalFacts) -> Vec<WalName> {
    let number = |name: &SegmentName| name.number(facts.segment_bytes).unwrap_or(0);
    let of_run = |run: &crate::model::wal::WalRun| {
        let timeline = run.first.timeline;
        (number(&run.first)..=number(&run.last))
            .filter_map(move |number| SegmentName::new(timeline, number, facts.segment_bytes))
            .map(WalName::Segment)
            .collect::<Vec<_>>()
    };
    let segments = facts.runs.iter().flat_map(of_run);
    let histories = facts.histories.iter().map(|h| WalName::History(h.timeline));
    segments
        .chain(histories)
        .chain(facts.others.iter().copied())
        .collect()
}

async fn check(
    reader: &Reader,
    facts: &WalFacts,
    name: &WalName,
    size: u64,
    content: &Content,
) -> Result<(), String> {
    let Some(segment) = name.segment() else {
        return Ok(());
    };
    let head = head(reader, content).await.map_err(|e| chain(&e))?;
    let header = check_segment(segment, size, &head).map_err(|e| e.to_string())?;
    match header.system == facts.system_identifier {
        true => Ok(()),
        false => Err(format!("it is of the cluster {}", header.system)),
    }
}

async fn head(reader: &Reader, content: &Content) -> Result<Vec<u8>, RepositoryError> {
    let first = Content {
        blobs: content.blobs.iter().take(1).copied().collect(),
        is_list: content.is_list,
    };
    let mut reading = reader.content(&first);
    let mut head = Vec::new();
    while head.len() < HEADER_LEN {
        match reading.next().await? {
            Some(part) => head.extend_from_slice(&part[..part.len().min(HEADER_LEN)]),
            None => break,
        }
    }
    Ok(head)
}

/// Gaps that end where this backup's own segments begin, or lie between them.
fn gaps_before(facts: &WalFacts, around: &Around) -> Vec<Gap> {
    let system = facts.system_identifier;
    let Some(archive) = Archive::of(system, around.wal.iter().chain([facts])) else {
        return Vec::new();
    };
    let of_system = around.bases.iter().filter(|(of, _)| *of == system);
    let bases: Vec<SegmentName> = of_system.map(|(_, first)| *first).collect();
    let ends_here = |gap: &Gap| facts.follows(&gap.last);
    archive.gaps(&bases).into_iter().filter(ends_here).collect()
}
