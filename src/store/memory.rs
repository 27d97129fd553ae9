//! A store in memory: deterministic, with its own clock, and with a hook that can fail, crash or lose
//! the answer of any call. Nothing is kept when the process ends.

use crate::store::{Backend, Doing, Key, Kind, Listing, Meta, Put, StoreError};
use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Objects in memory. Clones share them.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<State>>);

struct State {
    objects: BTreeMap<Key, (Bytes, Timestamp)>,
    now: Timestamp,
    calls: u64,
    crashed: bool,
    hook: Option<Hook>,
}

/// Decides what happens to a call: gets its number (from 1), its verb and its key or prefix.
pub type Hook = Box<dyn FnMut(u64, Doing, &str) -> Fault + Send>;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is carried out.
    None,
    /// It fails with this kind and has no effect.
    Fail(Kind),
    /// It is carried out, but the caller hears that the store did not answer.
    LoseAnswer,
    /// It has no effect, and neither has any later one: the caller was killed before it.
    Crash,
    /// It is carried out, and no later one is: the caller was killed after it.
    CrashAfter,
}

impl Memory {
    /// An empty store whose clock stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            now,
            calls: 0,
            crashed: false,
            hook: None,
        })))
    }

    /// Sets what decides over calls from now on; counts them from 1 again and forgets a crash.
    pub fn set_hook(&self, hook: Hook) {
        let mut state = self.state();
        state.hook = Some(hook);
        state.calls = 0;
        state.crashed = false;
    }

    /// Carries out every call from now on.
    pub fn clear_hook(&self) {
        let mut state = self.state();
        state.hook = None;
        state.calls = 0;
        state.crashed = false;
    }

    /// Calls since the hook was last set or cleared.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Moves the store's clock.
    pub fn advance(&self, by: SignedDuration) {
        let mut state = self.state();
        state.now = state.now.checked_add(by).unwrap_or(Timestamp::MAX);
    }

    /// Puts other bytes in place of an object, as damage does: its time stays.
    pub fn damage(&self, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some((body, _)) = self.state().objects.get_mut(key) {
            let mut bytes = body.to_vec();
            change(&mut bytes);
            *body = bytes.into();
        }
    }

    /// Takes an object away, as damage does.
    pub fn lose(&self, key: &Key) {
        self.state().objects.remove(key);
    }

    /// A store of its own with the same objects and clock, and no hook.
    pub fn fork(&self) -> Self {
        let state = self.state();
        let fork = Self::new(state.now);
        fork.state().objects = state.objects.clone();
        drop(state);
        fork
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T: Send + 'static>(
        &self,
        doing: Doing,
        what: &str,
        effect: impl FnOnce(&mut State) -> Result<T, Kind>,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let outcome = self.state().call(doing, what, effect);
        Box::pin(ready(outcome.map_err(|kind| {
            StoreError::new(doing, what, &self.location(), kind)
        })))
    }
}

impl State {
    fn call<T>(
        &mut self,
        doing: Doing,
        what: &str,
        effect: impl FnOnce(&mut State) -> Result<T, Kind>,
    ) -> Result<T, Kind> {
        self.calls += 1;
        // Time passes, so that what is written later is younger.
        self.now = self
            .now
            .checked_add(SignedDuration::from_millis(1))
            .unwrap_or(self.now);
        let number = self.calls;
        let fault = match &mut self.hook {
            _ if self.crashed => Fault::Crash,
            Some(hook) => hook(number, doing, what),
            None => Fault::None,
        };
        match fault {
            Fault::None => effect(self),
            Fault::Fail(kind) => Err(kind),
            Fault::LoseAnswer => effect(self).and(Err(Kind::Unreachable)),
            Fault::Crash => {
                self.crashed = true;
                Err(Kind::Other)
            }
            Fault::CrashAfter => {
                self.crashed = true;
                effect(self).and(Err(Kind::Other))
            }
        }
    }
}

impl Backend for Memory {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        self.call(Doing::Get, key.as_str(), |state| {
            let (body, _) = state.objects.get(key).ok_or(Kind::NotFound)?;
            let range = range.unwrap_or(0..body.len() as u64);
            if range.end > body.len() as u64 || range.start > range.end {
                return Err(Kind::Corrupt);
            }
            Ok(body.slice(range.start as usize..range.end as usize))
        })
    }

    fn put(&self, key: &Key, body: Bytes, how: Put) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(Doing::Put, key.as_str(), |state| {
            if how == Put::New && state.objects.contains_key(key) {
                return Err(Kind::AlreadyExists);
            }
            let now = state.now;
            state.objects.insert(key.clone(), (body, now));
            Ok(())
        })
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        self.call(Doing::List, prefix, |state| {
            let objects = state
                .objects
                .iter()
                .filter(|(key, _)| key.as_str().starts_with(prefix));
            Ok(Listing {
                objects: objects
                    .map(|(key, (body, modified))| Meta {
                        key: key.clone(),
                        size: body.len() as u64,
                        modified: *modified,
                    })
                    .collect(),
                server_time: state.now,
                strays: 0,
            })
        })
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(Doing::Delete, key.as_str(), |state| {
            state.objects.remove(key);
            Ok(())
        })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} objects)", self.state().objects.len())
    }
}
