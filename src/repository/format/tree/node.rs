//! One entry of a directory as bytes: its kind, then fields by tag. A field that this version does not
//! know is kept and written back; a kind that it does not know is refused, for it could not be restored.

use crate::model::ids::BlobId;
use crate::model::tree::{Content, Node, NodeKind, Special};
use crate::repository::format::FormatError;
use crate::repository::format::tree::{NODE_MAX_BYTES, WHAT};
use crate::repository::format::wire::{Reader, put_bytes, put_signed, put_varint};
use std::collections::BTreeMap;

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

type Fields<'a> = BTreeMap<u64, std::borrow::Cow<'a, [u8]>>;

/// Appends `node`.
pub(crate) fn encode(node: &Node, out: &mut Vec<u8>) -> Result<(), FormatError> {
    check_name(&node.name)?;
    let mut fields: Fields<'_> = BTreeMap::new();
    for (tag, value) in &node.unknown {
        fields.insert(*tag, value.as_slice().into());
    }
    fields.insert(NAME, node.name.as_slice().into());
    let numbers = [
        (MODE, u64::from(node.mode)),
        (UID, u64::from(node.uid)),
        (GID, u64::from(node.gid)),
        (INODE, node.inode),
        (DEVICE, node.device),
    ];
    for (tag, value) in numbers {
        number(&mut fields, tag, value);
    }
    for (tag, text) in [(USER, &node.user), (GROUP, &node.group)] {
        if let Some(text) = text {
            fields.insert(tag, text.as_bytes().into());
        }
    }
    for (tag, time) in [(MTIME, node.mtime_ns), (CTIME, node.ctime_ns)] {
        let mut value = Vec::new();
        put_signed(&mut value, time);
        fields.insert(tag, value.into());
    }
    if let Some(link) = node.hard_link {
        let mut value = Vec::new();
        put_varint(&mut value, link);
        fields.insert(HARD_LINK, value.into());
    }
    if !node.xattrs.is_empty() {
        let mut value = Vec::new();
        for (name, content) in &node.xattrs {
            put_bytes(&mut value, name);
            put_bytes(&mut value, content);
        }
        fields.insert(XATTRS, value.into());
    }
    let kind = encode_kind(&node.kind, &mut fields)?;
    write(kind, &fields, out);
    Ok(())
}

/// A number that is 0 is left out.
fn number(fields: &mut Fields<'_>, tag: u64, value: u64) {
    if value != 0 {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, value);
        fields.insert(tag, bytes.into());
    }
}

fn encode_kind<'a>(kind: &'a NodeKind, fields: &mut Fields<'a>) -> Result<u8, FormatError> {
    match kind {
        NodeKind::File {
            size,
            content,
            extents,
        } => {
            number(fields, SIZE, *size);
            if !content.blobs.is_empty() {
                let tag = if content.is_list {
                    CONTENT_LISTS
                } else {
                    CONTENT
                };
                let ids: Vec<u8> = content.blobs.iter().flat_map(|id| id.0).collect();
                fields.insert(tag, ids.into());
            }
            if !extents.is_empty() {
                check_extents(extents, *size)?;
                let mut value = Vec::new();
                for (offset, len) in extents {
                    put_varint(&mut value, *offset);
                    put_varint(&mut value, *len);
                }
                fields.insert(EXTENTS, value.into());
            }
            Ok(FILE)
        }
        NodeKind::Directory { tree: Some(tree) } => {
            fields.insert(SUBTREE, tree.0.as_slice().into());
            Ok(DIRECTORY)
        }
        NodeKind::Directory { tree: None } => Err(FormatError::malformed(
            WHAT,
            "a directory was not written before the one that holds it",
        )),
        NodeKind::Symlink { target } => {
            fields.insert(TARGET, target.as_slice().into());
            Ok(SYMLINK)
        }
        NodeKind::Special { what, rdev } => {
            number(fields, RDEV, *rdev);
            let code = SPECIALS.iter().find(|(_, special)| special == what);
            Ok(code.map_or(0, |(code, _)| *code))
        }
    }
}

fn write(kind: u8, fields: &Fields<'_>, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(96);
    for (tag, value) in fields {
        put_varint(&mut body, *tag);
        put_bytes(&mut body, value);
    }
    out.push(kind);
    put_bytes(out, &body);
}

