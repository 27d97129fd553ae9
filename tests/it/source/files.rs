//! The files source on real trees: what a walk finds, in which order, and what it reads again.

use ccb::model::ids::BlobId;
use ccb::model::strategy::{FilesSource, Symlinks};
use ccb::model::tree::{
    Body, Content, Entries, Found, Node, NodeKind, Previous, Problem, Recorded, RecordedKind,
    Special, Totals,
};
use ccb::source::files::{FilesError, Note, Noted, Request, Tally, walk};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) fn spec() -> FilesSource {
    FilesSource {
        path: String::new(),
        subdirectories: Vec::new(),
        exclude: Vec::new(),
        symlinks: Symlinks::Keep,
    }
}

pub(crate) fn request(root: &Path) -> Request {
    let (root, previous, leave_out) = (root.to_path_buf(), None, Vec::new());
    Request {
        spec: spec(),
        root,
        previous,
        leave_out,
    }
}

pub(crate) fn run(request: Request) -> (Vec<Found>, Vec<Problem>, Tally) {
    let mut walk = walk(request).expect("the source is there");
    let tally = walk.tally();
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for item in &mut walk {
        match item {
            Ok(one) => found.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    let tally = tally.lock().expect("nobody panicked").clone();
    (found, problems, tally)
}

pub(crate) fn paths(found: &[Found]) -> Vec<String> {
    found
        .iter()
        .map(|f| String::from_utf8_lossy(&f.path).into_owned())
        .collect()
}

fn at<'a>(found: &'a [Found], path: &str) -> &'a Found {
    found
        .iter()
        .find(|f| f.path == path.as_bytes())
        .expect("the walk found it")
}

fn content(found: Found) -> Vec<u8> {
    let Body::Read(body) = found.body else {
        return Vec::new();
    };
    let mut bytes = Vec::new();
    let mut body = body.open().expect("it opens");
    body.read_to_end(&mut bytes).expect("it reads");
    assert!(!body.changed_while_reading().expect("it has a status"));
    bytes
}

fn write(root: &TempDir, path: &str, bytes: &[u8]) -> PathBuf {
    let path = root.path().join(path);
    fs::create_dir_all(path.parent().expect("it has a parent")).expect("directories are made");
    fs::write(&path, bytes).expect("the file is written");
    path
}

/// What a walk found, as a backup that another walk follows: each directory's tree is named after its path.
#[derive(Clone)]
struct Before {
    nodes: BTreeMap<Vec<u8>, Node>,
    started_ns: i128,
    unreadable: Vec<BlobId>,
}

impl Before {
    fn of(found: Vec<Found>) -> Self {
        let kept = found.into_iter().map(|Found { path, mut node, .. }| {
            match &mut node.kind {
                NodeKind::File { content, .. } => *content = known(),
                NodeKind::Directory { tree } => *tree = Some(tree_of(&path)),
                _ => {}
            }
            (path, node)
        });
        Self {
            nodes: kept.collect(),
            started_ns: i128::from(u64::MAX),
            unreadable: Vec::new(),
        }
    }

    /// All below a directory, in the order of a walk.
    fn below(&self, directory: &[u8]) -> Vec<(Vec<u8>, Node)> {
        let mut all = Vec::new();
        let mut inside = self.directly_in(directory);
        inside.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        for (path, node) in inside {
            let further = self.below(&path);
            all.push((path, node));
            all.extend(further);
        }
        all
    }

    fn directly_in(&self, directory: &[u8]) -> Vec<(Vec<u8>, Node)> {
        let is_in = |path: &[u8]| match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => path[..slash] == *directory,
            None => !path.is_empty() && directory.is_empty(),
        };
        let inside = self.nodes.iter().filter(|(path, _)| is_in(path));
        inside
            .map(|(path, node)| (path.clone(), node.clone()))
            .collect()
    }
}

fn known() -> Content {
    Content {
        blobs: vec![BlobId([7; 32])],
        is_list: false,
    }
}

fn tree_of(path: &[u8]) -> BlobId {
    BlobId(*blake3::hash(path).as_bytes())
}

