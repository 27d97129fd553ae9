//! What a backup of a file tree is made of: nodes with their metadata, and where their bytes are.
//! The vocabulary that a source, the repository and a restore share. Names are bytes, not text.

use crate::model::ids::BlobId;
use serde::{Deserialize, Serialize};
use std::{
    fmt::Write,
    io::{self, Read},
};

/// Metadata of one file, directory, link or device, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name within its directory: any bytes but `/` and NUL, never empty, `.` or `..`.
    pub name: Vec<u8>,
    /// What kind of thing it is, with what only that kind has.
    pub kind: NodeKind,
    /// Permission bits, with setuid, setgid and sticky: `st_mode & 0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name where it was taken, if it had one.
    pub user: Option<String>,
    /// Group's name where it was taken, if it had one.
    pub group: Option<String>,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime_ns: i128,
    /// Change time, nanoseconds since the Unix epoch; for change detection only.
    pub ctime_ns: i128,
    /// Inode number; for change detection only.
    pub inode: u64,
    /// Device number; for change detection only.
    pub device: u64,
    /// Names of hard links to one file share this; `None` when there is one name only.
    pub hard_link: Option<u64>,
    /// Extended attributes sorted by name. ACLs are `system.posix_acl_access` and `_default`.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What a later version of ccb recorded and this one does not know, as `(tag, value)` sorted by
    /// tag. A walk leaves it empty; what was read from a repository is written back as it was.
    pub unknown: Vec<(u64, Vec<u8>)>,
}

/// What kind of thing a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// Its bytes.
        content: Content,
        /// Ranges `(offset, length)` that hold data, when the file has holes; empty when it has none.
        /// Offsets in `content` are offsets in the file: holes are stored as zeros, which cost nothing.
        extents: Vec<(u64, u64)>,
    },
    /// A directory. `tree` is `None` only before it has been written.
    Directory {
        /// The blob that lists its entries.
        tree: Option<BlobId>,
    },
    /// A symbolic link.
    Symlink {
        /// Its target, any bytes but NUL.
        target: Vec<u8>,
    },
    /// A block or character device, a FIFO or a socket.
    Special {
        /// Which.
        what: Special,
        /// Device number of a device, else 0.
        rdev: u64,
    },
}

/// Special files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Special {
    Block,
    Character,
    Fifo,
    Socket,
}

/// The bytes of a file: data blobs in order, or list blobs that name them when there are many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Blobs in order.
    pub blobs: Vec<BlobId>,
    /// `true`: `blobs` are list blobs, each naming data blobs.
    pub is_list: bool,
}

/// What a walk found: a node below the root. A walk is depth first: a directory, then each of its
/// entries sorted by name bytes, an entry's own entries before its next sibling. A walk's items are
/// `Result<Found, Problem>`.
pub struct Found {
    /// Path below the root, parts joined with `/`; empty for the root itself.
    pub path: Vec<u8>,
    /// Its metadata. The content of files and the trees of directories are filled in by the repository.
    pub node: Node,
    /// Where the bytes of a regular file come from.
    pub body: Body,
}

impl Found {
    /// A stream at `path`, taken at `at_ns`. It has no owner and no modes of its own: it is restored for
    /// its reader only.
    pub fn stream(path: &str, at_ns: i128, open: Box<dyn OpenStream>) -> Self {
        let kind = NodeKind::File {
            size: 0,
            content: Content::default(),
            extents: Vec::new(),
        };
        Self {
            path: path.as_bytes().to_vec(),
            node: Node::plain(last_part(path), kind, 0o600, at_ns),
            body: Body::Stream(open),
        }
    }

    /// A directory at `path` that streams lie in; the root when that is empty.
    pub fn directory(path: &str, at_ns: i128) -> Self {
        let kind = NodeKind::Directory { tree: None };
        Self {
            path: path.as_bytes().to_vec(),
            node: Node::plain(last_part(path), kind, 0o700, at_ns),
            body: Body::Nothing,
        }
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Node {
    /// A node that came from no file system: only its name, kind, mode and time are known.
    pub fn plain(name: &str, kind: NodeKind, mode: u32, mtime_ns: i128) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime_ns,
            ctime_ns: 0,
            inode: 0,
            device: 0,
            hard_link: None,
            xattrs: Vec::new(),
            unknown: Vec::new(),
        }
    }
}

/// Metadata of a tree's root, which has no entry in a directory: it is kept with the backup's facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFacts {
    /// Permission bits, as in [`Node::mode`].
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
}

impl RootFacts {
    /// Those of a node.
    pub fn of(node: &Node) -> Self {
        Self {
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            // Until the year 2262; what is beyond is kept at that.
            mtime_ns: i64::try_from(node.mtime_ns).unwrap_or(i64::MAX),
        }
    }
    /// The root as a node whose entries are in `tree`.
    pub fn node(&self, tree: BlobId) -> Node {
        let kind = NodeKind::Directory { tree: Some(tree) };
        Node {
            uid: self.uid,
            gid: self.gid,
            ..Node::plain("", kind, self.mode, self.mtime_ns.into())
        }
    }
}

/// One thing that could not be read or written, and why. The work goes on without it, and its result
/// is incomplete.
#[derive(Debug, thiserror::Error)]
#[error("{doing} `{}`", printable(.path))]
pub struct Problem {
    /// Path below the root, parts joined with `/`; empty for the root itself.
    pub path: Vec<u8>,
    /// What was being done to it, as a verb phrase: `read directory`.
    pub doing: &'static str,
    /// Why it failed.
    #[source]
    pub cause: io::Error,
}

