//! Decides which files a server needs to find a backup's data. Pure.

use crate::restore::redis::conf::{APPENDDIRNAME, APPENDFILENAME, Conf, DATABASES, DBFILENAME};
use crate::restore::redis::{RedisRestoreError, Request};
use crate::source::redis::SNAPSHOT;
use crate::source::redis::aof::{AofFile, AofManifest};
use crate::source::redis::facts::RedisFacts;
use std::collections::BTreeMap;
use std::path::Path;

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
    pub(crate) names: Names,
}

/// Where the server will look for its data, below its directory.
pub(crate) struct Names {
    pub(crate) snapshot: String,
    pub(crate) append_file: String,
    pub(crate) append_directory: String,
}

impl Names {
    /// As its configuration says; where that is not known, as those of the server that was backed up.
    fn of(facts: &RedisFacts, conf: &Conf) -> Self {
        let name = |said: &Option<String>, setting: &str, usual: &str| {
            let recorded = || facts.config.get(setting).cloned();
            let name = said.clone().or_else(recorded);
            name.filter(|name| is_plain(name))
                .unwrap_or_else(|| usual.to_owned())
        };
        Self {
            snapshot: name(&conf.dbfilename, "dbfilename", DBFILENAME),
            append_file: name(&conf.appendfilename, "appendfilename", APPENDFILENAME),
            append_directory: name(&conf.appenddirname, "appenddirname", APPENDDIRNAME),
        }
    }
}

/// `files` are the backup's.
pub(crate) fn layout(
    facts: &RedisFacts,
    files: &[String],
    request: &Request,
) -> Result<Layout, RedisRestoreError> {
    let appendonly = match (request.conf.appendonly, facts.config.get("appendonly")) {
        (Some(said), _) => said,
        (None, Some(recorded)) => recorded == "yes",
        (None, None) if facts.aof.is_some() => true,
        (None, None) => return Err(RedisRestoreError::AppendOnlyUnknown),
    };
    let names = Names::of(facts, &request.conf);
    let mut layout = match (&facts.aof, appendonly) {
        (Some(_), true) => append_only(facts, files, names),
        (Some(_), false) => return Err(RedisRestoreError::AppendOnlyOff),
        (None, _) => {
            check_kind(&names, appendonly, request)?;
            snapshot(facts, appendonly, names)
        }
    };
    // With fewer, a server does not start on the data.
    if let Some(databases) = facts.config.get("databases") {
        unusual(&mut layout.settings, "databases", databases, DATABASES);
    }
    Ok(layout)
}

/// Whoever says nothing may mean another kind of server than the backup is from.
fn check_kind(names: &Names, appendonly: bool, request: &Request) -> Result<(), RedisRestoreError> {
    let has_append_only = request.target.join(&names.append_directory).exists()
        || request.target.join(&names.append_file).exists();
    if !appendonly && has_append_only && request.conf.appendonly.is_none() {
        let target = request.target.clone();
        return Err(RedisRestoreError::AppendOnlyThere { target });
    }
    Ok(())
}

/// The snapshot, where the server looks for one.
fn snapshot(facts: &RedisFacts, appendonly: bool, names: Names) -> Layout {
    let item = |to: String| Item {
        to,
        from: Ok(SNAPSHOT.to_owned()),
    };
    let mut settings = BTreeMap::new();
    let mut items = Vec::new();
    if !appendonly {
        unusual(&mut settings, "dbfilename", &names.snapshot, DBFILENAME);
        items.push(item(names.snapshot.clone()));
    } else if is_before_7(facts) {
        // One file then, and it may begin with a snapshot.
        settings = append_settings(&names, false);
        items.push(item(names.append_file.clone()));
    } else {
        settings = append_settings(&names, true);
        let (file, directory) = (&names.append_file, &names.append_directory);
        let base = format!("{file}.1.base.rdb");
        let manifest = AofManifest {
            base: Some(AofFile {
                name: base.clone(),
                sequence: 1,
            }),
            increments: Vec::new(),
        };
        items.push(item(format!("{directory}/{base}")));
        items.push(Item {
            to: format!("{directory}/{file}.manifest"),
            from: Err(manifest.text()),
        });
    }
    Layout {
        items,
        appendonly,
        settings,
        names,
    }
}

/// The files as they were. What leads to them has the name that the server looks for: the directory and
/// the manifest in it, or the one file of before Redis 7.
fn append_only(facts: &RedisFacts, files: &[String], names: Names) -> Layout {
    let has_directory = facts
        .aof
        .as_ref()
        .is_some_and(|aof| aof.directory.is_some());
    let item = |path: &String| Item {
        to: match (has_directory, path.rsplit_once('/')) {
            (true, Some((_, name))) if name.ends_with(MANIFEST) => {
                format!("{}/{}{MANIFEST}", names.append_directory, names.append_file)
            }
            (true, Some((_, name))) => format!("{}/{name}", names.append_directory),
            _ => names.append_file.clone(),
        },
        from: Ok(path.clone()),
    };
    Layout {
        items: files.iter().map(item).collect(),
        appendonly: true,
        settings: append_settings(&names, has_directory),
        names,
    }
}

const MANIFEST: &str = ".manifest";

fn append_settings(names: &Names, has_directory: bool) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    unusual(
        &mut settings,
        "appendfilename",
        &names.append_file,
        APPENDFILENAME,
    );
    if has_directory {
        let directory = &names.append_directory;
        unusual(&mut settings, "appenddirname", directory, APPENDDIRNAME);
    }
    settings
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
fn is_plain(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|last| last == name)
}
