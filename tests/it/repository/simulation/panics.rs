//! Panics of every thread of this process: none may be, wherever it is caught.

use std::sync::{Mutex, Once};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on panics are seen, and told as before.
pub(super) fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            SEEN.lock().unwrap().push(panic.to_string());
            told(panic);
        }));
    });
}

/// The first one since this was asked last.
pub(super) fn seen() -> Option<String> {
    let mut seen = SEEN.lock().unwrap();
    let first = seen.first().cloned();
    seen.clear();
    first
}
