//! The bytes of one file of a backup, for code that reads and waits: a parser, or a program's input. Ends
//! only at the file's end; a blob that is missing or damaged is an error.

use crate::model::tree::{Node, NodeKind};
use crate::repository::{ContentReader, Reader, RepositoryError};
use bytes::Bytes;
use std::io::{self, Read};
use tokio::sync::mpsc::{Receiver, channel};

/// Parts that wait to be taken.
const QUEUE: usize = 8;

/// A file being read. Not for a thread that runs tasks: it waits.
pub struct ContentStream {
    parts: Receiver<Part>,
    current: Bytes,
    at_end: bool,
}

type Part = Result<Option<Bytes>, RepositoryError>;

impl ContentStream {
    /// Reads the rest of `content`. Must be called within the runtime, which does the reading.
    pub fn start(mut content: ContentReader) -> Self {
        let (send, parts) = channel(QUEUE);
        tokio::spawn(async move {
            loop {
                let part = content.next().await;
                let is_last = !matches!(part, Ok(Some(_)));
                if send.send(part).await.is_err() || is_last {
                    return;
                }
            }
        });
        Self {
            parts,
            current: Bytes::new(),
            at_end: false,
        }
    }

    /// Reads the file that `node` is; nothing when it is none.
    pub fn of(reader: &Reader, node: &Node) -> Option<Self> {
        match &node.kind {
            NodeKind::File { content, .. } => Some(Self::start(reader.content(content))),
            _ => None,
        }
    }
}

impl Read for ContentStream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.at_end {
            match self.parts.blocking_recv() {
                Some(Ok(Some(part))) => self.current = part,
                Some(Ok(None)) => self.at_end = true,
                Some(Err(error)) => return Err(io::Error::other(error)),
                // The reading task has ended without having said that it was the end.
                None => return Err(io::Error::other(RepositoryError::Interrupted)),
            }
        }
        let len = to.len().min(self.current.len());
        to[..len].copy_from_slice(&self.current.split_to(len));
        Ok(len)
    }
}
