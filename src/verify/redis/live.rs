//! Compares restored data with the live server, when that can be reached and has not changed since the
//! backup: some keys by what they hold, and a digest of everything where the server gives one. Only reads,
//! and asks for no digest of a large data set, which would keep the server from everything else.

use crate::model::secret::Secret;
use crate::model::units::Percent;
use crate::source::redis::facts::{Position, RedisFacts, keyspace};
use crate::source::redis::{Info, RedisError, Server, Target};
use crate::verify::{Against, chain};
use redis::{Cmd, Value, cmd};

/// How many keys are compared.
const SAMPLE: u64 = 100;
/// Larger keys are left out: it takes a server about a second to hand out 100 MB.
const SAMPLED_LEN_MAX_BYTES: i64 = 1 << 20;
/// A digest takes a server about a second for so many keys.
const DIGEST_KEYS_MAX: u64 = 100_000;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Why nothing was compared; empty when something was.
    pub(crate) not_because: String,
    /// Keys that were.
    pub(crate) keys: u64,
    /// Those of them that differ.
    pub(crate) differ: u64,
    /// Whether the digests of everything were equal, when both gave one.
    pub(crate) same_digest: Option<bool>,
}

/// Compares `restored` with the live server at `url`. `digest` is that of the restored data.
pub(crate) fn compare(
    (url, via): (&Secret, &[String]),
    restored: &mut Server,
    facts: &RedisFacts,
    digest: Option<&str>,
    tolerance: Percent,
    against: &mut Against,
) -> Compared {
    let not = |why: String| Compared {
        not_because: why,
        ..Compared::default()
    };
    if !via.is_empty() {
        return not("the server is on the far side of `via`".to_owned());
    }
    let mut live = match Target::new(url, via).and_then(|target| target.connect()) {
        Ok(live) => live,
        Err(error) => return not(chain(&error)),
    };
    let stands = |live: &mut Server| Ok::<_, RedisError>(Position::of(&live.info()?));
    match (stands(&mut live), &facts.position) {
        (Err(error), _) => return not(chain(&error)),
        (Ok(now), recorded) if recorded.is_none() || now != *recorded => {
            return not("the server has changed since the backup".to_owned());
        }
        _ => {}
    }
    let mut compared = Compared::default();
    if let Err(error) = sample(restored, &mut live, &mut compared) {
        return not(chain(&error));
    }
    compared.same_digest = digests(restored, &mut live, digest);
    // It may have changed while it was compared: then nothing that differs means anything.
    if stands(&mut live).ok() != Some(facts.position.clone()) {
        return not("the server changed while it was compared".to_owned());
    }
    if compared.differ * 100 > u64::from(tolerance.0) * compared.keys {
        against.push(format!(
            "{} of {} sampled keys differ from the live server, which has not changed since",
            compared.differ, compared.keys
        ));
    }
    if compared.same_digest == Some(false) {
        against.push(
            "the digest differs from the live server's, which has not changed since".to_owned(),
        );
    }
    compared
}

/// Compares keys that the restored server chooses.
fn sample(
    restored: &mut Server,
    live: &mut Server,
    compared: &mut Compared,
) -> Result<(), RedisError> {
    let info = restored.info()?;
    let databases = databases(&info);
    let all: u64 = databases.iter().map(|(_, keys)| keys).sum();
    for (database, keys) in databases {
        let select = |server: &mut Server| server.query(cmd("SELECT").arg(database)).map(drop);
        select(restored)?;
        select(live)?;
        // Each database gets its share, and at least one.
        let share = (SAMPLE * keys / all.max(1)).max(1);
        for _ in 0..share {
            let Some(Value::BulkString(key)) = restored.query(&cmd("RANDOMKEY"))? else {
                break;
            };
            if is_large(&key, restored)? {
                continue;
            }
            match is_same(&key, restored, live)? {
                Some(true) => compared.keys += 1,
                Some(false) => {
                    compared.keys += 1;
                    compared.differ += 1;
                }
                None => {}
            }
        }
    }
    Ok(())
}

