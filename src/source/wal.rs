//! WAL files as they lie in a directory: the server's own `pg_wal`, or one that it archives into. Reads them,
//! and makes sure that each is what its name says; never removes or changes one.

use crate::model::wal::{
    HEADER_LEN, History, SegmentBytes, SegmentHeader, SystemId, WalError, WalName, check_segment,
};
use bytes::Bytes;
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longer than any segment, label or history.
const LEN_MAX_BYTES: u64 = 1 << 30;
/// A label or a history is a few lines.
const TEXT_MAX_BYTES: u64 = 1 << 20;

/// A WAL file, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalFile {
    /// Which.
    pub name: WalName,
    /// The cluster that wrote it.
    pub cluster: (SystemId, SegmentBytes),
    /// All of it.
    pub bytes: Bytes,
}

/// A WAL file that begins as it must, about to be read.
#[derive(Debug)]
pub struct OpenWal {
    /// Which.
    pub name: WalName,
    /// The cluster that wrote it.
    pub cluster: (SystemId, SegmentBytes),
    /// How long it was when it was opened.
    pub len_bytes: u64,
    path: PathBuf,
    reader: io::Chain<io::Cursor<Vec<u8>>, File>,
    read_bytes: u64,
}

/// Why a file can not be taken.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum WalFileError {
    #[error(
        "`{}` is no file that PostgreSQL archives: segments, and files that end in .partial, .backup or .history", .0.display()
    )]
    Name(PathBuf),
    #[error("read `{}`", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(transparent)]
    Segment(#[from] WalError),
    #[error("`{}` has {len} bytes, which no such file has", .path.display())]
    Length { path: PathBuf, len: u64 },
    #[error("`{}` is damaged: it does not read as what its name says", .0.display())]
    Damaged(PathBuf),
    #[error(
        "nothing beside `{}` says which database cluster it is of; it is taken from the server's own pg_wal, or from a directory with segments in it", .0.display()
    )]
    Unknown(PathBuf),
}

/// The name that the last part of `path` is.
pub fn name_of(path: &Path) -> Result<WalName, WalFileError> {
    let text = path.file_name().and_then(|name| name.to_str());
    let name = text.and_then(|text| text.parse().ok());
    name.ok_or_else(|| WalFileError::Name(path.to_path_buf()))
}

/// Reads the file at `path`, whose name says what it must be.
pub fn read(path: &Path) -> Result<WalFile, WalFileError> {
    let mut open = open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(open.len_bytes).unwrap_or(0) + 1);
    let read = open.read_to_end(&mut bytes);
    read.map_err(|cause| read_failed(path, cause))?;
    Ok(WalFile {
        name: open.name,
        cluster: open.cluster,
        bytes: bytes.into(),
    })
}

/// Opens the file at `path`, and makes sure that it begins as its name says.
pub fn open(path: &Path) -> Result<OpenWal, WalFileError> {
    let name = name_of(path)?;
    let failed = |cause| read_failed(path, cause);
    let mut file = File::open(path).map_err(failed)?;
    let len_bytes = file.metadata().map_err(failed)?.len();
    let (limit, begin_len) = match name.segment() {
        Some(_) => (LEN_MAX_BYTES, HEADER_LEN as u64),
        None => (TEXT_MAX_BYTES, TEXT_MAX_BYTES),
    };
    if len_bytes == 0 || len_bytes > limit {
        let (path, len) = (path.to_path_buf(), len_bytes);
        return Err(WalFileError::Length { path, len });
    }
    let mut begin = Vec::new();
    let begun = file.by_ref().take(begin_len).read_to_end(&mut begin);
    begun.map_err(failed)?;
    let cluster = match name.segment() {
        Some(segment) => {
            let header = check_segment(segment, len_bytes, &begin)?;
            (header.system, header.segment_bytes)
        }
        None if !is_text_of(&name, &begin) => {
            return Err(WalFileError::Damaged(path.to_path_buf()));
        }
        None => {
            let beside = cluster_beside(path).map_err(failed)?;
            beside.ok_or_else(|| WalFileError::Unknown(path.to_path_buf()))?
        }
    };
    Ok(OpenWal {
        name,
        cluster,
        len_bytes,
        path: path.to_path_buf(),
        reader: io::Cursor::new(begin).chain(file),
        read_bytes: 0,
    })
}

fn read_failed(path: &Path, cause: io::Error) -> WalFileError {
    WalFileError::Read {
        path: path.to_path_buf(),
        cause,
    }
}

