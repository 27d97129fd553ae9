//! Which backups damage hits, and which paths in them. Only walked when there is damage; what one backup
//! has whole is not walked again for the next.

use crate::model::ids::{BlobId, Digest};
use crate::model::tree::{Content, Node, NodeKind, printable};
use crate::repository::check::{HitBackup, State};
use crate::repository::format::index::BlobPrefix;
use crate::repository::{ListedBackup, RepositoryError};
use std::collections::{BTreeSet, HashSet};

/// Paths that are named; the rest are counted.
const PATHS_MAX: usize = 5;

/// The backups that are hit, sorted by key.
pub(super) async fn find(
    state: &State,
    backups: &[ListedBackup],
) -> Result<Vec<HitBackup>, RepositoryError> {
    let mut whole = HashSet::new();
    let mut hit = Vec::new();
    for backup in backups {
        let mut hits = Hits::default();
        walk(state, backup, &mut whole, &mut hits).await?;
        if hits.count > 0 {
            hit.push(HitBackup {
                key: backup.key.to_string(),
                component: backup.manifest.component.clone(),
                backup: backup.manifest.id,
                paths: hits.paths,
                path_count: hits.count,
                packs: hits.packs.into_iter().collect(),
            });
        }
    }
    hit.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(hit)
}

#[derive(Default)]
struct Hits {
    paths: Vec<String>,
    count: u64,
    packs: BTreeSet<Digest>,
}

impl Hits {
    fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.paths.len() < PATHS_MAX {
            self.paths.push(if path.is_empty() {
                ".".to_owned()
            } else {
                printable(path)
            });
        }
    }
}

/// Walks one backup. `whole` are files' directories that are known to be whole as far as their own
/// entries go; a directory in it is passed over with all that is below.
async fn walk(
    state: &State,
    backup: &ListedBackup,
    whole: &mut HashSet<BlobId>,
    hits: &mut Hits,
) -> Result<(), RepositoryError> {
    let mut open = vec![(Vec::new(), backup.manifest.root)];
    let mut walked = Vec::new();
    while let Some((path, tree)) = open.pop() {
        if whole.contains(&tree) {
            continue;
        }
        walked.push(tree);
        // Its leaves are blobs too, which this reads as well.
        let entries = match state.reader.entries(&tree).await {
            Ok(entries) if !is_bad(state, &tree, hits) => entries,
            Ok(_) => {
                hits.add(&path);
                continue;
            }
            Err(error) => {
                note_pack(state, &tree, &error, hits);
                hits.add(&path);
                continue;
            }
        };
        for node in entries {
            let path = below(&path, &node);
            match &node.kind {
                NodeKind::Directory { tree: Some(tree) } => open.push((path, *tree)),
                NodeKind::File { content, .. } if is_file_hit(state, content, hits).await => {
                    hits.add(&path)
                }
                _ => {}
            }
        }
    }
    if hits.count == 0 {
        whole.extend(walked);
    }
    Ok(())
}

fn below(path: &[u8], node: &Node) -> Vec<u8> {
    if path.is_empty() {
        return node.name.clone();
    }
    [path, b"/", &node.name].concat()
}

async fn is_file_hit(state: &State, content: &Content, hits: &mut Hits) -> bool {
    let mut is_hit = false;
    if content.is_list {
        for list in &content.blobs {
            is_hit |= is_bad(state, list, hits);
        }
    }
    match state.reader.blobs_of(content).await {
        Ok(blobs) => {
            for blob in blobs {
                is_hit |= is_bad(state, &blob, hits);
            }
        }
        Err(_) => is_hit = true,
    }
    is_hit
}

/// Whether a blob is nowhere, or can be read from nowhere.
fn is_bad(state: &State, id: &BlobId, hits: &mut Hits) -> bool {
    if !state.index.locations(id).is_empty() && !state.unreadable.contains(id) {
        return false;
    }
    blame(state, id, &mut HashSet::new(), hits);
    true
}

/// The packs that the blob, or what it stands on, was in.
fn blame(state: &State, id: &BlobId, seen: &mut HashSet<BlobId>, hits: &mut Hits) {
    if !seen.insert(*id) {
        return;
    }
    hits.packs.extend(state.lost.get(&BlobPrefix::from(id)));
    for place in state.index.places(id) {
        let pack = state.index.packs[place.pack as usize].name;
        if state.bad.contains(&place.pack) || place.frame.bases.is_empty() && seen.len() == 1 {
            hits.packs.insert(pack);
        }
        for base in &place.frame.bases {
            blame(state, base, seen, hits);
        }
    }
}

fn note_pack(state: &State, id: &BlobId, error: &RepositoryError, hits: &mut Hits) {
    if !is_bad(state, id, hits)
        && let RepositoryError::BlobDamaged { pack, .. } = error
    {
        hits.packs.insert(*pack);
    }
}
