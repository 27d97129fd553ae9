//! Whether a Redis backup really comes back: a throwaway server is started on it, its keys are counted and
//! compared with what was recorded, and some with the live server when that has not changed since. Server
//! and files are gone afterwards, whatever happens; what a killed run left is ended by the next.

use crate::model::records::{Check, Manifest};
use crate::model::secret::Secret;
use crate::model::tree::Node;
use crate::model::units::Percent;
use crate::repository::Reader;
use crate::restore::ContentStream;
use crate::source::redis::SNAPSHOT;
use crate::source::redis::facts::{RedisFacts, keyspace};
use crate::source::redis::rdb::Keys;
use crate::verify::redis::live::{Compared, compare};
use crate::verify::redis::throwaway::{Settings, Throwaway};
use crate::verify::redis::{compare_with_server, files};
use crate::verify::temporary::{TemporaryDirectory, remove_stale};
use crate::verify::{Against, Finding, chain};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How to test.
#[derive(Clone)]
pub struct RedisTestRequest {
    /// Names the directory: must be random.
    pub random: u64,
    /// Where the directory is made.
    pub parent: PathBuf,
    /// The live server's URL and `via`, to compare with while it is unchanged.
    pub live: Option<(Secret, Vec<String>)>,
    /// How far keys may differ from the server's own count, and sampled keys from the live server's.
    pub tolerance: Percent,
    /// How long the throwaway server may load.
    pub limit: Duration,
}

/// Restores into a throwaway server and compares.
pub async fn restore_test(
    manifest: &Manifest,
    reader: &Reader,
    request: RedisTestRequest,
) -> Finding {
    let mut against = Against::default();
    let files = files(reader, &manifest.root_node(), &mut against).await;
    let streams = files
        .iter()
        .filter_map(|(path, node)| stream(reader, path, node));
    let streams: Vec<_> = streams.collect();
    let mut found = Found::default();
    match RedisFacts::of(&manifest.source) {
        None => against.push("its manifest says nothing of Redis".to_owned()),
        Some(facts) => {
            let tested = tokio::task::spawn_blocking(move || {
                let (mut found, mut against) = (Found::default(), Against::default());
                test(&facts, streams, &request, &mut found, &mut against);
                (found, against)
            });
            match tested.await {
                Ok((tested, faults)) => {
                    found = tested;
                    against.join(faults);
                }
                Err(error) => against.push(format!("the test ended in the middle: {error}")),
            }
        }
    }
    let keys: u64 = found.databases.values().map(|keys| keys.keys).sum();
    let compared = &found.compared;
    let facts = [
        ("keys", Value::from(keys)),
        ("databases", json!(found.databases)),
        ("digest", json!(found.digest)),
        ("server", json!(found.server)),
        ("compared_with_source", compared.keys.into()),
        ("differ_from_source", compared.differ.into()),
        ("same_digest_as_source", json!(compared.same_digest)),
        ("not_compared_because", compared.not_because.clone().into()),
    ];
    let like_source = match compared.not_because.as_str() {
        "" => format!(
            "{} of {} sampled are equal to the live server's",
            compared.keys - compared.differ,
            compared.keys
        ),
        why => format!("not compared with the live server: {why}"),
    };
    let good = format!("a server started on it and has all {keys} keys; {like_source}");
    Finding::new(Check::RestoreTest, facts, &against, good)
}

fn stream(reader: &Reader, path: &str, node: &Node) -> Option<(String, ContentStream)> {
    Some((path.to_owned(), ContentStream::of(reader, node)?))
}

#[derive(Default)]
struct Found {
    databases: BTreeMap<u32, Keys>,
    digest: Option<String>,
    server: Option<String>,
    compared: Compared,
}

fn test(
    facts: &RedisFacts,
    streams: Vec<(String, ContentStream)>,
    request: &RedisTestRequest,
    found: &mut Found,
    against: &mut Against,
) {
    if let Err(error) = remove_stale(&request.parent) {
        against.push(format!("remove what earlier tests left: {error}"));
    }
    match TemporaryDirectory::new(&request.parent, request.random) {
        Err(error) => against.push(format!("make a temporary directory: {error}")),
        Ok(directory) => {
            match put(directory.path(), streams) {
                Err(error) => against.push(format!(
                    "restore into a temporary directory: {}",
                    chain(&error)
                )),
                Ok(()) => try_out(facts, directory.path(), request, found, against),
            }
            if let Err(error) = directory.remove() {
                against.push(format!("remove the temporary directory: {error}"));
            }
        }
    }
}

fn put(directory: &Path, streams: Vec<(String, ContentStream)>) -> io::Result<()> {
    for (path, mut stream) in streams {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        io::copy(&mut stream, &mut File::create_new(&path)?)?;
    }
    Ok(())
}

fn try_out(
    facts: &RedisFacts,
    directory: &Path,
    request: &RedisTestRequest,
    found: &mut Found,
    against: &mut Against,
) {
    let settings = Settings {
        directory,
        version: &facts.server,
        appendonly: facts.aof.is_some(),
        more: more(facts),
        limit: request.limit,
    };
    let (throwaway, mut server) = match Throwaway::start(&settings) {
        Ok(started) => started,
        Err(error) => return against.push(chain(&error)),
    };
    found.server = Some(throwaway.version.clone());
    match server.info() {
        Err(error) => against.push(chain(&error)),
        Ok(info) => {
            found.databases = keyspace(&info);
            compare_counts(facts, &found.databases, request.tolerance, against);
        }
    }
    if let Ok(digest) = server.call(&["DEBUG", "DIGEST"]) {
        found.digest = digest.into_iter().next();
    }
    found.compared = match &request.live {
        None => Compared {
            not_because: "there is none to compare with".to_owned(),
            ..Compared::default()
        },
        Some((url, via)) => {
            let digest = found.digest.as_deref();
            compare(
                (url, via),
                &mut server,
                facts,
                digest,
                request.tolerance,
                against,
            )
        }
    };
}

/// A snapshot's keys were counted one by one; those of append-only files only by their server.
fn compare_counts(
    facts: &RedisFacts,
    loaded: &BTreeMap<u32, Keys>,
    tolerance: Percent,
    against: &mut Against,
) {
    match &facts.rdb {
        Some(rdb) if rdb.databases != *loaded => {
            for (number, keys) in &rdb.databases {
                let has = loaded.get(number).copied().unwrap_or_default();
                if has != *keys {
                    against.push(format!(
                        "database {number} has {} keys, {} of them expiring, and the backup was made with {} and {}",
                        has.keys, has.expires, keys.keys, keys.expires
                    ));
                }
            }
            if loaded.len() > rdb.databases.len() {
                against.push("it has databases that the backup was made without".to_owned());
            }
        }
        Some(_) => {}
        None => compare_with_server(loaded, facts, tolerance, against),
    }
}

/// Settings that the files need: their names, and as many databases as there were.
fn more(facts: &RedisFacts) -> Vec<(String, String)> {
    let mut more = vec![("dbfilename".to_owned(), SNAPSHOT.to_owned())];
    for name in ["databases", "appendfilename"] {
        if let Some(value) = facts.config.get(name) {
            more.push((name.to_owned(), value.clone()));
        }
    }
    if let Some(directory) = facts.aof.as_ref().and_then(|aof| aof.directory.clone()) {
        more.push(("appenddirname".to_owned(), directory));
    }
    more
}
