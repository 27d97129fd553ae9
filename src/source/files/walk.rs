//! Turns what the scan saw into nodes, and decides what has to be read again.

use crate::model::strategy::Symlinks;
use crate::model::tree::{
    Body, Content, Entries, Found, Node, NodeKind, Previous, Problem, Recorded, RecordedKind,
    printable,
};
use crate::source::files::attributes::{data_ranges, read_xattrs};
use crate::source::files::before::{Before, Ready};
use crate::source::files::beneath::Links;
use crate::source::files::body::FileToRead;
use crate::source::files::owners::Owners;
use crate::source::files::parents::Parents;
use crate::source::files::scan::{Entry, Item, Message, Note, Noted, Scan};
use crate::source::files::stat::Stat;
use crate::source::files::status;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread, vec};

/// Batches that may wait for their status, and as many with it, so that reading directories goes on while the parent's
/// are read.
const BATCHES_AHEAD: usize = 4;
/// Times of file systems and the machine's clock may differ by this much.
const CLOCK_SLACK_NS: i128 = 2_000_000_000;
/// Notes beyond this many are counted only.
const NOTES_MAX: usize = 1000;

/// What a walk has seen so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Regular files, each name of a hard link counted.
    pub files: u64,
    /// Directories, the root not counted.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Devices, FIFOs and sockets.
    pub specials: u64,
    /// Sum of the files' sizes.
    pub bytes: u64,
    /// Files that are taken over from the parent backup.
    pub unchanged: u64,
    /// Entries that globs or `symlinks "skip"` left out. What is in them is not counted.
    pub excluded: u64,
    /// Entries that vanished, were left out or not followed; the first thousand.
    pub notes: Vec<Note>,
    /// How many of those there were.
    pub note_count: u64,
    /// How many of those vanished.
    pub vanished: u64,
    /// Problems that were handed out.
    pub problems: u64,
}

/// A walk under way: an iterator of what is found, depth first, siblings by name.
pub struct Walk {
    from: Receiver<Message>,
    items: vec::IntoIter<Item>,
    ready: VecDeque<Ready>,
    ended: bool,
    symlinks: Symlinks,
    nodes: Nodes,
    tally: Arc<Mutex<Tally>>,
}

impl Walk {
    pub(crate) fn start(
        scan: Scan,
        symlinks: Symlinks,
        previous: Option<Box<dyn Previous>>,
    ) -> Self {
        let (to, unseen) = sync_channel(BATCHES_AHEAD);
        let (seen, from) = sync_channel(BATCHES_AHEAD);
        let tally: Arc<Mutex<Tally>> = Arc::default();
        let links = Links::of(symlinks);
        let nodes = Nodes {
            root: scan.root.clone(),
            links,
            before: Before::new(previous),
            owners: Owners::of_this_machine(),
            parents: Parents::default(),
            tally: tally.clone(),
        };
        thread::spawn(move || scan.run(&to));
        thread::spawn(move || status::run(&unseen, &seen, symlinks));
        Self {
            from,
            items: Vec::new().into_iter(),
            ready: VecDeque::new(),
            ended: false,
            symlinks,
            nodes,
            tally,
        }
    }

    /// What has been seen so far; stays readable when the walk has been given away.
    pub fn tally(&self) -> Arc<Mutex<Tally>> {
        self.tally.clone()
    }

    fn take(&mut self, item: Item) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match item {
            Item::Excluded => tally.excluded += 1,
            Item::Note(note) => tally.note(&note.path, note.what),
            Item::Problem(problem) => self.ready.push_back(Ready::One(Err(problem))),
            Item::Entry(entry) => self.nodes.take(entry, &mut self.ready, &mut tally),
            // The thread before this one looks at all of them.
            Item::Unseen(entry) => {
                drop(tally);
                return self.take(status::look_at(entry, self.symlinks));
            }
        }
        let is_problem = |ready: &&Ready| matches!(ready, Ready::One(Err(_)));
        tally.problems += self.ready.iter().filter(is_problem).count() as u64;
    }

    /// What is ready to go out.
    fn next_ready(&mut self) -> Option<Result<Found, Problem>> {
        loop {
            if let Ready::Held(held) = self.ready.front_mut()? {
                if let Some(found) = held.next() {
                    return Some(Ok(found));
                }
                self.ready.pop_front();
                continue;
            }
            if let Ready::One(one) = self.ready.pop_front()? {
                return Some(one);
            }
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Found, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.next_ready() {
                return Some(ready);
            }
            if let Some(item) = self.items.next() {
                self.take(item);
                continue;
            }
            if self.ended {
                return None;
            }
            match self.from.recv() {
                Ok(Message::Batch(items)) => self.items = items.into_iter(),
                Ok(Message::End) => {
                    self.ended = true;
                    self.nodes.before.finish(&mut self.ready);
                }
                Err(_) => {
                    // An end that nobody announced must not look like the end of the tree.
                    self.ended = true;
                    self.nodes.before.hand_out(&mut self.ready);
                    let cause = io::Error::other("the thread that reads directories died");
                    return Some(Err(Problem {
                        path: Vec::new(),
                        doing: "walk",
                        cause,
                    }));
                }
            }
        }
    }
}

