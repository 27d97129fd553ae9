//! Writes a backup's files as a tar archive that every tar reads: GNU's form, which has room for long names and
//! large files. Extended attributes and sockets have no place in it.

use crate::export::payload::{Entries, Entry};
use crate::model::tree::{Node, NodeKind, Special, printable};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// Writes everything, and the end of the archive.
pub(crate) fn write(mut entries: Entries, to: impl Write) -> io::Result<()> {
    let mut archive = Builder::new(to);
    // The first name of what has several.
    let mut names: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(io::Error::other)?;
        let first = entry.node.hard_link.and_then(|link| {
            let first = names.get(&link).cloned();
            names.entry(link).or_insert_with(|| entry.path.clone());
            first
        });
        match first {
            Some(first) => link(&mut archive, &entry, EntryType::Link, &first)?,
            None => append(&mut archive, entry)?,
        }
    }
    archive.into_inner()?.flush()
}

fn append(archive: &mut Builder<impl Write>, entry: Entry) -> io::Result<()> {
    let Entry {
        path,
        node,
        content,
        ..
    } = &entry;
    let mut head = head(node);
    match &node.kind {
        NodeKind::File { size, .. } => {
            head.set_entry_type(EntryType::Regular);
            head.set_size(*size);
            let len = *size;
            let mut body = Exactly {
                left: len,
                from: entry.content,
            };
            archive.append_data(&mut head, name(&entry.path), &mut body)?;
            match body.left {
                0 => Ok(()),
                _ => Err(shorter(&entry.path)),
            }
        }
        NodeKind::Directory { .. } => {
            head.set_entry_type(EntryType::Directory);
            head.set_size(0);
            archive.append_data(&mut head, name(path), io::empty())
        }
        NodeKind::Symlink { target } => link(archive, &entry, EntryType::Symlink, target),
        NodeKind::Special { what, rdev } => {
            debug_assert!(content.is_none());
            let kind = match what {
                Special::Block => EntryType::Block,
                Special::Character => EntryType::Char,
                Special::Fifo => EntryType::Fifo,
                Special::Socket => return Ok(()),
            };
            head.set_entry_type(kind);
            head.set_size(0);
            head.set_device_major(rustix::fs::major(*rdev))?;
            head.set_device_minor(rustix::fs::minor(*rdev))?;
            archive.append_data(&mut head, name(path), io::empty())
        }
    }
}

fn link(
    archive: &mut Builder<impl Write>,
    entry: &Entry,
    kind: EntryType,
    target: &[u8],
) -> io::Result<()> {
    let mut head = head(&entry.node);
    head.set_entry_type(kind);
    head.set_size(0);
    archive.append_link(&mut head, name(&entry.path), name(target))
}

fn head(node: &Node) -> Header {
    let mut head = Header::new_gnu();
    head.set_mode(node.mode);
    head.set_uid(node.uid.into());
    head.set_gid(node.gid.into());
    // Before 1970 it has no way to say it.
    let seconds = node.mtime_ns.div_euclid(1_000_000_000);
    head.set_mtime(u64::try_from(seconds).unwrap_or(0));
    // A name that has no room is left out: the number says the same.
    let _ = node.user.as_deref().map(|user| head.set_username(user));
    let _ = node.group.as_deref().map(|group| head.set_groupname(group));
    head
}

fn name(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn shorter(path: &[u8]) -> io::Error {
    io::Error::other(format!(
        "`{}` is shorter in the backup than it should be",
        printable(path)
    ))
}

/// As many bytes as the head said.
struct Exactly<R> {
    left: u64,
    from: Option<R>,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).map_or(to.len(), |left| left.min(to.len()));
        match &mut self.from {
            Some(from) if want > 0 => {
                let len = from.read(&mut to[..want])?;
                self.left -= len as u64;
                Ok(len)
            }
            _ => Ok(0),
        }
    }
}
