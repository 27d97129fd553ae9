//! Reads a capture to its end, as a repository would.

use ccb::model::tree::{Body, printable};
use ccb::source::{Capture, Facts};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// The bytes of each file that a capture gives, and its facts; or why it broke.
pub(crate) fn captured(capture: Capture) -> Result<(BTreeMap<String, Vec<u8>>, Facts), String> {
    let Capture {
        walk,
        finish,
        guard,
    } = capture;
    let mut files = BTreeMap::new();
    let mut last = Vec::new();
    for found in walk {
        let found = found.map_err(|e| e.to_string())?;
        assert!(last.is_empty() || last < found.path, "out of order");
        last.clone_from(&found.path);
        if let Body::Stream(stream) = found.body {
            let mut bytes = Vec::new();
            let read = stream
                .open()
                .and_then(|mut stream| stream.read_to_end(&mut bytes));
            read.map_err(|e| chain(&e))?;
            files.insert(printable(&found.path), bytes);
        }
    }
    let facts = finish().map_err(|e| chain(&e))?;
    drop(guard);
    Ok((files, facts))
}

/// An error with its causes, as it is shown.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text} > {error}");
        cause = error.source();
    }
    text
}

/// Throws away what is read.
pub(crate) fn drained(mut source: impl Read) -> io::Result<u64> {
    io::copy(&mut source, &mut io::sink())
}
