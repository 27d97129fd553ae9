//! Redis backups in a repository in memory: as a run makes them, or with what a test puts into them.

use crate::repository::given::{draft, memory, repository};
use crate::support::captured::chain;
use ccb::model::records::Manifest;
use ccb::model::strategy::Method;
use ccb::model::tree::Found;
use ccb::repository::{Commit, Draft, Reader};
use ccb::source::redis::facts::RedisFacts;
use ccb::source::redis::{Request, aof, rdb};
use ccb::source::{Capture, Facts};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Arc;

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
        let mut found = vec![Found::directory("", 0)];
        for (path, bytes) in files {
            if let Some((directory, _)) = path.split_once('/')
                && found.len() == 1
            {
                found.push(Found::directory(directory, 0));
            }
            let bytes = bytes.to_vec();
            let open = move || Ok(Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>);
            found.push(Found::stream(path, 0, Box::new(open)));
        }
        let facts = serde_json::to_value(facts).expect("plain data");
        let source = BTreeMap::from([("redis".to_owned(), facts)]);
        let capture = Capture {
            walk: Box::new(found.into_iter().map(Ok)),
            finish: Box::new(move || {
                Ok(Facts {
                    source,
                    ..Facts::default()
                })
            }),
            guard: Box::new(()),
        };
        Self::store(capture, Method::Rdb).await
    }

    async fn store(capture: Capture, method: Method) -> Self {
        let repository = repository(&memory()).await;
        let draft = Draft {
            method,
            ..draft("redis")
        };
        let mut session = repository.begin(draft, None).await.expect("begins");
        let written = session.write_tree(capture.walk, Arc::new(())).await;
        written.map_err(|e| chain(&e)).expect("written");
        let facts = tokio::task::spawn_blocking(capture.finish)
            .await
            .expect("it ran");
        let commit = Commit {
            source: facts.map_err(|e| chain(&e)).expect("facts").source,
            ..Commit::default()
        };
        let manifest = session.commit(commit).await.expect("committed");
        let reader = repository.reader().await.expect("reads");
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
