//! Whether a backup of files really comes back: it is restored into a directory of its own, every
//! restored byte is hashed again from the disk, and files that the live source still has unchanged are
//! compared with it byte by byte. The directory is gone afterwards, whatever happens.

use crate::model::records::Check;
use crate::model::tree::{Node, NodeKind, printable};
use crate::restore::Contents;
use crate::restore::files::{Intent, Overwrite, OwnersBy, Request, Sameness, restore};
use crate::source::bucket::beside;
use crate::source::files::Stat;
use crate::source::files::beneath::{Links, open_beneath};
use crate::verify::temporary::{TemporaryDirectory, remove_stale};
use crate::verify::{Against, Entries, Finding, chain};
use md5::{Digest, Md5};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How to test.
#[derive(Debug, Clone, Copy)]
pub struct RestoreTestRequest<'a> {
    /// How many files; `None` restores everything.
    pub files: Option<u32>,
    /// Chooses them: another seed, other files. Also makes the directory's name, so it must be random.
    pub random: u64,
    /// Where the directory is made.
    pub parent: &'a Path,
    /// What it is compared with besides.
    pub compare: Compare<'a>,
}

/// What restored files are compared with, besides the backup.
#[derive(Debug, Clone, Copy)]
pub enum Compare<'a> {
    /// Nothing.
    Nothing,
    /// The live source, where that is unchanged.
    Source(&'a Path),
    /// The fingerprint that a bucket gave each object, where that is its MD5.
    Etags,
}

/// Restores and compares.
pub async fn restore_test(
    contents: &dyn Contents,
    root: &Node,
    request: RestoreTestRequest<'_>,
) -> Finding {
    let mut against = Against::default();
    let mut counted = Counted::default();
    if let Err(error) = remove_stale(request.parent) {
        against.push(format!("remove what earlier tests left: {error}"));
    }
    match TemporaryDirectory::new(request.parent, request.random) {
        Ok(directory) => {
            let target = directory.path().join("restored");
            test(contents, root, request, &target, &mut counted, &mut against).await;
            if let Err(error) = directory.remove() {
                against.push(format!("remove the temporary directory: {error}"));
            }
        }
        Err(error) => against.push(format!("make a temporary directory: {error}")),
    }
    let facts = [
        ("files", counted.files.into()),
        ("bytes", counted.bytes.into()),
        ("compared_with_source", counted.compared.into()),
        ("sampled", request.files.is_some().into()),
    ];
    let Counted {
        files,
        bytes,
        compared,
        ..
    } = counted;
    let good = format!(
        "{files} files, {bytes} bytes restored and equal; {compared} also equal to the source"
    );
    Finding::new(Check::RestoreTest, facts, &against, good)
}

#[derive(Default)]
struct Counted {
    files: u64,
    bytes: u64,
    compared: u64,
}

async fn test(
    contents: &dyn Contents,
    root: &Node,
    request: RestoreTestRequest<'_>,
    target: &Path,
    counted: &mut Counted,
    against: &mut Against,
) {
    let paths = match request.files {
        Some(count) => choose(contents, root, count, request.random, against).await,
        None => Vec::new(),
    };
    if request.files.is_some() && paths.is_empty() {
        return against.push("it holds no file to restore".to_owned());
    }
    let into = Request {
        target: target.to_path_buf(),
        paths,
        overwrite: Overwrite::Never,
        sameness: Sameness::SizeAndTime,
        owners: OwnersBy::Number,
        dry_run: false,
    };
    match restore(contents, root, &into, &mut |_, _| {}).await {
        Ok(report) => {
            (counted.files, counted.bytes) = (report.files, report.bytes);
            for problem in &report.problems {
                against.push(chain(problem));
            }
        }
        Err(error) => return against.push(chain(&error)),
    }
    // What a dry run by content would write again is not what the backup holds; by time likewise.
    for sameness in [Sameness::Content, Sameness::SizeAndTime] {
        let overwrite = Overwrite::IfChanged;
        let again = Request {
            sameness,
            overwrite,
            dry_run: true,
            ..into.clone()
        };
        let mut differs = |path: &[u8], intent| {
            if intent != Intent::Keep {
                against.push(format!("`{}` was restored differently", printable(path)));
            }
        };
        if let Err(error) = restore(contents, root, &again, &mut differs).await {
            against.push(chain(&error));
        }
    }
    let compared = match request.compare {
        Compare::Nothing => Ok(0),
        Compare::Source(source) => {
            compare_with_source(contents, root, source, target, against).await
        }
        Compare::Etags => compare_with_etags(contents, root, target, against).await,
    };
    match compared {
        Ok(compared) => counted.compared = compared,
        Err(error) => against.push(format!("compare with the source: {error}")),
    }
}

