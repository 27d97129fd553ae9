//! Which folders of a store have durable names. A folder that is there may be that of a writer who was killed
//! before it had synced the folder above: such a name counts only once somebody has done that, and has left a mark
//! on the folder which says so. Without marks every process would sync every folder above every first object that
//! it writes, and a process that writes one, such as a push of WAL, would spend most of its time on that.

use crate::store::local::sync_directory;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// An extended attribute whose value is the folder's inode: a copy of the folder does not inherit what it says.
const MARK: &str = "user.ccb.durable";

/// Folders below the root whose names this process has made durable, or seen to be.
#[derive(Debug, Default)]
pub(super) struct Folders(Mutex<BTreeSet<PathBuf>>);

impl Folders {
    /// Makes the names of `folder` and of those above it, up to `root`, durable.
    pub(super) fn make(&self, root: &Path, folder: &Path) -> io::Result<()> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut synced = Vec::new();
        let mut at = folder;
        while at != root
            && let Some(above) = at.parent()
            && !known().contains(at)
        {
            if is_marked(at) {
                known().insert(at.to_owned());
                break;
            }
            sync_directory(above)?;
            synced.push(at);
            at = above;
        }
        // The uppermost first: a mark speaks for the names above as well.
        for folder in synced.into_iter().rev() {
            mark(folder);
            known().insert(folder.to_owned());
        }
        Ok(())
    }
}

fn is_marked(folder: &Path) -> bool {
    let mut value = [0; 8];
    let len = getxattr(folder, MARK, &mut value[..]);
    len.is_ok_and(|len| len == value.len()) && inode(folder) == Some(value)
}

/// Where a file system knows no attributes, the next process syncs again.
fn mark(folder: &Path) {
    if let Some(inode) = inode(folder) {
        let _ = setxattr(folder, MARK, &inode, XattrFlags::empty());
    }
}

fn inode(folder: &Path) -> Option<[u8; 8]> {
    let meta = fs::symlink_metadata(folder).ok()?;
    Some(meta.ino().to_le_bytes())
}

#[cfg(test)]
mod tests {
    use crate::store::local::durable::{Folders, is_marked};
    use rustix::fs::{XattrFlags, setxattr};
    use std::fs;
    use std::process::Command;

    #[test]
    fn folders_are_marked_once_their_names_are_durable_and_a_copy_is_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        fs::create_dir_all(&folder).unwrap();
        assert!(!is_marked(&folder));
        // A file system that knows no attributes never says so.
        let knows = setxattr(root.path(), "user.ccb.test", b"", XattrFlags::empty()).is_ok();
        Folders::default().make(root.path(), &folder).unwrap();
        assert_eq!(is_marked(&folder), knows);
        assert_eq!(is_marked(&root.path().join("a")), knows);
        assert!(!is_marked(root.path()));

        let copy = root.path().join("copy");
        let copied = Command::new("cp")
            .arg("-a")
            .args([&folder, &copy])
            .status()
            .unwrap();
        assert!(copied.success() && !is_marked(&copy));
        fs::remove_dir(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        assert!(!is_marked(&folder));
    }
}
