//! Goes down the backup's tree: decides each entry, makes what has no bytes, queues what has, and
//! completes directories when all in them is done. Holds the entries on the way down and one batch.

use crate::model::ids::BlobId;
use crate::model::tree::{Content, Node, NodeKind, Special};
use crate::restore::Contents;
use crate::restore::files::batch::{Batch, Job, Shared};
use crate::restore::files::decide::{Existing, Intent, Overwrite, Sameness, decide};
use crate::restore::files::metadata::Metadata;
use crate::restore::files::report::{Left, Report, SharedReport};
use crate::restore::files::target::{
    Target, discard, make_directory, make_temporary, publish, split, status, temporary_name,
};
use crate::restore::files::{Request, RestoreError};
use crate::source::files::beneath::is_plain_name;
use crate::source::files::{Owners, Stat};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, linkat, mknodat, readlinkat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::vec;

/// Content lists resolved at once: at most 65536 blobs.
const LISTS_AT_ONCE: usize = 16;

type On<'a> = &'a mut (dyn FnMut(&[u8], Intent) + Send + Sync);

/// A directory on the way down.
struct Level {
    path: Vec<u8>,
    node: Node,
    entries: vec::IntoIter<Node>,
    place: Place,
}

/// What a restore may take for granted of a directory of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It made it just now: nothing is in it.
    Made,
    /// It was there, or would be made; what is in it is looked at. With `owned`, it gets its metadata.
    There { owned: bool },
}

pub(crate) struct Restorer<'a> {
    contents: &'a dyn Contents,
    shared: Arc<Shared>,
    request: &'a Request,
    on: On<'a>,
    batch: Batch,
    /// First restored path of each hard-linked file.
    linked: BTreeMap<u64, Vec<u8>>,
    /// Further names, made when the first is complete.
    names: Vec<(Vec<u8>, Vec<u8>, Node)>,
    /// Directories that are complete but for the batch.
    left: Vec<(Vec<u8>, Node)>,
}

