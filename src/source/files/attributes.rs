//! Extended attributes and the holes of sparse files.

use crate::source::files::beneath::Links;
use crate::source::files::stat::Stat;
use rustix::fs::{
    Mode, OFlags, SeekFrom, fgetxattr, flistxattr, getxattr, lgetxattr, listxattr, llistxattr,
    openat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;

/// The kernel's limit for one value and for the list of names.
const XATTR_LEN_MAX: usize = 64 << 10;

/// Extended attributes, sorted by name.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Extended attributes of the entry `name` of `directory`, also of links and special files. None
/// where the file system has none.
pub fn read_xattrs(
    directory: impl AsFd,
    name: &[u8],
    stat: &Stat,
    links: Links,
) -> Result<Xattrs, Errno> {
    // There is no xattr call that takes a directory and a name; this path is one, of any depth.
    let path = &in_proc(directory.as_fd(), name)[..];
    let found = match links {
        Links::Refuse => collect(
            |buf| llistxattr(path, buf),
            |key, buf| lgetxattr(path, key, buf),
        ),
        Links::Follow => collect(
            |buf| listxattr(path, buf),
            |key, buf| getxattr(path, key, buf),
        ),
    };
    match found {
        Err(Errno::NOENT) if !proc_is_mounted() => read_by_opening(directory, name, stat, links),
        found => found,
    }
}

/// Path of an entry of an open directory: it leads to that directory wherever it has moved since.
pub fn in_proc(directory: impl AsFd, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(if name.is_empty() { b"." } else { name });
    path
}

fn proc_is_mounted() -> bool {
    rustix::fs::access("/proc/self/fd", rustix::fs::Access::EXISTS).is_ok()
}

fn read_by_opening(
    directory: impl AsFd,
    name: &[u8],
    stat: &Stat,
    links: Links,
) -> Result<Xattrs, Errno> {
    if !stat.kind.is_file() && !stat.kind.is_dir() {
        return Ok(Vec::new());
    }
    let name = OsStr::from_bytes(if name.is_empty() { b"." } else { name });
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let fd = openat(directory, name, flags, Mode::empty())?;
    collect(
        |buf| flistxattr(&fd, buf),
        |key, buf| fgetxattr(&fd, key, buf),
    )
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> Result<Xattrs, Errno> {
    // Nearly every file has none or few; the long buffer is only made for those that need it.
    let mut short = [0; 256];
    let names = match list(&mut short) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(len) => short[..len].to_vec(),
        Err(Errno::RANGE) => read_long(&list)?,
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let value = match get(name, &mut short) {
            Ok(len) => short[..len].to_vec(),
            Err(Errno::RANGE) => match read_long(|buf| get(name, buf)) {
                Err(Errno::NODATA) => continue,
                value => value?,
            },
            // Removed since it was listed.
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(error),
        };
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

fn read_long(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; XATTR_LEN_MAX];
    let len = read(&mut buffer)?;
    buffer.truncate(len);
    Ok(buffer)
}

/// Ranges `(offset, length)` of an open file that hold data, clipped to `size`; `None` when it has no
/// hole. A file that is one hole has no range.
pub fn data_ranges(fd: impl AsFd, size: u64) -> Result<Option<Vec<(u64, u64)>>, Errno> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(fd.as_fd(), SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            Ok(_) | Err(Errno::NXIO) => break,
            // A file system that can not tell.
            Err(Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error),
        };
        let end = rustix::fs::seek(fd.as_fd(), SeekFrom::Hole(start))?.min(size);
        if start == 0 && end == size {
            return Ok(None);
        }
        ranges.push((start, end - start));
        at = end;
    }
    Ok(Some(ranges))
}
