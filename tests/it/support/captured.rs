//! Reads a capture to its end, as a repository would, or puts it into one.

use crate::repository::given::{draft, memory, repository};
use ccb::model::records::Manifest;
use ccb::model::strategy::Method;
use ccb::model::tree::{Body, Found, printable};
use ccb::repository::{Commit, Draft, Reader};
use ccb::source::{Capture, Facts};
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

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

/// A backup of what a capture gives, in a repository in memory, and what reads it.
pub(crate) async fn stored(
    component: &str,
    method: Method,
    capture: Capture,
) -> (Manifest, Reader) {
    let repository = repository(&memory()).await;
    let draft = Draft {
        method,
        ..draft(component)
    };
    let mut session = repository.begin(draft, None).await.expect("begins");
    let written = session.write_tree(capture.walk, Arc::new(())).await;
    written.map_err(|e| chain(&e)).expect("written");
    let facts = tokio::task::spawn_blocking(capture.finish)
        .await
        .expect("it ran");
    let commit = Commit {
        source: facts.map_err(|e| chain(&e)).expect("facts").source,
        ..Commit::default()
    };
    let manifest = session.commit(commit).await.expect("committed");
    let reader = repository.reader().await.expect("reads");
    (manifest, reader)
}

/// A capture that gives these files, of at most one directory, and says so much of them.
pub(crate) fn made_of(files: &[(&str, &[u8])], key: &str, facts: serde_json::Value) -> Capture {
    let mut found = vec![Found::directory("", 0)];
    for (path, bytes) in files {
        if let Some((directory, _)) = path.split_once('/')
            && found.len() == 1
        {
            found.push(Found::directory(directory, 0));
        }
        let bytes = bytes.to_vec();
        let open = move || Ok(Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>);
        found.push(Found::stream(path, 0, Box::new(open)));
    }
    let source = BTreeMap::from([(key.to_owned(), facts)]);
    let facts = move || {
        Ok(Facts {
            source,
            ..Facts::default()
        })
    };
    Capture {
        walk: Box::new(found.into_iter().map(Ok)),
        finish: Box::new(facts),
        guard: Box::new(()),
    }
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
