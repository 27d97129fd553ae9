//! The bytes of one file in order, or of many one after another, with the next ones on their way while these are
//! used. Many small files take few requests: their blobs are neighbours.

use crate::model::ids::BlobId;
use crate::model::tree::Content;
use crate::repository::RepositoryError;
use crate::repository::reader::deltas::Carried;
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
    all: ContentsReader,
    ready: VecDeque<Bytes>,
}

/// Reads files one after another, each from its start to its end.
pub struct ContentsReader {
    reader: Reader,
    /// Files that were not begun, and how many were.
    files: VecDeque<Content>,
    begun: usize,
    /// What was not yet asked for, of those that were begun.
    lists: VecDeque<(usize, BlobId)>,
    blobs: VecDeque<(usize, BlobId)>,
    ahead: Option<JoinHandle<Result<VecDeque<Part>, RepositoryError>>>,
    carried: Arc<tokio::sync::Mutex<Carried>>,
}

/// The number of a file, from 0, and its next bytes; or why a part of it can not be read. What comes after such a part
/// is read all the same.
pub type Part = (usize, Result<Bytes, RepositoryError>);

impl Reader {
    /// Reads the file with this content.
    pub fn content(&self, content: &Content) -> ContentReader {
        ContentReader {
            all: self.contents([content.clone()]),
            ready: VecDeque::new(),
        }
    }

    /// Reads the files with these contents. Of one that is empty nothing comes.
    pub fn contents(&self, files: impl IntoIterator<Item = Content>) -> ContentsReader {
        ContentsReader {
            reader: self.clone(),
            files: files.into_iter().collect(),
            begun: 0,
            lists: VecDeque::new(),
            blobs: VecDeque::new(),
            ahead: None,
            carried: Arc::default(),
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
        let Some(parts) = self.all.next_parts().await? else {
            return Ok(None);
        };
        let parts: Result<_, _> = parts.into_iter().map(|(_, part)| part).collect();
        parts.map(Some)
    }
}

impl ContentsReader {
    /// As many of the next parts as were read at once; `None` at the end.
    pub async fn next_parts(&mut self) -> Result<Option<VecDeque<Part>>, RepositoryError> {
        if self.ahead.is_none() {
            self.ahead = self.start_window().await;
        }
        let Some(window) = self.ahead.take() else {
            return Ok(None);
        };
        let parts = window.await.map_err(|_| RepositoryError::Interrupted)??;
        self.ahead = self.start_window().await;
        Ok(Some(parts))
    }

    async fn start_window(
        &mut self,
    ) -> Option<JoinHandle<Result<VecDeque<Part>, RepositoryError>>> {
        let mut window = VecDeque::new();
        let mut len = 0;
        while len < WINDOW_BYTES {
            if let Some((file, id)) = self.blobs.pop_front() {
                len += u64::from(self.reader.blob_len(&id).unwrap_or(0));
                window.push_back((file, Ok(id)));
            } else if let Some((file, list)) = self.lists.pop_front() {
                match self.reader.content_list(&list).await {
                    Ok(ids) => self.blobs.extend(ids.into_iter().map(|id| (file, id))),
                    Err(error) => window.push_back((file, Err(error))),
                }
            } else if let Some(content) = self.files.pop_front() {
                let ids = content.blobs.into_iter().map(|id| (self.begun, id));
                match content.is_list {
                    true => self.lists.extend(ids),
                    false => self.blobs.extend(ids),
                }
                self.begun += 1;
            } else {
                break;
            }
        }
        if window.is_empty() {
            return None;
        }
        let (reader, carried) = (self.reader.clone(), self.carried.clone());
        Some(tokio::spawn(async move {
            read_window(&reader, window, &mut *carried.lock().await).await
        }))
    }
}

impl Drop for ContentsReader {
    fn drop(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.abort();
        }
    }
}

async fn read_window(
    reader: &Reader,
    window: VecDeque<(usize, Result<BlobId, RepositoryError>)>,
    carried: &mut Carried,
) -> Result<VecDeque<Part>, RepositoryError> {
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
    let ids = window.iter().filter_map(|(_, id)| id.as_ref().ok());
    let ids = ids.copied().collect();
    reader.read_on(ids, sink, carried).await?;
    let read = read.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |id: BlobId| match read.get(&id) {
        Some(content) => content.clone(),
        None => Err(RepositoryError::BlobMissing { id }),
    };
    let parts = window.into_iter();
    Ok(parts.map(|(file, id)| (file, id.and_then(of))).collect())
}
