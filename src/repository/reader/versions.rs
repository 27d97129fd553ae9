//! Finds every version of paths over many backups. A directory that is the same in many of them is read once,
//! so that a year of daily backups costs little more than one. Reads no content.

use crate::model::ids::BlobId;
use crate::model::tree::{Node, NodeKind};
use crate::repository::reader::Reader;
use crate::repository::reader::compare::{UnreadDirectory, join};
use crate::repository::reader::directory::Directory;
use std::collections::HashMap;

/// One version of a path: what it was in one or more backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathVersion {
    /// The path below the root.
    pub path: Vec<u8>,
    /// What it was.
    pub node: Node,
    /// The first backup that had it, by its place among those that were given.
    pub first: usize,
    /// The last that had it.
    pub last: usize,
    /// How many had it.
    pub count: usize,
}

/// Which paths are looked for.
pub trait Wanted {
    /// Whether this path is one.
    fn is_wanted(&mut self, path: &[u8], is_directory: bool) -> bool;
    /// Whether anything below this directory can be one.
    fn may_hold(&self, directory: &[u8]) -> bool;
}

/// Gathers versions, one backup after another.
#[derive(Default)]
pub struct Versions {
    found: Vec<PathVersion>,
    /// Where in `found` a version stands, by all that is shown of it.
    known: HashMap<[u8; 32], usize>,
    /// What lies below a directory that was read, by its path and blob.
    below: HashMap<[u8; 32], Vec<usize>>,
    backups: usize,
}

/// A directory that is being read.
struct Level {
    key: [u8; 32],
    path: Vec<u8>,
    directory: Directory,
    found: Vec<usize>,
    is_whole: bool,
}

impl Versions {
    /// Looks through one more backup, and gives back the directories that can not be read. Backups of one
    /// repository, or of several with the same keyring, share what was read.
    pub async fn add(
        &mut self,
        reader: &Reader,
        root: &BlobId,
        wanted: &mut dyn Wanted,
    ) -> Vec<UnreadDirectory> {
        let backup = self.backups;
        self.backups += 1;
        let mut unread = Vec::new();
        let mut levels = Vec::new();
        let mut enter = Some((Vec::new(), *root));
        loop {
            if let Some((path, tree)) = enter.take() {
                let key = key(&[&path, &tree.0]);
                if let Some(found) = self.below.get(&key).cloned() {
                    self.again(&found, backup);
                    note(&mut levels, &found);
                } else {
                    match Directory::open(reader, &tree).await {
                        Ok(directory) => levels.push(Level {
                            key,
                            path,
                            directory,
                            found: Vec::new(),
                            is_whole: true,
                        }),
                        Err(cause) => {
                            spoil(&mut levels);
                            unread.push(UnreadDirectory { path, cause });
                        }
                    }
                }
            }
            let Some(level) = levels.last_mut() else {
                return unread;
            };
            match level.directory.next().await {
                Ok(Some(node)) => {
                    let path = join(&level.path, &node.name);
                    let tree = match &node.kind {
                        NodeKind::Directory { tree } => *tree,
                        _ => None,
                    };
                    let is_directory = matches!(node.kind, NodeKind::Directory { .. });
                    enter = tree
                        .filter(|_| wanted.may_hold(&path))
                        .map(|tree| (path.clone(), tree));
                    if wanted.is_wanted(&path, is_directory) {
                        level.found.push(self.note(path, node, backup));
                    }
                }
                Ok(None) => {
                    if let Some(level) = levels.pop() {
                        note(&mut levels, &level.found);
                        if level.is_whole {
                            self.below.insert(level.key, level.found);
                        } else {
                            spoil(&mut levels);
                        }
                    }
                }
                Err(cause) => {
                    let path = level.path.clone();
                    unread.push(UnreadDirectory { path, cause });
                    level.is_whole = false;
                }
            }
        }
    }

    /// Everything that was found, in the order in which it was met.
    pub fn into_found(self) -> Vec<PathVersion> {
        self.found
    }

    fn note(&mut self, path: Vec<u8>, node: Node, backup: usize) -> usize {
        let next = self.found.len();
        let at = *self.known.entry(identity(&path, &node)).or_insert(next);
        if at == next {
            self.found.push(PathVersion {
                path,
                node,
                first: backup,
                last: backup,
                count: 1,
            });
        } else {
            self.again(&[at], backup);
        }
        at
    }

    fn again(&mut self, versions: &[usize], backup: usize) {
        for at in versions {
            let version = &mut self.found[*at];
            version.last = backup;
            version.count += 1;
        }
    }
}

fn note(levels: &mut [Level], found: &[usize]) {
    if let Some(level) = levels.last_mut() {
        level.found.extend(found);
    }
}

/// What was not read whole must be read again in the next backup.
fn spoil(levels: &mut [Level]) {
    if let Some(level) = levels.last_mut() {
        level.is_whole = false;
    }
}

/// A version is another one when anything that is shown of it differs, or its bytes.
fn identity(path: &[u8], node: &Node) -> [u8; 32] {
    let what: Vec<u8> = match &node.kind {
        NodeKind::File { size, content, .. } => {
            let blobs = content.blobs.iter().flat_map(|id| id.0);
            [b"f".as_slice(), &size.to_le_bytes()]
                .concat()
                .into_iter()
                .chain(blobs)
                .collect()
        }
        // What is in a directory is its entries' affair.
        NodeKind::Directory { .. } => b"d".to_vec(),
        NodeKind::Symlink { target } => [b"l", target.as_slice()].concat(),
        NodeKind::Special { what, rdev } => format!("s{what:?}{rdev}").into_bytes(),
    };
    let facts = [
        node.mode.to_le_bytes(),
        node.uid.to_le_bytes(),
        node.gid.to_le_bytes(),
    ]
    .concat();
    let time = match &node.kind {
        NodeKind::Directory { .. } => 0,
        _ => node.mtime_ns,
    };
    key(&[path, &what, &facts, &time.to_le_bytes()])
}

/// A hash of parts that no other parts have.
fn key(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}
