//! The checks of base backups and of WAL. What a base says of its files is held against every byte of them;
//! WAL against its names, its own headers, and what must come before it.

mod base;
mod restore_test;
mod wal;

pub use base::base;
pub use restore_test::{BaseTest, restore_test};
pub use wal::{Around, wal};

use crate::model::tree::{Content, Node, NodeKind, printable};
use crate::repository::Reader;
use crate::verify::{Against, Entries, chain};
use std::collections::BTreeMap;

/// The files under `root` by path, each with its length in bytes; a directory that can not be read is held
/// against the backup.
async fn files(
    reader: &Reader,
    root: &Node,
    against: &mut Against,
) -> BTreeMap<Vec<u8>, (u64, Content)> {
    let mut files = BTreeMap::new();
    let mut entries = Entries::new(reader, root);
    while let Some((path, entry)) = entries.next().await {
        match entry.map(|node| node.kind) {
            Ok(NodeKind::File { size, content, .. }) => {
                files.insert(path, (size, content));
            }
            Ok(_) => {}
            Err(error) => {
                let directory = printable(&path);
                against.push(format!("directory `{directory}`: {}", chain(&error)));
            }
        }
    }
    files
}