/// The node at `path`, if the backup has it.
pub(crate) async fn find(
    contents: &dyn Contents,
    root: &Node,
    path: &[u8],
) -> Result<Option<Node>, RestoreError> {
    let mut node = root.clone();
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        let NodeKind::Directory { tree: Some(tree) } = node.kind else {
            return Ok(None);
        };
        let read = contents.entries(&tree).await;
        let entries = read.map_err(|cause| RestoreError::Read {
            path: path.to_vec(),
            cause,
        })?;
        match entries.into_iter().find(|entry| entry.name == part) {
            Some(entry) => node = entry,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

impl<'a> Restorer<'a> {
    pub(crate) fn new(
        contents: &'a dyn Contents,
        target: Target,
        request: &'a Request,
        on: On<'a>,
    ) -> Self {
        let metadata = Metadata {
            by: request.owners,
            owners: Owners::of_this_machine(),
        };
        let shared = Arc::new(Shared {
            target,
            metadata,
            report: SharedReport::default(),
        });
        let (batch, linked, names, left) = Default::default();
        Self {
            contents,
            shared,
            request,
            on,
            batch,
            linked,
            names,
            left,
        }
    }

    pub(crate) async fn run(mut self, root: &Node) -> Result<Report, RestoreError> {
        let mut levels = Vec::new();
        let target = match self.shared.target.was_made() {
            true => Place::Made,
            false => Place::There { owned: false },
        };
        self.enter(Vec::new(), root.clone(), target, &mut levels)
            .await;
        while let Some(level) = levels.last_mut() {
            match level.entries.next() {
                Some(node) => self.step(node, &mut levels).await,
                None => {
                    let Some(level) = levels.pop() else { break };
                    if level.place != (Place::There { owned: false }) {
                        self.left.push((level.path, level.node));
                    }
                }
            }
            if self.batch.is_full() || self.left.len() >= 10_000 {
                self.flush().await;
            }
        }
        self.flush().await;
        if !self.request.dry_run
            && let Err(cause) = self.shared.target.sync()
        {
            self.shared.report.problem(b"", "write to disk", cause);
        }
        Ok(self.shared.report.take())
    }

    /// Reads a directory's entries: what is no directory comes first, so that few stay open.
    async fn enter(&mut self, path: Vec<u8>, node: Node, place: Place, levels: &mut Vec<Level>) {
        let read = match &node.kind {
            NodeKind::Directory { tree: Some(tree) } => {
                self.contents.entries(tree).await.map_err(io::Error::other)
            }
            _ => Err(io::Error::other("the backup does not say what is in it")),
        };
        match read {
            Ok(mut entries) => {
                entries.sort_by_key(|entry| matches!(entry.kind, NodeKind::Directory { .. }));
                levels.push(Level {
                    path,
                    node,
                    entries: entries.into_iter(),
                    place,
                });
            }
            Err(cause) => self.shared.report.problem(&path, "read directory", cause),
        }
    }

    async fn step(&mut self, node: Node, levels: &mut Vec<Level>) {
        let Some(level) = levels.last() else { return };
        if !is_plain_name(&node.name) {
            let cause = io::Error::other("its name would lead out of the directory");
            return self
                .shared
                .report
                .problem(&level.path, "restore an entry of", cause);
        }
        let mut path = level.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&node.name);
        let (selected, above) = self.selected(&path);
        if !selected && !above {
            return;
        }
        if matches!(node.kind, NodeKind::Directory { .. }) {
            if let Some(place) = self.directory(&path, selected) {
                self.enter(path, node, place, levels).await;
            }
        } else if selected {
            let place = level.place;
            self.entry(path, node, place).await;
        }
    }

    /// Whether a path was asked for, and whether something below it was.
    fn selected(&self, path: &[u8]) -> (bool, bool) {
        let paths = &self.request.paths;
        let below = |inner: &[u8], outer: &[u8]| {
            inner == outer
                || outer.is_empty()
                || (inner.starts_with(outer) && inner.get(outer.len()) == Some(&b'/'))
        };
        let selected = paths.is_empty() || paths.iter().any(|asked| below(path, asked));
        (selected, paths.iter().any(|asked| below(asked, path)))
    }

    /// Makes a directory. `None`: it can not be.
    fn directory(&mut self, path: &[u8], selected: bool) -> Option<Place> {
        let (parent, name) = split(path);
        let made = self.shared.target.directory(parent).and_then(|parent| {
            let there = status(&parent, name)?;
            if there.is_some_and(|stat| stat.kind.is_dir()) {
                (self.on)(path, Intent::Keep);
                let owned = selected && self.request.overwrite != Overwrite::Never;
                return Ok(Some(Place::There { owned }));
            }
            let existing = if there.is_some() {
                Existing::Different
            } else {
                Existing::Nothing
            };
            let intent = decide(existing, self.request.overwrite);
            (self.on)(path, intent);
            if intent == Intent::Refuse {
                return Err(Errno::EXIST);
            }
            if self.request.dry_run {
                return Ok(Some(Place::There { owned: false }));
            }
            if intent == Intent::Overwrite {
                unlinkat(&parent, OsStr::from_bytes(name), AtFlags::empty())?;
            }
            make_directory(&parent, name)?;
            let mut report = self.shared.report.with();
            report.directories += 1;
            report.overwritten += u64::from(intent == Intent::Overwrite);
            Ok(Some(Place::Made))
        });
        match made {
            Ok(made) => made,
            Err(Errno::NOENT) if self.request.dry_run => {
                (self.on)(path, Intent::Create);
                Some(Place::There { owned: false })
            }
            Err(cause) => {
                self.shared.report.problem(path, "make directory", cause);
                None
            }
        }
    }

    async fn entry(&mut self, path: Vec<u8>, node: Node, place: Place) {
        let intent = match place {
            // Whatever somebody puts there meanwhile is not replaced either.
            Place::Made => Ok(Intent::Create),
            Place::There { .. } => self.intent(&path, &node).await,
        };
        let intent = match intent {
            Ok(intent) => intent,
            Err(cause) => return self.shared.report.problem(&path, "look at", cause),
        };
        (self.on)(&path, intent);
        match intent {
            Intent::Refuse => {
                let cause = io::Error::other("something else is there, and may not be overwritten");
                self.shared.report.problem(&path, "restore", cause);
            }
            Intent::Keep => {
                self.shared.report.with().kept += 1;
                self.remember(&path, &node);
            }
            _ if self.request.dry_run => {}
            Intent::Create | Intent::Overwrite => self.write(path, node, intent).await,
        }
    }

    /// Remembers the first name of a file. Gives it back for the further ones.
    fn remember(&mut self, path: &[u8], node: &Node) -> Option<Vec<u8>> {
        let id = node.hard_link?;
        if let Some(first) = self.linked.get(&id) {
            return Some(first.clone());
        }
        self.linked.insert(id, path.to_vec());
        None
    }

    async fn write(&mut self, path: Vec<u8>, node: Node, intent: Intent) {
        if let Some(first) = self.remember(&path, &node) {
            self.names.push((first, path, node));
            return;
        }
        let replace = intent == Intent::Overwrite;
        match &node.kind {
            NodeKind::File { content, .. } => {
                let content = content.clone();
                self.file(&content, &Job::new(path, node, replace)).await;
            }
            _ => {
                if let Err(cause) = self.make(&path, &node, replace) {
                    self.shared.report.problem(&path, "make", cause);
                }
            }
        }
    }

    /// Queues a file's blobs, a part at a time where there are very many.
    async fn file(&mut self, content: &Content, job: &Arc<Job>) {
        let at_once = if content.is_list {
            LISTS_AT_ONCE
        } else {
            usize::MAX
        };
        let mut end = 0;
        for blobs in content.blobs.chunks(at_once) {
            let part = Content {
                blobs: blobs.to_vec(),
                is_list: content.is_list,
            };
            match self.contents.blobs(&part).await {
                Ok(blobs) => end = self.batch.add(job, &blobs, end),
                Err(cause) => {
                    job.fail(&self.shared, "find the bytes of", io::Error::other(cause));
                    break;
                }
            }
            if self.batch.is_full() {
                self.batch.flush(self.contents, &self.shared).await;
            }
        }
        if job.size() != Some(end) {
            let cause = io::Error::other(format!("its blobs hold {end} bytes"));
            job.fail(&self.shared, "find the bytes of", cause);
        }
        job.release(&self.shared);
    }

    /// Makes what has no bytes.
    fn make(&self, path: &[u8], node: &Node, replace: bool) -> Result<(), Errno> {
        let (parent, name) = split(path);
        let parent = self.shared.target.directory(parent)?;
        let temporary = temporary_name(path);
        let mut is_link = false;
        let made = make_temporary(&parent, &temporary, |at| match &node.kind {
            NodeKind::Symlink { target } => symlinkat(OsStr::from_bytes(target), &parent, at),
            NodeKind::Special { what, rdev } => mknodat(
                &parent,
                at,
                file_type(*what),
                Mode::RUSR | Mode::WUSR,
                *rdev,
            ),
            _ => Err(Errno::INVAL),
        });
        match (made, &node.kind) {
            (Err(Errno::PERM), NodeKind::Special { .. }) => {
                self.shared.report.note(path, Left::Device);
                return Ok(());
            }
            (made, NodeKind::Symlink { .. }) => {
                is_link = true;
                made?;
            }
            (made, _) => made?,
        }
        let set = self.shared.metadata.apply_unopened(
            &parent,
            &temporary,
            path,
            node,
            &self.shared.report,
        );
        if let Err(error) = set {
            discard(&parent, &temporary);
            return Err(error);
        }
        publish(&parent, &temporary, name, replace)?;
        let mut report = self.shared.report.with();
        *(if is_link {
            &mut report.links
        } else {
            &mut report.specials
        }) += 1;
        report.overwritten += u64::from(replace);
        Ok(())
    }

    /// Completes what was queued: bytes first, then further names, then directories, inner ones first.
    async fn flush(&mut self) {
        self.batch.flush(self.contents, &self.shared).await;
        for (first, path, node) in std::mem::take(&mut self.names) {
            if self.link(&first, &path).is_err() {
                // The file system has no hard links, or the first name could not be made: write it on its own.
                let there = self.existing(&path, &node).await;
                let replace = there.is_ok_and(|there| there != Existing::Nothing);
                if let NodeKind::File { content, .. } = &node.kind {
                    let content = content.clone();
                    self.file(&content, &Job::new(path, node, replace)).await;
                } else if let Err(cause) = self.make(&path, &node, replace) {
                    self.shared.report.problem(&path, "make", cause);
                }
            }
        }
        self.batch.flush(self.contents, &self.shared).await;
        for (path, node) in std::mem::take(&mut self.left) {
            let (metadata, report) = (&self.shared.metadata, &self.shared.report);
            if self.request.dry_run {
                continue;
            }
            let opened = self.shared.target.directory(&path);
            let done = opened.and_then(|fd| metadata.apply(fd, &path, &node, report));
            if let Err(cause) = done {
                report.problem(&path, "finish directory", cause);
            }
        }
    }

    fn link(&self, first: &[u8], path: &[u8]) -> Result<(), Errno> {
        let (from, from_name) = split(first);
        let (to, name) = split(path);
        let (from, to) = (
            self.shared.target.directory(from)?,
            self.shared.target.directory(to)?,
        );
        let temporary = temporary_name(path);
        make_temporary(&to, &temporary, |at| {
            linkat(
                &from,
                OsStr::from_bytes(from_name),
                &to,
                at,
                AtFlags::empty(),
            )
        })?;
        let replace = self.request.overwrite != Overwrite::Never;
        publish(&to, &temporary, name, replace)?;
        self.shared.report.with().links += 1;
        Ok(())
    }

    async fn intent(&self, path: &[u8], node: &Node) -> io::Result<Intent> {
        match self.existing(path, node).await {
            Ok(existing) => Ok(decide(existing, self.request.overwrite)),
            // The directory it goes to would only be made.
            Err(cause) if self.request.dry_run && cause.kind() == io::ErrorKind::NotFound => {
                Ok(Intent::Create)
            }
            Err(cause) => Err(cause),
        }
    }

    async fn existing(&self, path: &[u8], node: &Node) -> io::Result<Existing> {
        let (parent, name) = split(path);
        let parent = self.shared.target.directory(parent)?;
        let Some(stat) = status(&parent, name)? else {
            return Ok(Existing::Nothing);
        };
        if stat.kind.is_dir() {
            return Ok(Existing::Directory);
        }
        let same = self.request.overwrite != Overwrite::Always
            && self.is_same(&parent, name, &stat, path, node).await?;
        Ok(if same {
            Existing::Same
        } else {
            Existing::Different
        })
    }

    async fn is_same(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        path: &[u8],
        node: &Node,
    ) -> io::Result<bool> {
        match &node.kind {
            NodeKind::File { size, content, .. } => {
                if !stat.kind.is_file() || stat.size != *size {
                    return Ok(false);
                }
                match self.request.sameness {
                    Sameness::SizeAndTime => Ok(stat.mtime_ns == node.mtime_ns),
                    Sameness::Content => self.has_content(path, content).await,
                }
            }
            NodeKind::Symlink { target } => Ok(stat.kind.is_symlink()
                && readlinkat(parent.as_fd(), OsStr::from_bytes(name), Vec::new())?.as_bytes()
                    == target),
            NodeKind::Special { what, rdev } => {
                let device = matches!(what, Special::Block | Special::Character);
                Ok(stat.special() == Some(*what) && (!device || stat.rdev == *rdev))
            }
            NodeKind::Directory { .. } => Ok(false),
        }
    }

    async fn has_content(&self, path: &[u8], content: &Content) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(self.shared.target.open_at(path, flags)?);
        let at_once = if content.is_list {
            LISTS_AT_ONCE
        } else {
            usize::MAX
        };
        let (mut at, mut buffer) = (0, Vec::new());
        for blobs in content.blobs.chunks(at_once) {
            let part = Content {
                blobs: blobs.to_vec(),
                is_list: content.is_list,
            };
            let blobs = self.contents.blobs(&part).await.map_err(io::Error::other)?;
            for (id, len) in blobs {
                let len_here = usize::try_from(len).map_err(io::Error::other)?;
                buffer.resize(len_here, 0);
                match file.read_exact_at(&mut buffer, at) {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                    read => read?,
                }
                if self.id_differs(&buffer, &id) {
                    return Ok(false);
                }
                at += len;
            }
        }
        Ok(true)
    }

    fn id_differs(&self, data: &[u8], id: &BlobId) -> bool {
        self.contents.id_of(data) != *id
    }
}

fn file_type(what: Special) -> FileType {
    match what {
        Special::Block => FileType::BlockDevice,
        Special::Character => FileType::CharacterDevice,
        Special::Fifo => FileType::Fifo,
        Special::Socket => FileType::Socket,
    }
}
