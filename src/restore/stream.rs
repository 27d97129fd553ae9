//! The bytes of one file of a backup, for code that reads and waits: a parser, or a program's input. Ends
//! only at the file's end; a blob that is missing or damaged is an error.

use crate::model::tree::{Node, NodeKind};
use crate::repository::{ContentReader, Reader, RepositoryError};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, Read};
use tokio::sync::mpsc::{Receiver, channel};

/// Batches of some MiB that wait to be taken, besides those that the reader has on their way: whoever takes them
/// may stop for a while, and go on at once.
const QUEUE: usize = 1;

/// A file being read. Not for a thread that runs tasks: it waits.
pub struct ContentStream {
    batches: Receiver<Batch>,
    current: VecDeque<Bytes>,
    at_end: bool,
}

type Batch = Result<Option<VecDeque<Bytes>>, RepositoryError>;

impl ContentStream {
    /// Reads the rest of `content`. Must be called within the runtime, which does the reading.
    pub fn start(mut content: ContentReader) -> Self {
        let (send, batches) = channel(QUEUE);
        tokio::spawn(async move {
            loop {
                let batch = content.next_parts().await;
                let is_last = !matches!(batch, Ok(Some(_)));
                if send.send(batch).await.is_err() || is_last {
                    return;
                }
            }
        });
        Self {
            batches,
            current: VecDeque::new(),
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
    /// Fills `to` as far as a batch goes.
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            while self.current.is_empty() && !self.at_end {
                match self.batches.blocking_recv() {
                    Some(Ok(Some(parts))) => self.current = parts,
                    Some(Ok(None)) => self.at_end = true,
                    Some(Err(error)) => return Err(io::Error::other(error)),
                    // The reading task has ended without having said that it was the end.
                    None => return Err(io::Error::other(RepositoryError::Interrupted)),
                }
            }
            let filled = self.fill(to);
            // Nothing means the end, so it is never said of parts that are empty.
            if filled > 0 || self.at_end || to.is_empty() {
                return Ok(filled);
            }
        }
    }
}

impl ContentStream {
    fn fill(&mut self, to: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < to.len()
            && let Some(part) = self.current.front_mut()
        {
            let len = part.len().min(to.len() - filled);
            to[filled..filled + len].copy_from_slice(&part.split_to(len));
            filled += len;
            if part.is_empty() {
                self.current.pop_front();
            }
        }
        filled
    }
}
