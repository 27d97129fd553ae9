//! Previous versions of what is written: the file under the same path in an earlier backup, or under one that differs in
//! numbers, and its blobs as bases.
//! Whatever can not be found or read counts as not there.

use crate::model::ids::BlobId;
use crate::model::tree::{Content, NodeKind};
use crate::repository::pipeline::{self, Asker};
use crate::repository::reader::deltas::Carried;
use crate::repository::writer::against::{BaseReader, Bases};
use crate::repository::writer::previous::{Listed, PreviousVersion};
use crate::repository::{BlobSink, ListedBackup, ParentTree, Reader};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// Shorter files are stored as they are: there is little to save.
const LEN_MIN_BYTES: u64 = 256 << 10;
/// A version that names its blobs itself is handed on in one part of at most so many.
const PART_BLOBS: usize = 4096;

/// The files of an earlier backup.
pub(crate) struct Versions {
    tree: Mutex<ParentTree>,
    lists: Arc<Asker<Part, Vec<Listed>>>,
    bases: BaseReader,
}

/// A part of the list of a file's blobs.
enum Part {
    /// It is in this blob.
    List(BlobId),
    /// It is this.
    Blobs(Vec<BlobId>),
}

/// The previous version of one file.
pub(crate) struct Previous {
    pub(crate) version: PreviousVersion,
    pub(crate) bases: BaseReader,
}

impl Versions {
    /// The files of `backup`. To be called within a runtime; what it gives is for threads outside of it.
    pub(crate) fn of(reader: &Reader, backup: &ListedBackup) -> Self {
        let tree = Mutex::new(reader.parent_tree(backup));
        let of_lists = reader.clone();
        let lists = pipeline::asker(move |part: Part| {
            let reader = of_lists.clone();
            async move { listed(&reader, part).await }
        });
        let of_bases = reader.clone();
        let carried: Arc<tokio::sync::Mutex<Carried>> = Arc::default();
        let bases = pipeline::asker(move |ids: Vec<BlobId>| {
            let (reader, carried) = (of_bases.clone(), carried.clone());
            async move { read(&reader, ids, &mut *carried.lock().await).await }
        });
        Self {
            tree,
            lists: Arc::new(lists),
            bases: Arc::new(bases),
        }
    }

    /// What was under this path; or under one that is the same but for numbers, if nothing was.
    pub(crate) fn find(&self, path: &[u8]) -> Option<Previous> {
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tree.look_up(path);
        let found = found.or_else(|| tree.numbered_otherwise(path))?;
        let NodeKind::File { content, size, .. } = found.kind else {
            return None;
        };
        if size < LEN_MIN_BYTES {
            return None;
        }
        let Content { blobs, is_list } = content;
        let mut parts: VecDeque<Part> = match is_list {
            true => blobs.into_iter().map(Part::List).collect(),
            false => {
                let parts = blobs.chunks(PART_BLOBS);
                parts.map(|part| Part::Blobs(part.to_vec())).collect()
            }
        };
        let lists = self.lists.clone();
        // A part that can not be read ends the list: what follows is not known to follow.
        let more = move || {
            let part = parts.pop_front();
            part.and_then(|part| lists.ask(part)).unwrap_or_default()
        };
        Some(Previous {
            version: PreviousVersion::new(Box::new(more)),
            bases: self.bases.clone(),
        })
    }
}

async fn listed(reader: &Reader, part: Part) -> Vec<Listed> {
    let blobs = match part {
        Part::Blobs(blobs) => blobs,
        Part::List(list) => reader.content_list(&list).await.unwrap_or_default(),
    };
    let with_length = |id: BlobId| reader.blob_len(&id).map(|len| (id, len));
    blobs.into_iter().map_while(with_length).collect()
}

async fn read(reader: &Reader, ids: Vec<BlobId>, carried: &mut Carried) -> Bases {
    let bases: Arc<Mutex<Bases>> = Arc::default();
    let into = bases.clone();
    let sink: BlobSink = Arc::new(move |id, content| {
        if let Ok(content) = content {
            let mut bases = into.lock().unwrap_or_else(PoisonError::into_inner);
            bases.insert(*id, content.to_vec());
        }
        Ok(())
    });
    // A base that can not be read is none.
    let _ = reader.read_on(ids, sink, carried).await;
    let mut bases = bases.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *bases)
}
