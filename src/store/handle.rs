//! The handle that the rest of ccb holds: a backend with a limit on calls at once, retries for a store
//! that does not answer, and a count of calls. Never retries what was refused.

use crate::store::{Backend, Doing, Key, Kind, Listing, PartsOf, Probe, Put, StoreError};
use bytes::Bytes;
use std::{
    future::Future,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

/// A store: cheap to clone, safe to share.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Arc<dyn Backend>,
    permits: Semaphore,
    retries: Retries,
    calls: [AtomicU64; 5],
}

/// How long a store that does not answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Calls per verb before giving up, the first included.
    pub attempts: u32,
    /// The pause after the first attempt; each later one is half as long again.
    pub first_pause: Duration,
    /// No pause is longer.
    pub pause_max: Duration,
}

impl Retries {
    /// One attempt only.
    pub const NONE: Self = Self {
        attempts: 1,
        first_pause: Duration::ZERO,
        pause_max: Duration::ZERO,
    };
}

impl Default for Retries {
    /// About a minute in all, so that a server's failover passes unnoticed.
    fn default() -> Self {
        Self {
            attempts: 14,
            first_pause: Duration::from_millis(100),
            pause_max: Duration::from_secs(15),
        }
    }
}

/// Calls made so far, retries included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Calls {
    pub gets: u64,
    pub puts: u64,
    pub lists: u64,
    pub deletes: u64,
    pub probes: u64,
}

impl Store {
    /// A store that makes at most `at_once_max` calls at a time, with the usual retries.
    pub fn new(backend: Arc<dyn Backend>, at_once_max: usize) -> Self {
        Self::with_retries(backend, at_once_max, Retries::default())
    }

    /// A store with retries of the caller's choice.
    pub fn with_retries(backend: Arc<dyn Backend>, at_once_max: usize, retries: Retries) -> Self {
        Self(Arc::new(Inner {
            backend,
            permits: Semaphore::new(at_once_max.max(1)),
            retries,
            calls: Default::default(),
        }))
    }

    /// The place, as the operator knows it.
    pub fn location(&self) -> String {
        self.0.backend.location()
    }

    /// Calls made so far.
    pub fn calls(&self) -> Calls {
        let count = |doing: Doing| self.0.calls[doing as usize].load(Relaxed);
        Calls {
            gets: count(Doing::Get),
            puts: count(Doing::Put),
            lists: count(Doing::List),
            deletes: count(Doing::Delete),
            probes: count(Doing::Probe),
        }
    }

    /// See [`Backend::get`].
    pub async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.retrying(Doing::Get, |_| self.0.backend.get(key, range.clone()))
            .await
    }

    /// See [`Backend::put`]. When a retry finds the object there with these very bytes, the attempt
    /// whose answer was lost had written it: that is a success.
    pub async fn put(&self, key: &Key, body: Bytes, how: Put) -> Result<(), StoreError> {
        self.retrying(Doing::Put, |attempt| {
            let body = body.clone();
            async move {
                match self.0.backend.put(key, body.clone(), how).await {
                    Err(e) if attempt > 1 && e.kind == Kind::AlreadyExists => {
                        let there = self.0.backend.get(key, None).await?;
                        if there == body { Ok(()) } else { Err(e) }
                    }
                    outcome => outcome,
                }
            }
        })
        .await
    }

    /// See [`Backend::put_parts`]. When an attempt whose answer was lost had written it, then it exists already:
    /// the next one has other bytes, and only the caller can tell what they stand for.
    pub async fn put_parts(&self, key: &Key, parts: &PartsOf, how: Put) -> Result<(), StoreError> {
        self.retrying(Doing::Put, |_| self.0.backend.put_parts(key, parts(), how))
            .await
    }

    /// See [`Backend::list`].
    pub async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.retrying(Doing::List, |_| self.0.backend.list(prefix))
            .await
    }

    /// See [`Backend::delete`].
    pub async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.retrying(Doing::Delete, |_| self.0.backend.delete(key))
            .await
    }

    /// See [`Backend::probe`]. Every further attempt has a key of its own: the one before may have written.
    pub async fn probe(&self, key: &Key) -> Result<Probe, StoreError> {
        self.retrying(Doing::Probe, |attempt| {
            let fresh = match attempt {
                1 => Ok(key.clone()),
                attempt => Key::new(format!("{key}-{attempt}")),
            };
            async move {
                let fresh = fresh.map_err(|cause| {
                    StoreError::new(Doing::Probe, key, &self.location(), Kind::Other)
                        .caused_by(cause)
                })?;
                self.0.backend.probe(&fresh).await
            }
        })
        .await
    }

    async fn retrying<T, F>(&self, doing: Doing, call: impl Fn(u32) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let _permit = self.permit().await;
        let retries = self.0.retries;
        let mut pause = retries.first_pause;
        for attempt in 1.. {
            self.0.calls[doing as usize].fetch_add(1, Relaxed);
            match call(attempt).await {
                Err(e) if e.kind == Kind::Unreachable && attempt < retries.attempts => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 3 / 2).min(retries.pause_max);
                }
                outcome => return outcome,
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn permit(&self) -> tokio::sync::SemaphorePermit<'_> {
        let permit = self.0.permits.acquire().await;
        permit.expect("this semaphore is never closed")
    }
}
