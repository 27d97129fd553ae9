//! Whether a backup of files lists what it should: the directories that are asked for, and as many files
//! and bytes as were read from the source; and whether each file's blobs are all there. Reads the trees
//! and no file's content.

use crate::model::records::{Check, Manifest, Subtotal};
use crate::model::strategy::ContentsCheck;
use crate::model::tree::{Node, NodeKind, printable};
use crate::restore::Contents;
use crate::verify::{Against, Entries, Finding, chain};
use std::collections::{BTreeMap, BTreeSet};

/// What a tree was found to hold.
#[derive(Debug, Default)]
struct Counted {
    files: u64,
    directories: u64,
    bytes: u64,
    below: BTreeMap<String, Subtotal>,
    seen: BTreeSet<String>,
}

/// Checks the tree under `root` against its manifest. `subdirectories` are those that must be in it.
pub async fn contents(
    settings: &ContentsCheck,
    subdirectories: &[String],
    manifest: &Manifest,
    contents: &dyn Contents,
    root: &Node,
) -> Finding {
    let wanted: BTreeSet<&str> = subdirectories.iter().map(|name| plain(name)).collect();
    let mut counted = Counted::default();
    let mut against = Against::default();
    let mut entries = Entries::new(contents, root);
    while let Some((path, entry)) = entries.next().await {
        match entry {
            Ok(node) => {
                counted.count(&path, &node, &wanted);
                if let Some(why) = lacks(contents, &node).await {
                    against.push(format!("`{}`: {why}", printable(&path)));
                }
            }
            Err(error) => {
                let (path, why) = (printable(&path), chain(&error));
                against.push(format!("directory `{path}`: {why}"));
            }
        }
    }
    for name in wanted.iter().filter(|name| !counted.seen.contains(**name)) {
        against.push(format!("directory `{name}` is not in it"));
    }
    counted.compare(settings, manifest, &mut against);
    let facts = [
        ("files", counted.files.into()),
        ("directories", counted.directories.into()),
        ("bytes", counted.bytes.into()),
        ("source_files", manifest.stats.files.into()),
        ("source_bytes", manifest.stats.bytes.into()),
        ("unread", manifest.error_count.into()),
    ];
    let good = format!(
        "{} files, {} bytes, as in the source",
        counted.files, counted.bytes
    );
    Finding::new(Check::Contents, facts, &against, good)
}

/// Why a file's content can not be whole, from what the index knows.
async fn lacks(contents: &dyn Contents, node: &Node) -> Option<String> {
    let NodeKind::File { size, content, .. } = &node.kind else {
        return None;
    };
    match contents.blobs(content).await {
        Err(error) => Some(chain(&error)),
        Ok(blobs) => {
            let held: u64 = blobs.iter().map(|(_, len)| len).sum();
            (held != *size).then(|| format!("its blobs hold {held} of {size} bytes"))
        }
    }
}

impl Counted {
    fn count(&mut self, path: &[u8], node: &Node, wanted: &BTreeSet<&str>) {
        let text = String::from_utf8_lossy(path);
        match &node.kind {
            NodeKind::Directory { .. } => {
                self.directories += 1;
                if wanted.contains(&*text) {
                    self.seen.insert(text.into_owned());
                }
            }
            NodeKind::File { size, .. } => {
                self.files += 1;
                self.bytes += size;
                if let Some((first, _)) = text.split_once('/') {
                    let below = self.below.entry(first.to_owned()).or_default();
                    below.files += 1;
                    below.bytes += size;
                }
            }
            NodeKind::Symlink { .. } | NodeKind::Special { .. } => {}
        }
    }

    fn compare(&self, settings: &ContentsCheck, manifest: &Manifest, against: &mut Against) {
        let stats = &manifest.stats;
        if settings.counts && self.files != stats.files {
            against.push(format!(
                "{} files in the source, {} in the backup",
                stats.files, self.files
            ));
        }
        if settings.counts && manifest.error_count > 0 {
            against.push(format!(
                "{} entries of the source could not be read",
                manifest.error_count
            ));
        }
        if settings.sizes && self.bytes != stats.bytes {
            against.push(format!(
                "{} bytes in the source, {} in the backup",
                stats.bytes, self.bytes
            ));
        }
        for (name, expected) in &manifest.directories {
            let found = self.below.get(name).copied().unwrap_or_default();
            let differs = settings.counts && found.files != expected.files
                || settings.sizes && found.bytes != expected.bytes;
            if differs {
                against.push(format!(
                    "`{name}`: {} files of {} bytes in the source, {} of {} in the backup",
                    expected.files, expected.bytes, found.files, found.bytes
                ));
            }
        }
    }
}

/// As it is in a path: without `./` before and `/` after.
fn plain(name: &str) -> &str {
    name.trim_start_matches("./").trim_end_matches('/')
}
