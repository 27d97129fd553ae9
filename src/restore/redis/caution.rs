//! What somebody who restores a Redis backup must know besides where its files are: what is not in it, and
//! what makes a server drop keys. Pure.

use crate::model::units::Size;
use crate::restore::redis::Conf;
use crate::source::redis::facts::RedisFacts;

/// Keys are never dropped under this policy: writes fail instead.
const KEEPS_ALL: &str = "noeviction";

/// Whole sentences, the gravest first.
pub(crate) fn cautions(facts: &RedisFacts, conf: &Conf) -> Vec<String> {
    let mut cautions = Vec::new();
    cautions.extend(memory(facts, conf));
    if facts.is_cluster {
        cautions.push(
            "It is one shard of a cluster: the other shards have backups of their own, and the server needs the `nodes.conf` that says which slots are its own.".to_owned(),
        );
    }
    if let Some(file) = facts.config.get("aclfile").filter(|file| !file.is_empty()) {
        cautions.push(format!(
            "Users are not in a Redis backup: those of this server were in `{file}`."
        ));
    }
    cautions
}

/// A server with less memory than the data need drops keys, or takes no writes.
fn memory(facts: &RedisFacts, conf: &Conf) -> Option<String> {
    let recorded = |name: &str| facts.config.get(name).map(String::as_str);
    let limit = conf
        .maxmemory
        .or_else(|| recorded("maxmemory")?.parse().ok());
    let limit = limit.filter(|limit| *limit > 0)?;
    let policy = conf.maxmemory_policy.as_deref();
    let policy = policy.or(recorded("maxmemory-policy")).unwrap_or(KEEPS_ALL);
    let what = match policy {
        KEEPS_ALL => "takes no writes",
        _ => "drops keys as soon as it has loaded them",
    };
    let limited = Size(limit);
    match (conf.maxmemory, facts.used_memory) {
        (Some(_), Some(used)) if used <= limit => None,
        (Some(_), Some(used)) => Some(format!(
            "The server that was backed up used {} of memory, and this one has maxmemory {limited} and {policy}: it {what}. Raise maxmemory first.",
            Size(used)
        )),
        _ => Some(format!(
            "The server that was backed up had maxmemory {limited} and {policy}: one with less {what}."
        )),
    }
}
