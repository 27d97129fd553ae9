//! The envelope of an object that is written while it is made: a file of a database's log. Its parts are
//! compressed and sealed one by one, under numbers, with an end that says how many there are: none can be left
//! out, doubled or put elsewhere unseen.

use crate::repository::format::FormatError;
use crate::repository::format::aead::{SealingKey, TAG_LEN};
use crate::repository::format::key::Keys;
use crate::repository::format::seal::{
    HEADER_LEN, ObjectType, PAYLOAD_MAX_BYTES, Packer, header, object_aad, object_key, salt_of,
    unpack,
};
use crate::repository::format::wire::Reader;

/// The version of envelopes in parts.
const VERSION: u8 = 1;
const KIND: ObjectType = ObjectType::Wal;
const PART: u32 = 0;
const END: u32 = 1;

/// What stands before a part: how long it is.
const LEN_LEN: usize = 4;

/// A part that was compressed, with room around it for what seals it.
pub struct PackedPart(Vec<u8>);

impl PackedPart {
    /// Compresses `part`.
    pub fn new(packer: &mut Packer, part: &[u8]) -> Self {
        Self(packer.pack_between(LEN_LEN, part, TAG_LEN))
    }

    /// What it takes, compressed.
    pub fn len_bytes(&self) -> usize {
        self.0.len() - LEN_LEN
    }
}

/// Seals the parts of one object, one after another.
pub struct PartSealer {
    key: SealingKey,
    header: Vec<u8>,
    aad: Vec<u8>,
    number: u64,
}

impl PartSealer {
    /// For the object `name`: its whole key in the store. `salt` is 32 random bytes, never used for other parts.
    pub fn new(keys: &Keys, name: &str, salt: [u8; 32]) -> Self {
        let epoch = keys.keyring().epoch();
        let header = header(KIND, VERSION, epoch, &salt);
        let key = object_key(keys, KIND, epoch, &salt);
        Self {
            key: key.expect("the keyring holds its own newest epoch"),
            aad: object_aad(&header, keys, name),
            header,
            number: 0,
        }
    }

    /// The next bytes of the object: those of a part.
    pub fn part(&mut self, part: PackedPart) -> Vec<u8> {
        self.seal(PART, part.0)
    }

    /// Its last bytes.
    pub fn end(mut self) -> Vec<u8> {
        self.seal(END, vec![0; LEN_LEN])
    }

    fn seal(&mut self, what: u32, mut part: Vec<u8>) -> Vec<u8> {
        let (len, content) = part.split_at_mut(LEN_LEN);
        len.copy_from_slice(&(content.len() as u32).to_le_bytes());
        let tag = self.key.seal(nonce(what, self.number), &self.aad, content);
        part.extend_from_slice(&tag);
        self.number += 1;
        match std::mem::take(&mut self.header) {
            header if header.is_empty() => part,
            header => [header, part].concat(),
        }
    }
}

fn nonce(what: u32, number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&what.to_le_bytes());
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    nonce
}

/// Opens the object that was found under `name`, and returns its payload, which may take
/// [`PAYLOAD_MAX_BYTES`].
pub fn open_parts(keys: &Keys, name: &str, object: &[u8]) -> Result<Vec<u8>, FormatError> {
    let what = KIND.what();
    let mut reader = Reader::new(object, what);
    let (epoch, salt) = salt_of(KIND, VERSION, &mut reader)?;
    let key = object_key(keys, KIND, epoch, &salt)?;
    let aad = object_aad(&object[..HEADER_LEN], keys, name);
    let mut payload = Vec::new();
    for number in 0.. {
        let len = reader.u32()? as usize;
        let is_end = len == 0;
        let mut sealed = reader.take(len.saturating_add(TAG_LEN))?.to_vec();
        let nonce = nonce(if is_end { END } else { PART }, number);
        let packed = key.open(nonce, &aad, &mut sealed);
        let packed = packed.map_err(|_| FormatError::Authentication(what))?;
        if is_end {
            break;
        }
        let limit_bytes = PAYLOAD_MAX_BYTES;
        let left = limit_bytes - payload.len() as u64;
        let part = unpack(what, packed, left);
        payload.extend(part.map_err(|e| match e {
            FormatError::TooLarge { .. } => FormatError::TooLarge { what, limit_bytes },
            e => e,
        })?);
    }
    reader.end()?;
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use crate::model::ids::RepositoryId;
    use crate::repository::format::FormatError;
    use crate::repository::format::config::CipherSuite;
    use crate::repository::format::key::{Keyring, Keys};
    use crate::repository::format::parts::{PackedPart, PartSealer, open_parts};
    use crate::repository::format::seal::Packer;

    fn sealed(keys: &Keys, parts: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut sealer = PartSealer::new(keys, "wal/a", [5; 32]);
        let mut packer = Packer::new(1);
        let parts = parts.iter().map(|part| PackedPart::new(&mut packer, part));
        let parts = parts.map(|part| sealer.part(part)).collect();
        (parts, sealer.end())
    }

    #[test]
    fn parts_that_are_missing_doubled_swapped_or_altered_are_found() {
        let wrong = Err(FormatError::Authentication("WAL file"));
        for suite in [CipherSuite::Aes256Gcm, CipherSuite::None] {
            let ring = Keyring::new([1; 32], [2; 32]);
            let keys = Keys::new(ring, RepositoryId([3; 16]), suite);
            let (parts, end) = sealed(&keys, &[b"header", b"one", b"two"]);
            let [first, one, two] = &parts[..] else {
                panic!("three parts")
            };
            let open = |pieces: &[&[u8]]| open_parts(&keys, "wal/a", &pieces.concat());
            let whole: &[&[u8]] = &[first, one, two, &end];
            assert_eq!(open(whole), Ok(b"headeronetwo".to_vec()));
            assert_eq!(open_parts(&keys, "wal/b", &whole.concat()), wrong);
            assert_eq!(open(&[first, two, one, &end]), wrong);
            assert_eq!(open(&[first, one, &end]), wrong);
            assert_eq!(open(&[first, one, one, two, &end]), wrong);
            let cut = Err(FormatError::Truncated("WAL file"));
            assert_eq!(open(&[first, one, two]), cut);
            assert!(open(&[first, one, two, &end, b"x"]).is_err());
            for at in 0..whole.concat().len() {
                let mut altered = whole.concat();
                altered[at] ^= 1;
                assert!(open_parts(&keys, "wal/a", &altered).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_file_of_nothing_has_an_end() {
        let keys = Keys::new(Keyring::public(), RepositoryId([3; 16]), CipherSuite::None);
        let (_, end) = sealed(&keys, &[]);
        assert_eq!(open_parts(&keys, "wal/a", &end), Ok(Vec::new()));
    }
}