/// Reads a node and refuses what no honest writer makes.
pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Node, FormatError> {
    let kind = reader.u8()?;
    let body = reader.bytes()?;
    if body.len() > NODE_MAX_BYTES {
        return Err(FormatError::TooLarge {
            what: "tree entry",
            limit_bytes: NODE_MAX_BYTES as u64,
        });
    }
    let mut fields = FieldReader(read_fields(body)?);
    let name = fields.0.remove(&NAME).unwrap_or_default().to_vec();
    check_name(&name)?;
    let kind = decode_kind(kind, &mut fields)?;
    Ok(Node {
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

fn read_fields(body: &[u8]) -> Result<Fields<'_>, FormatError> {
    let mut reader = Reader::new(body, WHAT);
    let mut fields = BTreeMap::new();
    let mut last = 0;
    while !reader.is_empty() {
        let tag = reader.varint()?;
        if tag <= last {
            return Err(reader.wrong("fields are not in order, or occur twice"));
        }
        fields.insert(tag, reader.bytes()?.into());
        last = tag;
    }
    Ok(fields)
}

fn decode_kind(kind: u8, fields: &mut FieldReader<'_>) -> Result<NodeKind, FormatError> {
    match kind {
        FILE => fields.file(),
        DIRECTORY => {
            let wrong = |_| FormatError::malformed(WHAT, "a directory has no tree");
            let tree = fields.0.remove(&SUBTREE).unwrap_or_default();
            let tree = tree.as_ref().try_into().map_err(wrong)?;
            Ok(NodeKind::Directory {
                tree: Some(BlobId(tree)),
            })
        }
        SYMLINK => {
            let target = fields.0.remove(&TARGET).unwrap_or_default().to_vec();
            if target.is_empty() || target.contains(&0) {
                return Err(FormatError::malformed(
                    WHAT,
                    "a link has no possible target",
                ));
            }
            Ok(NodeKind::Symlink { target })
        }
        _ => match SPECIALS.iter().find(|(code, _)| *code == kind) {
            Some((_, what)) => Ok(NodeKind::Special {
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

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Fields by tag; what is read is taken out, what stays is unknown.
struct FieldReader<'a>(Fields<'a>);

impl FieldReader<'_> {
    fn read<T>(
        &mut self,
        tag: u64,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, FormatError>,
    ) -> Result<Option<T>, FormatError> {
        let Some(value) = self.0.remove(&tag) else {
            return Ok(None);
        };
        let mut reader = Reader::new(&value, WHAT);
        let read = read(&mut reader)?;
        reader.end()?;
        Ok(Some(read))
    }

    fn optional(&mut self, tag: u64) -> Result<Option<u64>, FormatError> {
        self.read(tag, |reader| reader.varint())
    }

    fn number(&mut self, tag: u64) -> Result<u64, FormatError> {
        Ok(self.optional(tag)?.unwrap_or(0))
    }

    fn u32(&mut self, tag: u64) -> Result<u32, FormatError> {
        u32::try_from(self.number(tag)?)
            .map_err(|_| FormatError::malformed(WHAT, "a number exceeds 32 bits"))
    }

    fn time(&mut self, tag: u64) -> Result<i128, FormatError> {
        Ok(self.read(tag, |reader| reader.signed())?.unwrap_or(0))
    }

    fn text(&mut self, tag: u64) -> Result<Option<String>, FormatError> {
        let value = self.0.remove(&tag);
        value
            .map(|value| String::from_utf8(value.into_owned()))
            .transpose()
            .map_err(|_| FormatError::malformed(WHAT, "an owner's name is not UTF-8"))
    }

    fn xattrs(&mut self) -> Result<Xattrs, FormatError> {
        let read = |reader: &mut Reader<'_>| {
            let mut xattrs: Xattrs = Vec::new();
            while !reader.is_empty() {
                let (name, value) = (reader.bytes()?.to_vec(), reader.bytes()?.to_vec());
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
        Ok(self.read(XATTRS, read)?.unwrap_or_default())
    }

    fn file(&mut self) -> Result<NodeKind, FormatError> {
        let size = self.number(SIZE)?;
        let inline = self.read(CONTENT, ids)?;
        let lists = self.read(CONTENT_LISTS, ids)?;
        let extents = self.read(EXTENTS, pairs)?.unwrap_or_default();
        check_extents(&extents, size)?;
        let wrong = |why: &str| Err(FormatError::malformed(WHAT, why));
        let content = match (inline, lists) {
            (Some(_), Some(_)) => return wrong("a file has its content twice"),
            (None, Some(blobs)) => Content {
                blobs,
                is_list: true,
            },
            (blobs, None) => Content {
                blobs: blobs.unwrap_or_default(),
                is_list: false,
            },
        };
        if content.blobs.is_empty() != (size == 0) {
            return wrong("a file's size does not fit its content");
        }
        Ok(NodeKind::File {
            size,
            content,
            extents,
        })
    }

    fn rest(self) -> Result<Vec<(u64, Vec<u8>)>, FormatError> {
        if self.0.keys().next().is_some_and(|tag| *tag <= RDEV) {
            let why = "an entry has a field that its kind does not have";
            return Err(FormatError::malformed(WHAT, why));
        }
        let owned = |(tag, value): (u64, std::borrow::Cow<'_, [u8]>)| (tag, value.into_owned());
        Ok(self.0.into_iter().map(owned).collect())
    }
}

fn ids(reader: &mut Reader<'_>) -> Result<Vec<BlobId>, FormatError> {
    let mut ids = Vec::with_capacity(reader.rest().len() / 32);
    while !reader.is_empty() {
        ids.push(BlobId(reader.array()?));
    }
    Ok(ids)
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
