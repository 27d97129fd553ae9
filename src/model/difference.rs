//! How one path differs between two backups: what `ccb diff` finds and prints. Plain data and one pure
//! comparison; who walks two trees stands in `repository::reader`.

use crate::model::tree::{Node, NodeKind};

/// How one path differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path below the root.
    pub path: Vec<u8>,
    /// How.
    pub how: How,
    /// Bytes of the file in the first tree, if it is one there.
    pub before: Option<u64>,
    /// Bytes of the file in the second tree, if it is one there.
    pub after: Option<u64>,
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

impl Difference {
    /// A path that only the second tree has.
    pub fn added(path: Vec<u8>, node: &Node) -> Self {
        Self {
            path,
            how: How::Added,
            before: None,
            after: size(node),
        }
    }
    /// A path that only the first tree has.
    pub fn removed(path: Vec<u8>, node: &Node) -> Self {
        Self {
            path,
            how: How::Removed,
            before: size(node),
            after: None,
        }
    }
    /// A path that both have, if anything of it differs that a person would miss.
    pub fn changed(path: Vec<u8>, before: &Node, after: &Node) -> Option<Self> {
        let what = changes(before, after);
        (!what.is_empty()).then(|| Self {
            path,
            how: How::Changed(what),
            before: size(before),
            after: size(after),
        })
    }
}

fn size(node: &Node) -> Option<u64> {
    match &node.kind {
        NodeKind::File { size, .. } => Some(*size),
        _ => None,
    }
}

/// What differs between two nodes at one path, in words. Both trees must name blobs by the same keys. Times
/// of directories do not count: they move with what is in them. Inode numbers and change times never do.
fn changes(before: &Node, after: &Node) -> Vec<&'static str> {
    let mut what = Vec::new();
    let mut note = |differs: bool, word| {
        if differs {
            what.push(word);
        }
    };
    let mut is_directory = false;
    match (&before.kind, &after.kind) {
        (
            NodeKind::File {
                size,
                content,
                extents,
            },
            NodeKind::File {
                size: other_size,
                content: other,
                extents: other_extents,
            },
        ) => {
            let same = size == other_size && content == other;
            note(!same, "content");
            note(same && extents != other_extents, "holes");
        }
        (NodeKind::Directory { .. }, NodeKind::Directory { .. }) => is_directory = true,
        (NodeKind::Symlink { target }, NodeKind::Symlink { target: other }) => {
            note(target != other, "target");
        }
        (
            NodeKind::Special { what, rdev },
            NodeKind::Special {
                what: other,
                rdev: other_rdev,
            },
        ) => {
            note(what != other, "type");
            note(rdev != other_rdev, "device");
        }
        _ => note(true, "type"),
    }
    note(before.mode != after.mode, "mode");
    let owners = |node: &Node| (node.uid, node.gid);
    note(owners(before) != owners(after), "owner");
    note(!is_directory && before.mtime_ns != after.mtime_ns, "time");
    note(before.xattrs != after.xattrs, "attributes");
    let is_linked = |node: &Node| node.hard_link.is_some();
    note(is_linked(before) != is_linked(after), "links");
    what
}

#[cfg(test)]
mod tests {
    use crate::model::difference::{Difference, How};
    use crate::model::ids::BlobId;
    use crate::model::tree::{Content, Node, NodeKind};

    fn file(content: u8, mtime_ns: i128) -> Node {
        Node {
            name: b"x".to_vec(),
            kind: NodeKind::File {
                size: content.into(),
                content: Content {
                    blobs: vec![BlobId([content; 32])],
                    is_list: false,
                },
                extents: Vec::new(),
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime_ns,
            ctime_ns: mtime_ns,
            inode: 0,
            device: 0,
            hard_link: None,
            xattrs: Vec::new(),
            unknown: Vec::new(),
        }
    }

    fn words(before: &Node, after: &Node) -> Vec<&'static str> {
        match Difference::changed(b"x".to_vec(), before, after).map(|d| d.how) {
            Some(How::Changed(what)) => what,
            None => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_thing_that_differs_is_named_and_what_only_the_machine_sees_is_not() {
        let old = file(1, 5);
        assert_eq!(words(&old, &old), [""; 0]);
        let moved = Node {
            inode: 9,
            ctime_ns: 77,
            ..old.clone()
        };
        assert_eq!(words(&old, &moved), [""; 0]);
        assert_eq!(words(&old, &file(2, 6)), ["content", "time"]);
        let other = Node {
            mode: 0o600,
            uid: 5,
            xattrs: vec![(b"user.a".to_vec(), Vec::new())],
            ..old.clone()
        };
        assert_eq!(words(&old, &other), ["mode", "owner", "attributes"]);
        let link = Node {
            kind: NodeKind::Symlink {
                target: b"y".to_vec(),
            },
            ..old.clone()
        };
        assert_eq!(words(&old, &link), ["type"]);
    }

    #[test]
    fn a_directory_whose_time_alone_moved_is_no_difference() {
        let directory = |mtime_ns| Node {
            kind: NodeKind::Directory { tree: None },
            ..file(0, mtime_ns)
        };
        assert_eq!(words(&directory(1), &directory(2)), [""; 0]);
    }
}
