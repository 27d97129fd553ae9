//! One entry of a directory as bytes: its kind, then fields by tag. A field that this version does not
//! know is kept and written back; a kind that it does not know is refused, for it could not be restored.

use crate::model::ids::BlobId;
use crate::model::tree::{Content, Node, NodeKind, Special};
use crate::repository::format::FormatError;
use crate::repository::format::tree::{NODE_MAX_BYTES, WHAT};
use crate::repository::format::wire::{Reader, put_bytes, put_signed, put_varint};

/// The shortest node: kind, length, and a name of one byte as a field.
pub(crate) const MIN_LEN: usize = 5;

const FILE: u8 = 1;
const DIRECTORY: u8 = 2;
const SYMLINK: u8 = 3;
const SPECIALS: [(u8, Special); 4] = [
    (4, Special::Block),
    (5, Special::Character),
    (6, Special::Fifo),
    (7, Special::Socket),
];

const NAME: u64 = 1;
const MODE: u64 = 2;
const UID: u64 = 3;
const GID: u64 = 4;
const USER: u64 = 5;
const GROUP: u64 = 6;
const MTIME: u64 = 7;
const CTIME: u64 = 8;
const INODE: u64 = 9;
const DEVICE: u64 = 10;
const HARD_LINK: u64 = 11;
const XATTRS: u64 = 12;
const SIZE: u64 = 13;
const CONTENT: u64 = 14;
const CONTENT_LISTS: u64 = 15;
const EXTENTS: u64 = 16;
const SUBTREE: u64 = 17;
const TARGET: u64 = 18;
const RDEV: u64 = 19;

/// Refuses names that are not one part of a path.
pub fn check_name(name: &[u8]) -> Result<(), FormatError> {
    let outside = matches!(name, b"" | b"." | b"..");
    if outside || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        let shown = name.escape_ascii();
        return Err(FormatError::malformed(
            WHAT,
            format!("`{shown}` is no name of a file"),
        ));
    }
    Ok(())
}

/// Appends `node`: its fields in the order of their tags.
pub(crate) fn encode(node: &Node, out: &mut Vec<u8>) -> Result<(), FormatError> {
    check_name(&node.name)?;
    out.push(kind_code(&node.kind));
    let start = out.len();
    put_field(out, NAME, &node.name);
    put_number(out, MODE, u64::from(node.mode));
    put_number(out, UID, u64::from(node.uid));
    put_number(out, GID, u64::from(node.gid));
    for (tag, text) in [(USER, &node.user), (GROUP, &node.group)] {
        if let Some(text) = text {
            put_field(out, tag, text.as_bytes());
        }
    }
    put_short(out, MTIME, |out| put_signed(out, node.mtime_ns));
    put_short(out, CTIME, |out| put_signed(out, node.ctime_ns));
    put_number(out, INODE, node.inode);
    put_number(out, DEVICE, node.device);
    if let Some(link) = node.hard_link {
        put_short(out, HARD_LINK, |out| put_varint(out, link));
    }
    if !node.xattrs.is_empty() {
        let mut value = Vec::new();
        for (name, content) in &node.xattrs {
            put_bytes(&mut value, name);
            put_bytes(&mut value, content);
        }
        put_field(out, XATTRS, &value);
    }
    encode_kind(&node.kind, out)?;
    let mut last = RDEV;
    for (tag, value) in &node.unknown {
        if *tag <= last {
            let why = "an unknown field has the tag of another, or is out of order";
            return Err(FormatError::malformed(WHAT, why));
        }
        put_field(out, *tag, value);
        last = *tag;
    }
    put_len_before(out, start);
    Ok(())
}

fn put_field(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    put_varint(out, tag);
    put_bytes(out, value);
}

/// A number that is 0 is left out.
fn put_number(out: &mut Vec<u8>, tag: u64, value: u64) {
    if value != 0 {
        put_short(out, tag, |out| put_varint(out, value));
    }
}

/// A field whose value takes less than 128 bytes, as every number does: its length is one byte.
fn put_short(out: &mut Vec<u8>, tag: u64, put: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, tag);
    let at = out.len();
    out.push(0);
    put(out);
    out[at] = (out.len() - at - 1) as u8;
}

