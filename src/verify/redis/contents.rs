//! Whether a Redis backup holds what it should, without a server: every snapshot is walked key by key to
//! its checksum, every append-only file command by command, and all is counted and compared with what was
//! recorded when it was made and with what the server itself counted then.

use crate::model::records::{Check, Manifest};
use crate::model::tree::Node;
use crate::model::units::Percent;
use crate::repository::Reader;
use crate::restore::ContentStream;
use crate::source::redis::SNAPSHOT;
use crate::source::redis::aof::{AofFacts, AofManifest, End, count_aof};
use crate::source::redis::facts::{AppendOnlyFacts, Form, RedisFacts};
use crate::source::redis::rdb::{self, Keys, Raw, RdbFacts};
use crate::verify::redis::{compare_with_server, files, name};
use crate::verify::{Against, Finding, chain};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// Longer manifests are none.
const MANIFEST_LEN_MAX_BYTES: u64 = 1 << 20;

/// Checks a backup against its manifest. `tolerance`: how far its keys may differ from the server's own
/// count.
pub async fn contents(
    tolerance: Percent,
    manifest: &Manifest,
    reader: &Reader,
    now: Timestamp,
) -> Finding {
    let mut against = Against::default();
    let mut counted = Counted::default();
    let files = files(reader, &manifest.root_node(), &mut against).await;
    match RedisFacts::of(&manifest.source) {
        None => against.push("its manifest says nothing of Redis".to_owned()),
        Some(facts) => match &facts.aof {
            None => {
                snapshot(
                    &facts,
                    tolerance,
                    &files,
                    reader,
                    now,
                    &mut counted,
                    &mut against,
                )
                .await
            }
            Some(aof) => {
                append_only(&facts, aof, &files, reader, now, &mut counted, &mut against).await
            }
        },
    }
    let keys: u64 = counted.databases.values().map(|keys| keys.keys).sum();
    let listed = [
        ("files", Value::from(files.len())),
        ("keys", keys.into()),
        ("databases", json!(counted.databases)),
        ("types", json!(counted.types)),
        ("expired", counted.expired.into()),
        ("commands", counted.commands.into()),
        ("form", json!(counted.form)),
    ];
    let good = match (counted.form, counted.commands) {
        (Some(Form::Raw), _) => {
            let checksum = match counted.without_checksum {
                0 => "its checksum is right",
                _ => "all of it is there, as the server wrote it, without a checksum of its own",
            };
            format!("{checksum}; its keys can not be counted in the raw form")
        }
        (_, Some(commands)) => {
            format!("{keys} keys in its base and {commands} commands, all whole")
        }
        (_, None) => format!(
            "{keys} keys, {} of them expired by now, and its checksum is right",
            counted.expired
        ),
    };
    Finding::new(Check::Contents, listed, &against, good)
}

#[derive(Default)]
struct Counted {
    databases: BTreeMap<u32, Keys>,
    types: BTreeMap<String, u64>,
    /// Keys that have expired by now: a server that loads them drops them.
    expired: u64,
    commands: Option<u64>,
    form: Option<Form>,
    /// Files in the raw form that prove nothing of themselves.
    without_checksum: u64,
}

async fn snapshot(
    facts: &RedisFacts,
    tolerance: Percent,
    files: &BTreeMap<String, Node>,
    reader: &Reader,
    now: Timestamp,
    counted: &mut Counted,
    against: &mut Against,
) {
    counted.form = Some(facts.form);
    let stream = files
        .get(SNAPSHOT)
        .and_then(|node| ContentStream::of(reader, node));
    let Some(stream) = stream else {
        return against.push(format!("`{SNAPSHOT}` is not in it"));
    };
    if facts.form == Form::Raw {
        return raw(SNAPSHOT, stream, counted, against).await;
    }
    let as_of_ms = now.as_millisecond();
    let read = waiting(move || rdb::count_alone(stream, as_of_ms)).await;
    let (found, expired) = match read {
        Ok(found) => found,
        Err(error) => return against.push(format!("`{SNAPSHOT}`: {}", chain(&error))),
    };
    if let Some(recorded) = &facts.rdb {
        compare_snapshot(SNAPSHOT, recorded, &found, against);
    }
    compare_with_server(&found.databases, facts, tolerance, against);
    counted.expired = expired;
    (counted.databases, counted.types) = (found.databases, found.types);
}

