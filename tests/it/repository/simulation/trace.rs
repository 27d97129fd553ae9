//! What happened in a schedule, call by call: as a digest, by which two runs of it are compared, and told when
//! one is replayed. Times, sizes and bytes are part of it.

use bytes::Bytes;
use ccb::store::{Key, Listing};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[derive(Default)]
pub(super) struct Trace {
    hasher: Mutex<blake3::Hasher>,
    /// Whether every call is told.
    pub(super) is_told: AtomicBool,
}

impl Trace {
    /// Something that is told, too.
    pub(super) fn tell(&self, what: fmt::Arguments<'_>) {
        if self.is_told.load(Relaxed) {
            println!("{what}");
        }
        self.note(what);
    }

    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        let mut hasher = self.hasher.lock().unwrap();
        hasher.update(what.to_string().as_bytes());
        hasher.update(b"\n");
    }

    pub(super) fn note_bytes(&self, key: &Key, bytes: &Bytes) {
        // Leases name the process.
        if !key.as_str().starts_with("leases/") {
            let digest = blake3::hash(bytes);
            self.note(format_args!("{key}: {digest}"));
        }
    }

    pub(super) fn note_listing(&self, prefix: &str, listing: &Listing) {
        let mut hasher = self.hasher.lock().unwrap();
        hasher.update(prefix.as_bytes());
        hasher.update(&listing.server_time.as_nanosecond().to_be_bytes());
        for meta in &listing.objects {
            hasher.update(meta.key.as_str().as_bytes());
            hasher.update(&meta.size.to_be_bytes());
            hasher.update(&meta.modified.as_nanosecond().to_be_bytes());
        }
    }

    pub(super) fn digest(&self) -> String {
        self.hasher.lock().unwrap().finalize().to_hex().to_string()
    }
}