impl Read for OpenWal {
    /// It is an error when there is more or less of it than there was when it was opened.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        self.read_bytes += len as u64;
        let is_end = len == 0 && !buffer.is_empty();
        if self.read_bytes > self.len_bytes || is_end && self.read_bytes < self.len_bytes {
            let (path, len) = (self.path.clone(), self.read_bytes);
            return Err(io::Error::other(WalFileError::Length { path, len }));
        }
        Ok(len)
    }
}

fn is_text_of(name: &WalName, bytes: &[u8]) -> bool {
    match name {
        WalName::History(timeline) => {
            History::read(*timeline, &String::from_utf8_lossy(bytes)).is_some()
        }
        _ => bytes.starts_with(b"START WAL LOCATION: "),
    }
}

/// The cluster that a segment beside `path` is of: labels and histories do not say.
fn cluster_beside(path: &Path) -> io::Result<Option<(SystemId, SegmentBytes)>> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Ok(Some(header)) = header_of(&path) {
            return Ok(Some((header.system, header.segment_bytes)));
        }
    }
    Ok(None)
}

/// What the segment at `path` says of itself; `None` when it is no segment, or none yet: a server lays
/// files out before it writes to them.
pub fn header_of(path: &Path) -> io::Result<Option<SegmentHeader>> {
    let Ok(WalName::Segment(name)) = name_of(path) else {
        return Ok(None);
    };
    let mut head = [0; HEADER_LEN];
    match File::open(path)?.read_exact(&mut head) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => {
            read?;
            Ok(SegmentHeader::read(name, &head).ok())
        }
    }
}

/// A file in a directory that a server archives into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The cluster that wrote it.
    pub cluster: (SystemId, SegmentBytes),
    /// Which.
    pub name: WalName,
    /// When it came.
    pub at: Timestamp,
    /// Where it is.
    pub path: PathBuf,
}

/// The files in an archive directory that are there as a whole, with when each came.
pub fn list(archive: &Path) -> Result<Vec<Archived>, WalFileError> {
    let failed = |cause| WalFileError::Read {
        path: archive.to_path_buf(),
        cause,
    };
    let (mut found, mut texts, mut cluster) = (Vec::new(), Vec::new(), None);
    for entry in fs::read_dir(archive).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Ok(name) = name_of(&path) else {
            continue;
        };
        // Whoever cleans the directory may have removed it since its name was read.
        let Some((meta, header)) = if_there(looked_at(&path)).map_err(failed)? else {
            continue;
        };
        let at = Timestamp::try_from(meta.modified().map_err(failed)?);
        let at = at.map_err(|e| failed(io::Error::other(e)))?;
        match header {
            // One that is still being copied has another length; it is taken next time.
            Some(header) if header.segment_bytes.get() == meta.len() => {
                let of = (header.system, header.segment_bytes);
                cluster = Some(of);
                found.push(Archived {
                    cluster: of,
                    name,
                    at,
                    path,
                });
            }
            Some(_) => {}
            None if name.segment().is_none() => texts.push((name, at, path)),
            None => {}
        }
    }
    // Labels and histories do not say which cluster they are of; the segments beside them do.
    if let Some(cluster) = cluster {
        let texts = texts.into_iter();
        found.extend(texts.map(|(name, at, path)| Archived {
            cluster,
            name,
            at,
            path,
        }));
    }
    Ok(found)
}

fn looked_at(path: &Path) -> io::Result<(fs::Metadata, Option<SegmentHeader>)> {
    Ok((fs::metadata(path)?, header_of(path)?))
}

fn if_there<T>(looked: io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        looked => looked.map(Some),
    }
}

/// The cluster of the data directory that `path`, as `pg_wal/RECOVERYXLOG`, is below; by its control file.
pub fn system_around(path: &Path) -> Result<SystemId, WalFileError> {
    let data = path.parent().and_then(Path::parent);
    let control = data.unwrap_or(Path::new("")).join("global/pg_control");
    let failed = |cause| WalFileError::Read {
        path: control.clone(),
        cause,
    };
    let mut head = [0; 12];
    let mut file = File::open(&control).map_err(failed)?;
    file.read_exact(&mut head).map_err(failed)?;
    system_of_control(&head).ok_or_else(|| WalFileError::Damaged(control.clone()))
}

/// The cluster that a control file with these first bytes is of.
pub fn system_of_control(head: &[u8]) -> Option<SystemId> {
    let (system, rest) = head.split_first_chunk::<8>()?;
    let version = u32::from_le_bytes(*rest.first_chunk()?);
    let system = u64::from_le_bytes(*system);
    // 1002 is version 10, 1800 is 18.
    ((900..10_000).contains(&version) && system > 0).then_some(SystemId(system))
}
