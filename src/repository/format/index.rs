//! Index segments: where blobs are, so that no pack has to be opened to find one. A segment only adds;
//! it describes whole packs, in columns, because columns compress.

use crate::model::ids::{BlobId, Digest, SessionId};
use crate::repository::format::FormatError;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::pack::{Encoding, Frame, PackFooter, PackHeader};
use crate::repository::format::wire::Reader;

const WHAT: &str = "index segment";
const VERSION: u16 = 1;
const PACK_LEN: usize = 32 + 1 + 2 + 8 + 32;
const FRAME_LEN: usize = 4 * 4 + 3;
const ENTRY_LEN: usize = 16 + 4 * 3;

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The session that wrote the packs.
    pub session: SessionId,
    /// The last prune record that it had seen.
    pub prune_seen: u64,
    /// Segments that this one stands in for.
    pub supersedes: Vec<Digest>,
    /// The packs that it describes.
    pub packs: Vec<PackRef>,
    /// Their frames.
    pub frames: Vec<FrameRef>,
    /// Their blobs, sorted by id.
    pub entries: Vec<IndexEntry>,
}

/// A pack that a segment describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackRef {
    /// Its name.
    pub name: Digest,
    /// Its length: an entry counts only when the store lists the pack with this length.
    pub size: u64,
    /// What it takes to derive its key without reading it.
    pub header: PackHeader,
}

/// A frame of one of a segment's packs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameRef {
    /// Number of the pack in the segment.
    pub pack: u32,
    /// Where and what it is.
    pub frame: Frame,
}

/// The first 16 bytes of a blob's id: enough to find it. Whoever reads the blob checks the whole id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobPrefix(pub [u8; 16]);

impl From<&BlobId> for BlobPrefix {
    fn from(id: &BlobId) -> Self {
        let mut prefix = [0; 16];
        prefix.copy_from_slice(&id.0[..16]);
        Self(prefix)
    }
}

