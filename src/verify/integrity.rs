//! Whether a backup's bytes can be read: each blob is fetched, opened and hashed again, all of them or a
//! sample that another seed chooses differently. Memory holds ids, never more than one go of content.

use crate::model::ids::BlobId;
use crate::model::records::Check;
use crate::model::tree::{Content, Node, NodeKind, printable};
use crate::model::units::Percent;
use crate::restore::{Contents, Sink};
use crate::verify::{Against, Entries, Finding, chain};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Blobs read in one go.
const AT_ONCE: usize = 1 << 16;
/// Content lists resolved at once.
const LISTS_AT_ONCE: usize = 16;

/// Reads `sample` of the blobs of the tree under `root`, and all of its trees. Each seed from 0 on takes
/// the next part, so that 100/`sample` runs in a row read everything.
pub async fn integrity(
    sample: Percent,
    seed: u64,
    contents: &dyn Contents,
    root: &Node,
) -> Finding {
    let mut reading = Reading {
        contents,
        sample,
        seed,
        waiting: BTreeMap::new(),
        blobs: 0,
        bytes: Arc::default(),
        against: Against::default(),
    };
    let mut entries = Entries::new(contents, root);
    while let Some((path, entry)) = entries.next().await {
        match entry {
            Ok(node) => reading.add(&path, &node).await,
            Err(error) => {
                let why = format!("directory `{}`: {}", printable(&path), chain(&error));
                reading.against.push(why);
            }
        }
    }
    reading.read().await;
    let bytes = reading.bytes.load(Ordering::Relaxed);
    let facts = [
        ("blobs", reading.blobs.into()),
        ("bytes", bytes.into()),
        ("sample_percent", sample.0.into()),
    ];
    let good = format!("{} blobs, {bytes} bytes read back", reading.blobs);
    Finding::new(Check::Integrity, facts, &reading.against, good)
}

struct Reading<'a> {
    contents: &'a dyn Contents,
    sample: Percent,
    seed: u64,
    /// What is to be read, and a file that needs it.
    waiting: BTreeMap<BlobId, Vec<u8>>,
    blobs: u64,
    bytes: Arc<AtomicU64>,
    against: Against,
}

impl Reading<'_> {
    async fn add(&mut self, path: &[u8], node: &Node) {
        let NodeKind::File { content, .. } = &node.kind else {
            return;
        };
        let at_once = if content.is_list {
            LISTS_AT_ONCE
        } else {
            usize::MAX
        };
        for blobs in content.blobs.chunks(at_once) {
            let part = Content {
                blobs: blobs.to_vec(),
                is_list: content.is_list,
            };
            match self.contents.blobs(&part).await {
                Ok(blobs) => {
                    let chosen = blobs
                        .iter()
                        .filter(|(id, _)| is_chosen(id, self.sample, self.seed));
                    self.waiting
                        .extend(chosen.map(|(id, _)| (*id, path.to_vec())));
                }
                Err(error) => {
                    self.against
                        .push(format!("`{}`: {}", printable(path), chain(&error)));
                }
            }
            if self.waiting.len() >= AT_ONCE {
                self.read().await;
            }
        }
    }

    async fn read(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.blobs += waiting.len() as u64;
        let bytes = self.bytes.clone();
        let sink: Sink = Arc::new(move |_: &BlobId, data: &[u8]| {
            bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        });
        match self
            .contents
            .read(waiting.keys().copied().collect(), sink)
            .await
        {
            Ok(mut unread) => {
                unread.sort_by_key(|(id, _)| *id);
                for (id, error) in unread {
                    let path = waiting
                        .get(&id)
                        .map_or(String::new(), |path| printable(path));
                    self.against.push(format!("`{path}`: {}", chain(&error)));
                }
            }
            Err(error) => self.against.push(chain(&error)),
        }
    }
}

/// Ids are spread evenly: a hundredth of them have each value here.
fn is_chosen(id: &BlobId, sample: Percent, seed: u64) -> bool {
    let place = u64::from(u32::from_le_bytes([id.0[0], id.0[1], id.0[2], id.0[3]])) % 100;
    let sample = u64::from(sample.0);
    // The part that starts at seed * sample, around the circle of a hundred.
    let start = (u128::from(seed) * u128::from(sample) % 100) as u64;
    (place + 100 - start) % 100 < sample
}

#[cfg(test)]
mod tests {
    use crate::model::ids::BlobId;
    use crate::model::units::Percent;
    use crate::verify::integrity::is_chosen;

    fn ids() -> Vec<BlobId> {
        (0..1000_u64)
            .map(|n| BlobId(*blake3::hash(&n.to_le_bytes()).as_bytes()))
            .collect()
    }

    #[test]
    fn every_blob_is_in_one_of_the_samples_in_a_row() {
        for percent in [1, 7, 25, 50, 100] {
            let runs = 100_u64.div_ceil(percent.into());
            for id in ids() {
                let times = (0..runs)
                    .filter(|seed| is_chosen(&id, Percent(percent), *seed))
                    .count();
                assert!((1..=2).contains(&times), "{percent}%: {times}");
            }
        }
    }

    #[test]
    fn a_sample_is_about_as_large_as_asked_for() {
        let chosen = ids()
            .iter()
            .filter(|id| is_chosen(id, Percent(25), 3))
            .count();
        assert!((200..300).contains(&chosen), "{chosen}");
        assert!(ids().iter().all(|id| is_chosen(id, Percent(100), 9)));
    }
}