impl Tally {
    pub(crate) fn note(&mut self, path: &[u8], what: Noted) {
        self.note_count += 1;
        self.vanished += u64::from(what == Noted::Vanished);
        if self.notes.len() < NOTES_MAX {
            let path = path.to_vec();
            self.notes.push(Note { path, what });
        }
    }

    /// What vanished, in words: a deletion loses nothing, but who moves things may move them to where the walk has
    /// been already.
    pub(crate) fn vanished(&self) -> Option<String> {
        let first = self.notes.iter().find(|note| note.what == Noted::Vanished);
        let such_as = first.map(|note| format!(", such as `{}`", printable(&note.path)));
        let things = match self.vanished {
            0 => return None,
            1 => "1 file or folder was".to_owned(),
            n => format!("{n} files or folders were"),
        };
        let such_as = such_as.unwrap_or_default();
        Some(format!(
            "{things} gone before they could be read{such_as}: deleted, or moved to where this backup may not have it"
        ))
    }

    fn count(&mut self, kind: &NodeKind) {
        match kind {
            NodeKind::File { size, .. } => {
                self.files += 1;
                self.bytes += size;
            }
            NodeKind::Directory { .. } => self.directories += 1,
            NodeKind::Symlink { .. } => self.links += 1,
            NodeKind::Special { .. } => self.specials += 1,
        }
    }
}

/// Makes nodes.
struct Nodes {
    root: Arc<OwnedFd>,
    links: Links,
    before: Before,
    owners: Owners,
    parents: Parents,
    /// For files that vanish before they are read.
    tally: Arc<Mutex<Tally>>,
}

impl Nodes {
    /// Takes in what the scan saw; what goes out for it, now or later, is what goes on.
    fn take(&mut self, entry: Entry, out: &mut VecDeque<Ready>, tally: &mut Tally) {
        self.before.leave_until(entry.directory(), out);
        if entry.stat.kind.is_file() {
            return self.take_file(entry, out, tally);
        }
        let Some(mut node) = self.node(&entry) else {
            tally.excluded += 1;
            return;
        };
        self.read_xattrs(&entry, &mut node, out);
        if entry.stat.kind.is_dir() {
            if !entry.path.is_empty() {
                tally.count(&node.kind);
            }
            return self.before.enter(entry.path, node, out);
        }
        tally.count(&node.kind);
        let is_same = |before: &mut dyn Entries| before.peek_node().as_ref() == Some(&node);
        if self.before.hold(&node.kind, is_same) {
            return;
        }
        self.before.hand_out(out);
        out.push_back(Ready::One(Ok(Found {
            path: entry.path,
            node,
            body: Body::Nothing,
        })));
    }

    fn take_file(&mut self, entry: Entry, out: &mut VecDeque<Ready>, tally: &mut Tally) {
        let (stat, owners) = (&entry.stat, &self.owners);
        let started_ns = self.before.started_ns();
        let is_same = |before: &mut dyn Entries| {
            before.peek().is_some_and(|before| {
                before.name == entry.name()
                    && is_unchanged(&before, stat, started_ns)
                    && is_as_recorded(&before, stat, owners)
            })
        };
        let kind = file_kind(stat);
        if self.before.hold(&kind, is_same) {
            tally.count(&kind);
            tally.unchanged += 1;
            return;
        }
        self.before.hand_out(out);
        let Some(found) = self.file(entry, started_ns, out) else {
            return;
        };
        tally.count(&found.node.kind);
        tally.unchanged += u64::from(matches!(found.body, Body::Unchanged(_)));
        out.push_back(Ready::One(Ok(found)));
    }

