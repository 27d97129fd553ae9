//! The checks of Redis backups: whether what is stored is whole and holds what the server counted, and
//! whether a server really starts on it. The live server is only read, and never made to work hard.

mod contents;
mod live;
mod restore_test;
mod throwaway;

pub use crate::verify::redis::contents::contents;
pub use crate::verify::redis::restore_test::{RedisTestRequest, restore_test};

use crate::model::tree::{Node, NodeKind, printable};
use crate::model::units::Percent;
use crate::repository::Reader;
use crate::source::redis::facts::RedisFacts;
use crate::source::redis::rdb::Keys;
use crate::verify::{Against, Entries, chain};
use std::collections::BTreeMap;

/// So far may counts differ from a server that was being written to while it was counted.
const MOVING_PERCENT: u8 = 1;

/// The files of a backup by path; what can not be listed speaks against it.
async fn files(reader: &Reader, root: &Node, against: &mut Against) -> BTreeMap<String, Node> {
    let mut files = BTreeMap::new();
    let mut entries = Entries::new(reader, root);
    while let Some((path, entry)) = entries.next().await {
        match entry {
            Ok(node) if matches!(node.kind, NodeKind::File { .. }) => {
                files.insert(printable(&path), node);
            }
            Ok(_) => {}
            Err(error) => {
                let (path, why) = (printable(&path), chain(&error));
                against.push(format!("directory `{path}`: {why}"));
            }
        }
    }
    files
}

/// The part of a path after its last `/`.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Compares keys with what the server itself counted before and after it was read. Between the two it may
/// have had more or fewer for a moment: then a little more is allowed.
fn compare_with_server(
    counted: &BTreeMap<u32, Keys>,
    facts: &RedisFacts,
    tolerance: Percent,
    against: &mut Against,
) {
    let allowed = match facts.position {
        Some(_) => tolerance.0,
        None => tolerance.0.max(MOVING_PERCENT),
    };
    let count = |of: &BTreeMap<u32, Keys>, database| of.get(database).map_or(0, |keys| keys.keys);
    let (before, after) = (&facts.keys_before, &facts.keys_after);
    let all: std::collections::BTreeSet<&u32> = counted
        .keys()
        .chain(before.keys())
        .chain(after.keys())
        .collect();
    for database in all {
        let (was, is) = (count(before, database), count(after, database));
        let found = count(counted, database);
        let (low, high) = (was.min(is), was.max(is));
        let off = low.saturating_sub(found).max(found.saturating_sub(high));
        if u128::from(off) * 100 > u128::from(allowed) * u128::from(high) {
            against.push(format!(
                "database {database} has {found} keys, and the server counted {low} to {high}; {allowed}% may differ"
            ));
        }
    }
}
