//! What these tests start from: surroundings that repeat, trees of files that need no disk, a repository
//! in memory, and a reader that collects a whole backup.

use ccb::model::ids::{BackupId, BlobId, Digest, RunId};
use ccb::model::strategy::{Kdf, Method};
use ccb::model::tree::{
    Body, Content, Found, Node, NodeKind, OpenBody, Previous, Problem, ReadBody, Totals,
};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::key::Secret;
use ccb::repository::format::manifest::{Manifest, PlanRef};
use ccb::repository::{
    Commit, Creation, Draft, Effort, ListedBackup, NewSlot, Reader, Repository, RepositoryError,
    Session, Surroundings, copy,
};
use ccb::store::{Backend, Retries, Store, memory::Memory};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Cursor, Read},
    sync::{Arc, Mutex},
};

/// Paths to contents. Directories are implied.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Bytes that do not compress, different for each seed.
pub(crate) fn noise(seed: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(seed.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

pub(crate) fn files(list: &[(&str, Vec<u8>)]) -> Files {
    list.iter()
        .map(|(path, bytes)| ((*path).to_owned(), bytes.clone()))
        .collect()
}

/// A tree with every shape that is stored differently: empty, small, equal, zero, long enough for
/// several chunks, and a directory of several leaves.
pub(crate) fn generated() -> Files {
    let mut tree = files(&[
        ("empty", Vec::new()),
        ("text", b"hello ".repeat(1000)),
        ("a/one", noise("one", 100_000)),
        ("a/same", noise("one", 100_000)),
        ("a/deep/er/leaf", b"leaf".to_vec()),
        ("a.b", b"sorts between a and a/".to_vec()),
        ("zeros", vec![0; 3 << 20]),
        ("long", noise("long", 19 << 20)),
        ("medium", noise("medium", 4 << 20)),
    ]);
    for n in 0..2000 {
        tree.insert(
            format!("many/{n:04}"),
            format!("file number {n}").into_bytes(),
        );
    }
    tree
}

pub(crate) fn surroundings(seed: &str) -> Surroundings {
    let mut xof = blake3::Hasher::new().update(seed.as_bytes()).finalize_xof();
    let stream = Mutex::new(move |out: &mut [u8]| xof.fill(out));
    let clock = Mutex::new(1_767_225_600_i64);
    Surroundings {
        random: Arc::new(move |out: &mut [u8]| (stream.lock().unwrap())(out)),
        now: Arc::new(move || {
            let mut now = clock.lock().unwrap();
            *now += 1;
            jiff::Timestamp::from_second(*now).unwrap()
        }),
        uptime: Arc::new(|| std::time::Duration::ZERO),
        host: "test-host".to_owned(),
        cache_dir: None,
    }
}

pub(crate) fn memory() -> Memory {
    Memory::new("2026-01-01T00:00:00Z".parse().unwrap())
}

pub(crate) fn store(backend: &(impl Backend + Clone + 'static)) -> Store {
    Store::with_retries(Arc::new(backend.clone()), 4, Retries::NONE)
}

pub(crate) fn secret() -> Secret {
    Secret::new(vec![b'7'; 64])
}

/// A new encrypted repository.
pub(crate) async fn repository(backend: &(impl Backend + Clone + 'static)) -> Repository {
    created(backend, (CipherSuite::Aes256Gcm, None), "create").await
}

/// A new repository of this cipher, of the keyring of another or of its own; it is another process with random
/// numbers of its own when the seed is another.
pub(crate) async fn created(
    backend: &(impl Backend + Clone + 'static),
    kind: (CipherSuite, Option<&Repository>),
    seed: &str,
) -> Repository {
    created_in(backend, kind, &surroundings(seed)).await
}

/// The same, by a process in these surroundings.
pub(crate) async fn created_in(
    backend: &(impl Backend + Clone + 'static),
    (cipher, keyring_of): (CipherSuite, Option<&Repository>),
    surroundings: &Surroundings,
) -> Repository {
    let secret = secret();
    let slot = NewSlot {
        name: "main",
        secret: &secret,
        kdf: Kdf::Raw,
    };
    let creation = Creation {
        cipher,
        slot: Some(slot),
        keyring_of,
    };
    Repository::create(store(backend), &creation, surroundings)
        .await
        .unwrap()
}

/// The same repository as another process sees it, with random numbers of its own.
pub(crate) async fn reopened(backend: &(impl Backend + Clone + 'static), seed: &str) -> Repository {
    let secret = secret();
    Repository::open(store(backend), Some(&secret), &surroundings(seed))
        .await
        .unwrap()
}

pub(crate) fn draft(component: &str) -> Draft {
    Draft {
        id: BackupId([1; 16]),
        component: component.parse().unwrap(),
        method: Method::Full,
        slots: Vec::new(),
        tags: Vec::new(),
        run: RunId([2; 16]),
        plan: PlanRef {
            name: "test".to_owned(),
            digest: Digest([3; 32]),
        },
        environment: "development".to_owned(),
        effort: Effort::always(1),
    }
}

pub(crate) async fn write(
    session: &mut Session,
    walk: Vec<Result<Found, Problem>>,
) -> Result<ccb::repository::TreeStats, RepositoryError> {
    session
        .write_tree(Box::new(walk.into_iter()), Arc::new(()))
        .await
}

/// Backs `files` up.
pub(crate) async fn back_up(
    repository: &Repository,
    files: &Files,
) -> Result<Manifest, RepositoryError> {
    let mut session = repository.begin(draft("files"), None).await?;
    write(&mut session, walk(files)).await?;
    session.commit(Commit::default()).await
}

/// Copies one backup, as nobody watches.
pub(crate) async fn copied(
    from: &Repository,
    backup: &ListedBackup,
    to: &Repository,
) -> Result<Manifest, RepositoryError> {
    copy(from, backup, to, Effort::always(1), Arc::new(())).await
}

/// The newest backup.
pub(crate) async fn newest(repository: &Repository) -> ListedBackup {
    repository.list().await.unwrap().backups.pop().unwrap()
}

/// Every file of a backup.
pub(crate) async fn read_back(
    reader: &Reader,
    manifest: &Manifest,
) -> Result<Files, RepositoryError> {
    let mut read = Files::new();
    let mut directories: Vec<(String, BlobId)> = vec![(String::new(), manifest.root)];
    while let Some((path, tree)) = directories.pop() {
        for node in reader.entries(&tree).await? {
            let path = format!("{path}{}", String::from_utf8(node.name).unwrap());
            match node.kind {
                NodeKind::Directory { tree } => {
                    directories.push((format!("{path}/"), tree.unwrap()))
                }
                NodeKind::File { size, content, .. } => {
                    let bytes = read_content(reader, &content).await?;
                    assert_eq!(bytes.len() as u64, size, "{path}");
                    read.insert(path, bytes);
                }
                _ => panic!("{path} is no file"),
            }
        }
    }
    Ok(read)
}

pub(crate) async fn read_content(
    reader: &Reader,
    content: &Content,
) -> Result<Vec<u8>, RepositoryError> {
    let mut bytes = Vec::new();
    let mut content = reader.content(content);
    while let Some(part) = content.next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// A walk over `files`, all of which are to be read.
pub(crate) fn walk(files: &Files) -> Vec<Result<Found, Problem>> {
    walk_since(files, None)
}

/// A walk that takes over what `previous` has with the same length, and directories in which that is all as a whole.
pub(crate) fn walk_since(
    files: &Files,
    mut previous: Option<Box<dyn Previous>>,
) -> Vec<Result<Found, Problem>> {
    let root = previous.as_ref().map(|previous| previous.root());
    let (inside, _) = walk_in("", files, root, &mut previous);
    let found = [directory("")].into_iter().chain(inside);
    found.map(Ok).collect()
}

/// What is in one directory and below, and how much, if all of that is as it was in `tree`.
fn walk_in(
    directory_path: &str,
    files: &Files,
    tree: Option<BlobId>,
    previous: &mut Option<Box<dyn Previous>>,
) -> (Vec<Found>, Option<Totals>) {
    let mut before = tree.and_then(|tree| previous.as_mut()?.open(&tree));
    let mut known = BTreeMap::new();
    if let Some(before) = &mut before {
        while let Some(node) = before.peek_node() {
            known.insert(node.name.clone(), node);
            before.pass();
        }
    }
    let inside = files
        .keys()
        .filter_map(|path| path.strip_prefix(directory_path));
    let names = inside.map(|path| path.split_inclusive('/').next().unwrap());
    let names: BTreeSet<&[u8]> = names
        .map(|name| name.trim_end_matches('/').as_bytes())
        .collect();
    let mut totals = before
        .filter(|_| names.len() == known.len())
        .map(|_| Totals::default());
    let mut found = Vec::new();
    for name in names {
        let path = format!("{directory_path}{}", std::str::from_utf8(name).unwrap());
        let node = known.remove(name);
        if let Some(bytes) = files.get(&path) {
            let file = file(&path, bytes, node);
            totals = totals.filter(|_| matches!(file.body, Body::Unchanged(_)));
            if let Some(totals) = &mut totals {
                totals.count(&file.node.kind);
            }
            found.push(file);
            continue;
        }
        let tree = match node.map(|node| node.kind) {
            Some(NodeKind::Directory { tree }) => tree,
            _ => None,
        };
        let (inside, whole) = walk_in(&format!("{path}/"), files, tree, previous);
        let mut this = directory(&path);
        if let (Some(whole), Some(all)) = (&whole, &mut totals) {
            all.count(&this.node.kind);
            all.add(whole);
        } else {
            totals = None;
        }
        match whole {
            Some(whole) => {
                this.node.kind = NodeKind::Directory { tree };
                this.body = Body::Whole(whole);
                found.push(this);
            }
            None => {
                found.push(this);
                found.extend(inside);
            }
        }
    }
    (found, totals)
}

fn file(path: &str, bytes: &[u8], before: Option<Node>) -> Found {
    let size = bytes.len() as u64;
    let body = match before.map(|node| node.kind) {
        Some(NodeKind::File {
            size: old, content, ..
        }) if old == size => Body::Unchanged(content),
        _ if bytes.is_empty() => Body::Nothing,
        _ => Body::Read(Box::new(Bytes(bytes.to_vec()))),
    };
    let kind = NodeKind::File {
        size,
        content: Content::default(),
        extents: Vec::new(),
    };
    Found {
        path: path.into(),
        node: node(path, kind),
        body,
    }
}

pub(crate) fn directory(path: &str) -> Found {
    let kind = NodeKind::Directory { tree: None };
    Found {
        path: path.into(),
        node: node(path, kind),
        body: Body::Nothing,
    }
}

fn node(path: &str, kind: NodeKind) -> Node {
    Node {
        name: path.rsplit('/').next().unwrap().into(),
        kind,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        user: Some("user".to_owned()),
        group: None,
        mtime_ns: 1_700_000_000_000_000_000,
        ctime_ns: 1_700_000_000_000_000_001,
        inode: 7,
        device: 1,
        hard_link: None,
        xattrs: Vec::new(),
        unknown: Vec::new(),
    }
}

/// A file that is read with `read`.
pub(crate) fn odd_file(path: &str, size: u64, open: impl OpenBody + 'static) -> Found {
    let kind = NodeKind::File {
        size,
        content: Content::default(),
        extents: Vec::new(),
    };
    Found {
        path: path.into(),
        node: node(path, kind),
        body: Body::Read(Box::new(open)),
    }
}

/// A tree of one stream.
pub(crate) fn stream(
    path: &str,
    open: impl FnOnce() -> io::Result<Box<dyn Read + Send>> + Send + 'static,
) -> Box<dyn Iterator<Item = Result<Found, Problem>> + Send> {
    let at = 1_700_000_000_000_000_000;
    let root = Found::directory("", at);
    let found = [root, Found::stream(path, at, Box::new(open))];
    Box::new(found.into_iter().map(Ok))
}

/// A file in memory.
struct Bytes(Vec<u8>);

impl OpenBody for Bytes {
    fn open(self: Box<Self>) -> io::Result<Box<dyn ReadBody>> {
        Ok(Box::new(Open(Cursor::new(self.0))))
    }
}

struct Open(Cursor<Vec<u8>>);

impl Read for Open {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl ReadBody for Open {
    fn changed_while_reading(&self) -> io::Result<bool> {
        Ok(false)
    }
}
