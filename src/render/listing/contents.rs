//! What is in a backup: listings, paths that match, and how two backups differ. Names are bytes of anybody's
//! choice, so they are escaped, and stand last.

use crate::model::tree::{Node, NodeKind, Special, printable};
use crate::model::units::Size;
use crate::render::Look;
use crate::render::escape::line;
use crate::render::paint::Tint;
use crate::render::words;
use jiff::Timestamp;

/// One line of `ccb ls`: mode, owner, size, modification time, path, target of a link. `path` is the whole
/// path below the root. No newline.
pub fn entry(path: &[u8], node: &Node) -> String {
    let owner = |name: &Option<String>, id: u32| name.as_deref().map_or(id.to_string(), line);
    let (size, target) = match &node.kind {
        NodeKind::File { size, .. } => (Size(*size).to_string(), String::new()),
        NodeKind::Symlink { target } => (String::new(), format!(" -> {}", name(target))),
        NodeKind::Directory { .. } | NodeKind::Special { .. } => Default::default(),
    };
    format!(
        "{}  {:<8} {:<8} {size:>9}  {}  {}{target}",
        mode(node),
        owner(&node.user, node.uid),
        owner(&node.group, node.gid),
        modified(node.mtime_ns),
        name(path)
    )
}

/// A path that a search found, and in which backup. No newline.
pub fn found(backup: &str, taken: Timestamp, path: &[u8], node: &Node) -> String {
    format!(
        "{}  {}  {}",
        line(backup),
        words::instant(taken),
        entry(path, node)
    )
}

/// How one path differs between two backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path below the root.
    pub path: Vec<u8>,
    /// How.
    pub how: How,
}

/// Ways in which a path can differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Both have it, and this is different: `content`, `mode`, `owner`, …
    Changed(Vec<&'static str>),
}

/// A line for each difference, then their counts.
pub fn differences(all: &[Difference], look: &Look) -> String {
    let mut counts = [0u64; 3];
    let mut out = String::new();
    for one in all {
        let (nth, sign, what) = match &one.how {
            How::Added => (0, '+', String::new()),
            How::Removed => (1, '-', String::new()),
            How::Changed(what) => (2, '~', format!("  ({})", what.join(", "))),
        };
        counts[nth] += 1;
        let sign = look.paint(Tint::of_sign(sign), &sign.to_string());
        out += &format!("{sign} {}{what}\n", name(&one.path));
    }
    let [added, removed, changed] = counts;
    out + &format!("{added} added, {removed} removed, {changed} changed.\n")
}

/// A path for people: other bytes than UTF-8 as `\xff`, and nothing that moves the cursor or turns text.
fn name(path: &[u8]) -> String {
    match path {
        b"" => ".".to_owned(),
        path => line(&printable(path)),
    }
}

/// `drwxr-x---`.
fn mode(node: &Node) -> String {
    let kind = match &node.kind {
        NodeKind::File { .. } => '-',
        NodeKind::Directory { .. } => 'd',
        NodeKind::Symlink { .. } => 'l',
        NodeKind::Special { what, .. } => match what {
            Special::Block => 'b',
            Special::Character => 'c',
            Special::Fifo => 'p',
            Special::Socket => 's',
        },
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = node.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (node.mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn modified(ns: i128) -> String {
    Timestamp::from_nanosecond(ns).map_or_else(|_| "out of range".to_owned(), words::instant)
}