    /// A file that differs from that of the parent, or lies where something does.
    fn file(&mut self, entry: Entry, started_ns: i128, out: &mut VecDeque<Ready>) -> Option<Found> {
        let stat = entry.stat;
        let mut node = self.node(&entry)?;
        let is_unchanged = |before: &Recorded<'_>| is_unchanged(before, &stat, started_ns);
        if let Some(before) = self.before.find(entry.name(), is_unchanged) {
            node.xattrs = before.xattrs;
            let NodeKind::File {
                size,
                content,
                extents,
            } = before.kind
            else {
                return None;
            };
            let empty = Content::default();
            node.kind = NodeKind::File {
                size,
                content: empty,
                extents,
            };
            return Some(Found {
                path: entry.path,
                node,
                body: Body::Unchanged(content),
            });
        }
        self.read_xattrs(&entry, &mut node, out);
        let mut body = Body::Nothing;
        if let NodeKind::File { size, extents, .. } = &mut node.kind
            && *size > 0
        {
            if stat.allocated < *size {
                match self.extents(&entry) {
                    Ok(found) => *extents = found,
                    Err(cause) => out.extend(failed(&entry, "find the holes of", cause)),
                }
            }
            let (root, path, links) = (self.root.clone(), entry.path.clone(), self.links);
            let parent = match self.links {
                Links::Refuse => self.parents.hold(&entry.parent),
                Links::Follow => None,
            };
            body = Body::Read(Box::new(FileToRead {
                root,
                path,
                parent,
                seen: stat,
                links,
                tally: self.tally.clone(),
            }));
        }
        Some(Found {
            path: entry.path,
            node,
            body,
        })
    }

    fn read_xattrs(&self, entry: &Entry, node: &mut Node, out: &mut VecDeque<Ready>) {
        let links = if entry.followed {
            Links::Follow
        } else {
            Links::Refuse
        };
        match read_xattrs(&*entry.parent, entry.name(), &entry.stat, links) {
            Ok(xattrs) => node.xattrs = xattrs,
            Err(cause) => {
                out.extend(failed(entry, "read the extended attributes of", cause));
            }
        }
    }

    /// `None`: there is no such kind of thing.
    fn node(&self, entry: &Entry) -> Option<Node> {
        let stat = &entry.stat;
        let kind = if let Some(what) = stat.special() {
            NodeKind::Special {
                what,
                rdev: stat.rdev,
            }
        } else if stat.kind.is_file() {
            file_kind(stat)
        } else if stat.kind.is_dir() {
            NodeKind::Directory { tree: None }
        } else if stat.kind.is_symlink() {
            NodeKind::Symlink {
                target: entry.target.clone(),
            }
        } else {
            return None;
        };
        let linked = stat.links > 1 && !stat.kind.is_dir();
        Some(Node {
            name: entry.name().to_vec(),
            kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            user: self.owners.user(stat.uid).map(str::to_owned),
            group: self.owners.group(stat.gid).map(str::to_owned),
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
            inode: stat.inode,
            device: stat.device,
            hard_link: linked.then(|| hard_link(stat)),
            xattrs: Vec::new(),
            unknown: Vec::new(),
        })
    }

    fn extents(&self, entry: &Entry) -> Result<Vec<(u64, u64)>, Errno> {
        let name = OsStr::from_bytes(entry.name());
        let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if !entry.followed {
            flags |= OFlags::NOFOLLOW;
        }
        let fd = openat(&entry.parent, name, flags, Mode::empty())?;
        let ranges = data_ranges(&fd, entry.stat.size)?;
        // No range means "no hole", so one hole from end to end is a range of no length.
        Ok(ranges.map_or(Vec::new(), |found| {
            if found.is_empty() {
                vec![(0, 0)]
            } else {
                found
            }
        }))
    }
}

fn file_kind(stat: &Stat) -> NodeKind {
    NodeKind::File {
        size: stat.size,
        content: Content::default(),
        extents: Vec::new(),
    }
}

