//! The envelope of every small object: index segments, manifests, tombs, annotations and run records are
//! compressed and sealed; leases and records of prunes are readable JSON under a MAC, so that an
//! operator without keys can see who holds what.

use crate::model::ids::hex;
use crate::repository::format::FormatError;
use crate::repository::format::aead::{SealingKey, TAG_LEN};
use crate::repository::format::key::{Keys, Purpose};
use crate::repository::format::manifest::{from_json, to_json};
use crate::repository::format::wire::Reader;
use ring::hmac;
use serde::{Serialize, de::DeserializeOwned};
use std::io::{Cursor, Read};

const MAGIC: &[u8; 4] = b"CCBO";
const VERSION: u8 = 1;
pub(super) const HEADER_LEN: usize = 40;
const LEVEL: i32 = 3;
/// What a sealed object may decompress to.
pub const PAYLOAD_MAX_BYTES: u64 = 256 << 20;

/// Types of sealed objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectType {
    /// Where blobs are.
    Index,
    /// What makes a backup exist.
    Manifest,
    /// A hold, evidence.
    Annotation,
    /// What one run of `ccb apply` did.
    Run,
    /// What marks a backup as forgotten.
    Tomb,
    /// A file of a database's log, as its server handed it over: see [`parts`](crate::repository::format::parts).
    Wal,
    /// A copy that restores without ccb.
    Export,
}

impl ObjectType {
    fn code(self) -> u8 {
        match self {
            Self::Index => 1,
            Self::Manifest => 2,
            Self::Annotation => 3,
            Self::Run => 4,
            Self::Tomb => 5,
            Self::Wal => 6,
            Self::Export => 7,
        }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Index => "index segment",
            Self::Manifest => "manifest",
            Self::Annotation => "annotation",
            Self::Run => "run record",
            Self::Tomb => "tomb",
            Self::Wal => "WAL file",
            Self::Export => "record of an export",
        }
    }

    fn purpose(self) -> Purpose {
        match self {
            Self::Index => Purpose::Index,
            Self::Wal => Purpose::Data,
            _ => Purpose::Manifest,
        }
    }
}

/// Seals `payload` as the object `name`: its whole key in the store, or nothing for index segments,
/// which are named by their own bytes. `salt` is 32 random bytes, never used before.
pub fn seal(keys: &Keys, kind: ObjectType, name: &str, payload: &[u8], salt: [u8; 32]) -> Vec<u8> {
    assert!(
        payload.len() as u64 <= PAYLOAD_MAX_BYTES,
        "what no reader would open must not be written"
    );
    let epoch = keys.keyring().epoch();
    let mut out = header(kind, VERSION, epoch, &salt);
    let aad = object_aad(&out, keys, name);
    out.extend(Packer::new(LEVEL).pack(payload));
    let key = object_key(keys, kind, epoch, &salt).expect("the keyring holds its own newest epoch");
    let tag = key.seal([0; 12], &aad, &mut out[HEADER_LEN..]);
    out.extend_from_slice(&tag);
    out
}

pub(super) fn header(kind: ObjectType, version: u8, epoch: u16, salt: &[u8; 32]) -> Vec<u8> {
    [
        &MAGIC[..],
        &[kind.code(), version],
        &epoch.to_le_bytes(),
        salt,
    ]
    .concat()
}

const IN_MEMORY: &str = "zstd compresses from memory to memory";

/// Compresses payloads, or parts of one: what it needs for that it gets once.
pub struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    /// At this level.
    pub fn new(level: i32) -> Self {
        Self(zstd::bulk::Compressor::new(level).expect(IN_MEMORY))
    }

    /// Compresses one part.
    pub fn pack(&mut self, part: &[u8]) -> Vec<u8> {
        self.pack_between(0, part, 0)
    }

    /// Compresses one part, with `before` bytes of nothing in front of it and memory for `after` more behind it:
    /// what comes around it needs no copy of it.
    pub(super) fn pack_between(&mut self, before: usize, part: &[u8], after: usize) -> Vec<u8> {
        let len_max = zstd::zstd_safe::compress_bound(part.len());
        let mut out = Vec::with_capacity(before + len_max + after);
        out.resize(before, 0);
        let mut out = Cursor::new(out);
        out.set_position(before as u64);
        self.0.compress_to_buffer(part, &mut out).expect(IN_MEMORY);
        out.into_inner()
    }
}

/// Opens the object that was found under `name`, and returns its payload.
pub fn open(
    keys: &Keys,
    kind: ObjectType,
    name: &str,
    object: &[u8],
) -> Result<Vec<u8>, FormatError> {
    let what = kind.what();
    let mut reader = Reader::new(object, what);
    let (epoch, salt) = salt_of(kind, VERSION, &mut reader)?;
    let mut sealed = reader.rest().to_vec();
    if sealed.len() < TAG_LEN {
        return Err(FormatError::Truncated(what));
    }
    let packed = object_key(keys, kind, epoch, &salt)?
        .open(
            [0; 12],
            &object_aad(&object[..HEADER_LEN], keys, name),
            &mut sealed,
        )
        .map_err(|_| FormatError::Authentication(what))?;
    unpack(what, packed, PAYLOAD_MAX_BYTES)
}

/// Reads the header: which epoch's key, and the salt.
pub(super) fn salt_of(
    kind: ObjectType,
    known: u8,
    reader: &mut Reader<'_>,
) -> Result<(u16, [u8; 32]), FormatError> {
    let what = kind.what();
    if reader.take(4)? != MAGIC || reader.u8()? != kind.code() {
        return Err(FormatError::Foreign(what));
    }
    let version = reader.u8()?;
    if version != known {
        let (found, known) = (u32::from(version), u32::from(known));
        return Err(FormatError::Version { what, found, known });
    }
    Ok((reader.u16()?, reader.array()?))
}

