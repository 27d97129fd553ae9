//! Puts an export at a destination, and takes one away again. What somebody else put there is never touched.

use crate::export::ExportError;
use crate::export::spool::Spool;
use crate::model::ids::Digest;
use crate::model::strategy::Export;
use crate::store::{Key, Kind, Put, Store, StoreError};

/// Read back at a time.
const READ_LEN_BYTES: u64 = 8 << 20;

/// An export that was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// How long it is.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// It was there already, from an attempt before.
    pub was_there: bool,
}

/// What became of an export that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// Something of another length is there now, and was left alone.
    Changed,
}

/// The key of an export: where a repository has its own objects there is none.
pub fn key(text: &str) -> Result<Key, ExportError> {
    if Export::is_reserved(text) {
        return Err(ExportError::Reserved(text.to_owned()));
    }
    Key::new(text).map_err(ExportError::Name)
}

/// Writes `spool` as `key`, unless something is there, and reads back what was written.
pub async fn put(store: &Store, key: &Key, spool: &Spool) -> Result<Placed, ExportError> {
    let (location, text) = (store.location(), key.to_string());
    let bytes = spool.bytes().map_err(|cause| ExportError::Spool {
        folder: std::path::PathBuf::new(),
        cause,
    })?;
    let written = store.put(key, bytes, Put::New).await;
    let is_there = is_there(store, key, spool).await;
    let placed = |was_there| Placed {
        bytes: spool.len_bytes(),
        digest: spool.digest(),
        was_there,
    };
    match (written, is_there) {
        (Ok(()), Ok(true)) => Ok(placed(false)),
        // What was written just now is this run's own.
        (Ok(()), Ok(false)) => {
            store.delete(key).await?;
            let key = text;
            Err(ExportError::Differs { key, location })
        }
        (Ok(()), Err(error)) => Err(error.into()),
        // The answer was lost, or an earlier run was ended before it could say what it had done.
        (Err(_), Ok(true)) => Ok(placed(true)),
        (Err(error), _) if error.kind == Kind::AlreadyExists => {
            let key = text;
            Err(ExportError::Taken { key, location })
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Whether `key` holds exactly these bytes.
async fn is_there(store: &Store, key: &Key, spool: &Spool) -> Result<bool, StoreError> {
    if len_of(store, key).await? != Some(spool.len_bytes()) {
        return Ok(false);
    }
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while at < spool.len_bytes() {
        let end = (at + READ_LEN_BYTES).min(spool.len_bytes());
        hasher.update(&store.get(key, Some(at..end)).await?);
        at = end;
    }
    Ok(Digest(*hasher.finalize().as_bytes()) == spool.digest())
}

async fn len_of(store: &Store, key: &Key) -> Result<Option<u64>, StoreError> {
    let listed = store.list(key.as_str()).await?.objects;
    let found = listed.iter().find(|meta| meta.key == *key);
    Ok(found.map(|meta| meta.size))
}

/// Removes what was recorded as an export of that length.
pub async fn remove(store: &Store, key: &Key, bytes: u64) -> Result<Removed, ExportError> {
    match len_of(store, key).await? {
        Some(len) if len != bytes => Ok(Removed::Changed),
        Some(_) => {
            store.delete(key).await?;
            Ok(Removed::Gone)
        }
        None => Ok(Removed::Gone),
    }
}