/// Compares what was restored with the MD5 that its bucket told. Gives back how many.
async fn compare_with_etags(
    contents: &dyn Contents,
    root: &Node,
    target: &Path,
    against: &mut Against,
) -> io::Result<u64> {
    let target = File::open(target)?;
    let mut compared = 0;
    let mut entries = Entries::new(contents, root);
    while let Some((path, entry)) = entries.next().await {
        let Ok(node) = entry else { continue };
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        // What was not sampled is not there.
        let (Some(told), Ok(restored)) = (
            beside::md5_of(&node),
            open_beneath(&target, &path, flags, Links::Refuse),
        ) else {
            continue;
        };
        match md5(File::from(restored)) {
            Ok(md5) if md5 == told => compared += 1,
            Ok(_) => against.push(format!("`{}` is not what its ETag tells", printable(&path))),
            Err(error) => against.push(format!("read `{}`: {error}", printable(&path))),
        }
    }
    Ok(compared)
}

fn md5(mut file: File) -> io::Result<String> {
    let mut digest = Md5::new();
    let mut bytes = vec![0; 1 << 18];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(beside::hex_md5(digest)),
            len => digest.update(&bytes[..len]),
        }
    }
}

/// Chooses files by a hash of their path and the seed: the lowest ones.
async fn choose(
    contents: &dyn Contents,
    root: &Node,
    count: u32,
    seed: u64,
    against: &mut Against,
) -> Vec<Vec<u8>> {
    let mut lowest: BTreeMap<[u8; 32], Vec<u8>> = BTreeMap::new();
    let mut entries = Entries::new(contents, root);
    while let Some((path, entry)) = entries.next().await {
        match entry {
            Ok(node) if matches!(node.kind, NodeKind::File { .. }) => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&seed.to_le_bytes()).update(&path);
                lowest.insert(*hasher.finalize().as_bytes(), path);
                if lowest.len() > count as usize {
                    lowest.pop_last();
                }
            }
            Ok(_) => {}
            Err(error) => {
                let (path, why) = (printable(&path), chain(&error));
                against.push(format!("directory `{path}`: {why}"));
            }
        }
    }
    lowest.into_values().collect()
}

/// Compares what was restored with the source, where that has not changed since. Gives back how many.
async fn compare_with_source(
    contents: &dyn Contents,
    root: &Node,
    source: &Path,
    target: &Path,
    against: &mut Against,
) -> io::Result<u64> {
    let (source, target) = (File::open(source)?, File::open(target)?);
    let mut compared = 0;
    let mut entries = Entries::new(contents, root);
    while let Some((path, entry)) = entries.next().await {
        let Ok(node) = entry else { continue };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |below: &File| open_beneath(below, &path, flags, Links::Refuse).map(File::from);
        if !matches!(node.kind, NodeKind::File { .. }) {
            continue;
        }
        // What was not sampled is not there, and what the source has no more can not be compared.
        let (Ok(restored), Ok(live)) = (open(&target), open(&source)) else {
            continue;
        };
        match is_as_recorded(&live, &node) {
            Ok(true) => {}
            Ok(false) | Err(_) => continue,
        }
        match is_equal(live.try_clone(), restored) {
            Ok(true) => compared += 1,
            // It may have changed while it was read.
            Ok(false) if is_as_recorded(&live, &node).is_ok_and(|same| same) => {
                against.push(format!("`{}` differs from the source", printable(&path)));
            }
            Ok(false) => {}
            Err(error) => against.push(format!("compare `{}`: {error}", printable(&path))),
        }
    }
    Ok(compared)
}

fn is_as_recorded(live: &File, node: &Node) -> io::Result<bool> {
    let stat = Stat::from(rustix::fs::fstat(live)?);
    let NodeKind::File { size, .. } = node.kind else {
        return Ok(false);
    };
    Ok(stat.kind.is_file()
        && stat.size == size
        && stat.mtime_ns == node.mtime_ns
        && stat.ctime_ns == node.ctime_ns
        && stat.inode == node.inode)
}

fn is_equal(left: io::Result<File>, mut right: File) -> io::Result<bool> {
    let mut left = left?;
    let (mut a, mut b) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    loop {
        let len = left.read(&mut a)?;
        if len == 0 {
            return Ok(right.read(&mut b[..1])? == 0);
        }
        match right.read_exact(&mut b[..len]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if a[..len] != b[..len] {
            return Ok(false);
        }
    }
}
