//! Gives an entry its owner, attributes, mode and times, in the order in which none undoes another.

use crate::model::tree::Node;
use crate::restore::files::report::{Left, SharedReport};
use crate::source::files::{Owners, in_proc};
use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr,
    futimens, lsetxattr, utimensat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

/// How owners are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnersBy {
    /// By their numbers.
    Number,
    /// By their names where this machine knows them, else by their numbers.
    Name,
}

/// Sets metadata.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) by: OwnersBy,
    pub(crate) owners: Owners,
}

impl Metadata {
    /// For an open file or directory. Stops at the first error that is not a matter of rights.
    pub(crate) fn apply(
        &self,
        fd: impl AsFd,
        path: &[u8],
        node: &Node,
        report: &SharedReport,
    ) -> Result<(), Errno> {
        let fd = fd.as_fd();
        let (uid, gid) = self.owner(node);
        let owned = may(fchown(fd, uid, gid))?;
        for (name, value) in &node.xattrs {
            let set = fsetxattr(fd, OsStr::from_bytes(name), value, XattrFlags::empty());
            if !may(set)? {
                report.note(path, Left::Xattr(name.clone()));
            }
        }
        // After the owner, because a change of owner takes setuid away.
        fchmod(fd, Mode::from_raw_mode(mode(node, owned, path, report)))?;
        futimens(fd, &times(node))
    }

    /// For what can not be opened: links and special files.
    pub(crate) fn apply_unopened(
        &self,
        directory: impl AsFd,
        temporary: &[u8],
        path: &[u8],
        node: &Node,
        report: &SharedReport,
    ) -> Result<(), Errno> {
        let directory = directory.as_fd();
        let name = OsStr::from_bytes(temporary);
        let (uid, gid) = self.owner(node);
        let owned = may(chownat(
            directory,
            name,
            uid,
            gid,
            AtFlags::SYMLINK_NOFOLLOW,
        ))?;
        let in_proc = in_proc(directory, temporary);
        for (key, value) in &node.xattrs {
            let key_name = OsStr::from_bytes(key);
            if !may(lsetxattr(
                &in_proc[..],
                key_name,
                value,
                XattrFlags::empty(),
            ))? {
                report.note(path, Left::Xattr(key.clone()));
            }
        }
        let mode = mode(node, owned, path, report);
        if !matches!(node.kind, crate::model::tree::NodeKind::Symlink { .. }) {
            let mode = Mode::from_raw_mode(mode);
            rustix::fs::chmodat(directory, name, mode, AtFlags::empty())?;
        }
        utimensat(directory, name, &times(node), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn owner(&self, node: &Node) -> (Option<Uid>, Option<Gid>) {
        let by_name = self.by == OwnersBy::Name;
        let user = node
            .user
            .as_deref()
            .filter(|_| by_name)
            .and_then(|name| self.owners.uid(name));
        let group = node
            .group
            .as_deref()
            .filter(|_| by_name)
            .and_then(|name| self.owners.gid(name));
        // The largest number means "leave it" to the kernel.
        let user = Some(user.unwrap_or(node.uid))
            .filter(|id| *id != u32::MAX)
            .map(Uid::from_raw);
        let group = Some(group.unwrap_or(node.gid))
            .filter(|id| *id != u32::MAX)
            .map(Gid::from_raw);
        (user, group)
    }
}

/// `false`: it was not allowed or the file system does not have it.
fn may(done: Result<(), Errno>) -> Result<bool, Errno> {
    match done {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::ACCESS | Errno::NOTSUP | Errno::INVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A file that could not be given to its owner must not run with the rights of another.
fn mode(node: &Node, owned: bool, path: &[u8], report: &SharedReport) -> u32 {
    if owned {
        return node.mode & 0o7777;
    }
    report.note(path, Left::Owner);
    node.mode & 0o1777
}

fn times(node: &Node) -> Timestamps {
    let second = 1_000_000_000;
    // A time beyond what the kernel can hold comes only from a damaged or hostile backup.
    let tv_sec = i64::try_from(node.mtime_ns.div_euclid(second)).unwrap_or(0);
    let tv_nsec = node.mtime_ns.rem_euclid(second) as _;
    let mtime = Timespec { tv_sec, tv_nsec };
    let leave = Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_OMIT,
    };
    Timestamps {
        last_access: leave,
        last_modification: mtime,
    }
}
