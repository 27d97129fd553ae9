//! Gives up a capture that another thread is in the middle of: what it waits for ends with an error.

use crate::source::redis::error::RedisError;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shared by the capture and whoever may give it up.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_given_up: bool,
    /// Ends what is being waited for.
    enders: Vec<Box<dyn Fn() + Send>>,
}

impl Stop {
    /// Gives it up when dropped.
    pub(crate) fn guard(&self) -> Box<dyn Send> {
        struct Guard(Stop);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.give_up();
            }
        }
        Box::new(Guard(self.clone()))
    }

    fn give_up(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_given_up = true;
        for end in state.enders.drain(..) {
            end();
        }
        self.0.changed.notify_all();
    }

    /// Lets `end` be called when it is given up; at once when it is already.
    pub(crate) fn on_give_up(&self, end: impl Fn() + Send + 'static) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.is_given_up {
            true => end(),
            false => state.enders.push(Box::new(end)),
        }
    }

    /// An error once it was given up.
    pub(crate) fn check(&self) -> Result<(), RedisError> {
        self.wait(Duration::ZERO)
    }

    /// Waits so long, or until it is given up.
    pub(crate) fn wait(&self, time: Duration) -> Result<(), RedisError> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, time, |s| !s.is_given_up);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.is_given_up {
            true => Err(RedisError::GivenUp),
            false => Ok(()),
        }
    }

    /// Reads `source` until it is given up.
    pub(crate) fn reading<R: Read>(&self, source: R) -> Stoppable<R> {
        let stop = self.clone();
        Stoppable { source, stop }
    }
}

/// A reader that ends with an error when the capture is given up.
pub(crate) struct Stoppable<R> {
    source: R,
    stop: Stop,
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.stop.check().map_err(RedisError::into_io)?;
        self.source.read(to)
    }
}