impl Previous for Before {
    fn find(&mut self, path: &[u8]) -> Option<Node> {
        self.nodes.get(path).cloned()
    }
    fn root(&self) -> BlobId {
        tree_of(b"")
    }
    fn open(&mut self, tree: &BlobId) -> Option<Box<dyn Entries>> {
        if self.unreadable.contains(tree) {
            return None;
        }
        let directory = self.nodes.keys().find(|path| tree_of(path) == *tree)?;
        let inside = self.directly_in(directory).into_iter();
        let mut nodes: Vec<Node> = inside.map(|(_, node)| node).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Some(Box::new(Listed { nodes, at: 0 }))
    }
    fn started_ns(&self) -> i128 {
        self.started_ns
    }
}

/// The entries of one of its directories.
struct Listed {
    nodes: Vec<Node>,
    at: usize,
}

impl Entries for Listed {
    fn peek(&mut self) -> Option<Recorded<'_>> {
        let node = self.nodes.get(self.at)?;
        Some(Recorded {
            name: &node.name,
            what: match node.kind {
                NodeKind::File { size, .. } => RecordedKind::File { size },
                NodeKind::Directory { tree: Some(tree) } => RecordedKind::Directory { tree },
                _ => RecordedKind::Other,
            },
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            user: node.user.as_deref(),
            group: node.group.as_deref(),
            mtime_ns: node.mtime_ns,
            ctime_ns: node.ctime_ns,
            inode: node.inode,
            device: node.device,
            hard_link: node.hard_link,
            has_unknown: !node.unknown.is_empty(),
        })
    }
    fn peek_node(&mut self) -> Option<Node> {
        self.nodes.get(self.at).cloned()
    }
    fn is_at_end(&mut self) -> bool {
        self.at == self.nodes.len()
    }
    fn pass(&mut self) {
        self.at += 1;
    }
    fn take_passed(&mut self) -> Box<dyn Iterator<Item = Node> + Send> {
        Box::new(self.nodes.clone().into_iter().take(self.at))
    }
}

#[test]
fn a_directory_comes_before_its_entries_and_siblings_by_their_bytes() {
    let root = TempDir::new().expect("a directory");
    for path in ["b/z", "b/a", "a.txt", "b.txt", "a/deep/er/x", "B"] {
        write(&root, path, b"x");
    }
    let (found, problems, tally) = run(request(root.path()));
    let expected = [
        "",
        "B",
        "a",
        "a/deep",
        "a/deep/er",
        "a/deep/er/x",
        "a.txt",
        "b",
        "b/a",
        "b/z",
        "b.txt",
    ];
    assert_eq!(paths(&found), expected);
    assert!(problems.is_empty());
    assert_eq!((tally.files, tally.directories, tally.bytes), (6, 4, 6));
}

#[test]
fn bytes_modes_owners_and_times_are_taken() {
    let root = TempDir::new().expect("a directory");
    let path = write(&root, "a", b"hello");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).expect("the mode is set");
    let meta = fs::metadata(&path).expect("it is there");
    let (mut found, ..) = run(request(root.path()));
    let one = found.pop().expect("it was found");
    let node = &one.node;
    assert_eq!(
        (node.mode, node.uid, node.gid),
        (0o4751, meta.uid(), meta.gid())
    );
    let mtime = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    assert_eq!((node.mtime_ns, node.inode), (mtime, meta.ino()));
    assert_eq!(node.hard_link, None);
    assert!(node.uid != 0 || node.user.as_deref() == Some("root"));
    assert_eq!(content(one), b"hello");
}

#[test]
fn names_need_not_be_text_and_paths_may_be_longer_than_the_kernel_takes() {
    let root = TempDir::new().expect("a directory");
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe\n");
    fs::write(root.path().join(odd), b"odd").expect("it is written");
    // Deeper than what stays open, and longer than PATH_MAX: made step by step.
    let part = "d".repeat(60);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    let mut fd = rustix::fs::open(root.path(), flags, rustix::fs::Mode::empty()).expect("opens");
    for _ in 0..100 {
        rustix::fs::mkdirat(&fd, &part, rustix::fs::Mode::RWXU).expect("made");
        fd = rustix::fs::openat(&fd, &part, flags, rustix::fs::Mode::empty()).expect("opens");
        for name in ["a", "z"] {
            let create = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
            let file = rustix::fs::openat(&fd, name, create, rustix::fs::Mode::RUSR).expect("made");
            rustix::io::write(&file, b"deep").expect("written");
        }
    }
    let (found, problems, tally) = run(request(root.path()));
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!((tally.files, tally.directories), (201, 100));
    assert!(found.iter().any(|f| f.path == b"\xff\xfe\n"));
    let longest = found
        .into_iter()
        .filter(|f| f.path.ends_with(b"/z"))
        .max_by_key(|f| f.path.len());
    let longest = longest.expect("there are deep files");
    assert!(longest.path.len() > 4096);
    assert_eq!(content(longest), b"deep");
}