/// Looks up what the parent backup held, so that unchanged files need not be read.
pub trait Previous: Send {
    /// The parent's node at `path` below the root, for who knows paths and no directories. Calls come in the order of
    /// the walk: each directory before its entries, siblings sorted by name. A file is given away: the second time it is
    /// not there.
    fn find(&mut self, path: &[u8]) -> Option<Node>;
    /// The tree of the parent's root.
    fn root(&self) -> BlobId;
    /// What the directory of this tree held; nothing when it can not be read.
    fn open(&mut self, tree: &BlobId) -> Option<Box<dyn Entries>>;
    /// When the parent's own walk started, by this machine's clock, nanoseconds since the Unix epoch.
    /// What was touched at that time or later may have changed again unseen.
    fn started_ns(&self) -> i128;
}

/// What one directory of the parent backup held, in the order of names: those that were passed, then the next.
pub trait Entries: Send {
    /// What is recorded of the next entry; nothing at the end, or where what follows can not be read.
    fn peek(&mut self) -> Option<Recorded<'_>>;
    /// The next entry as a whole.
    fn peek_node(&mut self) -> Option<Node>;
    /// Whether all have been passed: never where one could not be read.
    fn is_at_end(&mut self) -> bool;
    /// Passes the next entry.
    fn pass(&mut self);
    /// All that were passed. What is passed from now on is forgotten.
    fn take_passed(&mut self) -> Box<dyn Iterator<Item = Node> + Send>;
}

/// What is recorded of an entry, but for what it holds and its extended attributes. Fields as in [`Node`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Recorded<'a> {
    pub name: &'a [u8],
    pub what: RecordedKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub user: Option<&'a str>,
    pub group: Option<&'a str>,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
    pub inode: u64,
    pub device: u64,
    pub hard_link: Option<u64>,
    /// Whether a later version of ccb recorded something that this one does not know.
    pub has_unknown: bool,
}

/// What is recorded of what an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedKind {
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
    },
    /// A directory.
    Directory {
        /// The blob that lists its entries.
        tree: BlobId,
    },
    /// Something else.
    Other,
}

/// How much is in a directory and below, itself not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Regular files, each name of a hard link counted.
    pub files: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices, FIFOs and sockets.
    pub specials: u64,
}

impl Totals {
    /// Counts one more.
    pub fn count(&mut self, kind: &NodeKind) {
        match kind {
            NodeKind::File { size, .. } => {
                self.files += 1;
                self.bytes += size;
            }
            NodeKind::Directory { .. } => self.directories += 1,
            NodeKind::Symlink { .. } => self.symlinks += 1,
            NodeKind::Special { .. } => self.specials += 1,
        }
    }
    /// Counts what another directory holds too.
    pub fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.directories += other.directories;
        self.symlinks += other.symlinks;
        self.specials += other.specials;
    }
}

/// A path of any bytes as text for people: UTF-8 stays, control characters and other bytes are escaped.
pub fn printable(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for part in path.utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in part.invalid() {
            // Writing into a string has no way to fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Where the bytes of a file come from.
pub enum Body {
    /// It is no regular file, or an empty one.
    Nothing,
    /// Unchanged since the parent backup, which is pinned: its content, nothing is read.
    Unchanged(Content),
    /// A directory in which nothing changed since the parent backup, which is pinned, with all that is below it: its
    /// node names the tree, and nothing of it is found any more.
    Whole(Totals),
    /// To be read. The repository opens it on the thread that reads it.
    Read(Box<dyn OpenBody>),
    /// What a server gives: bytes of unknown length, a dump or one of its files. Unlike with
    /// [`Body::Read`], a failure ends the backup: half a dump is none.
    Stream(Box<dyn OpenStream>),
}

/// Opens one stream.
pub trait OpenStream: Send {
    /// Opens it for one sequential read. That gives `Ok(0)` only when the whole stream is proven to have
    /// arrived: the program ended well, the end mark was seen. Everything else is an error.
    fn open(self: Box<Self>) -> io::Result<Box<dyn Read + Send>>;
}

impl<F: FnOnce() -> io::Result<Box<dyn Read + Send>> + Send> OpenStream for F {
    fn open(self: Box<Self>) -> io::Result<Box<dyn Read + Send>> {
        (*self)()
    }
}

/// Opens the bytes of one file.
pub trait OpenBody: Send {
    /// Opens it for one sequential read. `NotFound`: it was deleted since the walk saw it, so there is
    /// nothing to back up and nothing failed.
    fn open(self: Box<Self>) -> io::Result<Box<dyn ReadBody>>;
}

/// Bytes being read, and afterwards whether they stayed the same meanwhile.
pub trait ReadBody: Read + Send {
    /// After the last byte: whether the file is another one than the walk saw, or size or modification
    /// time moved. The bytes that were read are what there was; their count is the size to record.
    fn changed_while_reading(&self) -> io::Result<bool>;

    /// Where it holds data by now, as ranges of offset and length in order; `None` when it has no hole, or nobody
    /// knows. One that is a single hole has no range.
    fn data_now(&self) -> Option<Vec<(u64, u64)>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::model::tree::printable;

    #[test]
    fn paths_print_without_control_characters_and_without_losing_bytes() {
        let table: [(&[u8], &str); 4] = [
            (b"a/b", "a/b"),
            ("grün".as_bytes(), "grün"),
            (b"\x1b[2J\n", "\\u{1b}[2J\\n"),
            (b"x\xff\xfey", "x\\xff\\xfey"),
        ];
        for (path, text) in table {
            assert_eq!(printable(path), text);
        }
    }
}