/// Reads a file of which nothing is known but that it may be a snapshot with a checksum.
async fn raw(path: &str, stream: ContentStream, counted: &mut Counted, against: &mut Against) {
    let is_snapshot = path.ends_with(".rdb");
    let read = waiting(move || {
        if !is_snapshot {
            let mut stream = stream;
            return io::copy(&mut stream, &mut io::sink()).map(|_| false);
        }
        let mut raw = Raw::new(stream);
        io::copy(&mut raw, &mut io::sink()).map(|_| raw.has_checksum())
    });
    match read.await {
        Ok(has_checksum) => counted.without_checksum += u64::from(!has_checksum),
        Err(error) => against.push(format!("`{path}`: {}", chain(&error))),
    }
}

async fn append_only(
    facts: &RedisFacts,
    aof: &AppendOnlyFacts,
    files: &BTreeMap<String, Node>,
    reader: &Reader,
    now: Timestamp,
    counted: &mut Counted,
    against: &mut Against,
) {
    counted.form = Some(facts.form);
    let mut commands = 0;
    let mut seen = BTreeMap::new();
    for (path, node) in files {
        let Some(stream) = ContentStream::of(reader, node) else {
            continue;
        };
        if path.ends_with(".manifest") {
            check_manifest(path, stream, aof, against).await;
            continue;
        }
        // What was not understood when it was made is not now.
        let Some(recorded) = aof.files.get(name(path)) else {
            match facts.form {
                Form::Canonical => against.push(format!("`{path}` is not in its manifest")),
                Form::Raw => raw(path, stream, counted, against).await,
            }
            continue;
        };
        let as_of_ms = now.as_millisecond();
        match waiting(move || count_aof(stream, End::Whole, as_of_ms)).await {
            Err(error) => against.push(format!("`{path}`: {}", chain(&error))),
            Ok(found) => {
                compare_file(path, recorded, &found, against);
                commands += found.commands;
                if let Some(snapshot) = &found.snapshot {
                    counted.databases.clone_from(&snapshot.databases);
                    counted.types.clone_from(&snapshot.types);
                }
                seen.insert(name(path).to_owned(), found);
            }
        }
    }
    for missing in aof.files.keys().filter(|file| !seen.contains_key(*file)) {
        against.push(format!("`{missing}` can not be read, or is not in it"));
    }
    counted.commands = Some(commands);
}

async fn check_manifest(
    path: &str,
    stream: ContentStream,
    aof: &AppendOnlyFacts,
    against: &mut Against,
) {
    let read = waiting(move || {
        let mut text = String::new();
        stream
            .take(MANIFEST_LEN_MAX_BYTES)
            .read_to_string(&mut text)?;
        Ok::<_, io::Error>(text)
    });
    match read.await.map(|text| AofManifest::parse(&text)) {
        Err(error) => against.push(format!("`{path}`: {}", chain(&error))),
        Ok(Err(error)) => against.push(format!("`{path}`: {error}")),
        Ok(Ok(manifest)) => {
            let named: Vec<&str> = manifest.files().map(|file| file.name.as_str()).collect();
            for file in aof
                .files
                .keys()
                .filter(|file| !named.contains(&file.as_str()))
            {
                against.push(format!("`{path}` does not name `{file}`"));
            }
        }
    }
}

fn compare_file(path: &str, recorded: &AofFacts, found: &AofFacts, against: &mut Against) {
    match (&recorded.snapshot, &found.snapshot) {
        (Some(recorded), Some(found)) => compare_snapshot(path, recorded, found, against),
        (None, None) => {}
        _ => against.push(format!(
            "`{path}` has a snapshot where none was recorded, or none where one was"
        )),
    }
    if recorded.commands != found.commands {
        against.push(format!(
            "`{path}` had {} commands when it was made, and has {}",
            recorded.commands, found.commands
        ));
    }
}

fn compare_snapshot(path: &str, recorded: &RdbFacts, found: &RdbFacts, against: &mut Against) {
    if recorded.databases != found.databases {
        let (was, is) = (recorded.keys(), found.keys());
        against.push(format!(
            "`{path}` had {was} keys when it was made, and has {is}"
        ));
    }
    for kind in recorded.types.keys().chain(found.types.keys()) {
        let count = |facts: &RdbFacts| facts.types.get(kind).copied().unwrap_or(0);
        let (was, is) = (count(recorded), count(found));
        if was != is {
            against.push(format!(
                "`{path}` had {was} keys of type {kind} when it was made, and has {is}"
            ));
        }
    }
    if recorded.functions != found.functions {
        let (was, is) = (recorded.functions, found.functions);
        against.push(format!(
            "`{path}` had {was} libraries of functions, and has {is}"
        ));
    }
}

/// Runs what waits for bytes on a thread that may.
async fn waiting<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, io::Error>
where
    T: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(io::Error::other),
        Err(error) => Err(io::Error::other(error)),
    }
}
