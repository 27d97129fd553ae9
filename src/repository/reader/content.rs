//! The bytes of one file in order, with the next ones on their way while these are used.

use crate::model::ids::BlobId;
use crate::model::tree::Content;
use crate::repository::RepositoryError;
use crate::repository::reader::{BlobSink, Reader};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::task::JoinHandle;

/// Read at a time; twice that is in memory.
const WINDOW_BYTES: u64 = 8 << 20;

/// Reads one file from its start to its end.
pub struct ContentReader {
    reader: Reader,
    /// List blobs that were not yet read.
    lists: VecDeque<BlobId>,
    /// Data blobs that were not yet asked for.
    blobs: VecDeque<BlobId>,
    ready: VecDeque<Bytes>,
    ahead: Option<JoinHandle<Result<VecDeque<Bytes>, RepositoryError>>>,
}

impl Reader {
    /// Reads the file with this content.
    pub fn content(&self, content: &Content) -> ContentReader {
        let blobs: VecDeque<BlobId> = content.blobs.iter().copied().collect();
        let (lists, blobs) = if content.is_list {
            (blobs, VecDeque::new())
        } else {
            (VecDeque::new(), blobs)
        };
        let reader = self.clone();
        ContentReader {
            reader,
            lists,
            blobs,
            ready: VecDeque::new(),
            ahead: None,
        }
    }
}

impl ContentReader {
    /// The next bytes; `None` at the end. After an error there is nothing more to be had.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RepositoryError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            match self.next_parts().await? {
                Some(parts) => self.ready = parts,
                None => return Ok(None),
            }
        }
    }

    /// As many of the next bytes as were read at once, in parts. See [`Self::next`].
    pub async fn next_parts(&mut self) -> Result<Option<VecDeque<Bytes>>, RepositoryError> {
        if !self.ready.is_empty() {
            return Ok(Some(std::mem::take(&mut self.ready)));
        }
        if self.ahead.is_none() {
            self.ahead = self.start_window().await?;
        }
        let Some(window) = self.ahead.take() else {
            return Ok(None);
        };
        let parts = window.await.map_err(|_| RepositoryError::Interrupted)??;
        self.ahead = self.start_window().await?;
        Ok(Some(parts))
    }

    async fn start_window(
        &mut self,
    ) -> Result<Option<JoinHandle<Result<VecDeque<Bytes>, RepositoryError>>>, RepositoryError> {
        let mut window = Vec::new();
        let mut len = 0;
        while len < WINDOW_BYTES {
            if self.blobs.is_empty()
                && let Some(list) = self.lists.pop_front()
            {
                self.blobs.extend(self.reader.content_list(&list).await?);
            }
            let Some(id) = self.blobs.pop_front() else {
                break;
            };
            len += u64::from(self.reader.blob_len(&id).unwrap_or(0));
            window.push(id);
        }
        if window.is_empty() {
            return Ok(None);
        }
        let reader = self.reader.clone();
        Ok(Some(tokio::spawn(async move {
            read_window(&reader, window).await
        })))
    }
}

impl Drop for ContentReader {
    fn drop(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.abort();
        }
    }
}

async fn read_window(
    reader: &Reader,
    window: Vec<BlobId>,
) -> Result<VecDeque<Bytes>, RepositoryError> {
    type Read = HashMap<BlobId, Result<Bytes, RepositoryError>>;
    let read: Arc<Mutex<Read>> = Arc::default();
    let into = read.clone();
    let sink: BlobSink = Arc::new(move |id, content| {
        let content = content
            .map(Bytes::copy_from_slice)
            .map_err(RepositoryError::clone);
        into.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(*id, content);
        Ok(())
    });
    reader.read_blobs(window.clone(), sink).await?;
    let read = read.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |id: BlobId| match read.get(&id) {
        Some(content) => content.clone(),
        None => Err(RepositoryError::BlobMissing { id }),
    };
    window.into_iter().map(of).collect()
}
