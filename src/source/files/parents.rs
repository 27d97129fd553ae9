//! Directories that files are opened in which wait to be read: so a file is found where it was seen, also when its
//! directory got another name meanwhile. Holds only so many descriptors; never opens one.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Directories that are held for files that wait. A process may often have 1024 descriptors, for everything.
const HELD_MAX: usize = 256;

/// A directory that files wait in.
pub(crate) struct Parent {
    fd: Arc<OwnedFd>,
    held: Arc<AtomicUsize>,
}

impl Parent {
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Holds directories, each once for files that follow one another.
#[derive(Default)]
pub(crate) struct Parents {
    held: Arc<AtomicUsize>,
    last: Option<Arc<Parent>>,
}

impl Parents {
    /// Holds `fd`; `None` when too many are held.
    pub(crate) fn hold(&mut self, fd: &Arc<OwnedFd>) -> Option<Arc<Parent>> {
        if let Some(last) = self.last.as_ref().filter(|last| Arc::ptr_eq(&last.fd, fd)) {
            return Some(last.clone());
        }
        self.last = None;
        // Only one thread adds: another one can but give back between the two.
        if self.held.load(Ordering::Relaxed) >= HELD_MAX {
            return None;
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        let (fd, held) = (fd.clone(), self.held.clone());
        let parent = Arc::new(Parent { fd, held });
        self.last = Some(parent.clone());
        Some(parent)
    }
}

#[cfg(test)]
mod tests {
    use crate::source::files::parents::{HELD_MAX, Parents};
    use std::fs::File;
    use std::sync::Arc;

    #[test]
    fn each_is_held_once_and_only_so_many_are() {
        let open = || Arc::new(File::open("/").expect("it is there").into());
        let mut parents = Parents::default();
        let one = open();
        let first = parents.hold(&one).expect("there is room");
        assert!(Arc::ptr_eq(
            &first,
            &parents.hold(&one).expect("it is held")
        ));
        let mut held: Vec<_> = (1..HELD_MAX).map(|_| parents.hold(&open())).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(parents.hold(&open()).is_none());
        held.pop();
        assert!(parents.hold(&open()).is_some());
    }
}
