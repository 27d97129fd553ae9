//! Trees: what a directory holds, as blobs. A directory's entries are cut into leaves where their names
//! say so, so that one changed file rewrites one leaf; a long file's blobs are listed in blobs alike.
//! What is read here may be hostile: no name that leaves its directory gets through.

use crate::model::ids::BlobId;
use crate::model::tree::Node;
use crate::repository::format::FormatError;
use crate::repository::format::wire::{Reader, put_bytes, put_varint};
use std::sync::Arc;

pub use crate::repository::format::tree::node::check_name;
pub(crate) use crate::repository::format::tree::node::{KindRef, NodeRef};

mod node;

pub(crate) const WHAT: &str = "tree";
const VERSION: u8 = 1;
const LEAF: u8 = 1;
const TREE_LIST: u8 = 2;
const CONTENT_LIST: u8 = 3;

const LEAF_MIN_ENTRIES: usize = 64;
const LEAF_MAX_ENTRIES: usize = 4096;
/// A leaf also ends here: a few huge attributes must not make a blob that no frame can hold.
const LEAF_MAX_BYTES: usize = 1 << 20;
const LEAF_CUT_MASK: u64 = 0x1ff;
/// A node that takes more is refused on writing and reading.
const NODE_MAX_BYTES: usize = 16 << 20;

/// A file with more blobs than this names them in content lists.
pub const INLINE_MAX_BLOBS: usize = 16;
const LIST_MIN_IDS: usize = 256;
const LIST_MAX_IDS: usize = 4096;
/// A list is written anew when one blob in it is another: shorter ones cost less of that.
const LIST_CUT_MASK: u64 = 0x1ff;

/// One leaf of a directory that has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRef {
    /// Name of its first entry.
    pub first_name: Vec<u8>,
    /// Its blob.
    pub id: BlobId,
}

/// A leaf as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Name of its first entry; empty in an empty directory.
    pub first_name: Vec<u8>,
    /// The bytes of its blob.
    pub blob: Vec<u8>,
}

/// What the blob of a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// All entries, or those of one leaf, sorted by name.
    Leaf(Vec<Node>),
    /// The leaves, in order of name; there are at least two.
    List(Vec<LeafRef>),
}

/// Cuts the entries of a directory, sorted by name, into leaves. There is always one, empty for an empty directory.
pub fn encode_leaves(entries: &[Node]) -> Result<Vec<Leaf>, FormatError> {
    let mut leaves = Vec::new();
    let mut body = Vec::new();
    let mut first = 0;
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 && entries[at - 1].name >= entry.name {
            return Err(FormatError::malformed(WHAT, "entries are not in order"));
        }
        let start = body.len();
        node::encode(entry, &mut body)?;
        if body.len() - start > NODE_MAX_BYTES {
            return Err(FormatError::TooLarge {
                what: "tree entry",
                limit_bytes: NODE_MAX_BYTES as u64,
            });
        }
        let count = at + 1 - first;
        if ends_leaf(&entry.name, count, body.len()) || at + 1 == entries.len() {
            leaves.push(Leaf {
                first_name: entries[first].name.clone(),
                blob: leaf_blob(count, &body),
            });
            body.clear();
            first = at + 1;
        }
    }
    if entries.is_empty() {
        leaves.push(Leaf {
            first_name: Vec::new(),
            blob: leaf_blob(0, &[]),
        });
    }
    Ok(leaves)
}

fn ends_leaf(name: &[u8], count: usize, body_len: usize) -> bool {
    let is_chosen = || low_word(blake3::hash(name).as_bytes()) & LEAF_CUT_MASK == 0;
    (count >= LEAF_MIN_ENTRIES && is_chosen())
        || count >= LEAF_MAX_ENTRIES
        || body_len >= LEAF_MAX_BYTES
}

fn low_word(bytes: &[u8; 32]) -> u64 {
    bytes[..8]
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn leaf_blob(count: usize, body: &[u8]) -> Vec<u8> {
    let mut out = vec![VERSION, LEAF];
    put_varint(&mut out, count as u64);
    out.extend_from_slice(body);
    out
}

/// The list blob of a directory with several leaves.
pub fn encode_tree_list(leaves: &[LeafRef]) -> Vec<u8> {
    let mut out = vec![VERSION, TREE_LIST];
    put_varint(&mut out, leaves.len() as u64);
    for leaf in leaves {
        put_bytes(&mut out, &leaf.first_name);
        out.extend_from_slice(&leaf.id.0);
    }
    out
}

/// Reads the blob of a directory.
pub fn decode_tree(blob: &[u8]) -> Result<Tree, FormatError> {
    let mut reader = Reader::new(blob, WHAT);
    match opening(&mut reader)? {
        LEAF => decode_leaf(reader).map(Tree::Leaf),
        TREE_LIST => decode_tree_list(reader).map(Tree::List),
        _ => Err(reader.wrong("it does not list a directory")),
    }
}

fn opening(reader: &mut Reader<'_>) -> Result<u8, FormatError> {
    let version = reader.u8()?;
    if version == VERSION {
        return reader.u8();
    }
    Err(FormatError::Version {
        what: WHAT,
        found: u32::from(version),
        known: u32::from(VERSION),
    })
}

fn decode_leaf(reader: Reader<'_>) -> Result<Vec<Node>, FormatError> {
    let mut nodes = Vec::new();
    read_leaf(reader, |_, node| nodes.push(node.to_node()))?;
    Ok(nodes)
}

/// The blobs that a blob of a tree names directly.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    /// Directories, their leaves, and lists of blobs.
    pub(crate) trees: Vec<BlobId>,
    /// Bytes of files.
    pub(crate) data: Vec<BlobId>,
}