/// Puts the length of what begins at `start` before it.
fn put_len_before(out: &mut Vec<u8>, start: usize) {
    let end = out.len();
    put_varint(out, (end - start) as u64);
    let len_of_len = out.len() - end;
    out[start..].rotate_right(len_of_len);
}

fn kind_code(kind: &NodeKind) -> u8 {
    match kind {
        NodeKind::File { .. } => FILE,
        NodeKind::Directory { .. } => DIRECTORY,
        NodeKind::Symlink { .. } => SYMLINK,
        NodeKind::Special { what, .. } => {
            let code = SPECIALS.iter().find(|(_, special)| special == what);
            code.map_or(0, |(code, _)| *code)
        }
    }
}

fn encode_kind(kind: &NodeKind, out: &mut Vec<u8>) -> Result<(), FormatError> {
    match kind {
        NodeKind::File {
            size,
            content,
            extents,
        } => {
            put_number(out, SIZE, *size);
            if !content.blobs.is_empty() {
                let tag = match content.is_list {
                    true => CONTENT_LISTS,
                    false => CONTENT,
                };
                put_varint(out, tag);
                put_varint(out, (content.blobs.len() * size_of::<BlobId>()) as u64);
                content
                    .blobs
                    .iter()
                    .for_each(|id| out.extend_from_slice(&id.0));
            }
            if !extents.is_empty() {
                check_extents(extents, *size)?;
                let mut value = Vec::new();
                for (offset, len) in extents {
                    put_varint(&mut value, *offset);
                    put_varint(&mut value, *len);
                }
                put_field(out, EXTENTS, &value);
            }
        }
        NodeKind::Directory { tree: Some(tree) } => put_field(out, SUBTREE, &tree.0),
        NodeKind::Directory { tree: None } => {
            return Err(FormatError::malformed(
                WHAT,
                "a directory was not written before the one that holds it",
            ));
        }
        NodeKind::Symlink { target } => put_field(out, TARGET, target),
        NodeKind::Special { rdev, .. } => put_number(out, RDEV, *rdev),
    }
    Ok(())
}

/// A node as it stands in a blob: nothing of it is copied.
pub(crate) struct NodeRef<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: KindRef<'a>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) user: Option<&'a str>,
    pub(crate) group: Option<&'a str>,
    pub(crate) mtime_ns: i128,
    pub(crate) ctime_ns: i128,
    pub(crate) inode: u64,
    pub(crate) device: u64,
    pub(crate) hard_link: Option<u64>,
    pub(crate) xattrs: Vec<(&'a [u8], &'a [u8])>,
    pub(crate) unknown: Vec<(u64, &'a [u8])>,
}

/// See [`NodeKind`].
pub(crate) enum KindRef<'a> {
    File {
        size: u64,
        blobs: &'a [[u8; 32]],
        is_list: bool,
        extents: Vec<(u64, u64)>,
    },
    Directory {
        tree: BlobId,
    },
    Symlink {
        target: &'a [u8],
    },
    Special {
        what: Special,
        rdev: u64,
    },
}

/// Reads a node and refuses what no honest writer makes.
pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<NodeRef<'a>, FormatError> {
    let kind = reader.u8()?;
    let body = reader.bytes()?;
    if body.len() > NODE_MAX_BYTES {
        return Err(FormatError::TooLarge {
            what: "tree entry",
            limit_bytes: NODE_MAX_BYTES as u64,
        });
    }
    let mut fields = Fields::read(body)?;
    let name = fields.take(NAME).unwrap_or_default();
    check_name(name)?;
    let kind = read_kind(kind, &mut fields)?;
    Ok(NodeRef {
        name,
        kind,
        mode: fields.u32(MODE)?,
        uid: fields.u32(UID)?,
        gid: fields.u32(GID)?,
        user: fields.text(USER)?,
        group: fields.text(GROUP)?,
        mtime_ns: fields.time(MTIME)?,
        ctime_ns: fields.time(CTIME)?,
        inode: fields.number(INODE)?,
        device: fields.number(DEVICE)?,
        hard_link: fields.optional(HARD_LINK)?,
        xattrs: fields.xattrs()?,
        unknown: fields.rest()?,
    })
}

