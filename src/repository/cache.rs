//! What is kept on this machine so that it need not be fetched again: whole index segments as they are
//! in the store, and one file with the payloads of manifests and annotations. Everything here is sealed
//! with the repository's keys and checked when it is read; all of it may be deleted at any time, and a
//! cache that can not be used is no error.

use crate::repository::format::seal::{ObjectType, PAYLOAD_MAX_BYTES, open, seal};
use crate::repository::{Repository, pipeline};
use crate::store::Key;
use bytes::Bytes;
use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
};

/// Bound into the seal. No key has a blank, so this file can not pose as an object, nor one as it.
const NAME: &str = "local cache of manifests";

/// The folder of one repository.
pub(crate) struct Cache {
    folder: PathBuf,
}

/// Payloads by key, and the length of the object that each came from.
pub(crate) type Payloads = HashMap<Key, (u64, Bytes)>;

impl Repository {
    pub(crate) fn cache(&self) -> Option<Cache> {
        let dir = self.surroundings().cache_dir.as_ref()?;
        let folder = dir.join(self.id().to_string());
        Some(Cache { folder })
    }
}

impl Cache {
    /// The payloads that were kept; empty when there are none, or when they do not authenticate.
    pub(crate) async fn payloads(&self, repository: &Repository) -> Payloads {
        let Ok(sealed) = tokio::fs::read(self.payload_file()).await else {
            return Payloads::new();
        };
        let keys = repository.keys().clone();
        pipeline::on_pool(move || {
            let opened = open(&keys, ObjectType::Manifest, NAME, &sealed);
            opened.ok().and_then(|bytes| decode(bytes.into()))
        })
        .await
        .unwrap_or_default()
    }

    /// Keeps `payloads` in place of what was kept.
    pub(crate) async fn keep_payloads<'a>(
        &self,
        repository: &Repository,
        payloads: impl Iterator<Item = (&'a Key, u64, &'a Bytes)>,
    ) {
        let bytes = encode(payloads);
        let salt = repository.random();
        let sealed = seal(repository.keys(), ObjectType::Manifest, NAME, &bytes, salt);
        let _ = self.replace(&self.payload_file(), sealed).await;
    }

    /// A segment's sealed bytes.
    pub(crate) async fn segment(&self, name: &str) -> Option<Vec<u8>> {
        tokio::fs::read(self.segment_folder().join(name)).await.ok()
    }

    /// Keeps a segment's sealed bytes.
    pub(crate) async fn keep_segment(&self, name: &str, sealed: &[u8]) {
        let path = self.segment_folder().join(name);
        let _ = self.replace(&path, sealed.to_vec()).await;
    }

    /// Drops the segments that are not among `names`.
    pub(crate) async fn keep_only_segments(&self, names: &BTreeSet<&str>) {
        let Ok(mut entries) = tokio::fs::read_dir(self.segment_folder()).await else {
            return;
        };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| names.contains(name)) {
                let _ = tokio::fs::remove_file(entry.path()).await;
            }
        }
    }

    fn payload_file(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    fn segment_folder(&self) -> PathBuf {
        self.folder.join("index")
    }

    /// Writes beside and renames: a reader sees the old file or the new one.
    async fn replace(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        let path = path.to_owned();
        let written = tokio::task::spawn_blocking(move || {
            let folder = path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            io::Write::write_all(&mut file, &bytes)?;
            file.persist(&path).map(|_| ()).map_err(|e| e.error)
        });
        written.await.map_err(io::Error::other)?
    }
}

/// Each entry: length of key, key, length of object, length of payload, payload. What would make the
/// file longer than a sealed object can be is left out, and fetched each time.
fn encode<'a>(payloads: impl Iterator<Item = (&'a Key, u64, &'a Bytes)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, size, payload) in payloads {
        let len = 2 + key.as_str().len() + 8 + 4 + payload.len();
        if (out.len() + len) as u64 > PAYLOAD_MAX_BYTES {
            break;
        }
        out.extend_from_slice(&(key.as_str().len() as u16).to_le_bytes());
        out.extend_from_slice(key.as_str().as_bytes());
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(payload);
    }
    out
}

/// The payloads are parts of `all`: nothing is copied.
fn decode(all: Bytes) -> Option<Payloads> {
    let mut payloads = Payloads::new();
    let mut bytes: &[u8] = &all;
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let key = Key::new(std::str::from_utf8(key).ok()?).ok()?;
        let size = u64::from_le_bytes(*size);
        payloads.insert(key, (size, all.slice_ref(payload)));
        bytes = rest;
    }
    Some(payloads)
}

#[cfg(test)]
mod tests {
    use crate::repository::cache::{Payloads, decode, encode};
    use crate::store::Key;
    use bytes::Bytes;

    #[test]
    fn payloads_read_back_and_a_cut_file_is_none() {
        let key = |text: &str| Key::new(text).unwrap();
        let payloads = Payloads::from([
            (key("backups/a/1"), (7, Bytes::from_static(b"one"))),
            (key("backups/b/2"), (0, Bytes::new())),
        ]);
        let bytes = encode(payloads.iter().map(|(key, (size, p))| (key, *size, p)));
        let bytes = Bytes::from(bytes);
        assert_eq!(decode(bytes.clone()), Some(payloads));
        assert_eq!(decode(bytes.slice(..bytes.len() - 1)), None);
        assert_eq!(decode(Bytes::new()), Some(Payloads::new()));
    }
}
