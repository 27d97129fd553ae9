//! How many bytes may be in memory between a bucket and a repository. For threads that may wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that are still free.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Mutex<u64>,
    returned: Condvar,
}

/// Bytes that are taken, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(Inner {
            free: Mutex::new(bytes),
            returned: Condvar::new(),
        }))
    }

    fn free(&self) -> MutexGuard<'_, u64> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, mut free: MutexGuard<'_, u64>, bytes: u64) -> Held {
        *free -= bytes;
        Held {
            budget: self.clone(),
            bytes,
        }
    }

    /// Takes bytes if there are so many.
    pub(crate) fn try_take(&self, bytes: u64) -> Option<Held> {
        let free = self.free();
        (*free >= bytes).then(|| self.held(free, bytes))
    }

    /// Takes bytes, and waits until there are so many.
    pub(crate) fn take(&self, bytes: u64) -> Held {
        let mut free = self.free();
        while *free < bytes {
            let woken = self.0.returned.wait(free);
            free = woken.unwrap_or_else(PoisonError::into_inner);
        }
        self.held(free, bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.budget.free() += self.bytes;
        self.budget.0.returned.notify_all();
    }
}