/// What the blob of a directory, of one of its leaves, or of a part of a long file's blobs names. Refuses what
/// [`decode_tree`] and [`decode_content_list`] refuse.
pub(crate) fn references(blob: &[u8]) -> Result<References, FormatError> {
    let mut found = References::default();
    let mut reader = Reader::new(blob, WHAT);
    match opening(&mut reader)? {
        LEAF => read_leaf(reader, |_, node| found.add(node))?,
        TREE_LIST => {
            let leaves = decode_tree_list(reader)?;
            found.trees.extend(leaves.iter().map(|leaf| leaf.id));
        }
        CONTENT_LIST => found.data = decode_content_list(blob)?,
        _ => return Err(reader.wrong("it lists neither a directory nor the blobs of a file")),
    }
    Ok(found)
}

impl References {
    pub(crate) fn extend(&mut self, other: Self) {
        self.trees.extend(other.trees);
        self.data.extend(other.data);
    }

    fn add(&mut self, node: &NodeRef<'_>) {
        match &node.kind {
            KindRef::Directory { tree } => self.trees.push(*tree),
            KindRef::File { blobs, is_list, .. } => {
                let into = match is_list {
                    true => &mut self.trees,
                    false => &mut self.data,
                };
                into.extend(blobs.iter().map(|id| BlobId(*id)));
            }
            KindRef::Symlink { .. } | KindRef::Special { .. } => {}
        }
    }
}

/// Reads all entries of a leaf; `each` gets them with how many bytes are left when they begin.
fn read_leaf<'a>(
    mut reader: Reader<'a>,
    mut each: impl FnMut(usize, &NodeRef<'a>),
) -> Result<(), FormatError> {
    let count = reader.varint_count(node::MIN_LEN)?;
    if count > LEAF_MAX_ENTRIES {
        return Err(reader.wrong("a leaf has too many entries"));
    }
    let mut last: Option<&[u8]> = None;
    for _ in 0..count {
        let left = reader.rest().len();
        let node = node::read(&mut reader)?;
        if last.is_some_and(|last| last >= node.name) {
            return Err(reader.wrong("names are not in order, or occur twice"));
        }
        last = Some(node.name);
        each(left, &node);
    }
    reader.end()
}

/// The blob of a directory, of which nothing is copied.
pub(crate) enum Opened {
    Leaf(OpenLeaf),
    List(Vec<LeafRef>),
}

/// A leaf whose entries have all been read once, and so can be again.
pub(crate) struct OpenLeaf {
    blob: Arc<[u8]>,
    /// Where each begins.
    starts: Vec<usize>,
}

/// Opens the blob of a directory.
pub(crate) fn open_tree(blob: &Arc<[u8]>) -> Result<Opened, FormatError> {
    let mut reader = Reader::new(blob, WHAT);
    match opening(&mut reader)? {
        LEAF => {
            let mut starts = Vec::new();
            read_leaf(reader, |left, _| starts.push(blob.len() - left))?;
            let blob = blob.clone();
            Ok(Opened::Leaf(OpenLeaf { blob, starts }))
        }
        TREE_LIST => decode_tree_list(reader).map(Opened::List),
        _ => Err(reader.wrong("it does not list a directory")),
    }
}

impl OpenLeaf {
    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// One of its entries.
    pub(crate) fn get(&self, at: usize) -> Option<NodeRef<'_>> {
        let start = *self.starts.get(at)?;
        let mut reader = Reader::new(&self.blob[start..], WHAT);
        Some(node::read(&mut reader).expect("it was read when the leaf was opened"))
    }
}

fn decode_tree_list(mut reader: Reader<'_>) -> Result<Vec<LeafRef>, FormatError> {
    let count = reader.varint_count(33)?;
    let mut leaves: Vec<LeafRef> = Vec::new();
    for _ in 0..count {
        let first_name = reader.bytes()?.to_vec();
        let id = BlobId(reader.array()?);
        check_name(&first_name)?;
        if leaves
            .last()
            .is_some_and(|last| last.first_name >= first_name)
        {
            return Err(reader.wrong("leaves are not in order"));
        }
        leaves.push(LeafRef { first_name, id });
    }
    if leaves.len() < 2 {
        return Err(reader.wrong("a list has fewer than two leaves"));
    }
    reader.end()?;
    Ok(leaves)
}

