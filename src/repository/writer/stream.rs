//! Writes a stream, such as a dump, as a tree of one file.

use crate::model::ids::Digest;
use crate::model::tree::{Node, NodeKind};
use crate::repository::RepositoryError;
use crate::repository::format::chunk::Profile;
use crate::repository::format::manifest::Stats;
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::writer::cut::{CutError, Cutter};
use crate::repository::writer::tree::put_directory;
use crate::repository::writer::{Progress, StreamStats};
use jiff::Timestamp;
use std::{io::Read, sync::Arc};

/// Writes the stream. Waits much: to be called on a thread of its own.
pub(crate) fn write_stream(
    writer: &Arc<BlobWriter>,
    name: &str,
    started: Timestamp,
    mut source: Box<dyn Read + Send>,
    profile: Profile,
    progress: &dyn Progress,
) -> Result<StreamStats, RepositoryError> {
    let mut hasher = blake3::Hasher::new();
    let cutter = Cutter::new(writer, profile);
    let seen = |bytes: &[u8]| {
        hasher.update(bytes);
        progress.advance(0, bytes.len() as u64);
    };
    let written = cutter
        .cut_stream(writer, &mut *source, seen)
        .map_err(|error| match error {
            CutError::Repository(error) => error,
            CutError::Source(cause) => RepositoryError::Stream {
                name: name.to_owned(),
                cause: Arc::new(cause),
            },
        });
    let outcome = written.and_then(|cut| {
        let size = cut.len;
        let content = cut.finish(writer)?;
        let kind = NodeKind::File {
            size,
            content,
            extents: Vec::new(),
        };
        let file = node(name, started, kind);
        let root = put_directory(writer, b"", &[file])?;
        progress.advance(1, 0);
        Ok((root, size))
    });
    let (root, bytes) = outcome.inspect_err(|error| writer.failure.set(error.clone()))?;
    let content = Digest(*hasher.finalize().as_bytes());
    let stats = Stats {
        files: 1,
        directories: 1,
        bytes,
        changed_files: 1,
        ..Stats::default()
    };
    Ok(StreamStats {
        root,
        stats,
        content,
    })
}

/// A stream has no owner and no modes: it is restored for its reader only.
fn node(name: &str, at: Timestamp, kind: NodeKind) -> Node {
    Node {
        name: name.as_bytes().to_vec(),
        kind,
        mode: 0o600,
        uid: 0,
        gid: 0,
        user: None,
        group: None,
        mtime_ns: at.as_nanosecond(),
        ctime_ns: 0,
        inode: 0,
        device: 0,
        hard_link: None,
        xattrs: Vec::new(),
        unknown: Vec::new(),
    }
}