#[test]
fn links_are_kept_followed_or_skipped() {
    let outside = TempDir::new().expect("a directory");
    write(&outside, "file", b"outside");
    let root = TempDir::new().expect("a directory");
    write(&root, "dir/own", b"own");
    symlink(outside.path(), root.path().join("dir/away")).expect("link");
    symlink("nowhere", root.path().join("dangling")).expect("link");
    symlink("../dir", root.path().join("dir/loop")).expect("link");
    symlink("dir/own", root.path().join("to-own")).expect("link");
    let with = |symlinks| {
        let mut request = request(root.path());
        request.spec.symlinks = symlinks;
        run(request)
    };

    let (found, _, tally) = with(Symlinks::Keep);
    let kept = [
        "", "dangling", "dir", "dir/away", "dir/loop", "dir/own", "to-own",
    ];
    assert_eq!(paths(&found), kept);
    assert_eq!(tally.links, 4);
    let target = b"nowhere".to_vec();
    assert_eq!(
        at(&found, "dangling").node.kind,
        NodeKind::Symlink { target }
    );

    let (found, _, tally) = with(Symlinks::Skip);
    assert_eq!(paths(&found), ["", "dir", "dir/own"]);
    assert_eq!((tally.links, tally.excluded), (0, 4));

    let (found, problems, tally) = with(Symlinks::Follow);
    let followed = [
        "",
        "dangling",
        "dir",
        "dir/away",
        "dir/away/file",
        "dir/loop",
        "dir/own",
        "to-own",
    ];
    assert_eq!(paths(&found), followed);
    assert!(problems.is_empty());
    let note = |path: &[u8], what| Note {
        path: path.to_vec(),
        what,
    };
    assert_eq!(
        tally.notes,
        [
            note(b"dangling", Noted::Dangling),
            note(b"dir/loop", Noted::Loop)
        ]
    );
    for (path, bytes) in [("dir/away/file", &b"outside"[..]), ("to-own", b"own")] {
        let (found, ..) = with(Symlinks::Follow);
        let one = found
            .into_iter()
            .find(|f| f.path == path.as_bytes())
            .expect("found");
        assert_eq!(content(one), bytes);
    }
}

#[test]
fn names_of_one_file_share_an_id_and_special_files_are_recorded() {
    let root = TempDir::new().expect("a directory");
    let one = write(&root, "one", b"x");
    fs::hard_link(&one, root.path().join("two")).expect("link");
    write(&root, "other", b"x");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.path().join("fifo"),
        fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a FIFO can be made by anybody");
    let _socket =
        std::os::unix::net::UnixListener::bind(root.path().join("socket")).expect("binds");
    let (found, problems, tally) = run(request(root.path()));
    assert!(problems.is_empty());
    let id = at(&found, "one").node.hard_link;
    assert!(id.is_some() && id == at(&found, "two").node.hard_link);
    assert_eq!(at(&found, "other").node.hard_link, None);
    let special = |what| NodeKind::Special { what, rdev: 0 };
    assert_eq!(at(&found, "fifo").node.kind, special(Special::Fifo));
    assert_eq!(at(&found, "socket").node.kind, special(Special::Socket));
    assert_eq!(tally.specials, 2);
}

#[test]
fn extended_attributes_are_taken_where_the_file_system_has_them() {
    let root = TempDir::new().expect("a directory");
    let path = write(&root, "a", b"x");
    let long = vec![7; 1000];
    let flags = rustix::fs::XattrFlags::empty();
    let can = rustix::fs::setxattr(&path, "user.short", b"v", flags).is_ok()
        && rustix::fs::setxattr(&path, "user.long", &long, flags).is_ok();
    let (found, problems, _) = run(request(root.path()));
    assert!(problems.is_empty());
    let mut xattrs = at(&found, "a").node.xattrs.clone();
    xattrs.retain(|(name, _)| name.starts_with(b"user."));
    let both = vec![
        (b"user.long".to_vec(), long),
        (b"user.short".to_vec(), b"v".to_vec()),
    ];
    assert_eq!(xattrs, if can { both } else { Vec::new() });
}

