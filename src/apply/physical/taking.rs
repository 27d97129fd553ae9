//! WAL on its way into a backup: each file is read wherever it is, and must be the same everywhere.

use crate::apply::hands::Hands;
use crate::apply::physical::Cluster;
use crate::apply::physical::conclude::Conclusion;
use crate::apply::physical::survey::Survey;
use crate::model::ids::ComponentName;
use crate::model::tree::{Body, Content, Found, Node, NodeKind, OpenBody, Problem, ReadBody};
use crate::model::wal::{History, SystemId, WalName, check_segment};
use crate::repository::WalReader;
use crate::source::postgres::connection::Connection;
use crate::source::{Capture, Walk};
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// One file and the places that have it.
pub(super) struct File {
    pub(super) cluster: Cluster,
    pub(super) name: WalName,
    pub(super) archived: Timestamp,
    pub(super) places: Vec<Place>,
}

/// A place that has a file.
pub(super) enum Place {
    Handed(Arc<WalReader>, ComponentName),
    Archived(PathBuf),
}

/// A file that was read and is in the backup.
pub(super) struct Taken {
    pub(super) cluster: Cluster,
    pub(super) name: WalName,
    pub(super) archived: Timestamp,
    pub(super) history: Option<History>,
}

pub(super) type AllTaken = Arc<Mutex<Vec<Taken>>>;

/// Starts reading what the survey found.
pub(super) fn capture(survey: Survey, connection: Connection, hands: &Hands) -> Capture {
    let now_ns = (hands.surroundings().now)().as_nanosecond();
    let taken = AllTaken::default();
    let Survey {
        files,
        kept,
        bases,
        lacking,
    } = survey;
    let systems: BTreeSet<SystemId> = files.values().map(|file| file.cluster.0).collect();
    let mut found = vec![Found::directory("", now_ns)];
    let mut files: Vec<(String, File)> = files.into_iter().collect();
    for system in systems {
        found.push(Found::directory(&system.to_string(), now_ns));
        let (of_it, rest) = files
            .into_iter()
            .partition(|(_, file)| file.cluster.0 == system);
        let of_it: Vec<(String, File)> = of_it;
        found.extend(
            of_it
                .into_iter()
                .map(|(path, file)| found_file(path, file, &taken)),
        );
        files = rest;
    }
    let walk: Walk = Box::new(found.into_iter().map(Ok::<Found, Problem>));
    let conclusion = Conclusion {
        taken,
        kept,
        bases,
        lacking,
        connection,
    };
    Capture {
        walk,
        finish: Box::new(move || conclusion.facts()),
        guard: Box::new(()),
    }
}

fn found_file(path: String, file: File, taken: &AllTaken) -> Found {
    let size = match file.name.segment() {
        Some(_) => file.cluster.1.get(),
        None => 1,
    };
    let kind = NodeKind::File {
        size,
        content: Content::default(),
        extents: Vec::new(),
    };
    let name = file.name.to_string();
    let mtime_ns = file.archived.as_nanosecond();
    Found {
        path: path.into_bytes(),
        node: Node::plain(&name, kind, 0o600, mtime_ns),
        body: Body::Read(Box::new(Opening {
            file,
            taken: taken.clone(),
        })),
    }
}

/// A file about to be read.
struct Opening {
    file: File,
    taken: AllTaken,
}

impl OpenBody for Opening {
    fn open(self: Box<Self>) -> io::Result<Box<dyn ReadBody>> {
        let bytes = self.file.read()?;
        let history = match self.file.name {
            WalName::History(timeline) => History::read(timeline, &String::from_utf8_lossy(&bytes)),
            _ => None,
        };
        let taken = Taken {
            cluster: self.file.cluster,
            name: self.file.name,
            archived: self.file.archived,
            history,
        };
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(taken);
        Ok(Box::new(Whole(io::Cursor::new(bytes))))
    }
}

impl File {
    /// Its bytes: the same in all places that have it, and what its name says.
    fn read(&self) -> io::Result<Bytes> {
        let mut whole: Option<Bytes> = None;
        let mut failed = None;
        for place in &self.places {
            match (place.read(self.cluster.0, &self.name), &whole) {
                (Ok(bytes), None) => whole = Some(bytes),
                (Ok(bytes), Some(other)) if bytes == *other => {}
                (Ok(_), Some(_)) => {
                    let words = "two destinations have different files under this name: two servers write this log";
                    return Err(io::Error::other(words));
                }
                (Err(cause), _) => failed = Some(cause),
            }
        }
        let bytes = match (whole, failed) {
            (Some(bytes), _) => bytes,
            (None, Some(cause)) => return Err(cause),
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        if let Some(segment) = self.name.segment() {
            check_segment(segment, bytes.len() as u64, &bytes).map_err(io::Error::other)?;
        }
        Ok(bytes)
    }
}

impl Place {
    fn read(&self, system: SystemId, name: &WalName) -> io::Result<Bytes> {
        match self {
            Self::Handed(reader, component) => {
                let got = reader
                    .get(component, system, name)
                    .map_err(io::Error::other)?;
                // Removed since it was listed: then a backup has it.
                got.ok_or_else(|| io::ErrorKind::NotFound.into())
            }
            Self::Archived(path) => Ok(std::fs::read(path)?.into()),
        }
    }
}

/// A file that is in memory: nothing changes it any more.
struct Whole(io::Cursor<Bytes>);

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl ReadBody for Whole {
    fn changed_while_reading(&self) -> io::Result<bool> {
        Ok(false)
    }
}
