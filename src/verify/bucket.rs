//! Whether a backup of a bucket holds what the bucket held: every object that the bucket still has as it was, and
//! none of another length. Reads the trees and a listing, and no object's bytes.

use crate::model::records::Manifest;
use crate::model::strategy::ContentsCheck;
use crate::model::tree::{Node, NodeKind, printable};
use crate::restore::Contents;
use crate::source::bucket::beside::etag;
use crate::source::bucket::names::key_of;
use crate::source::bucket::{Bucket, BucketError, Listed};
use crate::verify::contents::contents as of_files;
use crate::verify::{Against, Entries, Finding, chain};
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// The server's clock and this machine's may differ by this much: with more, the server answers nothing.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);

/// Checks the tree under `root` against its manifest, and against the bucket where that can be asked.
pub async fn contents(
    settings: &ContentsCheck,
    manifest: &Manifest,
    contents: &dyn Contents,
    root: &Node,
    bucket: Result<Bucket, String>,
) -> Finding {
    let mut finding = of_files(settings, &[], manifest, contents, root).await;
    let listed = match bucket {
        Ok(bucket) => bucket.objects("").await.map_err(|e: BucketError| chain(&e)),
        Err(why) => Err(why),
    };
    let listed = match listed {
        Ok(listed) => listed,
        Err(why) => {
            finding
                .facts
                .insert("not_compared".to_owned(), why.clone().into());
            if finding.passed {
                finding.message += &format!("; not compared with the bucket: {why}");
            }
            return finding;
        }
    };
    let mut against = Against::default();
    let same = compare(manifest, contents, root, listed, &mut against).await;
    finding
        .facts
        .insert("same_in_bucket".to_owned(), same.into());
    if against.count > 0 {
        finding.message = match finding.passed {
            true => against.words(),
            false => format!("{}; {}", finding.message, against.words()),
        };
        finding.passed = false;
    } else if finding.passed {
        finding.message += &format!("; {same} are in the bucket as they were");
    }
    finding
}

/// Compares, and gives back how many objects the bucket still has as they were.
async fn compare(
    manifest: &Manifest,
    contents: &dyn Contents,
    root: &Node,
    listed: Vec<Listed>,
    against: &mut Against,
) -> u64 {
    let mut live: BTreeMap<Vec<u8>, Listed> = listed
        .into_iter()
        .map(|object| (object.key.clone(), object))
        .collect();
    let mut same = 0;
    let mut entries = Entries::new(contents, root);
    while let Some((path, entry)) = entries.next().await {
        let Ok(node) = entry else { continue };
        let NodeKind::File { size, .. } = node.kind else {
            continue;
        };
        let Some(key) = key_of(&path) else {
            against.push(format!("`{}` is the path of no key", printable(&path)));
            continue;
        };
        // What was deleted since is no matter.
        let Some(object) = live.remove(&key) else {
            continue;
        };
        if etag(&node) != Some(&*object.etag) {
            continue;
        }
        same += 1;
        if object.size != size {
            against.push(format!(
                "`{}`: {} bytes in the bucket, {size} in the backup",
                printable(&key),
                object.size
            ));
        }
    }
    let before = manifest.started - SKEW_MAX;
    for (key, object) in live {
        if object.modified < before {
            against.push(format!(
                "`{}` was in the bucket then, and is not in it",
                printable(&key)
            ));
        }
    }
    same
}
