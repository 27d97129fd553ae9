//! Where bytes live: objects by key, behind five verbs. Knows nothing of backups, and never decides
//! whether something may be deleted. [`Store`] is what the rest of ccb holds: it wraps a [`Backend`]
//! with permits, retries and a counter.

pub mod error;
mod handle;
mod key;
pub mod local;
pub mod memory;
pub mod s3;
pub mod sftp;

pub use error::{Doing, Kind, StoreError};
pub use handle::{Calls, Retries, Store};
pub(crate) use key::is_part;
pub use key::{Key, KeyError};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::{fmt::Debug, io, ops::Range};

/// One implementation of a store. Every call may be repeated; a `put` that returned is durable.
pub trait Backend: Debug + Send + Sync {
    /// The place, as the operator knows it.
    fn location(&self) -> String;

    /// The object's bytes, or those of `range`. A range that reaches past the end is
    /// [`Kind::Corrupt`]: callers only ask for what was written.
    fn get(&self, key: &Key, range: Option<Range<u64>>)
    -> BoxFuture<'_, Result<Bytes, StoreError>>;

    /// Writes the whole object, atomically and durably. Of several creators with [`Put::New`] exactly
    /// one succeeds; the others get [`Kind::AlreadyExists`].
    fn put(&self, key: &Key, body: Bytes, how: Put) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Writes an object that is still being made, as [`Backend::put`] writes a whole one: nothing has the key
    /// until all parts were there. Where a store can not write parts as they come, it waits for all.
    fn put_parts(
        &self,
        key: &Key,
        parts: Parts,
        how: Put,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let (key, location) = (key.clone(), self.location());
        Box::pin(async move {
            let whole = whole(parts).await;
            let body = whole.map_err(|e| StoreError::from_io(Doing::Put, &key, &location, e))?;
            self.put(&key, body, how).await
        })
    }

    /// Every object whose key starts with `prefix`. Objects written while it runs may be missing.
    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>>;

    /// Removes the object; one that is not there is a success.
    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Finds out by trying whether objects can be written, and whether [`Put::New`] is obeyed. `key`
    /// must be fresh; it is removed again where that is allowed.
    fn probe(&self, key: &Key) -> BoxFuture<'_, Result<Probe, StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            self.put(&key, Bytes::from_static(b"first"), Put::New)
                .await?;
            let second = self
                .put(&key, Bytes::from_static(b"second"), Put::New)
                .await;
            let kept = self.get(&key, None).await?;
            // Under an append-only policy the delete is refused; the small object then stays.
            let deletes = self.delete(&key).await.is_ok();
            match second {
                Err(e) if e.kind != Kind::AlreadyExists => Err(e),
                second => Ok(Probe {
                    creates_only_once: second.is_err() && kept.as_ref() == b"first",
                    deletes,
                }),
            }
        })
    }
}

/// An object that may still be in the making: its bytes in order, which are waited for. An error ends it.
pub type Parts = Box<dyn Iterator<Item = io::Result<Bytes>> + Send>;

/// Makes an object from its start, for every attempt to write it anew.
pub type PartsOf = dyn Fn() -> Parts + Send + Sync;

/// All bytes of an object, waited for where that is allowed.
pub(crate) async fn whole(parts: Parts) -> io::Result<Bytes> {
    let collecting = tokio::task::spawn_blocking(move || {
        let mut all = BytesMut::new();
        for part in parts {
            all.extend_from_slice(&part?);
        }
        Ok(all.freeze())
    });
    collecting
        .await
        .unwrap_or_else(|e| Err(io::Error::other(e)))
}

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Put {
    /// Only if the key is free.
    New,
    /// Over whatever is there.
    Replace,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Its key.
    pub key: Key,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: Timestamp,
}

/// What a store holds under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The objects, sorted by key.
    pub objects: Vec<Meta>,
    /// The store's own clock at the time of the listing.
    pub server_time: Timestamp,
    /// How many things were seen whose names are no keys, so that no ccb ever wrote them.
    pub strays: u64,
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// A second creator is refused, so several writers are safe.
    pub creates_only_once: bool,
    /// The credentials allow deletion.
    pub deletes: bool,
}
