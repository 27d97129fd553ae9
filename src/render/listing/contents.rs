//! What is in a backup: listings, and paths that match. Names are bytes of anybody's choice, so they are
//! escaped, and stand last.

use crate::model::ids::{BackupId, ComponentName, hex};
use crate::model::tree::{Node, NodeKind, Special, printable};
use crate::model::units::Size;
use crate::render::Look;
use crate::render::escape::line;
use crate::render::output::Document;
use crate::render::table::Table;
use crate::render::words;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// A path that may be no text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Path {
    /// The path below the root; empty for the root itself. Bytes that are no UTF-8 stand as `\xff`.
    path: String,
    /// The path's bytes in hex, only where they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
}

impl Path {
    /// Of bytes.
    pub fn new(path: &[u8]) -> Self {
        match std::str::from_utf8(path) {
            Ok(text) => Self {
                path: text.to_owned(),
                path_hex: None,
            },
            Err(_) => Self {
                path: printable(path),
                path_hex: Some(hex(path)),
            },
        }
    }
}

/// One thing in a backup, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Entry {
    #[serde(flatten)]
    path: Path,
    /// `file`, `directory`, `symlink`, `block`, `character`, `fifo` or `socket`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Bytes of a file.
    size: Option<u64>,
    /// Permission bits in octal: `0644`.
    mode: String,
    uid: u32,
    gid: u32,
    /// Owner's name where it was taken.
    user: Option<String>,
    /// Group's name where it was taken.
    group: Option<String>,
    /// When it was modified, nanoseconds since the Unix epoch.
    mtime_ns: Option<i64>,
    /// Target of a symbolic link.
    target: Option<String>,
}

impl Entry {
    /// A node at its path.
    pub fn new(path: &[u8], node: &Node) -> Self {
        let (kind, size, target) = match &node.kind {
            NodeKind::File { size, .. } => ("file", Some(*size), None),
            NodeKind::Directory { .. } => ("directory", None, None),
            NodeKind::Symlink { target } => ("symlink", None, Some(printable(target))),
            NodeKind::Special { what, .. } => (special(*what).0, None, None),
        };
        Self {
            path: Path::new(path),
            kind,
            size,
            mode: format!("{:04o}", node.mode),
            uid: node.uid,
            gid: node.gid,
            user: node.user.clone(),
            group: node.group.clone(),
            mtime_ns: i64::try_from(node.mtime_ns).ok(),
            target,
        }
    }
}

/// What is in a backup, for programs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Entries {
    /// The backup.
    pub backup: BackupId,
    /// A directory before what is in it.
    pub entries: Vec<Entry>,
}

impl Document for Entries {
    const KIND: &'static str = "entries";
}

/// One line of `ccb ls`: mode, owner, size, modification time, path, target of a link. `path` is the whole
/// path below the root. No newline.
pub fn entry(path: &[u8], node: &Node) -> String {
    let (size, target) = size_and_target(node);
    format!(
        "{}  {:<8} {:<8} {size:>9}  {}  {}{target}",
        mode(node),
        owner(&node.user, node.uid),
        owner(&node.group, node.gid),
        modified(node.mtime_ns),
        name(path)
    )
}

fn owner(name: &Option<String>, id: u32) -> String {
    name.as_deref().map_or(id.to_string(), line)
}

fn size_and_target(node: &Node) -> (String, String) {
    match &node.kind {
        NodeKind::File { size, .. } => (Size(*size).to_string(), String::new()),
        NodeKind::Symlink { target } => (String::new(), format!(" -> {}", name(target))),
        NodeKind::Directory { .. } | NodeKind::Special { .. } => Default::default(),
    }
}

/// One version of a path, and the backups that have it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FoundVersion {
    /// The newest backup that has it.
    pub backup: BackupId,
    /// When that was taken.
    pub taken: Timestamp,
    /// How many backups have it.
    pub backups: usize,
    /// When the oldest of them was taken.
    pub since: Timestamp,
    /// What it was.
    #[serde(flatten)]
    pub entry: Entry,
    /// For people.
    #[serde(skip)]
    pub node: Node,
    /// For people.
    #[serde(skip)]
    pub at: Vec<u8>,
}

/// Which backups hold paths that match.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Found {
    /// Of what.
    pub component: ComponentName,
    /// What was looked for.
    pub glob: String,
    /// How many backups were looked through.
    pub searched: usize,
    /// Each version once, under the newest backup that has it; newest backup first.
    pub versions: Vec<FoundVersion>,
}

impl Document for Found {
    const KIND: &'static str = "found";
}

/// A row for each version.
pub fn found(found: &Found, look: &Look) -> String {
    if found.versions.is_empty() {
        return format!(
            "No path matches `{}` in {} of component.{}.\n",
            line(&found.glob),
            words::count(found.searched as u64, "backup"),
            found.component
        );
    }
    let mut table = Table::new(&[
        "newest in",
        "taken",
        ">backups",
        "since",
        "mode",
        "owner",
        ">size",
        "modified",
        "path",
    ]);
    for version in &found.versions {
        let node = &version.node;
        let (size, target) = size_and_target(node);
        let since = match version.backups {
            1 => String::new(),
            _ => words::day(version.since),
        };
        table.row(vec![
            version.backup.short(),
            words::instant(version.taken),
            version.backups.to_string(),
            since,
            mode(node),
            owner(&node.user, node.uid),
            size,
            modified(node.mtime_ns),
            name(&version.at) + &target,
        ]);
    }
    table.render(look)
}

/// A path for people: other bytes than UTF-8 as `\xff`, and nothing that moves the cursor or turns text.
pub(crate) fn name(path: &[u8]) -> String {
    match path {
        b"" => ".".to_owned(),
        path => line(&printable(path)),
    }
}

fn special(what: Special) -> (&'static str, char) {
    match what {
        Special::Block => ("block", 'b'),
        Special::Character => ("character", 'c'),
        Special::Fifo => ("fifo", 'p'),
        Special::Socket => ("socket", 's'),
    }
}

/// `drwxr-x---`.
fn mode(node: &Node) -> String {
    let kind = match &node.kind {
        NodeKind::File { .. } => '-',
        NodeKind::Directory { .. } => 'd',
        NodeKind::Symlink { .. } => 'l',
        NodeKind::Special { what, .. } => special(*what).1,
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
