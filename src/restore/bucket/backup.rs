//! Puts objects of a backup into a bucket, several at a time.

use crate::model::tree::{Node, NodeKind, printable};
use crate::repository::{ContentReader, Reader};
use crate::restore::Contents;
use crate::restore::bucket::put::{Bytewise, PART_LEN_BYTES, put};
use crate::restore::bucket::{Intent, REFUSED, Report, Target, There, not_lost};
use crate::restore::chain;
use crate::restore::files::RestoreError;
use crate::source::bucket::BucketError;
use crate::source::bucket::beside::{etag, headers};
use crate::source::bucket::names::key_of;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};

/// Objects on their way: at most so many parts are in memory.
const AT_ONCE: usize = 4;

/// Why objects could not be put back at all.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PutBackError {
    #[error("the backup has no `{}`", printable(.0))]
    NotInBackup(Vec<u8>),
    #[error(transparent)]
    Read(#[from] RestoreError),
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

/// An object of the backup, and what happens to it.
struct Job {
    key: String,
    node: Node,
    intent: Intent,
}

/// Puts the objects at `paths` of the tree under `root` into a bucket; all when there are none. `on` hears of each.
pub async fn put_back(
    reader: &Reader,
    root: &Node,
    paths: &[Vec<u8>],
    into: &Target,
    on: &mut (dyn FnMut(&str, Intent) + Send),
) -> Result<Report, PutBackError> {
    let mut waiting = Vec::new();
    for path in paths {
        let found = crate::restore::files::find(reader, root, path).await?;
        let node = found.ok_or_else(|| PutBackError::NotInBackup(path.clone()))?;
        waiting.push((path.clone(), node));
    }
    if paths.is_empty() {
        waiting.push((Vec::new(), root.clone()));
    }
    waiting.reverse();
    let there = There::of(into).await?;
    let mut report = Report::default();
    let mut jobs = Vec::new();
    while let Some((path, node)) = waiting.pop() {
        match &node.kind {
            NodeKind::Directory { tree: Some(tree) } => match Contents::entries(reader, tree).await
            {
                Ok(entries) => {
                    let below = |name: &[u8]| match path.is_empty() {
                        true => name.to_vec(),
                        false => [path.as_slice(), b"/", name].concat(),
                    };
                    let entries = entries.into_iter().rev();
                    waiting.extend(entries.map(|entry| (below(&entry.name), entry)));
                }
                Err(error) => report.problem(&path, &chain(&error)),
            },
            NodeKind::File { .. } => {
                if let Some(job) =
                    decide((reader, &path), node, into, &there, &mut report, on).await
                {
                    jobs.push(job);
                }
            }
            _ => report.problem(&path, "it is no object"),
        }
        if jobs.len() >= 1000 {
            run(reader, into, std::mem::take(&mut jobs), &mut report).await;
        }
    }
    run(reader, into, jobs, &mut report).await;
    Ok(report)
}

async fn decide(
    (reader, path): (&Reader, &[u8]),
    node: Node,
    into: &Target,
    there: &There,
    report: &mut Report,
    on: &mut (dyn FnMut(&str, Intent) + Send),
) -> Option<Job> {
    let key = key_of(path).and_then(|key| String::from_utf8(key).ok());
    let Some(key) = key else {
        report.problem(path, "it is the path of no key");
        return None;
    };
    let key = format!("{}{key}", into.prefix);
    let (size, told) = (len(&node), etag(&node));
    let mut intent = there.decide(&key, size, told, into.overwrite);
    let is_other = matches!(intent, Intent::Overwrite | Intent::Refuse);
    if is_other
        && there.may_be(&key, size, told)
        && is_equal(reader, into, &key, &node).await == Ok(true)
    {
        intent = Intent::Keep;
    }
    on(&key, intent);
    match intent {
        Intent::Keep => report.kept += 1,
        Intent::Refuse => report.problem(key.as_bytes(), REFUSED),
        Intent::Create | Intent::Overwrite if into.dry_run => {
            report.objects += 1;
            report.bytes += len(&node);
        }
        Intent::Create | Intent::Overwrite => return Some(Job { key, node, intent }),
    }
    None
}

/// Whether the object that is there has the bytes of the backup.
async fn is_equal(reader: &Reader, into: &Target, key: &str, node: &Node) -> Result<bool, String> {
    let NodeKind::File { content, size, .. } = &node.kind else {
        return Ok(false);
    };
    let mut body = reader.content(content);
    let mut ahead = BytesMut::new();
    for start in (0..*size).step_by(PART_LEN_BYTES as usize) {
        let range = start..(start + PART_LEN_BYTES).min(*size);
        let there = into.bucket.part(key, None, range).await;
        let there = there.map_err(|error| chain(&error))?;
        while ahead.len() < there.len() {
            match body.next().await.map_err(|error| chain(&error))? {
                Some(bytes) => ahead.extend_from_slice(&bytes),
                None => return Ok(false),
            }
        }
        if ahead.split_to(there.len()) != there {
            return Ok(false);
        }
    }
    Ok(true)
}

fn len(node: &Node) -> u64 {
    match node.kind {
        NodeKind::File { size, .. } => size,
        _ => 0,
    }
}

async fn run(reader: &Reader, into: &Target, jobs: Vec<Job>, report: &mut Report) {
    // A long one has a part in memory, and the next on its way.
    let (long, short): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .partition(|job| len(&job.node) > PART_LEN_BYTES);
    for (jobs, at_once) in [(short, AT_ONCE), (long, 1)] {
        let done = jobs.into_iter().map(|job| async move {
            let stored = store(reader, into, &job).await;
            (job, stored)
        });
        let mut done = stream::iter(done).buffered(at_once);
        while let Some((job, stored)) = done.next().await {
            match stored {
                Ok(()) => {
                    report.objects += 1;
                    report.bytes += len(&job.node);
                }
                Err(why) => report.problem(job.key.as_bytes(), &why),
            }
        }
    }
}

async fn store(reader: &Reader, into: &Target, job: &Job) -> Result<(), String> {
    let NodeKind::File { content, size, .. } = &job.node.kind else {
        return Err("it is no object".to_owned());
    };
    let (headers, unsent) = headers(&job.node);
    let mut body = Content(reader.content(content));
    put(into, &job.key, &headers, *size, job.intent, &mut body).await?;
    not_lost(&unsent)
}

struct Content(ContentReader);

impl Bytewise for Content {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, String>> {
        async move { self.0.next().await.map_err(|error| chain(&error)) }.boxed()
    }
}