impl NodeRef<'_> {
    /// A copy.
    pub(crate) fn to_node(&self) -> Node {
        let xattrs = self.xattrs.iter();
        let unknown = self.unknown.iter();
        Node {
            name: self.name.to_vec(),
            kind: self.kind.to_kind(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            user: self.user.map(str::to_owned),
            group: self.group.map(str::to_owned),
            mtime_ns: self.mtime_ns,
            ctime_ns: self.ctime_ns,
            inode: self.inode,
            device: self.device,
            hard_link: self.hard_link,
            xattrs: xattrs
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect(),
            unknown: unknown.map(|(tag, value)| (*tag, value.to_vec())).collect(),
        }
    }
}

impl KindRef<'_> {
    fn to_kind(&self) -> NodeKind {
        match self {
            Self::File {
                size,
                blobs,
                is_list,
                extents,
            } => NodeKind::File {
                size: *size,
                content: Content {
                    blobs: blobs.iter().map(|id| BlobId(*id)).collect(),
                    is_list: *is_list,
                },
                extents: extents.clone(),
            },
            Self::Directory { tree } => NodeKind::Directory { tree: Some(*tree) },
            Self::Symlink { target } => NodeKind::Symlink {
                target: target.to_vec(),
            },
            Self::Special { what, rdev } => NodeKind::Special {
                what: *what,
                rdev: *rdev,
            },
        }
    }
}

fn read_kind<'a>(kind: u8, fields: &mut Fields<'a>) -> Result<KindRef<'a>, FormatError> {
    match kind {
        FILE => fields.file(),
        DIRECTORY => {
            let wrong = |_| FormatError::malformed(WHAT, "a directory has no tree");
            let tree = fields.take(SUBTREE).unwrap_or_default();
            let tree = tree.try_into().map_err(wrong)?;
            Ok(KindRef::Directory { tree: BlobId(tree) })
        }
        SYMLINK => {
            let target = fields.take(TARGET).unwrap_or_default();
            if target.is_empty() || target.contains(&0) {
                return Err(FormatError::malformed(
                    WHAT,
                    "a link has no possible target",
                ));
            }
            Ok(KindRef::Symlink { target })
        }
        _ => match SPECIALS.iter().find(|(code, _)| *code == kind) {
            Some((_, what)) => Ok(KindRef::Special {
                what: *what,
                rdev: fields.number(RDEV)?,
            }),
            None => Err(FormatError::Feature {
                what: WHAT,
                feature: format!("entries of kind {kind}"),
            }),
        },
    }
}

type Xattrs<'a> = Vec<(&'a [u8], &'a [u8])>;