/// Whether a file is as the parent backup has it. What was touched when that walk began, or later,
/// may have been touched again within one tick of the clock, after it was read.
fn is_unchanged(before: &Recorded<'_>, now: &Stat, started_ns: i128) -> bool {
    let touched_ns = now.mtime_ns.max(now.ctime_ns);
    before.what == RecordedKind::File { size: now.size }
        && before.mtime_ns == now.mtime_ns
        && before.ctime_ns == now.ctime_ns
        && before.inode == now.inode
        && touched_ns < started_ns - CLOCK_SLACK_NS
}

/// Whether all that a walk records of a file that it does not read is as it was.
fn is_as_recorded(before: &Recorded<'_>, now: &Stat, owners: &Owners) -> bool {
    let linked = (now.links > 1).then(|| hard_link(now));
    before.mode == now.mode
        && (before.uid, before.gid) == (now.uid, now.gid)
        && before.user == owners.user(now.uid)
        && before.group == owners.group(now.gid)
        && before.device == now.device
        && before.hard_link == linked
        && !before.has_unknown
}

/// What was deleted meanwhile is no failure.
fn failed(entry: &Entry, doing: &'static str, cause: Errno) -> Option<Ready> {
    let (path, cause) = (entry.path.clone(), cause.into());
    let problem = Problem { path, doing, cause };
    (problem.cause.kind() != io::ErrorKind::NotFound).then_some(Ready::One(Err(problem)))
}

/// Names of one file share this; it is the same in every backup while the file stays where it is.
fn hard_link(stat: &Stat) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&stat.device.to_le_bytes());
    hasher.update(&stat.inode.to_le_bytes());
    let mut id = [0; 8];
    hasher.finalize_xof().fill(&mut id);
    u64::from_le_bytes(id)
}

#[cfg(test)]
mod tests {
    use crate::model::ids::BlobId;
    use crate::model::tree::{Recorded, RecordedKind};
    use crate::source::files::stat::Stat;
    use crate::source::files::walk::is_unchanged;
    use rustix::fs::FileType;

    const SECOND: i128 = 1_000_000_000;

    fn stat() -> Stat {
        Stat {
            kind: FileType::RegularFile,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 10,
            allocated: 4096,
            links: 1,
            device: 1,
            inode: 7,
            rdev: 0,
            mtime_ns: 100 * SECOND,
            ctime_ns: 100 * SECOND,
        }
    }

    fn recorded(stat: &Stat) -> Recorded<'static> {
        Recorded {
            name: b"a",
            what: RecordedKind::File { size: stat.size },
            mode: stat.mode,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
            inode: stat.inode,
            device: stat.device,
            hard_link: None,
            has_unknown: false,
        }
    }

    #[test]
    fn a_file_is_read_again_when_anything_says_that_it_may_have_changed() {
        let before = recorded(&stat());
        let long_after = 200 * SECOND;
        let table: [(&str, Stat, i128, bool); 9] = [
            ("equal", stat(), long_after, true),
            (
                "another device number, as after a reboot",
                Stat {
                    device: 2,
                    ..stat()
                },
                long_after,
                true,
            ),
            ("size", Stat { size: 11, ..stat() }, long_after, false),
            (
                "mtime",
                Stat {
                    mtime_ns: 101 * SECOND,
                    ..stat()
                },
                long_after,
                false,
            ),
            (
                "mtime set back",
                Stat {
                    ctime_ns: 101 * SECOND,
                    ..stat()
                },
                long_after,
                false,
            ),
            (
                "replaced by another file",
                Stat { inode: 8, ..stat() },
                long_after,
                false,
            ),
            ("touched after the parent began", stat(), 99 * SECOND, false),
            (
                "touched two seconds before that",
                stat(),
                102 * SECOND,
                false,
            ),
            (
                "touched just over two seconds before that",
                stat(),
                102 * SECOND + 1,
                true,
            ),
        ];
        for (what, now, started_ns, unchanged) in table {
            assert_eq!(is_unchanged(&before, &now, started_ns), unchanged, "{what}");
        }
        let tree = BlobId([0; 32]);
        let directory = Recorded {
            what: RecordedKind::Directory { tree },
            ..before
        };
        assert!(
            !is_unchanged(&directory, &stat(), long_after),
            "it was a directory"
        );
    }
}
