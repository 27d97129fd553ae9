//! Puts a Redis backup into a data directory, where a server will start on it. Only while no server owns
//! the directory: a running one would overwrite what was put there when it ends. In the way that the server
//! will look for it: with `appendonly yes`, Redis does not even look at `dump.rdb`, starts empty, and
//! overwrites it at its next save.

mod caution;
mod conf;
mod layout;
mod owner;
mod put;

pub use crate::restore::redis::conf::{Conf, ConfError};
pub use crate::restore::redis::owner::{InUse, answers, in_use};

use crate::model::records::Manifest;
use crate::model::tree::{Node, NodeKind, printable};
use crate::repository::{Reader, RepositoryError};
use crate::restore::ContentStream;
use crate::restore::redis::caution::cautions;
use crate::restore::redis::layout::{Item, layout};
use crate::restore::redis::put::{InTheWay, in_the_way, stage};
use crate::source::redis::facts::RedisFacts;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Where to put a backup, and for what kind of server.
#[derive(Debug, Clone)]
pub struct Request {
    /// The data directory. Made when it is missing.
    pub target: PathBuf,
    /// What the server will be started with, as far as that is known.
    pub conf: Conf,
    /// Data of Redis that are there are moved aside instead of being a reason to refuse.
    pub replace: bool,
    /// Decide and tell, and write nothing.
    pub dry_run: bool,
}

/// What was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Files below the target, in order.
    pub files: Vec<String>,
    /// Bytes that were written.
    pub bytes: u64,
    /// Where what had been there is now.
    pub moved_aside: Option<PathBuf>,
    /// Whether the server must be started with `appendonly yes`.
    pub appendonly: bool,
    /// Settings that it must be started with because the names are not the usual ones.
    pub settings: BTreeMap<String, String>,
    /// Keys that it should have, when they were counted.
    pub keys: Option<u64>,
    /// What else is to be thought of, as whole sentences.
    pub cautions: Vec<String>,
}

/// Why nothing was put back, or not all.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RedisRestoreError {
    #[error("the backup's manifest says nothing of Redis: it is no backup of a Redis server")]
    NotRedis,
    #[error(
        "it is not known whether the server will run with `appendonly yes`, and it makes the difference between all data and none: name its configuration with --redis-conf FILE"
    )]
    AppendOnlyUnknown,
    #[error(
        "`{}` has append-only files, so a server there runs with `appendonly yes`; the backup was made with `appendonly no`, and such a server would start empty: name its configuration with --redis-conf FILE",
        target.display()
    )]
    AppendOnlyThere { target: PathBuf },
    #[error(
        "the backup is of append-only files, and the server will run with `appendonly no`: it would start empty; set `appendonly yes`, or restore a backup made by method \"rdb\""
    )]
    AppendOnlyOff,
    #[error("the backup lacks `{0}`")]
    Lacks(String),
    #[error(transparent)]
    InUse(#[from] InUse),
    #[error(
        "`{}` is not empty: it has {}; move that away, restore elsewhere, or add --overwrite, which moves Redis's files aside",
        target.display(), there.join(", ")
    )]
    NotEmpty { target: PathBuf, there: Vec<String> },
    #[error("read the backup")]
    Read(#[source] RepositoryError),
    #[error("another restore is at work in `{}`: wait until it has ended", target.display())]
    AtWork { target: PathBuf },
    #[error(
        "give `{}` to user {user} and group {group}, whose the directory is and as whom the server runs: run this as root or as that user",
        path.display()
    )]
    Owner {
        path: PathBuf,
        user: u32,
        group: u32,
        #[source]
        cause: io::Error,
    },
    #[error("{doing} `{}`", path.display())]
    Write {
        doing: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Puts a backup back. Refuses while a process of this machine uses the target; whether the server answers
/// elsewhere is the caller's question.
pub async fn restore(
    manifest: &Manifest,
    reader: &Reader,
    request: &Request,
) -> Result<Report, RedisRestoreError> {
    let facts = RedisFacts::of(&manifest.source).ok_or(RedisRestoreError::NotRedis)?;
    let files = files(reader, manifest).await?;
    let layout = layout(&facts, &files.keys().cloned().collect::<Vec<_>>(), request)?;
    in_use(&request.target)?;
    let way = in_the_way(request, &layout.names, &manifest.id.short())?;
    let mut report = Report {
        files: layout.items.iter().map(|item| item.to.clone()).collect(),
        bytes: 0,
        moved_aside: way.aside.clone(),
        appendonly: layout.appendonly,
        settings: layout.settings,
        keys: facts.rdb.as_ref().map(|rdb| rdb.keys()),
        cautions: cautions(&facts, &request.conf),
    };
    if request.dry_run {
        return Ok(report);
    }
    let mut sources = Vec::new();
    for Item { to, from } in layout.items {
        let stream = match from {
            Ok(path) => {
                let stream = files
                    .get(&path)
                    .and_then(|node| ContentStream::of(reader, node));
                put::Source::Backup(stream.ok_or(RedisRestoreError::Lacks(path))?)
            }
            Err(text) => put::Source::Text(text),
        };
        sources.push((to, stream));
    }
    let target = request.target.clone();
    let put = tokio::task::spawn_blocking(move || put(&target, sources, &way)).await;
    let put = put.map_err(|error| RedisRestoreError::Write {
        doing: "write into",
        path: request.target.clone(),
        cause: io::Error::other(error),
    });
    report.bytes = put??;
    Ok(report)
}

/// Writes everything and puts it into place. Gives back how many bytes.
fn put(
    target: &Path,
    sources: Vec<(String, put::Source)>,
    way: &InTheWay,
) -> Result<u64, RedisRestoreError> {
    let staged = stage(target, sources)?;
    // Somebody may have started a server while it was written.
    in_use(target)?;
    staged.place(way)
}

/// The backup's files by path.
async fn files(
    reader: &Reader,
    manifest: &Manifest,
) -> Result<BTreeMap<String, Node>, RedisRestoreError> {
    let mut files = BTreeMap::new();
    let mut left = vec![(String::new(), manifest.root)];
    while let Some((path, tree)) = left.pop() {
        let entries = reader
            .entries(&tree)
            .await
            .map_err(RedisRestoreError::Read)?;
        for node in entries {
            let below = format!("{path}{}", printable(&node.name));
            match node.kind {
                NodeKind::Directory { tree: Some(tree) } => left.push((below + "/", tree)),
                NodeKind::File { .. } => {
                    files.insert(below, node);
                }
                _ => {}
            }
        }
    }
    Ok(files)
}