/// The fields of a node. What is read is taken out.
struct Fields<'a> {
    /// By tag.
    known: [Option<&'a [u8]>; RDEV as usize + 1],
    /// Of a later version.
    unknown: Vec<(u64, &'a [u8])>,
}

impl<'a> Fields<'a> {
    fn read(body: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(body, WHAT);
        let (known, unknown) = ([None; RDEV as usize + 1], Vec::new());
        let mut fields = Self { known, unknown };
        let mut last = 0;
        while !reader.is_empty() {
            let tag = reader.varint()?;
            if tag <= last {
                return Err(reader.wrong("fields are not in order, or occur twice"));
            }
            let value = reader.bytes()?;
            match usize::try_from(tag).ok().filter(|_| tag <= RDEV) {
                Some(tag) => fields.known[tag] = Some(value),
                None => fields.unknown.push((tag, value)),
            }
            last = tag;
        }
        Ok(fields)
    }

    fn take(&mut self, tag: u64) -> Option<&'a [u8]> {
        self.known[tag as usize].take()
    }

    fn get<T>(
        &mut self,
        tag: u64,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, FormatError>,
    ) -> Result<Option<T>, FormatError> {
        let Some(value) = self.take(tag) else {
            return Ok(None);
        };
        let mut reader = Reader::new(value, WHAT);
        let read = read(&mut reader)?;
        reader.end()?;
        Ok(Some(read))
    }

    fn optional(&mut self, tag: u64) -> Result<Option<u64>, FormatError> {
        self.get(tag, |reader| reader.varint())
    }

    fn number(&mut self, tag: u64) -> Result<u64, FormatError> {
        Ok(self.optional(tag)?.unwrap_or(0))
    }

    fn u32(&mut self, tag: u64) -> Result<u32, FormatError> {
        u32::try_from(self.number(tag)?)
            .map_err(|_| FormatError::malformed(WHAT, "a number exceeds 32 bits"))
    }

    fn time(&mut self, tag: u64) -> Result<i128, FormatError> {
        Ok(self.get(tag, |reader| reader.signed())?.unwrap_or(0))
    }

    fn text(&mut self, tag: u64) -> Result<Option<&'a str>, FormatError> {
        let text = self.take(tag).map(std::str::from_utf8).transpose();
        text.map_err(|_| FormatError::malformed(WHAT, "an owner's name is not UTF-8"))
    }

    fn xattrs(&mut self) -> Result<Xattrs<'a>, FormatError> {
        let read = |reader: &mut Reader<'a>| {
            let mut xattrs: Xattrs<'a> = Vec::new();
            while !reader.is_empty() {
                let (name, value) = (reader.bytes()?, reader.bytes()?);
                if name.is_empty() || name.contains(&0) {
                    return Err(reader.wrong("an attribute has no possible name"));
                }
                if xattrs.last().is_some_and(|(last, _)| *last >= name) {
                    return Err(reader.wrong("attributes are not in order, or occur twice"));
                }
                xattrs.push((name, value));
            }
            Ok(xattrs)
        };
        Ok(self.get(XATTRS, read)?.unwrap_or_default())
    }

    fn file(&mut self) -> Result<KindRef<'a>, FormatError> {
        let size = self.number(SIZE)?;
        let inline = self.get(CONTENT, ids)?;
        let lists = self.get(CONTENT_LISTS, ids)?;
        let extents = self.get(EXTENTS, pairs)?.unwrap_or_default();
        check_extents(&extents, size)?;
        let wrong = |why: &str| Err(FormatError::malformed(WHAT, why));
        let (blobs, is_list) = match (inline, lists) {
            (Some(_), Some(_)) => return wrong("a file has its content twice"),
            (None, Some(lists)) => (lists, true),
            (blobs, None) => (blobs.unwrap_or_default(), false),
        };
        if blobs.is_empty() != (size == 0) {
            return wrong("a file's size does not fit its content");
        }
        Ok(KindRef::File {
            size,
            blobs,
            is_list,
            extents,
        })
    }

    fn rest(self) -> Result<Vec<(u64, &'a [u8])>, FormatError> {
        if self.known.iter().any(Option::is_some) {
            let why = "an entry has a field that its kind does not have";
            return Err(FormatError::malformed(WHAT, why));
        }
        Ok(self.unknown)
    }
}

fn ids<'a>(reader: &mut Reader<'a>) -> Result<&'a [[u8; 32]], FormatError> {
    let (ids, rest) = reader.take(reader.rest().len())?.as_chunks();
    match rest {
        [] => Ok(ids),
        _ => Err(FormatError::Truncated(WHAT)),
    }
}

fn pairs(reader: &mut Reader<'_>) -> Result<Vec<(u64, u64)>, FormatError> {
    let mut pairs = Vec::new();
    while !reader.is_empty() {
        pairs.push((reader.varint()?, reader.varint()?));
    }
    Ok(pairs)
}

/// Extents lie one after another within the file.
fn check_extents(extents: &[(u64, u64)], size: u64) -> Result<(), FormatError> {
    let mut end = 0;
    for (offset, len) in extents {
        let next = offset.checked_add(*len).filter(|next| *next <= size);
        match next {
            Some(next) if *offset >= end => end = next,
            _ => {
                return Err(FormatError::malformed(
                    WHAT,
                    "extents are out of order or bounds",
                ));
            }
        }
    }
    Ok(())
}
