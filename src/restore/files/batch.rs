//! Files that wait for their bytes, and the sink that writes them as they arrive in any order.

use crate::model::ids::BlobId;
use crate::model::tree::{Node, NodeKind};
use crate::repository::RepositoryError;
use crate::restore::files::metadata::Metadata;
use crate::restore::files::report::SharedReport;
use crate::restore::files::target::{
    Target, discard, make_temporary, publish, split, temporary_name,
};
use crate::restore::{Contents, Sink};
use rustix::fs::{Advice, Mode, OFlags, fadvise, openat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::mem;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Blobs read in one go: their ids are held in memory, and packs are read once per go.
const BLOBS_MAX: usize = 1 << 16;
/// Files of several blobs stay open until the last has come.
const OPEN_MAX: usize = 100;
/// Blobs from this length on are on their way to the disk as soon as they are written: there is less to wait for at
/// the end, when all of it is made durable.
const WRITTEN_BACK_MIN_BYTES: usize = 128 << 10;

/// What all threads of a restore share.
pub(crate) struct Shared {
    pub(crate) target: Target,
    pub(crate) metadata: Metadata,
    pub(crate) report: SharedReport,
}

/// One file being written.
pub(crate) struct Job {
    path: Vec<u8>,
    node: Node,
    replace: bool,
    /// Blobs that have not come, and one while blobs are still being added.
    waiting: AtomicU64,
    open: Mutex<Option<Arc<Open>>>,
    failed: AtomicBool,
}

struct Open {
    directory: Arc<OwnedFd>,
    temporary: Vec<u8>,
    file: File,
}

/// Where a blob goes.
struct Use {
    job: Arc<Job>,
    offset: u64,
    len: u64,
}

/// The uses of one blob, and whether it came.
#[derive(Default)]
struct Wanted {
    uses: Vec<Use>,
    came: AtomicBool,
}

/// Blobs to be read in one go.
#[derive(Default)]
pub(crate) struct Batch {
    wanted: BTreeMap<BlobId, Wanted>,
    /// What is wanted, in the order of the files: those who lie beside one another are read together.
    order: Vec<BlobId>,
    uses: usize,
    open: usize,
}

impl Batch {
    pub(crate) fn is_full(&self) -> bool {
        self.uses >= BLOBS_MAX || self.open >= OPEN_MAX
    }

    /// Adds the blobs of a part of a file that starts at `offset`; gives back where it ends.
    pub(crate) fn add(&mut self, job: &Arc<Job>, blobs: &[(BlobId, u64)], mut offset: u64) -> u64 {
        for (id, len) in blobs {
            job.waiting.fetch_add(1, Ordering::Relaxed);
            let wanted = self.wanted.entry(*id).or_insert_with(|| {
                self.order.push(*id);
                Wanted::default()
            });
            wanted.uses.push(Use {
                job: job.clone(),
                offset,
                len: *len,
            });
            offset += len;
        }
        self.uses += blobs.len();
        self.open += usize::from(blobs.len() > 1);
        offset
    }

    /// Reads and writes all that was added.
    pub(crate) async fn flush(&mut self, contents: &dyn Contents, shared: &Arc<Shared>) {
        let Self { wanted, order, .. } = mem::take(self);
        let wanted = Arc::new(wanted);
        if wanted.is_empty() {
            return;
        }
        let sink: Sink = {
            let (wanted, shared) = (wanted.clone(), shared.clone());
            Arc::new(move |id: &BlobId, data: &[u8]| {
                let Some(wanted) = wanted.get(id) else { return };
                // A blob that comes twice was written the first time.
                if !wanted.came.swap(true, Ordering::AcqRel) {
                    for wanted in &wanted.uses {
                        wanted.write(&shared, data);
                        wanted.job.release(&shared);
                    }
                }
            })
        };
        let (unread, ended) = match contents.read(order, sink).await {
            Ok(unread) => (unread.into_iter().collect(), None),
            Err(error) => (BTreeMap::new(), Some(error)),
        };
        for (id, wanted) in wanted
            .iter()
            .filter(|(_, wanted)| !wanted.came.load(Ordering::Acquire))
        {
            let missing = || RepositoryError::BlobMissing { id: *id };
            let why = unread
                .get(id)
                .or(ended.as_ref())
                .cloned()
                .unwrap_or_else(missing);
            for wanted in &wanted.uses {
                wanted
                    .job
                    .fail(shared, "read the bytes of", io::Error::other(why.clone()));
                wanted.job.release(shared);
            }
        }
    }
}

impl Use {
    fn write(&self, shared: &Shared, data: &[u8]) {
        if data.len() as u64 == self.len {
            return self.job.write(shared, self.offset, data);
        }
        let cause = io::Error::other("a blob is not as long as the index says");
        self.job.fail(shared, "write", cause);
    }
}

impl Job {
    pub(crate) fn new(path: Vec<u8>, node: Node, replace: bool) -> Arc<Self> {
        let (waiting, open, failed) = (AtomicU64::new(1), Mutex::new(None), AtomicBool::new(false));
        Arc::new(Self {
            path,
            node,
            replace,
            waiting,
            open,
            failed,
        })
    }

    pub(crate) fn fail(&self, shared: &Shared, doing: &'static str, cause: impl Into<io::Error>) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            shared.report.problem(&self.path, doing, cause);
        }
    }

    /// How long the backup says it is.
    pub(crate) fn size(&self) -> Option<u64> {
        match self.node.kind {
            NodeKind::File { size, .. } => Some(size),
            _ => None,
        }
    }

    /// One blob is done, or no more are added. The last one finishes the file.
    pub(crate) fn release(&self, shared: &Shared) {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.finish(shared);
        }
    }

    fn write(&self, shared: &Shared, offset: u64, data: &[u8]) {
        if self.failed.load(Ordering::Acquire) {
            return;
        }
        let written = self
            .opened(shared)
            .map_err(io::Error::from)
            .and_then(|open| {
                let NodeKind::File { extents, size, .. } = &self.node.kind else {
                    return Ok(());
                };
                if offset + data.len() as u64 > *size {
                    return Err(io::Error::other("it has more bytes than the backup says"));
                }
                write_ranges(&open.file, offset, data, extents)?;
                if let (true, Some(len)) = (
                    data.len() >= WRITTEN_BACK_MIN_BYTES,
                    NonZeroU64::new(data.len() as u64),
                ) {
                    // A file system that knows no advice writes when it is synced.
                    let _ = fadvise(&open.file, offset, Some(len), Advice::DontNeed);
                }
                Ok(())
            });
        if let Err(cause) = written {
            self.fail(shared, "write", cause);
        }
    }

    fn opened(&self, shared: &Shared) -> Result<Arc<Open>, Errno> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*open {
            return Ok(open.clone());
        }
        let directory = shared.target.directory(split(&self.path).0)?;
        let temporary = temporary_name(&self.path);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = make_temporary(&directory, &temporary, |name| {
            openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        let made = Arc::new(Open {
            directory,
            temporary,
            file: file.into(),
        });
        *open = Some(made.clone());
        Ok(made)
    }

    fn finish(&self, shared: &Shared) {
        let done = match self.failed.load(Ordering::Acquire) {
            true => Ok(()),
            false => self
                .opened(shared)
                .and_then(|open| self.complete(shared, &open)),
        };
        if let Err(cause) = done {
            self.fail(shared, "finish", cause);
        }
        let open = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (true, Some(open)) = (self.failed.load(Ordering::Acquire), open) {
            discard(&open.directory, &open.temporary);
        }
    }

    fn complete(&self, shared: &Shared, open: &Open) -> Result<(), Errno> {
        let NodeKind::File { size, extents, .. } = &self.node.kind else {
            return Err(Errno::INVAL);
        };
        let size = *size;
        if !extents.is_empty() {
            // The hole at the end, which nothing was written to.
            rustix::fs::ftruncate(&open.file, size)?;
        }
        shared
            .metadata
            .apply(&open.file, &self.path, &self.node, &shared.report)?;
        publish(
            &open.directory,
            &open.temporary,
            split(&self.path).1,
            self.replace,
        )?;
        let mut report = shared.report.with();
        report.files += 1;
        report.bytes += size;
        report.overwritten += u64::from(self.replace);
        Ok(())
    }
}

/// Writes the parts of `data` that lie in `ranges`, or all when there are none; the rest stay holes.
fn write_ranges(file: &File, offset: u64, data: &[u8], ranges: &[(u64, u64)]) -> io::Result<()> {
    if ranges.is_empty() {
        return file.write_all_at(data, offset);
    }
    let end = offset + data.len() as u64;
    let first = ranges.partition_point(|(start, len)| start.saturating_add(*len) <= offset);
    for (start, len) in ranges[first..].iter().take_while(|(start, _)| *start < end) {
        let from = (*start).max(offset);
        let to = start.saturating_add(*len).min(end);
        if from < to {
            file.write_all_at(
                &data[(from - offset) as usize..(to - offset) as usize],
                from,
            )?;
        }
    }
    Ok(())
}
