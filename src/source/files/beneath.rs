//! Opens paths of any length below an open directory, without ever leaving it: no `..`, no absolute
//! path, and no symbolic link on the way unless links are followed on purpose.

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// What happens at a symbolic link on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Links {
    Follow,
    Refuse,
}

/// The kernel takes at most 4096 bytes with the closing NUL; longer paths are opened in pieces.
const PIECE_LEN_MAX: usize = 4000;

/// Opens `path`, parts joined with `/`, below `root`. An empty path opens the root again.
pub fn open_beneath(
    root: impl AsFd,
    path: &[u8],
    flags: OFlags,
    links: Links,
) -> Result<OwnedFd, Errno> {
    if !is_relative_and_plain(path) {
        return Err(Errno::XDEV);
    }
    let mut held: Option<OwnedFd> = None;
    let mut rest = path;
    while rest.len() > PIECE_LEN_MAX {
        let cut = rest[..PIECE_LEN_MAX]
            .iter()
            .rposition(|b| *b == b'/')
            .ok_or(Errno::NAMETOOLONG)?;
        let at = held.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        held = Some(open_piece(at, &rest[..cut], directory, links)?);
        rest = &rest[cut + 1..];
    }
    let at = held.as_ref().map_or(root.as_fd(), AsFd::as_fd);
    open_piece(at, rest, flags, links)
}

/// Whether every part is a plain name: not empty, not `.`, not `..`, without NUL. The root itself is.
pub fn is_relative_and_plain(path: &[u8]) -> bool {
    path.is_empty() || path.split(|b| *b == b'/').all(is_plain_name)
}

/// Whether `name` can stand for one entry of a directory and nothing else.
pub fn is_plain_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0)
}

fn open_piece(at: impl AsFd, path: &[u8], flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let path = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
    if links == Links::Follow {
        return openat(at, path, flags, Mode::empty());
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(at.as_fd(), path, flags, Mode::empty(), resolve) {
        // Kernels before 5.6, and sandboxes that know no openat2.
        Err(Errno::NOSYS | Errno::PERM) => open_part_by_part(at, path.as_bytes(), flags),
        done => done,
    }
}

fn open_part_by_part(at: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut parts = path.split(|b| *b == b'/').map(OsStr::from_bytes).peekable();
    let mut held: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let from = held.as_ref().map_or(at.as_fd(), AsFd::as_fd);
        if parts.peek().is_none() {
            return openat(from, part, flags | OFlags::NOFOLLOW, Mode::empty());
        }
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        held = Some(openat(from, part, directory, Mode::empty())?);
    }
    Err(Errno::NOENT)
}
