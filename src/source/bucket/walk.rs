//! Goes through the objects of a bucket as through a tree: takes over what is as the parent backup has it, and has
//! the next few of the others read ahead. To be iterated on a thread that may wait.

use crate::model::tree::{Body, Found, Node, NodeKind, Previous, Problem};
use crate::source::bucket::ask::{Bucket, BucketError};
use crate::source::bucket::beside::{etag, lacks_tags};
use crate::source::bucket::budget::Budget;
use crate::source::bucket::listing::Listed;
use crate::source::bucket::names::arranged;
use crate::source::bucket::object::PART_LEN_BYTES;
use std::collections::VecDeque;
use std::io;
use std::iter::Peekable;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Objects that are read ahead.
const AHEAD: usize = 16;
/// Their bytes, and those that wait to be stored.
const AHEAD_BYTES: u64 = 64 << 20;

/// Why a walk ended before its end.
pub(crate) type Failed = Arc<Mutex<Option<BucketError>>>;

/// Why an object's tags are not with it.
type Untagged = Option<BucketError>;

pub(crate) struct Walk {
    bucket: Arc<Bucket>,
    runtime: Handle,
    previous: Option<Box<dyn Previous>>,
    /// Sorted when the walk begins.
    listed: Option<Vec<Listed>>,
    next: Peekable<vec::IntoIter<(Vec<u8>, Listed)>>,
    ahead: VecDeque<Ahead>,
    ready: VecDeque<Result<Found, Problem>>,
    /// The directory that was entered last.
    within: Vec<u8>,
    budget: Budget,
    failed: Failed,
}

enum Ahead {
    Found(Box<Found>),
    Problem(Problem),
    Coming {
        path: Vec<u8>,
        found: oneshot::Receiver<Result<Option<(Found, Untagged)>, BucketError>>,
    },
}

impl Walk {
    pub(crate) fn new(
        bucket: Arc<Bucket>,
        listed: Vec<Listed>,
        previous: Option<Box<dyn Previous>>,
        failed: Failed,
    ) -> Self {
        Self {
            bucket,
            runtime: Handle::current(),
            previous,
            listed: Some(listed),
            next: Vec::new().into_iter().peekable(),
            ahead: VecDeque::new(),
            ready: VecDeque::new(),
            within: Vec::new(),
            budget: Budget::new(AHEAD_BYTES),
            failed,
        }
    }

    fn begin(&mut self, listed: Vec<Listed>) {
        let arranged = arranged(listed, |listed| &listed.key);
        self.next = arranged.into_iter().peekable();
        self.ready.push_back(Ok(directory("")));
    }

    /// Has the next objects read, as many as may be.
    fn look_ahead(&mut self) {
        while self.ahead.len() < AHEAD {
            let Some((path, listed)) = self.next.peek() else {
                return;
            };
            let unchanged = self.previous.as_mut().and_then(|previous| {
                let node = previous.find(path)?;
                is_same(&node, listed).then_some(node)
            });
            if let Some(node) = unchanged {
                let path = path.clone();
                self.next.next();
                self.ahead.push_back(taken_over(path, node));
                continue;
            }
            let bytes = listed.size.min(PART_LEN_BYTES);
            let held = match self.ahead.is_empty() {
                true => self.budget.take(bytes),
                false => match self.budget.try_take(bytes) {
                    Some(held) => held,
                    None => return,
                },
            };
            let Some((path, listed)) = self.next.next() else {
                return;
            };
            let size = listed.size;
            let Ok(key) = String::from_utf8(listed.key) else {
                self.ahead.push_back(Ahead::Problem(Problem {
                    path,
                    doing: "read",
                    cause: io::Error::other("its key is no text, so that it can not be asked for"),
                }));
                continue;
            };
            let (tell, found) = oneshot::channel();
            let bucket = self.bucket.clone();
            let name = path.clone();
            let (etag_then, then) = (listed.etag, listed.modified);
            self.runtime.spawn(async move {
                let got = bucket.fetch(&key, None, size, held).await;
                let found = match got {
                    Ok(mut got) => {
                        got.node.name = last_part(&name).to_vec();
                        if etag(&got.node) == Some(&*etag_then) {
                            // To the same fraction of a second as the next listing.
                            got.node.mtime_ns = then.as_nanosecond();
                        }
                        let found = Found {
                            path: name,
                            node: got.node,
                            body: Body::Read(got.body),
                        };
                        Ok(Some((found, got.untagged)))
                    }
                    // Deleted since it was listed: there is nothing to back up.
                    Err(error) if error.is_missing() => Ok(None),
                    Err(error) => Err(error),
                };
                // Whoever asked may be gone.
                let _ = tell.send(found);
            });
            self.ahead.push_back(Ahead::Coming { path, found });
        }
    }

    /// Enters the directories that `path` lies in.
    fn enter(&mut self, path: &[u8]) {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (at, _) in slashes {
            let above = &path[..at];
            let is_entered = self.within == above
                || (self.within.starts_with(above) && self.within.get(at) == Some(&b'/'));
            if !is_entered {
                let mut found = directory(&String::from_utf8_lossy(above));
                found.path = above.to_vec();
                found.node.name = last_part(above).to_vec();
                self.ready.push_back(Ok(found));
                self.within = above.to_vec();
            }
        }
    }

    fn end(&mut self, error: BucketError) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(error);
        self.next = Vec::new().into_iter().peekable();
        self.ahead.clear();
    }
}

impl Iterator for Walk {
    type Item = Result<Found, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(listed) = self.listed.take() {
            self.begin(listed);
        }
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Some(found);
            }
            self.look_ahead();
            let (found, untagged) = match self.ahead.pop_front()? {
                Ahead::Found(found) => (*found, None),
                Ahead::Problem(problem) => return Some(Err(problem)),
                Ahead::Coming { path, found } => match found.blocking_recv() {
                    Ok(Ok(Some(found))) => found,
                    Ok(Ok(None)) => continue,
                    Ok(Err(error)) if !error.is_about_all() => {
                        return Some(Err(Problem {
                            path,
                            doing: "read",
                            cause: io::Error::other(error),
                        }));
                    }
                    Ok(Err(error)) => {
                        self.end(error);
                        continue;
                    }
                    Err(_) => {
                        let why = "the reading ended in the middle";
                        self.end(self.bucket.wrong("read objects", why));
                        continue;
                    }
                },
            };
            let path = found.path.clone();
            self.enter(&path);
            self.ready.push_back(Ok(found));
            if let Some(error) = untagged {
                self.ready.push_back(Err(Problem {
                    path,
                    doing: "read the tags of",
                    cause: io::Error::other(error),
                }));
            }
        }
    }
}

/// Whether the parent backup has the object as it is listed.
fn is_same(node: &Node, listed: &Listed) -> bool {
    matches!(node.kind, NodeKind::File { size, .. } if size == listed.size)
        && node.mtime_ns == listed.modified.as_nanosecond()
        && !listed.etag.is_empty()
        && etag(node) == Some(&*listed.etag)
        && !lacks_tags(node)
}

fn taken_over(path: Vec<u8>, node: Node) -> Ahead {
    let content = match &node.kind {
        NodeKind::File { content, .. } => content.clone(),
        _ => Default::default(),
    };
    Ahead::Found(Box::new(Found {
        path,
        node,
        body: Body::Unchanged(content),
    }))
}

/// Directories are no objects: they have no time, so that the same objects make the same tree.
fn directory(path: &str) -> Found {
    let mut found = Found::directory(path, 0);
    found.node.mode = 0o755;
    found
}

fn last_part(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}
