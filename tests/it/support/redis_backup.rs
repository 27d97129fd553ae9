//! Redis backups in a repository in memory: as a run makes them, or with what a test puts into them.

use crate::support::captured::{chain, made_of, stored};
use ccb::model::records::Manifest;
use ccb::model::strategy::Method;
use ccb::repository::Reader;
use ccb::source::Capture;
use ccb::source::redis::facts::RedisFacts;
use ccb::source::redis::{Request, aof, rdb};

/// A backup, and what reads it.
pub(crate) struct RedisBackup {
    pub(crate) manifest: Manifest,
    pub(crate) reader: Reader,
}

impl RedisBackup {
    /// Backs a server up.
    pub(crate) async fn of(request: Request, method: Method) -> Self {
        let capture = tokio::task::spawn_blocking(move || match method {
            Method::Aof => aof(request),
            _ => rdb(request),
        });
        let capture = capture.await.expect("it ran").map_err(|e| chain(&e));
        Self::store(capture.expect("it begins"), method).await
    }

    /// A backup of these files.
    pub(crate) async fn made_of(files: &[(&str, &[u8])], facts: &RedisFacts) -> Self {
        let facts = serde_json::to_value(facts).expect("plain data");
        Self::store(made_of(files, "redis", facts), Method::Rdb).await
    }

    async fn store(capture: Capture, method: Method) -> Self {
        let (manifest, reader) = stored("redis", method, capture).await;
        Self { manifest, reader }
    }

    /// What is known of it.
    pub(crate) fn facts(&self) -> RedisFacts {
        RedisFacts::of(&self.manifest.source).expect("it is of Redis")
    }

    /// The same files, and other facts.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut RedisFacts)) -> Self {
        let mut facts = self.facts();
        change(&mut facts);
        let facts = serde_json::to_value(facts).expect("plain data");
        self.manifest.source.insert("redis".to_owned(), facts);
        self
    }
}
