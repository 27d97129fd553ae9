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

impl Held {
    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let more = self.bytes.saturating_sub(bytes);
        self.bytes -= more;
        *self.budget.free() += more;
        self.budget.0.returned.notify_all();
    }
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

#[cfg(test)]
mod tests {
    use crate::source::bucket::budget::Budget;

    #[test]
    fn what_was_shorter_than_it_was_listed_gives_the_rest_back_to_who_waits() {
        let budget = Budget::new(100);
        let mut first = budget.take(60);
        let mut second = budget.take(40);
        assert!(budget.try_take(50).is_none());
        let waiting = std::thread::spawn({
            let budget = budget.clone();
            move || drop(budget.take(50))
        });
        second.shrink_to(0);
        first.shrink_to(50);
        waiting.join().expect("there is as much");
        first.shrink_to(70);
        assert!(budget.try_take(51).is_none(), "nothing is given back twice");
        drop((first, second));
        assert!(budget.try_take(100).is_some());
    }
}