#[test]
fn holes_are_found_and_read_as_zeros() {
    let root = TempDir::new().expect("a directory");
    let sparse = fs::File::create(root.path().join("sparse")).expect("created");
    sparse.set_len(8 << 20).expect("sized");
    sparse.write_all_at(&[1; 4096], 4 << 20).expect("written");
    let hole = fs::File::create(root.path().join("hole")).expect("created");
    hole.set_len(1 << 20).expect("sized");
    write(&root, "full", &[1; 10_000]);
    let (found, ..) = run(request(root.path()));
    let extents = |path| match &at(&found, path).node.kind {
        NodeKind::File { extents, .. } => extents.clone(),
        _ => panic!("it is a file"),
    };
    assert_eq!(extents("sparse"), [(4 << 20, 4096)]);
    assert_eq!(extents("hole"), [(0, 0)]);
    assert_eq!(extents("full"), []);
    let one = found
        .into_iter()
        .find(|f| f.path == b"sparse")
        .expect("found");
    let bytes = content(one);
    assert_eq!(
        (bytes.len(), bytes.iter().map(|b| usize::from(*b)).sum()),
        (8 << 20, 4096)
    );
}

#[test]
fn excludes_leave_out_whole_directories_and_count_them() {
    let root = TempDir::new().expect("a directory");
    for path in [
        "a.tmp",
        "keep.tmp",
        "cache/x",
        "sub/cache/y",
        "sub/b.tmp",
        "sub/c",
    ] {
        write(&root, path, b"x");
    }
    let mut request = request(root.path());
    request.spec.exclude = ["*.tmp", "!keep.tmp", "/cache/"]
        .map(str::to_owned)
        .to_vec();
    let (found, _, tally) = run(request);
    assert_eq!(
        paths(&found),
        ["", "keep.tmp", "sub", "sub/c", "sub/cache", "sub/cache/y"]
    );
    assert_eq!(tally.excluded, 3);
}

#[test]
fn a_repository_inside_the_tree_is_left_out_also_through_another_name() {
    let root = TempDir::new().expect("a directory");
    write(&root, "backups/CCB", b"x");
    write(&root, "data", b"x");
    let elsewhere = TempDir::new().expect("a directory");
    symlink(
        root.path().join("backups"),
        elsewhere.path().join("repository"),
    )
    .expect("link");
    let mut request = request(root.path());
    request.leave_out = vec![
        elsewhere.path().join("repository"),
        PathBuf::from("/does/not/exist"),
    ];
    let (found, problems, tally) = run(request);
    assert_eq!(paths(&found), ["", "data"]);
    assert!(problems.is_empty());
    assert_eq!(
        tally.notes,
        [Note {
            path: b"backups".to_vec(),
            what: Noted::LeftOut
        }]
    );
}

#[test]
fn only_what_changed_since_the_parent_is_read() {
    let root = TempDir::new().expect("a directory");
    for path in ["same", "dir/same", "grown", "linked"] {
        write(&root, path, b"first");
    }
    let before = Before::of(run(request(root.path())).0);
    write(&root, "grown", b"second and longer");
    write(&root, "new", b"new");
    let later: Vec<String> = following(&root, &before).0.iter().map(told).collect();
    let expected = [
        " -",
        "dir whole",
        "grown read",
        "linked unchanged",
        "new read",
        "same unchanged",
    ];
    assert_eq!(later, expected);
    // The parent's walk began before these files were written: any of them may have changed since.
    let racy = Before {
        started_ns: 0,
        ..before
    };
    let racy: Vec<String> = following(&root, &racy).0.iter().map(told).collect();
    let expected = [
        " -",
        "dir -",
        "dir/same read",
        "grown read",
        "linked read",
        "new read",
        "same read",
    ];
    assert_eq!(racy, expected);
}

/// A walk that follows another, and what it counted.
fn following(root: &TempDir, before: &Before) -> (Vec<Found>, Tally) {
    let mut request = request(root.path());
    request.previous = Some(Box::new(before.clone()));
    let (found, problems, tally) = run(request);
    assert!(problems.is_empty(), "{problems:?}");
    (found, tally)
}

