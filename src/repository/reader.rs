//! Reads blobs, directories and files back. Every byte is authenticated, and every blob's id is checked
//! against its content, before a caller sees it. Memory is bounded by what is on its way, not by what is
//! asked for.

mod climb;
pub(crate) mod compare;
pub(crate) mod content;
pub(crate) mod deltas;
mod directory;
mod entries;
pub(crate) mod fetch;
pub(crate) mod ladder;
pub(crate) mod parent;
mod same;
mod trees;
pub(crate) mod versions;

use crate::model::ids::{BlobId, Digest};
use crate::model::tree::{Content, Node, NodeKind};
use crate::repository::format::blob::{BlobKind, blob_id};
use crate::repository::format::pack::PackKey;
use crate::repository::format::tree::{LeafRef, Tree, decode_content_list, decode_tree};
use crate::repository::index::Index;
use crate::repository::reader::trees::TreeCache;
use crate::repository::{Repository, RepositoryError};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OnceCell;

/// Takes what is read, from several threads at once: a blob's content, or why it can not be read. An
/// error ends the reading.
pub type BlobSink =
    Arc<dyn Fn(&BlobId, Result<&[u8], &RepositoryError>) -> io::Result<()> + Send + Sync>;

/// Reads what a repository holds. Clones share its index and caches.
#[derive(Clone)]
pub struct Reader(Arc<Shared>);

struct Shared {
    repository: Repository,
    index: Arc<Index>,
    /// By number of the pack in the index: deriving one costs more than opening a small frame.
    pack_keys: Mutex<HashMap<u32, Arc<PackKey>>>,
    trees: TreeCache,
    /// Packs that the index names and that were not there.
    lacking: Mutex<HashSet<Digest>>,
    /// Those that the one before it lacked: if they are still listed, looking again does not help.
    lacked: HashSet<Digest>,
    /// One that has looked again since.
    successor: OnceCell<Reader>,
    /// How many came before it.
    generation: u8,
}

/// A reading takes as long as some prunes at most, each of which may move what it needs.
const GENERATIONS_MAX: u8 = 8;

impl Repository {
    /// A reader of everything that the index names now.
    pub async fn reader(&self) -> Result<Reader, RepositoryError> {
        // A reader only prefers packs that will stay: a damaged log must not keep anybody from restoring.
        let (condemned, _) = self.condemned_or_damage().await?;
        let index = Index::load(self, &condemned).await?;
        Ok(Reader::new(self.clone(), Arc::new(index)))
    }
}

impl Reader {
    pub(crate) fn new(repository: Repository, index: Arc<Index>) -> Self {
        Self::of(repository, index, (0, HashSet::new()))
    }

    /// Where this reader looks blobs up.
    pub(crate) fn index(&self) -> &Arc<Index> {
        &self.0.index
    }

    fn of(
        repository: Repository,
        index: Arc<Index>,
        (generation, lacked): (u8, HashSet<Digest>),
    ) -> Self {
        Self(Arc::new(Shared {
            repository,
            index,
            pack_keys: Mutex::default(),
            trees: TreeCache::default(),
            lacking: Mutex::default(),
            lacked,
            successor: OnceCell::new(),
            generation,
        }))
    }

    /// One that knows where things are now, when packs were removed since this one looked: a prune that runs meanwhile
    /// may have moved what is in them. Nothing where none were, or where it can not be found out.
    async fn successor(&self) -> Option<&Self> {
        let generation = self.0.generation + 1;
        let lacking = lock(&self.0.lacking).clone();
        if lacking.is_subset(&self.0.lacked) || generation > GENERATIONS_MAX {
            return None;
        }
        let looked = self.0.successor.get_or_try_init(|| async {
            let now = self.0.repository.reader().await?;
            let (repository, index) = (self.0.repository.clone(), now.0.index.clone());
            let of = (generation, lacking);
            Ok::<_, RepositoryError>(Self::of(repository, index, of))
        });
        looked.await.ok()
    }

    /// Notes that a pack is not there.
    fn lacks(&self, pack: Digest) {
        lock(&self.0.lacking).insert(pack);
    }

    /// How many blobs there are to read.
    pub fn blob_count(&self) -> usize {
        self.0.index.len()
    }

