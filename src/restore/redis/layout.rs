//! Decides which files a server needs to find a backup's data. Pure.

use crate::restore::redis::{RedisRestoreError, Request};
use crate::source::redis::SNAPSHOT;
use crate::source::redis::aof::{AofFile, AofManifest};
use crate::source::redis::facts::RedisFacts;
use std::collections::BTreeMap;
use std::path::Path;

/// Names that Redis uses when nobody says otherwise.
const APPEND_DIRECTORY: &str = "appendonlydir";
const APPEND_FILE: &str = "appendonly.aof";

/// One file to write.
pub(crate) struct Item {
    /// Its path below the target.
    pub(crate) to: String,
    /// The file of the backup that it is, or its text.
    pub(crate) from: Result<String, String>,
}

/// Everything to write, and what the server must be told.
pub(crate) struct Layout {
    pub(crate) items: Vec<Item>,
    pub(crate) appendonly: bool,
    pub(crate) settings: BTreeMap<String, String>,
}

/// `files` are the backup's.
pub(crate) fn layout(
    facts: &RedisFacts,
    files: &[String],
    request: &Request,
) -> Result<Layout, RedisRestoreError> {
    let recorded = |name: &str| facts.config.get(name).cloned();
    let appendonly = match (request.conf.appendonly, recorded("appendonly")) {
        (Some(said), _) => said,
        (None, Some(recorded)) => recorded == "yes",
        (None, None) if facts.aof.is_some() => true,
        (None, None) => return Err(RedisRestoreError::AppendOnlyUnknown),
    };
    if facts.aof.is_some() {
        return if appendonly {
            Ok(append_only(facts, files))
        } else {
            Err(RedisRestoreError::AppendOnlyOff)
        };
    }
    let conf = &request.conf;
    let name = |said: &Option<String>, setting: &str, usual: &str| {
        said.clone()
            .or_else(|| recorded(setting))
            .unwrap_or_else(|| usual.to_owned())
    };
    let append_file = name(&conf.appendfilename, "appendfilename", APPEND_FILE);
    let append_directory = name(&conf.appenddirname, "appenddirname", APPEND_DIRECTORY);
    let has_append_only = request.target.join(&append_directory).exists()
        || request.target.join(&append_file).exists();
    // Whoever says nothing may mean another kind of server than the backup is from.
    if !appendonly && has_append_only && conf.appendonly.is_none() {
        let target = request.target.clone();
        return Err(RedisRestoreError::AppendOnlyThere { target });
    }
    let snapshot = |to: String| Item {
        to,
        from: Ok(SNAPSHOT.to_owned()),
    };
    let mut settings = BTreeMap::new();
    let mut items = Vec::new();
    if !appendonly {
        let file = name(&conf.dbfilename, "dbfilename", SNAPSHOT);
        unusual(&mut settings, "dbfilename", &file, SNAPSHOT);
        items.push(snapshot(plain(&file, SNAPSHOT)));
    } else if is_before_7(facts) {
        // One file then, and it may begin with a snapshot.
        unusual(&mut settings, "appendfilename", &append_file, APPEND_FILE);
        items.push(snapshot(plain(&append_file, APPEND_FILE)));
    } else {
        let (file, directory) = (
            plain(&append_file, APPEND_FILE),
            plain(&append_directory, APPEND_DIRECTORY),
        );
        unusual(&mut settings, "appendfilename", &file, APPEND_FILE);
        unusual(&mut settings, "appenddirname", &directory, APPEND_DIRECTORY);
        let base = format!("{file}.1.base.rdb");
        let manifest = AofManifest {
            base: Some(AofFile {
                name: base.clone(),
                sequence: 1,
            }),
            increments: Vec::new(),
        };
        items.push(snapshot(format!("{directory}/{base}")));
        items.push(Item {
            to: format!("{directory}/{file}.manifest"),
            from: Err(manifest.text()),
        });
    }
    Ok(Layout {
        items,
        appendonly,
        settings,
    })
}

/// The files as they were, under the names they had.
fn append_only(facts: &RedisFacts, files: &[String]) -> Layout {
    let mut settings = BTreeMap::new();
    if let Some(directory) = facts.aof.as_ref().and_then(|aof| aof.directory.as_ref()) {
        unusual(&mut settings, "appenddirname", directory, APPEND_DIRECTORY);
    }
    if let Some(file) = facts.config.get("appendfilename") {
        unusual(&mut settings, "appendfilename", file, APPEND_FILE);
    }
    let item = |path: &String| Item {
        to: path.clone(),
        from: Ok(path.clone()),
    };
    // The manifest last: until it is there, a server finds nothing rather than a part.
    let (manifests, others): (Vec<_>, Vec<_>) =
        files.iter().partition(|path| path.ends_with(".manifest"));
    Layout {
        items: others.into_iter().chain(manifests).map(item).collect(),
        appendonly: true,
        settings,
    }
}

fn is_before_7(facts: &RedisFacts) -> bool {
    let major = facts
        .server
        .split('.')
        .next()
        .and_then(|number| number.parse::<u32>().ok());
    major.is_some_and(|major| major < 7)
}

fn unusual(settings: &mut BTreeMap<String, String>, name: &str, value: &str, usual: &str) {
    if value != usual {
        settings.insert(name.to_owned(), value.to_owned());
    }
}

/// A name from a manifest or a configuration leads nowhere but into the target.
fn plain(name: &str, usual: &str) -> String {
    let is_plain = Path::new(name).file_name().is_some_and(|last| last == name);
    if is_plain {
        name.to_owned()
    } else {
        usual.to_owned()
    }
}