fn told(found: &Found) -> String {
    let body = match &found.body {
        Body::Unchanged(content) if *content == known() => "unchanged",
        Body::Unchanged(_) => "of another file",
        Body::Whole(_) => "whole",
        Body::Read(_) => "read",
        Body::Stream(_) => "stream",
        Body::Nothing => "-",
    };
    format!("{} {body}", String::from_utf8_lossy(&found.path))
}

/// Paths and metadata, in order, with what is in directories that went out as a whole.
fn expanded(found: &[Found], before: &Before) -> Vec<(Vec<u8>, Node)> {
    let mut all = Vec::new();
    for Found { path, node, body } in found {
        let (path, node) = (path.clone(), node.clone());
        if let Body::Whole(totals) = body {
            let mut counted = Totals::default();
            let inside = before.below(&path);
            inside
                .iter()
                .for_each(|(_, node)| counted.count(&node.kind));
            assert_eq!(counted, *totals, "{}", String::from_utf8_lossy(&path));
            let tree = Some(tree_of(&path));
            assert_eq!(node.kind, NodeKind::Directory { tree });
            all.push((path, node));
            all.extend(inside);
        } else {
            all.push((path, node));
        }
    }
    for (_, node) in &mut all {
        match &mut node.kind {
            NodeKind::File { content, .. } => *content = Content::default(),
            NodeKind::Directory { tree } => *tree = None,
            _ => {}
        }
    }
    all
}

/// Does something to a tree.
type Change = fn(&Path);

#[test]
fn a_walk_that_follows_another_finds_what_one_alone_would() {
    let changes: [(&str, usize, Change); 18] = [
        ("nothing", 4, |_| ()),
        ("a file grew", 3, |at| rewrite(&at.join("b/m/two"))),
        ("the first file is new", 3, |at| rewrite(&at.join("b/m/0"))),
        ("the last file is new", 3, |at| rewrite(&at.join("b/m/zz"))),
        ("the first is gone", 3, |at| {
            done(fs::remove_file(at.join("b/m/one")))
        }),
        ("the last is gone", 3, |at| {
            done(fs::remove_file(at.join("b/m/two")))
        }),
        ("a directory is gone", 3, |at| {
            done(fs::remove_dir_all(at.join("b/m")))
        }),
        ("the last directory is gone", 3, |at| {
            done(fs::remove_dir_all(at.join("d")))
        }),
        ("a file before a directory is gone", 4, |at| {
            done(fs::remove_file(at.join("b/a")))
        }),
        ("a file before a directory is new", 4, |at| {
            rewrite(&at.join("b/b"))
        }),
        ("a directory is new", 4, |at| rewrite(&at.join("b/n/new"))),
        ("an empty directory is new", 3, |at| {
            done(fs::create_dir(at.join("a/n")))
        }),
        ("a directory has another mode", 4, |at| {
            mode(&at.join("b/m"), 0o700)
        }),
        ("a file has another mode", 3, |at| {
            mode(&at.join("b/m/one"), 0o600)
        }),
        ("a link leads elsewhere", 4, |at| {
            done(fs::remove_file(at.join("c/link")));
            done(symlink("elsewhere", at.join("c/link")));
        }),
        ("a file became a directory", 3, |at| {
            done(fs::remove_file(at.join("b/m/one")));
            rewrite(&at.join("b/m/one/in"));
        }),
        ("a directory became a file", 3, |at| {
            done(fs::remove_dir_all(at.join("b/m")));
            rewrite(&at.join("b/m"));
        }),
        ("a directory is renamed", 3, |at| {
            done(fs::rename(at.join("b"), at.join("e")))
        }),
    ];
    for (what, at_least, change) in changes {
        let root = TempDir::new().expect("a directory");
        for path in [
            "a/one", "a/two", "b/a", "b/m/one", "b/m/two", "b/z", "c/x/y/z", "d/last", "top",
        ] {
            write(&root, path, b"first");
        }
        write(&root, "c/empty", b"");
        symlink("target", root.path().join("c/link")).expect("a link");
        fs::create_dir(root.path().join("c/none")).expect("a directory");
        let before = Before::of(run(request(root.path())).0);
        change(root.path());
        let (alone, problems, tally_alone) = run(request(root.path()));
        assert!(problems.is_empty(), "{what}: {problems:?}");
        let (found, tally) = following(&root, &before);
        let wholes = found
            .iter()
            .filter(|one| matches!(one.body, Body::Whole(_)));
        assert!(wholes.count() >= at_least, "{what}: {:?}", paths(&found));
        assert_eq!(
            expanded(&found, &before),
            expanded(&alone, &before),
            "{what}"
        );
        let read = found.iter().filter(|one| matches!(one.body, Body::Read(_)));
        let unchanged = tally.files - read.count() as u64;
        assert_eq!(
            tally,
            Tally {
                unchanged,
                ..tally_alone
            },
            "{what}"
        );
    }
}