pub(super) fn object_key(
    keys: &Keys,
    kind: ObjectType,
    epoch: u16,
    salt: &[u8; 32],
) -> Result<SealingKey, FormatError> {
    let info: [&[u8]; 3] = [b"ccb/v1/obj", &keys.repo_id().0, &[kind.code()]];
    keys.sealing_key(kind.what(), (kind.purpose(), epoch), salt, &info)
}

pub(super) fn object_aad(header: &[u8], keys: &Keys, name: &str) -> Vec<u8> {
    [header, &keys.repo_id().0, name.as_bytes()].concat()
}

/// Decompresses, taking memory only as data comes, and no more than the limit.
pub fn unpack(what: &'static str, packed: &[u8], limit_bytes: u64) -> Result<Vec<u8>, FormatError> {
    let wrong = |cause: std::io::Error| FormatError::malformed(what, cause.to_string());
    let mut out = Vec::new();
    zstd::stream::read::Decoder::with_buffer(packed)
        .map_err(wrong)?
        .take(limit_bytes + 1)
        .read_to_end(&mut out)
        .map_err(wrong)?;
    if out.len() as u64 > limit_bytes {
        return Err(FormatError::TooLarge { what, limit_bytes });
    }
    Ok(out)
}

/// Types of objects that anyone may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenType {
    /// `leases/…`
    Lease,
    /// `gc/…`
    Prune,
    /// `keys/epoch-…`
    Epoch,
    /// `probes/…`, `checks/…`
    Note,
}

impl OpenType {
    fn what(self) -> &'static str {
        match self {
            Self::Lease => "lease record",
            Self::Prune => "prune record",
            Self::Epoch => "epoch record",
            Self::Note => "note",
        }
    }
}

/// Writes `record` as a line of JSON and a line with its MAC. `name` is the object's whole key.
pub fn sign<T: Serialize>(keys: &Keys, kind: OpenType, name: &str, record: &T) -> Vec<u8> {
    let epoch = match kind {
        OpenType::Lease | OpenType::Prune | OpenType::Note => keys.keyring().epoch(),
        // Who holds an older keyring can tell by it that keys were rotated.
        OpenType::Epoch => keys.keyring().first_epoch(),
    };
    let mut out = to_json(record);
    let key = mac_key(keys, kind, epoch).expect("the keyring holds its own epochs");
    let tag = hmac::sign(&key, &mac_input(keys, kind, name, &out));
    let mac = format!("\nhmac-sha256 {epoch} {}\n", hex(tag.as_ref()));
    out.extend_from_slice(mac.as_bytes());
    out
}

/// Checks and reads the record that was found under `name`.
pub fn open_signed<T: DeserializeOwned>(
    keys: &Keys,
    kind: OpenType,
    name: &str,
    object: &[u8],
) -> Result<T, FormatError> {
    let what = kind.what();
    let (body, epoch, tag) = split_signed(object).ok_or(FormatError::Truncated(what))?;
    let key = mac_key(keys, kind, epoch)?;
    hmac::verify(&key, &mac_input(keys, kind, name, body), &tag)
        .map_err(|_| FormatError::Authentication(what))?;
    from_json(what, body)
}

/// Body, epoch and tag. The text has one form only: what does not read back to itself is damage.
fn split_signed(object: &[u8]) -> Option<(&[u8], u16, [u8; 32])> {
    let line_end = object.iter().position(|byte| *byte == b'\n')?;
    let (body, rest) = object.split_at(line_end);
    let text = std::str::from_utf8(rest).ok()?;
    let (epoch, tag) = text.trim().strip_prefix("hmac-sha256 ")?.split_once(' ')?;
    let (epoch, tag) = (epoch.parse().ok()?, crate::model::ids::unhex(tag).ok()?);
    let canonical = format!("\nhmac-sha256 {epoch} {}\n", hex(&tag));
    (canonical == text).then_some((body, epoch, tag))
}

fn mac_key(keys: &Keys, kind: OpenType, epoch: u16) -> Result<hmac::Key, FormatError> {
    let key = keys.subkey(kind.what(), Purpose::LeaseMac, epoch)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &*key))
}

fn mac_input(keys: &Keys, kind: OpenType, name: &str, body: &[u8]) -> Vec<u8> {
    let kind = match kind {
        OpenType::Lease => &b"ccb/v1/lease"[..],
        OpenType::Prune => b"ccb/v1/prune",
        OpenType::Epoch => b"ccb/v1/epoch",
        OpenType::Note => b"ccb/v1/note",
    };
    [kind, &keys.repo_id().0, name.as_bytes(), b"\n", body].concat()
}

#[cfg(test)]
mod tests {
    use crate::repository::format::FormatError;
    use crate::repository::format::seal::unpack;

    #[test]
    fn what_decompresses_to_more_than_the_limit_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 20], 3).unwrap();
        assert!(bomb.len() < 100);
        assert_eq!(
            unpack("x", &bomb, 1 << 20).map(|out| out.len()),
            Ok(1 << 20)
        );
        let limit_bytes = (1 << 20) - 1;
        let refused = Err(FormatError::TooLarge {
            what: "x",
            limit_bytes,
        });
        assert_eq!(unpack("x", &bomb, limit_bytes), refused);
    }
}