    /// Length of a blob; `None` when no confirmed pack holds it.
    pub fn blob_len(&self, id: &BlobId) -> Option<u32> {
        self.0.index.len_of(id)
    }

    /// The id that `data` has as content of a file, whether or not the repository holds it.
    pub fn id_of(&self, data: &[u8]) -> BlobId {
        blob_id(self.0.repository.keys().keyring(), BlobKind::Data, data)
    }

    /// The entries of the directory whose blob is `tree`, sorted by name.
    pub async fn entries(&self, tree: &BlobId) -> Result<Vec<Node>, RepositoryError> {
        match self.tree(tree).await? {
            Tree::Leaf(nodes) => Ok(nodes),
            Tree::List(leaves) => {
                let mut nodes = Vec::new();
                for leaf in leaves {
                    nodes.extend(self.leaf(&leaf.id).await?);
                }
                Ok(nodes)
            }
        }
    }

    /// The node at `path`, parts joined with `/`, below the directory `root`. The root itself has none.
    pub async fn lookup(
        &self,
        root: &BlobId,
        path: &[u8],
    ) -> Result<Option<Node>, RepositoryError> {
        let mut directory = *root;
        let mut found = None;
        for part in path.split(|byte| *byte == b'/') {
            if let Some(node) = found {
                let Node {
                    kind: NodeKind::Directory { tree: Some(tree) },
                    ..
                } = node
                else {
                    return Ok(None);
                };
                directory = tree;
            }
            found = self.entry(&directory, part).await?;
            if found.is_none() {
                return Ok(None);
            }
        }
        Ok(found)
    }

    /// One entry; of a directory in several leaves, only the one that can hold it is read.
    async fn entry(&self, tree: &BlobId, name: &[u8]) -> Result<Option<Node>, RepositoryError> {
        let nodes = match self.tree(tree).await? {
            Tree::Leaf(nodes) => nodes,
            Tree::List(leaves) => {
                let after =
                    leaves.partition_point(|leaf: &LeafRef| leaf.first_name.as_slice() <= name);
                match after.checked_sub(1) {
                    Some(at) => self.leaf(&leaves[at].id).await?,
                    None => return Ok(None),
                }
            }
        };
        let at = nodes.binary_search_by(|node| node.name.as_slice().cmp(name));
        Ok(at.ok().map(|at| nodes[at].clone()))
    }

    async fn leaf(&self, id: &BlobId) -> Result<Vec<Node>, RepositoryError> {
        match self.tree(id).await? {
            Tree::Leaf(nodes) => Ok(nodes),
            // A list of lists would let a hostile tree send its reader round in circles.
            Tree::List(_) => Err(malformed(id, "a leaf of a directory is a list")),
        }
    }

    async fn tree(&self, id: &BlobId) -> Result<Tree, RepositoryError> {
        let blob = self.tree_blob(id).await?;
        decode_tree(&blob).map_err(|cause| RepositoryError::object(format!("tree {id}"), cause))
    }

    /// The data blobs of a file, in order.
    pub async fn blobs_of(&self, content: &Content) -> Result<Vec<BlobId>, RepositoryError> {
        if !content.is_list {
            return Ok(content.blobs.clone());
        }
        let mut blobs = Vec::new();
        for list in &content.blobs {
            blobs.extend(self.content_list(list).await?);
        }
        Ok(blobs)
    }

    pub(crate) async fn content_list(&self, id: &BlobId) -> Result<Vec<BlobId>, RepositoryError> {
        let blob = self.tree_blob(id).await?;
        let ids = decode_content_list(&blob);
        ids.map_err(|cause| RepositoryError::object(format!("content list {id}"), cause))
    }

    fn pack_key(&self, pack: u32) -> Result<Arc<PackKey>, crate::repository::format::FormatError> {
        let mut keys = lock(&self.0.pack_keys);
        if let Some(key) = keys.get(&pack) {
            return Ok(key.clone());
        }
        let header = self.0.index.packs[pack as usize].header;
        let key = Arc::new(PackKey::new(self.0.repository.keys(), header)?);
        keys.insert(pack, key.clone());
        Ok(key)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn malformed(id: &BlobId, why: &str) -> RepositoryError {
    let cause = crate::repository::format::FormatError::Malformed {
        what: "tree",
        why: why.to_owned(),
    };
    RepositoryError::object(format!("tree {id}"), cause)
}