fn rewrite(path: &Path) {
    done(fs::create_dir_all(path.parent().expect("it has a parent")));
    done(fs::write(path, b"second and longer"));
}

fn mode(path: &Path, mode: u32) {
    done(fs::set_permissions(path, fs::Permissions::from_mode(mode)));
}

fn done(result: std::io::Result<()>) {
    result.expect("it can be done");
}

#[test]
fn a_directory_of_many_files_goes_out_before_it_is_left() {
    let root = TempDir::new().expect("a directory");
    for number in 0..20_000 {
        write(&root, &format!("many/{number:05}"), b"x");
    }
    write(&root, "other/file", b"x");
    let before = Before::of(run(request(root.path())).0);
    let (found, tally) = following(&root, &before);
    // Who shows progress, or wants to stop, waits for some thousands of files only.
    assert_eq!(found.len(), 1 + 1 + 20_000 + 1);
    assert_eq!((tally.files, tally.unchanged), (20_001, 20_001));
    assert_eq!(told(&found[20_001]), "many/19999 unchanged");
    assert_eq!(told(&found[20_002]), "other whole");
}

#[test]
fn what_the_parent_has_and_nobody_can_read_is_read_again() {
    let root = TempDir::new().expect("a directory");
    for path in ["a/one", "b/m/one", "b/two"] {
        write(&root, path, b"first");
    }
    fs::create_dir(root.path().join("b/none")).expect("a directory");
    let mut before = Before::of(run(request(root.path())).0);
    before.unreadable = vec![tree_of(b"b/m"), tree_of(b"b/none")];
    let found: Vec<String> = following(&root, &before).0.iter().map(told).collect();
    let expected = [
        " -",
        "a whole",
        "b -",
        "b/m -",
        "b/m/one read",
        "b/none -",
        "b/two unchanged",
    ];
    assert_eq!(found, expected);
    before.unreadable = vec![tree_of(b"")];
    let found = following(&root, &before).0;
    assert!(found.iter().all(|one| !told(one).ends_with("whole")));
}

#[test]
fn a_source_that_is_not_there_is_an_error_and_never_an_empty_success() {
    let root = TempDir::new().expect("a directory");
    let missing = walk(request(&root.path().join("missing")))
        .err()
        .expect("refused");
    assert!(matches!(missing, FilesError::Root { .. }), "{missing:?}");
    let empty = walk(request(root.path())).err().expect("refused");
    assert!(matches!(empty, FilesError::Empty { .. }), "{empty:?}");
    let file = write(&root, "file", b"x");
    let not_a_directory = walk(request(&file)).err().expect("refused");
    assert!(
        matches!(not_a_directory, FilesError::Root { .. }),
        "{not_a_directory:?}"
    );

    write(&root, "voiceovers/x", b"x");
    symlink("voiceovers", root.path().join("linked")).expect("link");
    let with = |subdirectories: &[&str], exclude: &[&str]| {
        let mut request = request(root.path());
        request.spec.subdirectories = subdirectories.iter().map(|s| (*s).to_owned()).collect();
        request.spec.exclude = exclude.iter().map(|s| (*s).to_owned()).collect();
        walk(request).err().map(|error| error.to_string())
    };
    assert_eq!(with(&["voiceovers", "./voiceovers/"], &[]), None);
    let said = with(&["voiceovers", "videos", "file", "linked", ".."], &[]).expect("refused");
    assert!(
        said.ends_with("lacks `videos`, `file`, `linked`, `..`"),
        "{said}"
    );
    let said = with(&["voiceovers"], &["voice*"]).expect("refused");
    assert!(
        said.contains("`voiceovers` must be in the backup"),
        "{said}"
    );
    let said = with(&[], &["a[", "b"]).expect("refused");
    assert_eq!(said, "read the exclude glob `a[`");
}