/// Cuts the blobs of a long file into content lists: their bytes, in order.
pub fn encode_content_lists(blobs: &[BlobId]) -> Vec<Vec<u8>> {
    let mut lists = Vec::new();
    let mut first = 0;
    for (at, id) in blobs.iter().enumerate() {
        let count = at + 1 - first;
        let chosen = low_word(&id.0) & LIST_CUT_MASK == 0;
        let ends = (count >= LIST_MIN_IDS && chosen) || count == LIST_MAX_IDS;
        if ends || at + 1 == blobs.len() {
            let mut list = vec![VERSION, CONTENT_LIST];
            put_varint(&mut list, count as u64);
            list.extend(blobs[first..=at].iter().flat_map(|id| id.0));
            lists.push(list);
            first = at + 1;
        }
    }
    lists
}

/// Reads one content list.
pub fn decode_content_list(blob: &[u8]) -> Result<Vec<BlobId>, FormatError> {
    let mut reader = Reader::new(blob, WHAT);
    if opening(&mut reader)? != CONTENT_LIST {
        return Err(reader.wrong("it does not list the blobs of a file"));
    }
    let count = reader.varint_count(32)?;
    if count == 0 || count > LIST_MAX_IDS {
        return Err(reader.wrong("a content list has no ids, or too many"));
    }
    let ids = (0..count).map(|_| reader.array().map(BlobId));
    let ids = ids.collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::{
        LeafRef, References, Tree, decode_content_list, decode_tree, encode_content_lists,
        encode_leaves, encode_tree_list, references,
    };
    use crate::model::ids::BlobId;
    use crate::model::tree::{Content, Node, NodeKind};

    fn id(number: u8) -> BlobId {
        BlobId([number; 32])
    }

    fn node(name: &str, kind: NodeKind) -> Node {
        Node {
            name: name.into(),
            kind,
            mode: 0o644,
            uid: 1000,
            gid: 100,
            user: Some("ann".to_owned()),
            group: None,
            mtime_ns: 1_795_000_000_123_456_789,
            ctime_ns: -1,
            inode: 1 << 40,
            device: 3,
            hard_link: None,
            xattrs: vec![(b"user.x".to_vec(), b"y".to_vec())],
            unknown: vec![(77, vec![1, 2])],
        }
    }

    fn file(blobs: &[u8], is_list: bool) -> NodeKind {
        let blobs: Vec<BlobId> = blobs.iter().map(|number| id(*number)).collect();
        NodeKind::File {
            size: blobs.len() as u64 * 1000,
            content: Content { blobs, is_list },
            extents: Vec::new(),
        }
    }

    /// What the decoders that copy everything find.
    fn by_decoding(blob: &[u8]) -> Option<References> {
        let mut found = References::default();
        if let Ok(blobs) = decode_content_list(blob) {
            found.data = blobs;
            return Some(found);
        }
        match decode_tree(blob).ok()? {
            Tree::List(leaves) => found.trees = leaves.iter().map(|leaf| leaf.id).collect(),
            Tree::Leaf(nodes) => {
                for node in nodes {
                    match node.kind {
                        NodeKind::Directory { tree } => found.trees.extend(tree),
                        NodeKind::File { content, .. } if content.is_list => {
                            found.trees.extend(content.blobs);
                        }
                        NodeKind::File { content, .. } => found.data.extend(content.blobs),
                        NodeKind::Symlink { .. } | NodeKind::Special { .. } => {}
                    }
                }
            }
        }
        Some(found)
    }

    #[test]
    fn a_blob_names_what_decoding_it_shows_and_a_damaged_one_nothing_else() {
        let nodes = [
            node("a", file(&[1, 2], false)),
            node("b", file(&[], false)),
            node("c", NodeKind::Directory { tree: Some(id(3)) }),
            node("d", file(&[4, 5], true)),
            node(
                "e",
                NodeKind::Symlink {
                    target: b"a".to_vec(),
                },
            ),
        ];
        let [leaf] = &encode_leaves(&nodes).unwrap()[..] else {
            panic!("one leaf")
        };
        let [list] = &encode_content_lists(&[id(6), id(7)])[..] else {
            panic!("one list")
        };
        let leaf_of = |name: &str, number| LeafRef {
            first_name: name.into(),
            id: id(number),
        };
        let leaves = encode_tree_list(&[leaf_of("a", 8), leaf_of("m", 9)]);
        let named = |trees: &[u8], data: &[u8]| References {
            trees: trees.iter().map(|number| id(*number)).collect(),
            data: data.iter().map(|number| id(*number)).collect(),
        };
        let expected = [
            (&leaf.blob, named(&[3, 4, 5], &[1, 2])),
            (list, named(&[], &[6, 7])),
            (&leaves, named(&[8, 9], &[])),
        ];
        for (blob, expected) in expected {
            assert_eq!(references(blob).unwrap(), expected);
            for len in 0..blob.len() {
                assert!(references(&blob[..len]).is_err(), "{len} bytes");
            }
            for at in 0..blob.len() {
                for flipped in [1, 0x80, 0xff] {
                    let mut damaged = blob.clone();
                    damaged[at] ^= flipped;
                    assert_eq!(references(&damaged).ok(), by_decoding(&damaged));
                }
            }
        }
    }
}