/// Whether to hand a key's value out would keep a server from everything else.
fn is_large(key: &[u8], restored: &mut Server) -> Result<bool, RedisError> {
    let usage = restored.query(cmd("MEMORY").arg("USAGE").arg(key))?;
    Ok(matches!(usage, Some(Value::Int(bytes)) if bytes > SAMPLED_LEN_MAX_BYTES))
}

/// Whether a key holds the same; `None` when it has expired.
fn is_same(
    key: &[u8],
    restored: &mut Server,
    live: &mut Server,
) -> Result<Option<bool>, RedisError> {
    let ask = |server: &mut Server, name: &str| server.query(cmd(name).arg(key));
    let (ours, theirs) = (ask(restored, "DUMP")?, ask(live, "DUMP")?);
    if ours == theirs {
        return Ok(match ours {
            // Both say that it is not there.
            Some(Value::Nil) => None,
            _ => Some(true),
        });
    }
    // Expired keys are still there in one of them, and say so.
    let remaining = (ask(restored, "PTTL")?, ask(live, "PTTL")?);
    if matches!(
        remaining,
        (Some(Value::Int(-2)), _) | (_, Some(Value::Int(-2)))
    ) && !matches!(remaining, (Some(Value::Int(-1)), _))
    {
        return Ok(None);
    }
    // The same data may be packed in another way there, by another version or setting.
    let (ours, theirs) = (content(key, restored)?, content(key, live)?);
    Ok(Some(ours == theirs))
}

/// What a key holds, whatever way it is packed in.
fn content(key: &[u8], server: &mut Server) -> Result<Vec<Vec<u8>>, RedisError> {
    let kind = match server.query(cmd("TYPE").arg(key))? {
        Some(Value::SimpleString(kind)) => kind,
        _ => return Ok(Vec::new()),
    };
    let asked: Cmd = match kind.as_str() {
        "string" => cmd("GET").arg(key).take(),
        "list" => cmd("LRANGE").arg(key).arg(&["0", "-1"]).take(),
        "set" => cmd("SMEMBERS").arg(key).take(),
        "zset" => cmd("ZRANGE")
            .arg(key)
            .arg(&["0", "-1", "WITHSCORES"])
            .take(),
        "hash" => cmd("HGETALL").arg(key).take(),
        "stream" => cmd("XRANGE").arg(key).arg(&["-", "+"]).take(),
        _ => return Ok(Vec::new()),
    };
    let mut parts = Vec::new();
    flatten(server.query(&asked)?, &mut parts);
    match kind.as_str() {
        "set" => parts.sort(),
        "hash" => {
            let mut pairs: Vec<_> = parts.chunks(2).map(<[Vec<u8>]>::to_vec).collect();
            pairs.sort();
            parts = pairs.concat();
        }
        _ => {}
    }
    Ok(parts)
}

fn flatten(value: Option<Value>, parts: &mut Vec<Vec<u8>>) {
    match value {
        Some(Value::Array(values)) => {
            for value in values {
                flatten(Some(value), parts);
            }
        }
        Some(Value::BulkString(bytes)) => parts.push(bytes),
        other => parts.push(format!("{other:?}").into_bytes()),
    }
}

fn databases(info: &Info) -> Vec<(u32, u64)> {
    keyspace(info)
        .into_iter()
        .map(|(number, keys)| (number, keys.keys))
        .collect()
}

/// Whether the digests are equal, where the live server is set to give one and that costs it little. Keys
/// that have expired there since are still in what was restored: then the digests mean nothing.
fn digests(restored: &mut Server, live: &mut Server, digest: Option<&str>) -> Option<bool> {
    let gives = live.config("enable-debug-command").ok()??;
    let keys = databases(&live.info().ok()?);
    let all: u64 = keys.iter().map(|(_, keys)| keys).sum();
    if gives == "no" || all > DIGEST_KEYS_MAX || keys != databases(&restored.info().ok()?) {
        return None;
    }
    let theirs = live.call(&["DEBUG", "DIGEST"]).ok()?;
    let has_expired = keys != databases(&live.info().ok()?);
    if has_expired {
        return None;
    }
    Some(theirs.first().map(String::as_str) == Some(digest?))
}