impl BlobPrefix {
    /// In the order of the bytes, and compared faster.
    pub(crate) fn number(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

/// Where a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// Start of its id.
    pub id: BlobPrefix,
    /// Number of its frame in the segment.
    pub frame: u32,
    /// Offset in the decoded frame.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Segment {
    /// A segment that describes nothing yet.
    pub fn new(session: SessionId, prune_seen: u64) -> Self {
        Self {
            session,
            prune_seen,
            supersedes: Vec::new(),
            packs: Vec::new(),
            frames: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Adds the pack `name` of `size` bytes.
    pub fn add(&mut self, name: Digest, size: u64, footer: &PackFooter) {
        let pack = self.packs.len() as u32;
        let first_frame = self.frames.len() as u32;
        let header = footer.header;
        self.packs.push(PackRef { name, size, header });
        self.frames
            .extend(footer.frames.iter().map(|frame| FrameRef {
                pack,
                frame: frame.clone(),
            }));
        self.entries
            .extend(footer.blobs.iter().map(|blob| IndexEntry {
                id: BlobPrefix::from(&blob.id),
                frame: first_frame + blob.frame,
                offset: blob.offset,
                len: blob.len,
            }));
    }
}

/// The payload of a segment; its entries are sorted here.
pub fn encode(segment: &Segment) -> Vec<u8> {
    let mut entries: Vec<&IndexEntry> = segment.entries.iter().collect();
    entries.sort_by_key(|entry| (entry.id, entry.frame, entry.offset));
    let mut out = Vec::with_capacity(64 + segment.packs.len() * PACK_LEN + entries.len() * 48);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&segment.session.0);
    out.extend_from_slice(&segment.prune_seen.to_le_bytes());
    for count in [
        segment.supersedes.len(),
        segment.packs.len(),
        segment.frames.len(),
        entries.len(),
    ] {
        out.extend_from_slice(&(count as u32).to_le_bytes());
    }
    for name in &segment.supersedes {
        out.extend_from_slice(&name.0);
    }
    for PackRef { name, size, header } in &segment.packs {
        out.extend_from_slice(&name.0);
        out.push(header.kind.code());
        out.extend_from_slice(&header.epoch.to_le_bytes());
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&header.salt);
    }
    encode_frames(&segment.frames, &mut out);
    for entry in &entries {
        out.extend_from_slice(&entry.id.0);
    }
    let columns: [fn(&IndexEntry) -> u32; 3] = [|e| e.frame, |e| e.offset, |e| e.len];
    for column in columns {
        for entry in &entries {
            out.extend_from_slice(&column(entry).to_le_bytes());
        }
    }
    out
}

fn encode_frames(frames: &[FrameRef], out: &mut Vec<u8>) {
    let columns: [fn(&FrameRef) -> u32; 4] = [
        |f| f.pack,
        |f| f.frame.offset,
        |f| f.frame.stored_len,
        |f| f.frame.plain_len,
    ];
    for column in columns {
        for frame in frames {
            out.extend_from_slice(&column(frame).to_le_bytes());
        }
    }
    for FrameRef { frame, .. } in frames {
        out.extend_from_slice(&[frame.encoding.flags(), frame.depth, frame.bases.len() as u8]);
        for base in &frame.bases {
            out.extend_from_slice(&base.0);
        }
    }
}

/// Reads the payload of a segment; every number in it that points somewhere points inside.
pub fn decode(payload: &[u8]) -> Result<Segment, FormatError> {
    let mut reader = Reader::new(payload, WHAT);
    let version = reader.u16()?;
    if version != VERSION {
        let (found, known) = (u32::from(version), u32::from(VERSION));
        return Err(FormatError::Version {
            what: WHAT,
            found,
            known,
        });
    }
    let mut segment = Segment::new(SessionId(reader.array()?), reader.u64()?);
    let superseded = reader.count(32)?;
    let packs = reader.count(PACK_LEN)?;
    let frames = reader.count(FRAME_LEN)?;
    let entries = reader.count(ENTRY_LEN)?;
    for _ in 0..superseded {
        segment.supersedes.push(Digest(reader.array()?));
    }
    for _ in 0..packs {
        segment.packs.push(decode_pack(&mut reader)?);
    }
    segment.frames = decode_frames(&mut reader, frames, packs)?;
    segment.entries = decode_entries(&mut reader, entries, &segment.frames)?;
    reader.end()?;
    Ok(segment)
}

fn decode_pack(reader: &mut Reader<'_>) -> Result<PackRef, FormatError> {
    let name = Digest(reader.array()?);
    let code = reader.u8()?;
    let unknown = || FormatError::Feature {
        what: WHAT,
        feature: format!("pack kind {code}"),
    };
    let kind = BlobKind::from_code(code).ok_or_else(unknown)?;
    let epoch = reader.u16()?;
    let size = reader.u64()?;
    let salt = reader.array()?;
    let header = PackHeader { kind, epoch, salt };
    Ok(PackRef { name, size, header })
}

fn column(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u32>, FormatError> {
    (0..count).map(|_| reader.u32()).collect()
}

fn decode_frames(
    reader: &mut Reader<'_>,
    count: usize,
    packs: usize,
) -> Result<Vec<FrameRef>, FormatError> {
    let (pack, offset) = (column(reader, count)?, column(reader, count)?);
    let (stored_len, plain_len) = (column(reader, count)?, column(reader, count)?);
    let mut frames = Vec::with_capacity(count);
    for at in 0..count {
        let encoding = Encoding::from_flags(WHAT, reader.u8()?)?;
        let (depth, bases) = (reader.u8()?, reader.u8()?);
        let bases = (0..bases).map(|_| reader.array().map(BlobId));
        let frame = Frame {
            offset: offset[at],
            stored_len: stored_len[at],
            plain_len: plain_len[at],
            encoding,
            depth,
            bases: bases.collect::<Result<_, _>>()?,
        };
        frame.check(WHAT)?;
        if pack[at] as usize >= packs {
            return Err(reader.wrong("a frame is in a pack that it does not describe"));
        }
        let pack = pack[at];
        frames.push(FrameRef { pack, frame });
    }
    Ok(frames)
}

fn decode_entries(
    reader: &mut Reader<'_>,
    count: usize,
    frames: &[FrameRef],
) -> Result<Vec<IndexEntry>, FormatError> {
    let ids = (0..count).map(|_| reader.array().map(BlobPrefix));
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    let frame = column(reader, count)?;
    let (offset, len) = (column(reader, count)?, column(reader, count)?);
    if !ids.is_sorted() {
        return Err(reader.wrong("its entries are not sorted"));
    }
    let mut entries = Vec::with_capacity(count);
    for (at, id) in ids.into_iter().enumerate() {
        let entry = IndexEntry {
            id,
            frame: frame[at],
            offset: offset[at],
            len: len[at],
        };
        let end = u64::from(entry.offset) + u64::from(entry.len);
        match frames.get(entry.frame as usize) {
            Some(frame) if end <= u64::from(frame.frame.plain_len) && entry.len > 0 => {}
            _ => return Err(reader.wrong("an entry lies outside of its frame")),
        }
        entries.push(entry);
    }
    Ok(entries)
}
