//! What is kept with a backup of a Redis server: what it held, from where, and how it can be told later
//! whether the server has changed since.

use crate::source::redis::aof::AofFacts;
use crate::source::redis::error::RedisError;
use crate::source::redis::rdb::{Keys, RdbFacts};
use crate::source::redis::server::{Info, Server};
use crate::source::{Facts, SourceError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Under this name in a manifest's facts.
pub const NAME: &str = "redis";

/// Settings that decide what a restored server makes of the data, and where its users are, who are not in it.
const SETTINGS: [&str; 8] = [
    "aclfile",
    "appendonly",
    "appenddirname",
    "appendfilename",
    "databases",
    "dbfilename",
    "maxmemory",
    "maxmemory-policy",
];

/// What is known of a backup of a Redis server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisFacts {
    /// Version of the server.
    pub server: String,
    /// The server's own random name for this run of it.
    pub run_id: String,
    /// `master` or `slave`.
    pub role: String,
    /// Whether it is one shard of a cluster: the others need backups of their own.
    pub is_cluster: bool,
    /// How it was read.
    pub transfer: Transfer,
    /// Why it was not read by its files, though there is a `data-dir`.
    pub files_unread: Option<String>,
    /// In which form snapshots are stored.
    pub form: Form,
    /// Why they are not in the canonical form.
    pub raw_because: Option<String>,
    /// What the snapshot holds; not known of a raw one.
    pub rdb: Option<RdbFacts>,
    /// What the append-only files hold.
    pub aof: Option<AppendOnlyFacts>,
    /// Keys by database as the server counted them before it was read,
    pub keys_before: BTreeMap<u32, Keys>,
    /// and afterwards; for append-only files, when they had been opened.
    pub keys_after: BTreeMap<u32, Keys>,
    /// Settings, those that could be read.
    pub config: BTreeMap<String, String>,
    /// Memory that the server used for its data and itself, in bytes.
    #[serde(default)]
    pub used_memory: Option<u64>,
    /// Where the server stood, when it did not change while it was read.
    pub position: Option<Position>,
}

impl RedisFacts {
    /// Of what a server says before it is read.
    pub(crate) fn new(info: &Info, transfer: Transfer, config: BTreeMap<String, String>) -> Self {
        Self {
            server: info.text("redis_version").to_owned(),
            run_id: info.text("run_id").to_owned(),
            role: info.text("role").to_owned(),
            is_cluster: info.is_set("cluster_enabled"),
            transfer,
            files_unread: None,
            form: Form::Canonical,
            raw_because: None,
            rdb: None,
            aof: None,
            keys_before: keyspace(info),
            keys_after: keyspace(info),
            config,
            used_memory: info.number("used_memory").and_then(|n| n.try_into().ok()),
            position: None,
        }
    }

    /// As they go into a manifest.
    pub(crate) fn into_facts(self) -> Result<Facts, SourceError> {
        let tools = BTreeMap::from([("redis-server".to_owned(), self.server.clone())]);
        let notes = self.notes();
        let value = serde_json::to_value(self).map_err(|cause| SourceError::Io {
            doing: "describe the backup".to_owned(),
            cause: cause.into(),
        })?;
        Ok(Facts {
            source: BTreeMap::from([(NAME.to_owned(), value)]),
            tools,
            notes,
            ..Facts::default()
        })
    }

    /// What is not as whoever asked for it may think.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(why) = &self.files_unread {
            notes.push(format!("streamed instead: {why}"));
        }
        if let Some(what) = &self.raw_because {
            notes.push(format!(
                "stored as the server wrote it, as {what} is not understood here"
            ));
        }
        if self.is_cluster {
            notes
                .push("one shard of a cluster: the others need components of their own".to_owned());
        }
        notes
    }

    /// Those of a manifest.
    pub fn of(source: &BTreeMap<String, Value>) -> Option<Self> {
        serde_json::from_value(source.get(NAME)?.clone()).ok()
    }
}

/// How a server was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transfer {
    /// BGSAVE, and the file.
    Bgsave,
    /// Streamed, as to a replica.
    Replica,
    /// Its append-only files.
    Files,
}

/// In which form a snapshot is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Sorted, not compressed: days de-duplicate.
    Canonical,
    /// As the server wrote it.
    Raw,
}

/// What append-only files hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AppendOnlyFacts {
    /// The directory of Redis 7; `None` is the single file before that.
    pub directory: Option<String>,
    /// By name; a file is not here when it is stored as it was.
    pub files: BTreeMap<String, AofFacts>,
}

/// Equal twice: the server's data have not changed in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The server's own random name for this run of it.
    pub run_id: String,
    /// When it saved last, in seconds since the Unix epoch.
    pub saved_at: i64,
    /// Changes since then.
    pub changes: i64,
    /// How often it has saved, since Redis 7: two saves within a second are told apart by it.
    #[serde(default)]
    pub saves: Option<i64>,
}

impl Position {
    /// Where a server stands.
    pub fn of(info: &Info) -> Option<Self> {
        Some(Self {
            run_id: info.text("run_id").to_owned(),
            saved_at: info.number("rdb_last_save_time")?,
            changes: info.number("rdb_changes_since_last_save")?,
            saves: info.number("rdb_saves"),
        })
    }

    /// Where a server stands that was read between `before` and `after`: known only when all that it has
    /// now is in what was read. A save in between says nothing: what changed before it is no longer counted.
    pub(crate) fn unchanged(before: &Info, after: &Info) -> Option<Self> {
        let (before, after) = (Self::of(before)?, Self::of(after)?);
        (before == after).then_some(after)
    }

    /// Where a server stands of which the snapshot was read that it had when INFO said `saved`.
    pub(crate) fn unchanged_since_save(saved: &Info, after: &Info) -> Option<Self> {
        Self::unchanged(saved, after).filter(|position| position.changes == 0)
    }
}

/// Keys by database, as the server counts them.
pub fn keyspace(info: &Info) -> BTreeMap<u32, Keys> {
    let databases = info.beginning("db").filter_map(|(number, counts)| {
        let count = |name: &str| {
            let counts = counts.split(',').filter_map(|pair| pair.split_once('='));
            let found = counts.into_iter().find(|(of, _)| *of == name);
            found.and_then(|(_, count)| count.parse().ok()).unwrap_or(0)
        };
        let keys = Keys {
            keys: count("keys"),
            expires: count("expires"),
        };
        Some((number.parse().ok()?, keys))
    });
    databases.collect()
}

/// The settings that could be read.
pub(crate) fn settings(server: &mut Server) -> Result<BTreeMap<String, String>, RedisError> {
    let mut settings = BTreeMap::new();
    for name in SETTINGS {
        if let Some(value) = server.config(name)? {
            settings.insert(name.to_owned(), value);
        }
    }
    Ok(settings)
}
